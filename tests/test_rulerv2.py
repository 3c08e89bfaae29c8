"""RULERv2's basic rows: NVIDIA's own prompts by digest; and HELMET's form of the key-value test."""

import json
import re
from collections import Counter
from itertools import islice

import fakes
import pytest
import ruler_goldens
import rulerv2_goldens

import tasks.base
from reports.numbers import ruler_profiles
from tasks import rulerv2
from tasks.key_value import KeyValue

GOLDENS: dict[str, list[str]] = json.loads(rulerv2_goldens.GOLDENS.read_text())


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow) if "32768" in key else key for key in sorted(GOLDENS)]
)
def test_prompts_are_those_of_nemo_skills_to_the_byte(key: str) -> None:
    row, length = key.split()
    lm = ruler_goldens.GoldenLM()
    made = list(islice(rulerv2.make(f"rulerv2/{row}").prompts(lm, int(length), 0, 100), len(GOLDENS[key])))
    assert [ruler_goldens.digest(sample.prompt) for sample in made] == GOLDENS[key]
    assert [sample.tokens for sample in made] == [len(lm.encode(sample.prompt)) for sample in made]


def test_every_key_has_as_many_values_and_all_are_asked_for() -> None:
    for row, values in rulerv2.ROWS.items():
        task = rulerv2.make(f"rulerv2/{row}")
        for sample in task.prompts(fakes.FakeLM(), 2000, 0, 4):
            told = re.findall(r"numbers for ([\w' -]+) is: (\d{10})\.", sample.prompt)
            asked = re.search(
                r"mentioned in the provided text\? The special magic numbers? for (.+) mentioned", sample.prompt
            )
            assert asked is not None
            assert {value for key, value in told if key == asked[1]} == {*sample.references}
            assert len(sample.references) == values
            counts = Counter(key for key, _ in told)
            assert max(counts.values()) == values and sorted(counts.values())[len(counts) // 2] == values
            assert {value for _, value in told} - {*sample.references} == sample.values


def test_two_rows_are_no_score_of_either_ruler() -> None:
    assert tasks.base.expand("rulerv2") == ["rulerv2/mk_niah_basic", "rulerv2/mv_niah_basic"]
    assert not ruler_profiles.by_profile([(name, 4096) for name in tasks.base.expand("rulerv2")])
    with pytest.raises(ValueError, match="no test is named 'rulerv2/qa_hard'"):
        rulerv2.make("rulerv2/qa_hard")
    with pytest.raises(ValueError, match="has no parameters"):
        rulerv2.make("rulerv2/mk_niah_basic", values=4)
    with pytest.raises(ValueError, match="use a larger length"):
        list(rulerv2.make("rulerv2/mk_niah_basic").prompts(fakes.FakeLM(), 200, 0, 1))


def test_two_shots_are_pairs_of_the_same_object() -> None:
    task = KeyValue(shots=2)
    for row in task.run(fakes.FakeLM(), 2000, 0, 11):
        lines = row.prompt.splitlines()
        pairs = json.loads(lines[1])
        asked = re.findall(r'key "([^"]+)"\? The value is ?(.*)', row.prompt)
        assert len(asked) == 3 and all(pairs[key] == value for key, value in asked[:2])
        assert asked[2][1] == "" and pairs[asked[2][0]] == row.references[0]
    plain, shots = (next(iter(KeyValue(shots=n).run(fakes.FakeLM(), 2000, 0, 1))) for n in (0, 2))
    assert plain.references == shots.references
    with pytest.raises(ValueError, match="shots must be in 0"):
        KeyValue(shots=11)
