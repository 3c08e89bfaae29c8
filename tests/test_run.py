"""Runs on a fake engine: what is computed, what is kept, what is recorded."""

import math
import re
from pathlib import Path
from typing import Any

import fakes
import pytest
from fake_engine import ROPE, Count, FakeEngine, FakeSession, Quiet, experiment, methods
from test_store import files, rows

import tasks.base
from harness.experiment.cells import cells_of
from harness.experiment.file import Test
from harness.progress import CROSSING, Lines, TimeLeft, pace, spoken
from harness.records.provenance import machine
from harness.runner.run import run
from harness.store import Store


def test_a_run_writes_what_was_measured(tmp_path: Path) -> None:
    outcome = run(experiment(), tmp_path, FakeEngine(), Quiet())
    assert (outcome.total, outcome.computed, outcome.failed) == (12, 12, ())
    content = Store.open(tmp_path).run()
    assert content["model"]["weights_hash"] == "w" * 16 and content["model"]["parameters"] == 1234
    assert content["model"]["rope"]["critical_pair"] == ROPE.critical_pair
    assert (content["model"]["rope"]["trained_length"], content["crossing"]) == (64, "fixed")
    assert [method["label"] for method in content["methods"]] == ["none", "pi"]
    assert set(content["methods"][1]["plans"]) == {"64", "128", "256"}
    assert content["methods"][1]["plans"]["256"]["inv_freq"][0] == 0.25
    assert content["methods"][0]["summary"] and "\n" not in content["methods"][0]["summary"]
    planned, cell = next(iter(Store.open(tmp_path).cells()))
    assert planned == {
        "label": "none",
        "task": "count",
        "category": "retrieval",
        "unit": "score",
        "length": 64,
        "seed": 0,
        "samples": 4,
        "seeded": True,
        "new_tokens": planned["new_tokens"],
        "key": planned["key"],
    }
    assert cell is not None
    assert [row["score"] for row in cell["rows"]] == [0.0, 1.0, 0.0, 1.0]
    assert Store.open(tmp_path).prompt(cell["rows"][3]["prompt"]) == "64 0 3"
    assert cell["proof"] == {"64": {"plan_hash": content["methods"][0]["plans"]["64"]["hash"], "max_difference": 0.0}}
    assert cell["cost"]["token_forwards"] == 64 and cell["cost"]["peak_memory_bytes"] > 1e6
    assert cell["provenance"]["versions"]["python"] and cell["provenance"]["engine"] == "fake"


def test_the_same_again_computes_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    before = files(tmp_path)
    engine = FakeEngine()
    assert run(experiment(), tmp_path, engine, Quiet()).computed == 0
    assert engine.opened == 0  # no model is loaded for nothing
    assert files(tmp_path) == before


def test_a_new_method_computes_only_its_cells(tmp_path: Path) -> None:
    run(experiment(methods=methods("none")), tmp_path, FakeEngine(), Quiet())
    before = files(tmp_path)
    progress = Quiet()
    assert run(experiment(), tmp_path, FakeEngine(), progress).computed == 6
    assert {label for label, _ in progress.ended} == {"pi"}
    after = files(tmp_path)
    assert all(after[name] == content for name, content in before.items() if name.startswith("cells"))


def test_cells_of_other_experiments_stay(tmp_path: Path) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    progress = Quiet()
    run(experiment(name="smaller", lengths=(64,), methods=methods("none")), tmp_path, FakeEngine(), progress)
    assert "made-up" in progress.said[0]
    assert len(list((tmp_path / "cells").iterdir())) == 12
    assert run(experiment(), tmp_path, FakeEngine(), Quiet()).computed == 0


def test_a_failed_cell_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    broken = experiment(tests=(Test("count", Count(broken_at=128), 4),), seeds=(0,))
    outcome = run(broken, tmp_path, FakeEngine(), Quiet())
    assert outcome.computed == 6 and len(outcome.failed) == 2
    assert outcome.failed[0][1] == "RuntimeError: out of memory"
    failed = [cell for _, cell in outcome.store.cells() if cell and cell["status"] == "failed"]
    assert len(failed) == 2
    assert (
        failed[0]["rows"] == [] and "Traceback" in failed[0]["traceback"] and "fake_engine.py" in failed[0]["traceback"]
    )
    again = run(broken, tmp_path, FakeEngine(), Quiet())
    assert again.computed == 2 and again.total == 6


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Count(empty=True), "gave no samples"),
        (Count(value=math.nan), "NaN or infinite"),
        (Count(value=math.inf), "NaN or infinite"),
        (Count(value=1.5), "outside 0"),
        (Count(plan_hash="f" * 16), "ran under the plan ffff"),
        (Count(prompt_tokens=65), "a prompt of 65 tokens, beyond the 64"),
    ],
    ids=str,
)
def test_rows_that_cannot_be_averaged_fail_their_cell(tmp_path: Path, task: Count, said: str, monkeypatch: Any) -> None:
    one = experiment(tests=(Test("count", Count(), 4),), lengths=(64,), seeds=(0,), methods=methods("none"))
    monkeypatch.setattr(Count, "run", lambda self, *given: COUNT_RUN(task, *given))
    [(_, reason)] = run(one, tmp_path, FakeEngine(), Quiet()).failed
    assert said in reason
    assert Store.open(tmp_path).run()["ledger"]["conditions"][0]["values"] == {"none": None}


COUNT_RUN = Count.run


def test_a_prompt_may_pass_the_length_by_what_the_test_declares(tmp_path: Path, monkeypatch: Any) -> None:
    """RULER's own fwe fills the length with its prompt, before BOS and the answer."""
    monkeypatch.setattr(Count, "overhang", 50)
    one = experiment(tests=(Test("count", Count(prompt_tokens=65), 4),), lengths=(64,), seeds=(0,))
    assert not run(one, tmp_path, FakeEngine(), Quiet()).failed


def test_a_proof_that_fails_fails_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(self: Any, length: int) -> Any:
        raise RuntimeError(f"cos/sin differ at {length} tokens")

    monkeypatch.setattr(FakeSession, "prove", differs)
    outcome = run(experiment(), tmp_path, FakeEngine(), Quiet())
    assert len(outcome.failed) == 12 and "cos/sin differ at 64 tokens" in outcome.failed[0][1]


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Quiet):
        def end(self, cell: Any, seconds: float, error: str) -> None:
            super().end(cell, seconds, error)
            if len(self.ended) == 5:
                raise KeyboardInterrupt

    progress = Stopped()
    with pytest.raises(KeyboardInterrupt):
        run(experiment(), tmp_path, FakeEngine(), progress)
    assert progress.closed
    assert sum(cell is not None for _, cell in Store.open(tmp_path).cells()) == 5
    assert run(experiment(), tmp_path, FakeEngine(), Quiet()).computed == 7
    run(experiment(), tmp_path / "whole", FakeEngine(), Quiet())
    assert rows(tmp_path) == rows(tmp_path / "whole")


def test_a_full_disk_ends_the_run_and_is_no_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Store, text: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "put_prompt", full)
    with pytest.raises(OSError, match="No space"):
        run(experiment(), tmp_path, FakeEngine(), Quiet())
    assert not list((tmp_path / "cells").iterdir())


def test_short_lengths_come_first(tmp_path: Path) -> None:
    class Lengths(Quiet):
        lengths: list[int] = []

        def begin(self, cell: Any) -> None:
            self.lengths.append(cell.length)

    run(experiment(), tmp_path, FakeEngine(), Lengths())
    assert Lengths.lengths == [64] * 4 + [128] * 4 + [256] * 4


def conditions(folder: Path) -> dict[str, Any]:
    return {one["condition"]: one for one in Store.open(folder).run()["ledger"]["conditions"]}


def test_the_ledger_of_a_whole_run_is_equal_where_it_must_be(tmp_path: Path) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    found = conditions(tmp_path)
    assert all(one["equal"] for one in found.values() if one["must_be_equal"])
    assert found["base weights and tokenizer"]["values"] == {"none": "w" * 16, "pi": "w" * 16}
    assert found["max new tokens"]["values"]["pi"] == "count 3"
    assert found["evaluation token-forwards"]["values"]["pi"] == 2 * (64 + 128 + 256)
    assert not found["evaluation seconds"]["must_be_equal"]
    environment = Store.open(tmp_path).run()["ledger"]["environment"]
    assert environment["engine"] == "fake" and environment["python"]


def test_the_ledger_sees_what_differs(tmp_path: Path) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    store = Store.open(tmp_path)
    [key, *_] = [planned["key"] for planned, _ in store.cells() if planned["label"] == "pi"]
    content = store.cell(key)
    assert content is not None
    content["provenance"]["versions"]["torch"] = "0.1"
    content["rows"][0]["prompt"] = "0" * 16
    store.put_cell(key, content)
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    unequal = {name for name, one in conditions(tmp_path).items() if one["must_be_equal"] and not one["equal"]}
    assert {"prompts", "library versions"} <= unequal


def test_data_that_would_break_the_run_are_refused_before_it(tmp_path: Path) -> None:
    """At all lengths, with the tokenizer alone: no model was loaded and nothing written."""
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).write_text(f"{name} says something. " * 40)

    class Reads(FakeEngine):
        def tokenizer(self) -> Any:
            return fakes.FakeLM()

    def asked(samples: int) -> Any:
        test = Test("texts", tasks.base.make("perplexity", folder=str(tmp_path / "texts")), samples)
        return experiment(tests=(test,), lengths=(64, 256), target_length=256)

    for samples, wanted in (
        (3, "texts at 64 tokens: .*3 documents were asked for"),
        (2, "texts at 256 tokens: a.txt "),
    ):
        engine = Reads()
        with pytest.raises(ValueError, match=wanted):
            run(asked(samples), tmp_path / "store", engine, Quiet())
        assert engine.opened == 0 and not (tmp_path / "store").exists()


def test_time_left_is_measured_per_test() -> None:
    tests = (Test("quick", Count(), 4), Test("slow", Count(nap=0.001), 4))
    cells = cells_of(experiment(tests=tests, seeds=(0,), methods=methods("none")), FakeEngine().base())
    left = TimeLeft(cells)
    assert left.seconds() is None
    by = {(cell.test.label, cell.length): cell for cell in cells}
    grown = [n * (CROSSING + n) / (CROSSING + 64) / 64 for n in (128, 256)]  # what one length says of others
    left.finished(by["quick", 64], 1.0)
    assert left.seconds() == pytest.approx(sum(grown) + 1 + sum(grown))  # nothing is known of the slow test yet
    left.finished(by["quick", 128], 2.0)
    left.finished(by["slow", 64], 10.0)
    assert left.seconds() == pytest.approx(4 + 10 * sum(grown))
    assert (spoken(45), spoken(600), spoken(7200), spoken(None)) == (
        "about 45 s left",
        "about 10 min left",
        "about 2.0 h left",
        "time left unknown yet",
    )


def test_time_left_grows_with_the_square_of_the_length() -> None:
    """9 minutes where 3 were said: two measured lengths tell how much of the time is attention. What this machine
    measured before counts."""
    cells = cells_of(experiment(seeds=(0,), methods=methods("none", "pi")), FakeEngine().base())
    by = {(cell.method.label, cell.length): cell for cell in cells}

    def took(cell: Any) -> float:
        return cell.samples * (1e-3 * cell.length + 1e-5 * cell.length**2)

    known = [(by["none", length], took(by["none", length])) for length in (64, 128)]
    assert pace([(cell.samples, cell.length, seconds) for cell, seconds in known]) == pytest.approx((1e-3, 1e-5))
    waiting = [cell for cell in cells if cell not in [one for one, _ in known]]
    left = TimeLeft(waiting, at_once=2, known=known)
    assert left.seconds() == pytest.approx(sum(map(took, waiting)) / 2)
    for cells_before in range(1, 40):  # of one length; a seventh of 7 samples is no number that a float holds
        first, growth = pace([(11, 4096, 70.0 + index) for index in range(cells_before)])
        mean = 70 + (cells_before - 1) / 2
        assert 11 * 12288 * (first + growth * 12288) == pytest.approx(mean * 3 * (CROSSING + 12288) / (CROSSING + 4096))
    falling = [(4, 64, 4.0), (4, 256, 1.0)]
    assert pace(falling)[1] == 0 and pace(falling)[0] > 0, "noise is no negative time"
    steep = [(4, 64, 0.001), (4, 256, 400.0)]
    assert pace(steep)[0] == pytest.approx(0, abs=1e-12) and pace(steep)[1] > 0


def test_what_this_machine_measured_before_says_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run(experiment(), tmp_path, FakeEngine(), Quiet()).store
    for cell in [cell for cell, _ in store.cells() if cell["label"] == "pi"]:
        (store.folder / "cells" / f"{cell['key']}.json").unlink()
    for planned, record in store.cells():
        if record is not None:
            record["cost"]["seconds"] = 200.0 * planned["length"]  # no fake takes that long
            store.put_cell(planned["key"], record)
    run(experiment(), tmp_path, FakeEngine(), Lines())
    assert re.search(r"cells to do, about [0-9.]+ h left", capsys.readouterr().err)
    assert machine({"gpus": ["a"], "cpu": "x"}) == machine({"gpus": ["a"], "cpu": "y"}) == ("a",)
    assert machine({"gpus": [], "cpu": "x", "threads": 1}) != machine({"gpus": [], "cpu": "x", "threads": 2})


def test_lines_say_each_cell_and_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(experiment(tests=(Test("count", Count(broken_at=256), 4),)), tmp_path, FakeEngine(), Lines())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("[1/12] none · count · 64 tokens · seed 0 · ") and "left" in lines[0]
    assert "FAILED: RuntimeError: out of memory" in lines[-1]


def test_the_bar_prints_failures_and_survives_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.progress import Bar

    run(experiment(tests=(Test("[red]count[/]", Count(broken_at=256), 4),)), tmp_path, FakeEngine(), Bar())
    assert "[red]count[/]" in capsys.readouterr().err
