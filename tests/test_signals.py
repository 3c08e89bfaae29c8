"""Being asked to stop, and processes that do not outlive the one that started them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_cli import fake_run

from harness import cli, signals
from harness.runner import helper
from harness.runner.helper import Helper

ROOT = str(Path(__file__).resolve().parent.parent)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def started(code: str, **variables: str) -> "subprocess.Popen[str]":
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ROOT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, heard)
    return process


def gone(process: int, seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


CHILD = "import os, time; from harness import signals; signals.end_with_parent(); print(os.getpid(), flush=True); "
PARENT = (
    "import os, subprocess, sys, time\n"
    "ours = {**os.environ, 'ROPEBENCH_PARENT': str(os.getpid())}\n"
    "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], env=ours)\n"
    "time.sleep(60)"
)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks at Linux's /proc")
@pytest.mark.parametrize(
    "work",
    [
        "time.sleep(60)",
        "[i for i in range(10**10) if not i]",  # in Python, which hears a signal at once
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",  # deaf
    ],
)
def test_no_process_outlives_its_parent_by_two_seconds(work: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD + work],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert gone(child, 2.0)
    parent.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_has_only_just_begun_answers_with_one_line(number: int) -> None:
    process = started(
        "import sys, time; sys.argv[0] = 'ropebench'; import harness; print(1, flush=True); time.sleep(60)"
    )
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    process.send_signal(number)
    assert process.communicate(timeout=30)[1] == "ropebench: stopped\n" and process.returncode == 130


def test_a_program_that_imports_us_hears_its_signals_as_before() -> None:
    code = "import signal, harness.cli; print(signal.getsignal(15) == signal.SIG_DFL)"
    assert started(code).communicate(timeout=60)[0] == "True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_is_ctrl_c_and_what_is_ignored_stays_so(number: signal.Signals) -> None:
    with signals.restored():
        signals.hear()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.signal(number, signal.SIG_IGN)
        signals.hear()
        signal.raise_signal(number)
    assert signal.getsignal(number) == signal.SIG_DFL


LOST = """
import signal, sys, time, weakref
from harness import signals
class Thing: pass
def callback(reference):
    signal.raise_signal(signal.SIGTERM)
signals.hear()
thing = Thing()
reference = weakref.ref(thing, callback)
try:
    del thing
    for _ in range(500):
        time.sleep(0.01)
except KeyboardInterrupt:
    print("stopped")
def other(reference):
    raise ValueError("another error")
thing = Thing()
reference = weakref.ref(thing, other)
del thing
"""


def test_a_signal_that_python_loses_is_told_again() -> None:
    """In a weak reference's callback nothing can be raised; errors of others are said as before."""
    said, errors = started(LOST).communicate(timeout=60)
    assert said == "stopped\n" and "KeyboardInterrupt" not in errors and "another error" in errors


@pytest.mark.parametrize("command", ["run", "report"])
def test_a_library_that_calls_an_interruption_an_error_costs_no_cell_and_no_part_of_a_report(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """matplotlib says "Invalid affine transformation matrix" where a signal came while it read an array."""

    def library(*_: Any, **__: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise ValueError("Invalid affine transformation matrix")

    fake_run(monkeypatch)
    monkeypatch.delenv("ROPEBENCH_STRICT_REPORT")
    if command == "run":
        monkeypatch.setattr("harness.runner.measure._rows", library)
        assert cli.answer(["run", "quick", "--out", str(tmp_path / "store"), "--no-report"]) == 130
        assert not list((tmp_path / "store" / "cells").iterdir())
    else:
        assert cli.answer(["run", "quick", "--out", str(tmp_path / "store"), "--no-report"]) == 0
        monkeypatch.setattr("reports.page.page.drawings", library)
        assert cli.answer(["report", str(tmp_path / "store")]) == 130
        assert not (tmp_path / "store" / "report.html").exists()
    assert capsys.readouterr().err.splitlines()[-1].startswith("ropebench: stopped")
    monkeypatch.undo()
    assert cli.answer(["status", str(tmp_path / "store")]) == 0  # the next command was not asked to stop


def test_who_asks_once_waits_for_what_is_at_work_and_who_asks_twice_does_not() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), signals.stop_asked() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
        done.append("written down")
    assert done
    with pytest.raises(KeyboardInterrupt), signals.stop_asked():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("not reached")
    assert len(done) == 1
    with signals.stop_asked() as asked:
        assert not asked()


def heard(code: str, said: list[str]) -> Helper:
    return Helper([sys.executable, "-c", code], {**os.environ, "PYTHONPATH": ROOT}, lambda event: None, said.append)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks at Linux's /proc")
def test_a_frozen_helper_is_named_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "QUIET", 1.0)
    monkeypatch.setattr(helper, "PATIENCE", 1.0)
    said: list[str] = []
    frozen = heard("import time; time.sleep(60)", said)
    number = frozen._process.pid
    os.kill(number, signal.SIGSTOP)
    assert gone(number, 20)
    frozen._reports.join(20)
    assert len(said) == 2 and f"process {number}" in said[0] and "no sign of life for 1 s" in said[0]
    assert "was ended because it was frozen" in said[1]


@pytest.mark.slow
def test_a_helper_that_gives_signs_of_life_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "QUIET", 2.0)
    monkeypatch.setattr(helper, "PATIENCE", 0.5)
    said: list[str] = []
    code = "import time; from harness import signals; signals.BEAT = 0.2; signals.end_with_parent(); time.sleep(6)"
    alive = heard(code, said)
    alive._process.wait(60)
    alive._reports.join(20)
    assert said == []


def test_a_helper_that_is_frozen_or_deaf_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "ENDING", 1.0)
    said: list[str] = []
    frozen = heard("import time; time.sleep(60)", said)
    os.kill(frozen._process.pid, signal.SIGSTOP)
    frozen.end()
    frozen.join()
    assert said == []
    deaf = heard(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)", said
    )
    deadline = time.monotonic() + 30
    while deaf._last != "deaf" and time.monotonic() < deadline:
        time.sleep(0.02)
    deaf.end()
    deaf.join()
    assert len(said) == 1 and f"process {deaf._process.pid}" in said[0] and "did not end when it was asked" in said[0]


PIECES = (
    "import time; from harness import signals\n"
    "signals.hear(); signals.SHORT = {short}; pieces = signals.ShortPieces()\n"
    "for name in 'abc':\n"
    "    with pieces.piece():\n"
    "        print(name, 'begun', flush=True); time.sleep(0.3); print(name, 'done', flush=True)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(("short", "last"), [(15.0, "b done"), (0.0, "b begun")])
def test_a_stop_waits_for_a_short_piece_of_work_and_for_no_long_one(short: float, last: str) -> None:
    lines = []
    with started(PIECES.format(short=short)) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == "b begun":
                process.send_signal(signal.SIGTERM)
        assert "KeyboardInterrupt" in process.stderr.read()
    assert lines[-1] == last and process.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize(("short", "last"), [(15.0, "a done"), (0.1, "a begun")])
def test_a_stop_waits_for_the_first_piece_and_not_for_ever(short: float, last: str) -> None:
    """Ten sittings that were stopped in their first piece computed it ten times."""
    lines = []
    with started(PIECES.format(short=short).replace("0.3", "0.6")) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            lines.append(line.strip())
            if lines == ["a begun"]:
                process.send_signal(signal.SIGTERM)
        assert "KeyboardInterrupt" in process.stderr.read()
    assert lines[-1] == last and process.returncode != 0


@pytest.mark.slow
def test_who_asks_twice_does_not_wait_for_a_piece() -> None:
    with started(PIECES.format(short=15.0).replace("0.3", "0.3 if name == 'a' else 60")) as process:
        assert process.stdout is not None and process.stderr is not None
        while process.stdout.readline().strip() != "b begun":
            pass
        process.send_signal(signal.SIGTERM)
        assert "written down first" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) != 0
