"""Experiment files: every mistake is one line that names the file, the place and the nearest right word."""

from pathlib import Path
from typing import Any

import pytest

from harness.experiment import file as experiment
from harness.experiment import strict_yaml
from harness.experiment.file import Experiment

GOOD = """
model: pocket-llama
target_length: 4096
lengths: [512, 4096]
extenders: [none, {yarn: {beta_fast: 16, label: YaRN 16}}]
tests: [passkey, {needle: {samples: 3, lengths: [512]}}]
"""


def read(folder: Path, text: str, **overrides: Any) -> Experiment:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return experiment.read(path, overrides)


def refusal(folder: Path, text: str, **overrides: Any) -> str:
    with pytest.raises(ValueError) as caught:
        read(folder, text, **overrides)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(str(folder / "mine.yaml"))
    return line


def test_a_good_file(tmp_path: Path) -> None:
    one = read(tmp_path, GOOD)
    assert (one.name, one.target_length, one.lengths, one.seeds, one.notes) == ("mine", 4096, (512, 4096), (0,), ())
    assert [method.label for method in one.methods] == ["none", "YaRN 16"]
    assert one.methods[1].extender.parameters()["beta_fast"] == 16.0
    assert one.methods[1].extender.target_length == 4096
    assert [(test.label, test.samples, test.lengths) for test in one.tests] == [
        ("passkey", experiment.DEFAULT_SAMPLES, None),
        ("needle", 3, (512,)),
    ]


def test_a_merged_key_may_be_overridden_and_no_other_given_twice() -> None:
    shared = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\n"
    assert strict_yaml.loads(shared + "c: {<<: *b, y: 4}", "file") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 3, "y": 4},
    }
    for twice, key in (("{<<: *a, x: 1, x: 2}", "x"), ("{<<: {x: 1, x: 2}}", "x"), ("{<<: *a, <<: *b}", "<<")):
        with pytest.raises(ValueError, match=f"^file: line 3: key '{key}' is given twice$"):
            strict_yaml.loads(f"{shared}c: {twice}", "file")
    with pytest.raises(ValueError, match="recursive"):
        strict_yaml.loads("a: &a [1, *a]", "file")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lengths: [512, 4096]", "lenghts: [512, 4096]", "unknown key 'lenghts'; did you mean 'lengths'?"),
        ("lengths: [512, 4096]", "", "key 'lengths' is missing"),
        ("model: pocket-llama", "model:", "key 'model' is missing"),
        ("lengths: [512, 4096]", "lengths: [512, 8192]", "8192 tokens, beyond the target_length 4096"),
        ("lengths: [512, 4096]", "lengths: [512, 512]", "names 512 twice"),
        ("lengths: [512, 4096]", "lengths: []", "at least one"),
        ("lengths: [512, 4096]", "lengths: [512, 1.5]", "whole number of at least 1, got 1.5"),
        ("lengths: [512, 4096]", "lengths: [512, true]", "whole number of at least 1, got True"),
        ("target_length: 4096", "target_length: 4k", "target_length must be a whole number"),
        (
            "target_length: 4096",
            "target_length: 4096\ntarget_length: 8192",
            "line 4: key 'target_length' is given twice",
        ),
        ("beta_fast: 16", "beta_fast: 16, beta_fast: 8", "key 'beta_fast' is given twice"),
        ("beta_fast: 16", "beta_fats: 16", "yarn: unknown parameter 'beta_fats'; did you mean 'beta_fast'?"),
        ("beta_fast: 16", "beta_fast: fast", "beta_fast must be a number, got 'fast'"),
        ("beta_fast: 16", "beta_fast: .nan", "beta_fast must be a finite number"),
        ("beta_fast: 16", "beta_fast: 0.5", "beta_fast must be above beta_slow"),
        ("beta_fast: 16", "target_length: 16", "unknown parameter 'target_length'"),
        ("yarn:", "yarm:", "no extender is named 'yarm'; did you mean 'yarn'?"),
        ("YaRN 16", "none", "two methods are labelled 'none'"),
        ("extenders: [none,", "extenders: [none, none,", "two methods are labelled 'none'"),
        ("extenders: [none,", "extenders: [1,", "an entry is a name or {name: {parameter: value}}, got 1"),
        ("extenders: [none,", "extenders: [{none: 3},", "none wants parameters as {name: value}, got 3"),
        ("[passkey,", "[pass_key,", "did you mean 'passkey'?"),
        ("[passkey,", "[passkey, passkey,", "two tests are labelled 'passkey'"),
        ("[passkey,", "[{passkey: {sample: 3}},", "sample"),
        ("samples: 3", "samples: 0", "needle: samples must be a whole number of at least 1, got 0"),
        ("lengths: [512]}", "lengths: [9000]}", "beyond the target_length"),
        ("model: pocket-llama", "model: pocket-llama\nseeds: [0, 0]", "names 0 twice"),
        ("model: pocket-llama", "model: pocket-llama\nseeds: [-1]", "at least 0, got -1"),
        ("model: pocket-llama", "model: pocket-llama\ndtype: bfloat", "did you mean 'bfloat16'?"),
        ("model: pocket-llama", "model: pocket-llama\nattention: flash_attention", "did you mean 'flash_attention_2'?"),
        ("model: pocket-llama", "model: pocket-llama\ntrained_length: 4096", "must be above trained_length 4096"),
        ("model: pocket-llama", "model: pocket-llama\nname: a/b", "names a folder of results"),
        ("model: pocket-llama", "model: [a", "line 3"),
        ("model: pocket-llama", "model: 'pocket-llama", "line"),
        ("model: pocket-llama", "\tmodel: pocket-llama", "line 2"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in refusal(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words", "3"])
def test_what_is_no_experiment(tmp_path: Path, text: str) -> None:
    assert "an experiment is a list of 'key: value' lines" in refusal(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"model: \xff\xfe")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        experiment.read(tmp_path / "mine.yaml")


def test_the_reference_is_added_and_said(tmp_path: Path) -> None:
    one = read(tmp_path, GOOD.replace("none, ", ""))
    assert [method.label for method in one.methods] == ["none", "YaRN 16"]
    assert "added" in one.notes[0] and "none" in one.notes[0]
    relabelled = read(tmp_path, GOOD.replace("none,", "{none: {label: as trained}},"))
    assert [method.label for method in relabelled.methods] == ["as trained", "YaRN 16"] and not relabelled.notes
    taken = read(tmp_path, GOOD.replace("none,", "{pi: {label: none}},"))
    assert len({method.label for method in taken.methods}) == 3


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    one = read(tmp_path, GOOD.replace("beta_fast: 16", "beta_fast: 1e2").replace("4096", "4_096"))
    assert one.methods[1].extender.parameters()["beta_fast"] == 100.0
    assert one.target_length == 4096


def test_overrides_are_as_strict_as_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD, seeds=[3, 4]).seeds == (3, 4)
    assert "did you mean 'samples'?" in refusal(tmp_path, GOOD, sample=3)


def test_a_group_stands_for_its_tests(tmp_path: Path) -> None:
    one = read(
        tmp_path,
        GOOD.replace("passkey", "short/pocket: {samples: 7}").replace("[short", "[{short").replace("7}", "7}}"),
    )
    rows = [test for test in one.tests if test.label.startswith("short/pocket_")]
    assert len(rows) > 1 and {test.samples for test in rows} == {7}
    text = GOOD.replace("[passkey", "[{short/pocket: {label: all}}")
    assert "a label needs a single test" in refusal(tmp_path, text)


METHOD = '''"""Half of the pairs as trained, half interpolated (my own idea)."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class MyIdea(Extender):
    split: float = 0.5

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        pairs = len(rope.inv_freq)
        return RopePlan.rescaled(rope, [1.0 if i < self.split * pairs else self.factor(rope) for i in range(pairs)])
'''


def test_a_method_beside_the_experiment_file_runs_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(METHOD.splitlines()) <= 20
    mine = GOOD.replace("none,", "none, {my_idea: {split: 0.25}},")
    assert "no extender is named 'my_idea'" in refusal(tmp_path, mine)
    for place in (tmp_path, tmp_path / "shelf"):
        place.mkdir(exist_ok=True)
        (place / "my_idea.py").write_text(METHOD)
        text = mine if place == tmp_path else mine + "extender_folders: [shelf]\n"
        assert read(tmp_path, text).methods[1].extender.parameters() == {"split": 0.25}
        (place / "my_idea.py").rename(tmp_path.parent / "my_idea.txt")
    (tmp_path.parent / "my_idea.txt").rename(tmp_path / "shelf" / "my_idea.py")
    monkeypatch.setenv("ROPEBENCH_EXTENDERS", str(tmp_path / "shelf"))
    assert read(tmp_path, mine).methods[1].extender.name == "my_idea"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "must define exactly one Extender, found 0"),
    ],
)
def test_a_broken_method_file_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "my_idea.py").write_text(source)
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("none,", "none, my_idea,"))
    with pytest.raises(ValueError, match=said) as caught:
        experiment.read(path)
    assert "\n" not in str(caught.value) and "my_idea.py" in str(caught.value)


def test_files_are_named_relative_to_the_experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "mine.txt").write_text("1 2 3 4")
    (tmp_path / "texts").mkdir()
    text = GOOD.replace("none,", "none, {factors: {factors: mine.txt}},").replace(
        "passkey", "{perplexity: {folder: texts}}"
    )
    one = read(tmp_path, text)
    assert one.methods[1].extender.parameters()["factors"] == (1.0, 2.0, 3.0, 4.0)
    assert one.tests[0].task.parameters()["folder"] == str(tmp_path / "texts")


def test_a_model_beside_the_file_wins(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).model_source == "pocket-llama"
    (tmp_path / "pocket-llama").mkdir()
    (tmp_path / "pocket-llama" / "config.json").write_text("{}")
    one = read(tmp_path, GOOD)
    assert one.model == "pocket-llama" and one.model_source == str(tmp_path.resolve() / "pocket-llama")


def test_tests_that_draw_nothing_say_that_more_seeds_give_nothing(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    own = GOOD.replace("tests: [", "tests: [{perplexity: {folder: texts, label: mine}}, ")
    assert own != GOOD
    assert not read(tmp_path, own + "\nseeds: [0]").notes
    [said] = read(tmp_path, own + "\nseeds: [3, 4]").notes
    assert said == "mine: the seed draws no questions, so more seeds give nothing new; run with 3 only"


@pytest.mark.parametrize("name", sorted(experiment.shipped()))
def test_shipped_experiments_are_good(name: str) -> None:
    one = experiment.read(experiment.find(name))
    assert one.name == name and not one.notes
    # the gate stops half-way, to be quick; deployment is about short prompts alone
    assert 2 * max(one.lengths) >= one.target_length or name == "deployment"


def test_unknown_experiments() -> None:
    with pytest.raises(ValueError, match="no experiment is named 'quik'; did you mean 'quick'"):
        experiment.find("quik")
    with pytest.raises(ValueError, match="there is no experiment file /nowhere/a.yaml"):
        experiment.find("/nowhere/a.yaml")


def test_a_test_known_by_a_number_of_samples_takes_it_unless_told_otherwise(tmp_path: Path) -> None:
    text = GOOD.replace("passkey, {needle", "ruler-head/vt, {needle")
    assert [test.samples for test in read(tmp_path, text).tests] == [500, 3]
    assert [test.samples for test in read(tmp_path, text + "samples: 7\n").tests] == [7, 3]
    text = text.replace("ruler-head/vt", "{ruler-head/vt: {samples: 9}}")
    assert [test.samples for test in read(tmp_path, text + "samples: 7\n").tests] == [9, 3]


def test_missing_data_are_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROPEBENCH_RULER", raising=False)
    line = refusal(tmp_path, GOOD.replace("passkey, ", "ruler-head/qa_1, "))
    assert "squad.json" in line and "ruler-head+standin/qa_1" in line
