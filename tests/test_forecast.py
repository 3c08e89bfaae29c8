"""What a run says of itself before it begins: counts by hand, seconds beside what the run then takes."""

import re
from pathlib import Path

import pytest
from fake_engine import Count, FakeEngine, Quiet, experiment, methods
from test_store import files

from extenders.longrope2 import LongRope2
from harness import cli
from harness.experiment.file import Method, Test
from harness.experiment.trainings import parse_trainings
from harness.runner.run import plan_only, run
from harness.store import Store

NAP = 0.01  # seconds a sample
LONGROPE2 = Method("longrope2", LongRope2(target_length=256))


def test_counts_are_those_of_the_run_and_nothing_is_written(tmp_path: Path) -> None:
    plan = experiment(tests=(Test("count", Count(nap=NAP), 4),))
    searches, trainings, cells = plan_only(plan, tmp_path / "store", FakeEngine(), 5)
    assert (searches.units, searches.token_forwards, searches.seconds) == (0, 0, 0)
    assert (trainings.units, trainings.token_forwards, trainings.seconds) == (0, 0, 0)
    assert cells.units == 12 and cells.token_forwards == 2 * 2 * 4 * (64 + 128 + 256)
    assert not (tmp_path / "store").exists()

    store = run(plan, tmp_path / "store", FakeEngine(), Quiet()).store
    took = sum(record["cost"]["seconds"] for _, record in store.cells() if record)
    assert cells.seconds == pytest.approx(took, rel=1.0)

    before, engine = files(tmp_path / "store"), FakeEngine()
    done = plan_only(plan, tmp_path / "store", engine, 5)
    assert [stage.units for stage in done] == [0, 0, 0] and sum(stage.seconds for stage in done) == 0
    assert engine.opened == 0, "no model is loaded for nothing"
    more = experiment(tests=plan.tests, methods=methods("none", "pi"), seeds=(0, 1, 2))
    assert plan_only(more, tmp_path / "store", FakeEngine(), 0)[2].units == 6
    assert files(tmp_path / "store") == before


def test_a_test_that_breaks_is_said_by_the_calibration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the calibration failed at .*64.*out of"):
        plan_only(experiment(tests=(Test("count", Count(broken_at=64), 4),)), tmp_path / "store", FakeEngine(), 5)


def test_the_command_prints_a_table_and_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.commands.work.CALIBRATION", 0.1)
    assert cli.answer(["run", "smoke", "--plan-only", "--out", str(tmp_path / "store")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^cells +12 +[0-9,]{5,} +[0-9]+ s$", printed, re.MULTILINE), printed
    assert re.search(r"^passkey +2 +none +none +307 +935$", printed, re.MULTILINE), printed
    assert not (tmp_path / "store").exists() and not Store(tmp_path / "store").folder.exists()


def test_weights_that_are_asked_in_two_ways_are_trained_once(tmp_path: Path) -> None:
    """Also those of a method that has no plan yet, since it is searched first."""
    budget = {"tokens": 4096, "tokens_per_step": 1024, "corpus": "stories"}
    asked = [{"mixed": budget}, {"mixed": {**budget, "original_inside": False, "label": "other"}}, {"plain": budget}]
    both = parse_trainings("training", ["none", *asked], None, tmp_path, False)
    plan = experiment(methods=(*methods("none", "pi"), LONGROPE2), trainings=both, seeds=(0, 1))
    searches, trainings, _ = plan_only(plan, tmp_path / "store", FakeEngine(), 0)
    assert searches.units == 1 and trainings.units == 3 * 2 * 2  # methods, weights of each, seeds
