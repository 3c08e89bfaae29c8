"""Workers join a run from elsewhere, die and leave; the store is that of one process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import FakeEngine, Quiet, experiment
from filelock import FileLock
from test_end_to_end import FILE, started, without_times

from harness import cli
from harness.progress import Lines
from harness.runner import joining
from harness.runner.cards import VISIBLE, cards
from harness.runner.helper import helper_command
from harness.runner.run import run
from harness.runner.team import ARGUMENTS_AT, SESSION, Team, team_for
from harness.store import Store

ROOT = str(Path(__file__).resolve().parent.parent)


def test_options_that_each_process_has_for_itself_are_left_out() -> None:
    words = [
        "run",
        "a.yaml",
        "--workers",
        "4",
        "--device=cuda:1",
        "--set",
        "samples=3",
        "--no-report",
        "--date",
        "today",
    ]
    assert joining.shared(words) == ["run", "a.yaml", "--set", "samples=3"]
    assert helper_command(words)[ARGUMENTS_AT:] == words


def test_who_can_not_join_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    team = tmp_path / "team"
    team.mkdir()
    assert cli.answer(["worker", str(tmp_path)]) == 2
    assert "no run is at work" in capsys.readouterr().err
    joining.write(team, offer := joining.offer_of("s", ["run", "a.yaml"], "m"))
    assert joining.read(team) == offer
    assert "is over or was killed" in joining.refusal(offer, tmp_path)
    with FileLock(team / joining.HEAD):
        assert joining.refusal(offer, tmp_path) == ""
        monkeypatch.setattr(joining, "code", lambda: "0.0.0 elsewhere")
        assert "all workers need the same code" in joining.refusal(offer, tmp_path)
        monkeypatch.undo()
        moved = joining.Offer(**{**vars(offer), "folder": str(tmp_path / "gone")})
        assert "is not here" in joining.refusal(moved, tmp_path)
    (team / joining.OFFER).write_text('{"session": 1}')
    assert joining.read(team) is None
    assert cli.answer(["worker", str(tmp_path), "--job", "a=1"]) == 2


def test_another_dtype_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "team").mkdir()
    joining.write(tmp_path / "team", joining.offer_of("s", ["run"], "w, bfloat16"))
    monkeypatch.setenv(SESSION, "s")
    with (
        pytest.raises(ValueError, match="here it would be w, float32"),
        Team(1, ["x"]).at_work(tmp_path, 1, None, "w, float32"),
    ):  # type: ignore[arg-type]
        pass


def test_a_run_belongs_to_the_session_whose_workers_are_at_work(tmp_path: Path) -> None:
    team = tmp_path / "team"
    team.mkdir()
    joining.write(team, joining.offer_of("earlier", ["run"], "m"))
    with FileLock(team / "a-unit.lock"):
        (one := Team(1, ["x"])).clear(tmp_path)
        assert one.session == "earlier" and team.is_dir()
    (two := Team(1, ["x"])).clear(tmp_path)
    assert two.session != "earlier" and not team.exists()


def test_each_process_has_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv(SESSION, raising=False)
    for visible, found in (("0,3, 5", ["0", "3", "5"]), ("", []), ("-1", [])):
        monkeypatch.setenv(VISIBLE, visible)
        assert cards() == found
    monkeypatch.setenv(VISIBLE, "0,3,5")
    team = team_for("some/model", None, ["x"])
    assert team.size == 3 and os.environ[VISIBLE] == "0"
    given: list[str] = []
    monkeypatch.setattr(
        "harness.runner.team.Helper", lambda command, environment, *_: given.append(environment[VISIBLE])
    )
    for number in (1, 2, 3):
        team._helper(Lines(), number)
    assert given == ["3", "5", "0"]
    monkeypatch.setenv(VISIBLE, "0,3")
    assert team_for("some/model", None, ["x"], "cuda").size == 1 and team_for("some/model", 1, ["x"]).size == 1
    assert os.environ[VISIBLE] == "0,3"


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(FILE.format(model=tiny_model_folder, more=", yarn, longrope2"))
    return tmp_path


def command(place: Path, *more: str) -> "subprocess.Popen[str]":
    methods = "[none, dynamic_ntk, {longrope2: {budget: 8192}}, {longrope: {budget: 8192}}]"
    return started(place, *more, "--set", f"extenders={methods}", OMP_NUM_THREADS="1")


def joined(place: Path, store: str) -> "subprocess.Popen[bytes]":
    with (place / f"{store}.txt").open("w") as told:
        return subprocess.Popen(
            helper_command(["worker", str(place / store), "--wait", "100"]),
            env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"},
            stdout=told,
            stderr=subprocess.STDOUT,
        )


def rows(folder: Path) -> Iterator[Any]:
    return (without_times(cell) for _, cell in Store.open(folder).cells())


@pytest.mark.full
def test_a_worker_joins_and_the_rows_are_those_of_one_process(place: Path) -> None:
    _, said = command(place, "--out", "one", "--workers", "1").communicate(timeout=280)
    assert "20 cells: 20 computed" in said, said
    worker = joined(place, "two")
    _, said = command(place, "--out", "two", "--workers", "1").communicate(timeout=280)
    assert worker.wait(60) == 0 and "nothing is left to do for this worker" in (place / "two.txt").read_text(), said
    assert list(rows(place / "two")) == list(rows(place / "one")) and not (place / "two" / "team").exists()


SLOW = """
import sys, time
from pathlib import Path
from fake_engine import FakeEngine, FakeSession, Quiet, experiment
from harness.runner.run import run
from harness.runner.team import Team

class Slow(FakeSession):
    def prove(self, length):
        time.sleep(0.3)
        return super().prove(length)

class Engine(FakeEngine):
    def open(self):
        import contextlib
        return contextlib.nullcontext(Slow)

done = run(experiment(), Path(sys.argv[1]), Engine(), Quiet(), False, Team(1, ["a", "b", "c", "d", "run", "x.yaml"]))
print(done.computed)
"""


def slow_run(store: Path, session: str = "") -> "subprocess.Popen[str]":
    """Twelve cells of 0.3 seconds; as a worker of that session."""
    variables = {
        "PYTHONPATH": os.pathsep.join([ROOT, str(Path(ROOT) / "tests")]),
        **({SESSION: session} if session else {}),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(store)], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
    )


def cells_of(store: Path) -> int:
    return len(list((store / "cells").glob("*.json")))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
def test_workers_join_die_and_outlive_the_run(tmp_path: Path) -> None:
    run(experiment(), tmp_path / "one", FakeEngine(), Quiet(), keep_prompts=False)
    store = tmp_path / "two"
    head = slow_run(store)
    until(lambda: (offer := joining.read(store / "team")) and not joining.refusal(offer, store))
    offer = joining.read(store / "team")
    assert offer is not None and offer.arguments == ("run", "x.yaml")
    dying, staying = slow_run(store, offer.session), slow_run(store, offer.session)
    until(lambda: cells_of(store) >= 2 and len(list((store / "team").glob("*.lock"))) >= 4)
    for process in (dying, head):  # each with a cell at work
        process.kill()
        process.communicate()
    out, _ = staying.communicate(timeout=60)
    assert staying.returncode == 0 and cells_of(store) == 12, "what the dead had at work is taken by who is left"
    again = slow_run(store)
    out, _ = again.communicate(timeout=60)
    assert out.strip() == "0" and not (store / "team").exists()
    assert list(rows(store)) == list(rows(tmp_path / "one"))


def test_workers_are_submitted_as_one_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    seen: dict[str, Any] = {}

    class Executor:
        def __init__(self, folder: Path, cluster: str) -> None:
            seen.update(folder=folder, cluster=cluster, jobs=[])

        def update_parameters(self, **given: Any) -> None:
            if "partitoin" in given:
                raise NameError("unknown argument partitoin")
            seen.update(given)

        def batch(self) -> "Executor":
            return self

        def __enter__(self) -> None: ...
        def __exit__(self, *_: Any) -> None: ...
        def submit(self, command: Any) -> Any:
            seen["jobs"].append(command)
            return SimpleNamespace(job_id=f"7_{len(seen['jobs'])}")

    fake = SimpleNamespace(AutoExecutor=Executor, helpers=SimpleNamespace(CommandFunction=list))
    monkeypatch.setitem(sys.modules, "submitit", fake)
    words = ["worker", str(tmp_path / "s"), "--submit", "2", "--wait", "60", "--job", "timeout_min=600"]
    assert cli.answer(words) == 0
    assert capsys.readouterr().out.split() == ["7_1", "7_2"]
    assert seen["cluster"] == "slurm" and seen["timeout_min"] == 600 and seen["folder"] == tmp_path / "s-workers"
    assert seen["jobs"][0] == helper_command(["worker", str(tmp_path / "s"), "--wait", "60", "--device", "auto"])
    assert cli.answer([*words, "--job", "partitoin=a"]) == 2 and "were not submitted" in capsys.readouterr().err
    assert cli.answer([*words, "--cluster", "moon"]) == 2 and "slurm or local" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert cli.answer(words) == 2 and "ropebench[cluster]" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # submitit waits for no process of its own
def test_workers_of_submitits_own_local_executor(place: Path) -> None:
    pytest.importorskip("submitit", reason="needs submitit (the extra cluster)")
    head = command(place, "--out", "jobs", "--workers", "1", "--set", "samples=200")
    deadline = time.monotonic() + 100
    while joining.refusal(joining.read(place / "jobs" / "team"), place / "jobs") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cli.answer(["worker", str(place / "jobs"), "--submit", "2", "--cluster", "local"]) == 0
    _, said = head.communicate(timeout=280)
    assert head.returncode == 0 and len(list(rows(place / "jobs"))) == 20, said
    logs = place / "jobs-workers"
    until(lambda: any("nothing is left to do" in path.read_text(errors="replace") for path in logs.rglob("*.*")))
