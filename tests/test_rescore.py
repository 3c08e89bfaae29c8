"""Stored answers under another rule: new scores in a store of their own, with keys of their own; the old ones stay."""

from pathlib import Path
from typing import Any

import fake_engine
import fakes
import pytest
from fake_engine import FakeEngine, Quiet, experiment

import tasks.base
from harness import cli
from harness.experiment.file import Test
from harness.records import damage
from harness.runner.run import run
from harness.store import Store, read_json
from harness.tools.rescore import rescore, rule_of
from reports.numbers.results import Results
from tasks.needle import Needle
from tasks.perplexity import Perplexity

LENIENT = '''"""Half a point for a number of the right length."""

def score(generation, references):
    said = generation.strip()
    return 1.0 if said == references[0] else 0.5 * (len(said) == len(references[0]))
'''


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: Any) -> Store:
    """Needles answered with their code backwards: six right digits in a wrong order."""

    class Backwards(fakes.FakeLM):
        def plan_hash(self, length: int) -> str:
            return ""  # any plan

    def backwards(prompt: str) -> str:
        asked = prompt.rpartition("of ")[2].removesuffix(" is")
        return prompt.partition(f"secret code of {asked} is ")[2][:6][::-1]

    monkeypatch.setattr(fake_engine, "FakeLM", lambda: Backwards(backwards))
    tests = (Test("needle", Needle(), 3), Test("perplexity", Perplexity(), 1))
    run(
        experiment(tests=tests, lengths=(256,), seeds=(0,)), tmp_path / "run", FakeEngine(), Quiet(), keep_prompts=False
    )
    return Store.open(tmp_path / "run")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_new_scores_stand_in_a_store_of_their_own(stored: Store, tmp_path: Path) -> None:
    (tmp_path / "lenient.py").write_text(LENIENT)
    before = files(stored.folder)
    lines = rescore(stored, tmp_path / "new", rule_of(str(tmp_path / "lenient.py")))
    assert files(stored.folder) == before
    assert [(one.method, one.test, one.before, one.after, one.changed) for one in lines] == [
        (method, "needle by lenient", 0, 0.5, 3) for method in ("none", "pi")
    ]
    new = Store.open(tmp_path / "new")
    assert not damage.look(new).damaged and damage.look(new).unsealed == 0
    old = {planned["key"]: cell for planned, cell in stored.cells()}
    for planned, cell in new.cells():
        assert cell is not None and planned["task"] == "needle by lenient"
        origin = cell["identity"]["rescored"]
        assert planned["key"] not in old and origin["rule"] == "lenient.py" and len(origin["content"]) == 16
        first = old[origin["of"]]
        assert first is not None and [row["score"] for row in cell["rows"]] == [0.5] * 3
        assert [row["generation"] for row in cell["rows"]] == [row["generation"] for row in first["rows"]]
        assert {row["failure"] for row in cell["rows"]} == {"wrong order"}
        assert all(new.prompt(row["prompt"]).startswith("Read the text") for row in cell["rows"])
    [remark] = Results(new).audit.remarks
    assert "scored again by lenient.py" in remark and "no model ran" in remark


def test_a_changed_rule_has_another_key(stored: Store, tmp_path: Path) -> None:
    keys = set()
    for factor in ("0.5", "0.25"):
        (tmp_path / "lenient.py").write_text(LENIENT.replace("0.5", factor))
        rescore(stored, tmp_path / "new", rule_of(str(tmp_path / "lenient.py")))
        keys |= {planned["key"] for planned, _ in Store.open(tmp_path / "new").cells()}
    assert len(keys) == 4


def test_rules_of_today_give_the_scores_that_stand_there(stored: Store, tmp_path: Path) -> None:
    lines = rescore(stored, tmp_path / "new", None)
    assert [(one.test, one.changed) for one in lines] == [("needle by today", 0)] * 2
    assert [one.changed for one in rescore(stored, tmp_path / "new", rule_of("tasks.needle:score_phrases"))] == [0, 0]


def test_rows_of_suites_are_scored_by_their_own_rules(tmp_path: Path, monkeypatch: Any) -> None:
    names = [
        "ruler-pocket/vt",
        "ruler-head/niah_single_1",
        "rulerv2/mk_niah_basic",
        "ordinal",
        "which_first",
        "first_value",
    ]

    class Silent(fakes.FakeLM):
        def plan_hash(self, length: int) -> str:
            return ""

    monkeypatch.setattr(fake_engine, "FakeLM", lambda: Silent(lambda prompt: prompt[-40:]))
    tests = tuple(Test(name, tasks.base.make(name), 1) for name in names) + (Test("count", fake_engine.Count(), 2),)
    asked = experiment(tests=tests, lengths=(4096,), target_length=8192, seeds=(0,))
    run(asked, tmp_path / "run", FakeEngine(), Quiet(), keep_prompts=False)
    lines = rescore(Store.open(tmp_path / "run"), tmp_path / "new", None)
    assert {one.test for one in lines} == {f"{name} by today" for name in names}
    assert all(one.changed == 0 for one in lines)
    with pytest.raises(ValueError, match="no test is named 'count'"):
        rescore(Store.open(tmp_path / "run"), tmp_path / "new", None, ["count"])


def test_the_command_says_what_changed(stored: Store, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "lenient.py").write_text(LENIENT)
    assert cli.answer(["rescore", str(stored.folder), "--rule", str(tmp_path / "lenient.py"), "--date", "today"]) == 0
    printed = capsys.readouterr()
    assert "needle by lenient  256     0.0 %   50.0 %  3 of 3" in printed.out
    assert "is code, and it runs now" in printed.err
    assert "no model ran" in (tmp_path / "run-rescored" / "report.html").read_text()
    assert "rescored" in read_json(tmp_path / "run-rescored" / "run.json")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("tasks.needle:placed", "tasks.needle:placed"),
        ("needle", "names no scoring function"),
        ("tasks.ordinal:score", "fails on sample 0"),
        ("nowhere.py", "there is no such file"),
        ("broken.py", "cannot be read: ZeroDivisionError"),
        ("empty.py", "has no function score"),
        ("large.py", "a score lies in 0 … 1"),
    ],
)
def test_a_rule_that_cannot_be_used_is_one_line(
    rule: str, words: str, stored: Store, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("1 / 0")
    Path("empty.py").write_text("def points(generation, sample):\n    return 1\n")
    Path("large.py").write_text("def score(generation, sample):\n    return 2\n")
    assert cli.answer(["rescore", "run", "--rule", rule]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and not Path("run-rescored").exists()


def test_nothing_is_overwritten(stored: Store, tmp_path: Path) -> None:
    for folder, words in ((stored.folder, "never overwritten"), (tmp_path / "other", "holds results of a run")):
        if folder != stored.folder:
            Store.create(folder).write_run(stored.run())
        before = files(folder)
        with pytest.raises(ValueError, match=words):
            rescore(stored, folder, None)
        assert files(folder) == before
    with pytest.raises(
        ValueError, match="no test with answers in this store is named 'perplexity'; did you mean|there"
    ):
        rescore(stored, tmp_path / "new", None, ["perplexity"])
