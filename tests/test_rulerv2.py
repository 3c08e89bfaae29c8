"""RULERv2: NVIDIA's own prompts by digest, its scores, wrong files; and HELMET's form of the key-value test."""

import json
import re
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

import fakes
import pytest
import ruler_goldens
import rulerv2_goldens

import tasks.base
from harness.experiment.cells import task_identity
from reports.numbers import ruler_profiles
from tasks import rulerv2
from tasks.key_value import KeyValue
from tasks.rulerv2 import choices, scoring

GOLDENS: dict[str, list[str]] = json.loads(rulerv2_goldens.GOLDENS.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the goldens."""
    place = tmp_path_factory.mktemp("rulerv2")
    rulerv2_goldens.write_data(place)
    return place


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow) if "32768" in key else key for key in sorted(GOLDENS)]
)
def test_prompts_are_those_of_nemo_skills_to_the_byte(key: str, folder: Path) -> None:
    """And the right answers, of the rows that read data."""
    row, length = key.split()
    lm, task = ruler_goldens.GoldenLM(), rulerv2.make(f"rulerv2/{row}", folder=str(folder))
    made = list(islice(task.prompts(lm, int(length), 0, 8), len(GOLDENS[key])))
    assert [rulerv2_goldens.digest(row, sample.prompt, sample.references) for sample in made] == GOLDENS[key]
    assert [sample.tokens for sample in made] == [len(lm.encode(sample.prompt)) for sample in made]
    assert task.new_tokens == rulerv2_goldens.ROWS[row][2]


def test_every_row_has_goldens() -> None:
    assert {key.split()[0] for key in GOLDENS} == {*rulerv2.ROWS} == {*rulerv2_goldens.ROWS}


def test_every_key_has_as_many_values_and_all_are_asked_for() -> None:
    for row, values in rulerv2.VALUES.items():
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


@pytest.mark.parametrize("row", ["mv_niah_medium", "mk_niah_hard", "qa_easy"])
def test_a_run_scores_what_is_right_and_stores_where_it_stands(row: str, folder: Path) -> None:
    task = rulerv2.make(f"rulerv2/{row}", folder=str(folder))
    samples = list(task.prompts(fakes.FakeLM(), 3000, 0, 3))
    assert all(sample.depth is not None and 0 < sample.depth < 1 for sample in samples)
    said = [f"\\boxed{{{s.references[0]}}}" if row == "mk_niah_hard" else s.references[0] for s in samples]
    rule = getattr(scoring, task.scoring.partition(":")[2])
    assert [rule(one, sample.references) for one, sample in zip(said, samples, strict=True)] == [1.0] * 3
    more = list(islice(task.prompts(fakes.FakeLM(), 3000, 0, 7), 3))
    assert more == samples, "a sample is the same however many are asked for"
    other = next(task.prompts(fakes.FakeLM(), 3000, 1, 1))
    assert task.seeded == (other.prompt.rpartition("Question")[2] != samples[0].prompt.rpartition("Question")[2])


def test_scores_are_those_of_nemo_skills() -> None:
    """Beside these, 60,000 random answers were compared once with its functions of 2c6b9e3 and 511d678, typed off."""
    text = "Which is it? A. one B. two"
    assert scoring.copied(f"It says: {text.upper()}", (text,)) == 1
    assert scoring.copied("Which is it? A. one C. two", (text,)) == 1 - 1 / 7
    assert scoring.copied("It is said there: Which is it? A. one B. three", (text,)) == pytest.approx(1 - 5 / 7)
    assert scoring.copied(f"{text}\n\nno", (text, "other words")) == 0.5
    assert scoring.copied("", (text,)) == 0
    assert scoring.copied_last(f"{text}\n\nno", (text,)) == 0
    assert scoring.copied_last(f"no\n\n{text}", (text,)) == 1
    assert scoring.answered("Document 12:\nyes\nit is\n\nno", ("yes",)) == 0
    assert scoring.answered("1234567", ("7654321", "1234567")) == 1
    for said, letter in (
        ("so \\boxed{B}", "B"),
        ("\\boxed{A} or \\boxed{\\text{C}}", "C"),
        ("\\boxed{b}", "B"),
        ("\\boxed{the second}", None),
        ("The final answer is (D)", "D"),
        ("**Answer**: C", "C"),
        ("answer: c, I think", "C"),
        ("\\boxed{A", None),
        ("B", None),
    ):
        assert [scoring.chosen(said, (one,)) for one in "ABCD"] == [float(one == letter) for one in "ABCD"], said


def test_ranks_are_said_as_inflect_says_them() -> None:
    said = [choices.ordinal(rank) for rank in (1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 101, 111, 113)]
    assert said == "1st 2nd 3rd 4th 10th 11th 12th 13th 21st 22nd 101st 111th 113th".split()


def test_wrong_files_are_one_line(tmp_path: Path, folder: Path) -> None:
    row = "rulerv2/mk_niah_easy"
    assert "mmlu/test.jsonl" in rulerv2.make(row).missing and not rulerv2.make(row, folder=str(folder)).missing
    with pytest.raises(ValueError, match="reads mmlu/test.jsonl and mmlu/auxiliary_train.jsonl: name the folder"):
        next(rulerv2.make(row).prompts(fakes.FakeLM(), 3000, 0, 1))
    with pytest.raises(ValueError, match="has no mmlu/test.jsonl"):
        rulerv2.make(row, folder=str(tmp_path))
    with pytest.raises(ValueError, match="folder must be a text"):
        rulerv2.make(row, folder=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="have 100 samples here, got samples 101"):
        next(rulerv2.make(row, folder=str(folder)).prompts(fakes.FakeLM(), 3000, 0, 101))
    with pytest.raises(ValueError, match="has 110 questions, got samples 111"):
        next(rulerv2.make("rulerv2/qa_hard", folder=str(folder)).prompts(fakes.FakeLM(), 3000, 0, 111))
    with pytest.raises(ValueError, match="5 questions are shown as examples and|use a larger length"):
        next(rulerv2.make("rulerv2/mk_niah_hard", folder=str(folder)).prompts(fakes.FakeLM(), 500, 0, 1))
    place = tmp_path / "mmlu"
    place.mkdir()
    for content, words in (
        ("", "is empty"),
        ("{", "line 1 of .*test.jsonl is no row"),
        ('{"question": "q", "choices": ["a"], "answer": 0}', "line 1 of .*test.jsonl is no row"),
    ):
        for name in ("test.jsonl", "auxiliary_train.jsonl"):
            (place / name).write_text(content)
        rulerv2.data._read.cache_clear()
        with pytest.raises(ValueError, match=words) as error:
            next(rulerv2.make(row, folder=str(tmp_path)).prompts(fakes.FakeLM(), 3000, 0, 1))
        assert "\n" not in str(error.value)


def test_the_files_count_by_their_content_and_old_results_still_count(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    one, two = (
        task_identity(rulerv2.make("rulerv2/qa_hard", folder=str(place))) for place in (folder, tmp_path / "elsewhere")
    )
    assert one == two and "content-" in one["parameters"]["folder"]
    basic = task_identity(rulerv2.make("rulerv2/mk_niah_basic", folder=str(folder)))
    assert basic["parameters"] == {"row": "mk_niah_basic"}


def test_its_rows_are_no_score_of_the_first_ruler() -> None:
    assert tasks.base.expand("rulerv2") == sorted(f"rulerv2/{row}" for row in rulerv2_goldens.ROWS)
    assert not ruler_profiles.by_profile([(name, 4096) for name in tasks.base.expand("rulerv2")])
    with pytest.raises(ValueError, match="no test is named 'rulerv2/qa_harder'"):
        rulerv2.make("rulerv2/qa_harder")
    with pytest.raises(ValueError, match="has no parameters but folder"):
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
