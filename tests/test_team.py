"""Several processes on one store: every unit once, whoever dies, and the same rows as one process gives."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_end_to_end import FILE, started, wait_for_a_cell, without_times

from harness.progress import Lines
from harness.runner import team
from harness.runner.helper import CHANNEL, helper_command
from harness.runner.team import SESSION, Relay, Team, team_for
from harness.store import Store

METHOD = """
from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Half(Extender):
    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan(tuple(value / 2 for value in rope.inv_freq))
"""
UNITS = [f"{i:02}" for i in range(40)]


def members(folder: Path, count: int) -> list[Team]:
    made = [Team(2) for _ in range(count)]
    for one in made:
        one._folder, one.session = folder, "session"
    return made


def test_every_unit_is_given_once(tmp_path: Path) -> None:
    given: dict[int, list[str]] = {0: [], 1: [], 2: []}

    def work(number: int, one: Team) -> None:
        for unit in one.take(UNITS, str):
            time.sleep(0.002)
            given[number].append(unit)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(members(tmp_path, 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sum(given.values(), [])) == UNITS
    assert all(given.values())


def test_a_unit_that_was_dropped_is_taken_by_another(tmp_path: Path) -> None:
    first, second = members(tmp_path, 2)
    taking = first.take(["a", "b"], str)
    assert next(taking) == "a"
    rest = second.take(["a", "b"], str)
    assert next(rest) == "b"  # a is locked
    taking.close()  # as when the process that has it dies
    assert list(rest) == ["a"]
    assert list(first.take(["a", "b"], str)) == []
    other = Team(2)
    other._folder = tmp_path
    assert list(other.take(["a"], str)) == ["a"]  # another session tries again what failed


def test_alone_it_gives_everything_and_writes_nothing(tmp_path: Path) -> None:
    alone = Team()
    with alone.at_work(tmp_path, 5, Relay()) as progress:
        assert isinstance(progress, Relay) and list(alone.take(UNITS, str)) == UNITS
    assert list(tmp_path.iterdir()) == [] and alone.threads is None


def test_how_many(monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("harness.records.provenance.cores", lambda: 4)
    assert team_for("some/model", None, []).size == 1 and team_for("some/model", 3, []).size == 3
    assert team_for("some/model", 3, []).threads == 1 and team_for("some/model", 2, []).threads == 2
    monkeypatch.setattr(team, "GIBIBYTES", 1e-3)
    assert team_for("pocket-llama", None, [], "cpu").size == team_for(str(tiny_model_folder), None, [], "cpu").size == 4
    assert team_for("pocket-llama", None, [], "cuda").size == 1
    monkeypatch.setattr(team, "BYTES_OF_A_WEIGHT", 1e6)
    assert team_for("pocket-llama", None, [], "cpu").size == 1, "no room for two"
    monkeypatch.setattr(team, "BYTES_OF_A_WEIGHT", 8)
    monkeypatch.setattr(team, "MOST_WEIGHTS", 1000)
    assert team_for("pocket-llama", None, [], "cpu").size == 1, "a large model uses all cores by itself"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert team_for("pocket-llama", 3, []).size == 1
    monkeypatch.setenv(SESSION, "of another")
    assert not team_for("pocket-llama", 3, []).first


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(FILE.format(model=tiny_model_folder, more=", yarn, longrope2"))
    return tmp_path


def command(place: Path, *more: str) -> "subprocess.Popen[str]":
    methods = "[none, dynamic_ntk, {longrope2: {budget: 8192}}, {longrope: {budget: 8192}}]"
    return started(place, *more, "--set", f"extenders={methods}", OMP_NUM_THREADS="1")


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(place: Path) -> None:
    _, said = command(place, "--out", "one", "--workers", "1").communicate(timeout=280)
    assert "20 cells: 20 computed" in said, said
    out, said = command(place, "--out", "two", "--workers", "2").communicate(timeout=280)
    assert "20 cells: 20 computed" in said and out == "", (out, said)
    assert said.count("searched longrope") == 2 and said.count("tokens · seed 0 · ") == 20  # each reported once
    one, two = Store.open(place / "one"), Store.open(place / "two")
    cells = list(one.cells())
    assert [planned for planned, _ in cells] == [planned for planned, _ in two.cells()]
    for planned, cell in cells:
        assert without_times(cell) == without_times(two.cell(planned["key"]))
    assert not (place / "two" / "team").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the helper by Linux's /proc")
def test_a_helper_that_is_killed_is_not_missed(place: Path) -> None:
    process = command(place, "--set", "samples=6", "--workers", "2")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for_a_cell(process, place, 240, 0.05)
    helpers = [int(one) for one in children.read_text().split()]
    assert len(helpers) == 1
    os.kill(helpers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0 and "20 cells: 20 computed" in said, said
    assert said.count("a helper process was ended by SIGKILL") == 1, said


def test_lines_of_a_helper_are_said_by_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import os\nfor line in ('{\"say\": \"searched\"}', '{', '7', '[' * 99999): "
    code += f"os.write(int(os.environ[{CHANNEL!r}]), (line + chr(10)).encode())"
    with Team(2, [sys.executable, "-c", code]).at_work(tmp_path, 2, Lines()):
        wait_for_the_end_of(threading.enumerate())
    assert capsys.readouterr().err.strip() == "searched"


def test_what_a_method_prints_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = ["7", '{"say": "not so"}', '{"end": "", "seconds": 0, "error": ""}', '{"say": "cut']
    code = f"import os\nfor line in {printed}: print(line, end='')\n"
    code += f'os.write(int(os.environ[{CHANNEL!r}]), b\'{{"say": "searched"}}\\n\')'
    with Team(2, [sys.executable, "-c", code]).at_work(tmp_path, 2, Lines()):
        wait_for_the_end_of(threading.enumerate())
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(["searched", "".join(printed)])


def wait_for_the_end_of(threads: list[threading.Thread]) -> None:
    """Those that hear a helper end with it."""
    for thread in threads:
        if "_hear_" in thread.name:
            thread.join(60)


@pytest.mark.parametrize(
    ("death", "words"),
    [
        ("sys.exit(3)", "ended with exit code 3 (no room left)"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL (no room left)"),
    ],
)
def test_the_death_of_a_helper_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], death: str, words: str
) -> None:
    code = f"import os, sys; print('loading', 'no room left', '', sep='\\n', file=sys.stderr, flush=True); {death}"
    with Team(2, [sys.executable, "-c", code]).at_work(tmp_path, 2, Lines()):
        wait_for_the_end_of(threading.enumerate())
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert lines == ["loading", "no room left", f"a helper process {words}; the run goes on without it"]


def test_a_helper_that_is_done_or_is_ended_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Team(2, [sys.executable, "-c", ""]).at_work(tmp_path, 2, Lines()):
        wait_for_the_end_of(threading.enumerate())
    with Team(2, [sys.executable, "-c", "import time; time.sleep(60)"]).at_work(tmp_path, 2, Lines()):
        pass
    assert capsys.readouterr().err == ""


OURS = ("tasks", "reports", "extenders")


def trap(folder: Path, *names: str) -> None:
    """Files of the user's with the names of our packages; running one leaves a file behind and breaks the run."""
    for name in names:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / name)!r}, 'w').close()\nraise SystemExit('not yours')\n"
        )


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (helper_command(["list", "tests"]), (*OURS, "harness")),
        ([sys.executable, "-m", "harness.cli", "list", "tests"], OURS),
    ],
)
def test_files_of_the_user_with_names_of_ours_are_not_run(
    tmp_path: Path, command: list[str], names: tuple[str, ...]
) -> None:
    trap(tmp_path, *names)
    environment = {**os.environ, "PYTHONPATH": str(Path(team.__file__).resolve().parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "needle" in done.stdout, done.stderr
    assert not [name for name in names if (tmp_path / name).exists()]


@pytest.mark.slow
def test_two_processes_in_a_folder_with_names_of_ours_run_the_methods_that_lie_there(place: Path) -> None:
    trap(place, *OURS)
    (place / "half.py").write_text(METHOD)
    process = started(place, "--workers", "2", "--set", "extenders=[none, half]", OMP_NUM_THREADS="1")
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0 and "a helper process" not in errors, errors
    labels = {planned["label"] for planned, _ in Store.open(place / "results" / "mine").cells()}
    assert labels == {"none", "half"} and not [name for name in OURS if (place / name).exists()]


@pytest.mark.slow
def test_ctrl_c_ends_the_helpers_too(place: Path) -> None:
    process = command(place, "--set", "samples=30", "--workers", "2")
    wait_for_a_cell(process, place, 240, 0.05)
    helpers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    numbers = [int(one) for one in helpers.read_text().split()] if helpers.exists() else []
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.count("finished cells are kept") == 1 and "Traceback" not in said, said
    assert not [number for number in numbers if Path(f"/proc/{number}").exists()]
    assert not (place / "results" / "mine" / "team").exists()
