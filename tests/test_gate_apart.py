"""Neither the gate nor a run is ended from inside: a user's method that ends its process answers nothing."""

import json
import sys
import time
from pathlib import Path

import pytest
from fake_engine import ROPE, FakeEngine, Quiet, experiment

from extenders.base import RopePlan, load
from harness import cli, signals
from harness.experiment import repeatable
from harness.experiment.file import Method
from harness.runner.apart import run_apart
from harness.runner.run import run

pytestmark = pytest.mark.slow  # seconds each, or many

HEAD = """
import ctypes, os, random, sys, threading, time
from dataclasses import dataclass
from extenders.base import Extender, RopePlan, RopeSpec
{before}

@dataclass(frozen=True, kw_only=True)
class Mine(Extender):
    {more}

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        {line}
        return RopePlan(tuple(value / 2 for value in rope.inv_freq), 1.0, {keep})

{after}
"""


def method(
    folder: Path, line: str = "pass", before: str = "", more: str = "pass", after: str = "", keep: str = "0"
) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(HEAD.format(line=line, before=before, more=more, after=after, keep=keep))
    return str(folder / "mine.py")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


ENDS = {
    "at its end": {"after": "sys.exit(0)"},
    "at its end, by hand": {"after": "os._exit(0)"},
    "at its end, as Python does": {"after": "raise SystemExit"},
    "at its beginning": {"before": "exit(0)"},
    "in its plan": {"line": "raise SystemExit(0)"},
    "in its plan, by hand": {"line": "os._exit(0)"},
    "when it is made": {"more": "def __post_init__(self):\n        sys.exit(0)"},
    "as what is no error": {"line": "raise GeneratorExit"},
    "as a closed pager": {"more": "def __post_init__(self):\n        raise BrokenPipeError"},
}


@pytest.mark.usefixtures("users_methods_here")
@pytest.mark.parametrize("words", ENDS)
def test_a_method_that_ends_the_program_is_refused(
    tmp_path: Path, tiny_model_folder: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = method(tmp_path, **ENDS[words])
    lines = f"target_length: 128\nlengths: [64]\nextenders: [{file}]\ntests: [needle]\nmodel: {tiny_model_folder}\n"
    (tmp_path / "ends.yaml").write_text(lines)
    assert cli.answer(["run", "ends.yaml"]) == 2
    lines_told = capsys.readouterr().err.splitlines()
    told = "\n".join(line for line in lines_told if "is code, and it runs now" not in line)  # said before it runs
    assert told.count("\n") <= 1 and "mine" in told and ("to end the program" in told or "BrokenPipe" in told)
    assert cli.answer(["plan", file, "--model", str(tiny_model_folder), "--target-length", "128"]) == 2


# What no exception shows: it can only be noticed from another process.
FATAL = {
    "by a thread": {"line": "worker = threading.Thread(target=os._exit, args=(0,)); worker.start(); worker.join()"},
    "by its parent": {"line": "os.kill(os.getppid(), 15); time.sleep(60)"},
    "by the C library": {"line": "ctypes.CDLL(None)._exit(0)"},
    "by another program": {"after": "os.execv('/bin/true', ['true'])"},
    "after the work": {"before": "import atexit\natexit.register(os._exit, 0)\nsys.exit(0)"},
}


GATE = "by the C library", "by another program", "at its end"
RUN = "by a thread", "by its parent", "after the work", "in its plan"


@pytest.mark.parametrize(("command", "words"), [*[("compare", words) for words in GATE], *[("run", w) for w in RUN]])
def test_the_gate_and_a_run_answer_only_for_themselves(
    tmp_path: Path, tiny_model_folder: Path, command: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = method(tmp_path, **(FATAL | ENDS)[words])
    lines = f"target_length: 128\nlengths: [64]\nextenders: [{file}]\ntests: [needle]\nmodel: {tiny_model_folder}\n"
    (tmp_path / "ends.yaml").write_text(lines)
    gate = ["compare", "yarn", file, "--preset", "ci", "--model", str(tiny_model_folder)]
    code = cli.answer(gate if command == "compare" else ["run", "ends.yaml"])
    told = capfd.readouterr()
    assert told.out == "" and told.err.splitlines()[-1].startswith("ropebench: ")
    if words == "by its parent":
        assert code == 130 and "stopped; this command continues: ropebench run ends.yaml" in told.err
    else:
        assert code == 2
        assert "exit code 0 before it was done" in told.err or "to end the program" in told.err


APART = """
import os, sys, time
from harness.runner.apart import answer_apart
if os.fork() == 0:  # what a method leaves behind holds all that it inherited
    time.sleep(60)
    os._exit(0)
def work():
    {line}
code = answer_apart(work)
{end}
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("line", "end", "answer"),
    [
        ("return 0", "", 0),
        ("return 1", "", 1),
        ("return 1", "os._exit(0)", "exit code 0 before it was done"),
        ("return 0", "os._exit(3)", "exit code 3 before it was done"),
        ("os._exit(0)", "", "exit code 0 before it was done"),
        ("os.kill(os.getpid(), 9)", "", "exit code -9 before it was done"),
        ("raise ValueError('x' * 10**6)", "", "^x+$"),
    ],
)
def test_work_apart_is_believed_when_it_says_how_it_ended(line: str, end: str, answer: int | str) -> None:
    started = time.monotonic()
    with signals.restored():
        command = [sys.executable, "-c", APART.format(line=line, end=end)]
        if isinstance(answer, int):
            assert run_apart(command) == answer
        else:
            with pytest.raises(ValueError, match=answer):
                run_apart(command)
    assert time.monotonic() - started < 50


def test_what_a_method_prints_is_not_in_the_answer(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = method(tmp_path, line="print(7)", before="print('{\"say\": 1}')")
    assert cli.answer(["plan", file, "--model", str(tiny_model_folder), "--target-length", "128", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["length"] == 128 and "7\n" in told.err


@pytest.mark.parametrize("keep", ["2.5", "2.0", "-1", "True", "float('nan')", "2**70", "'2'", "None"])
def test_kept_tokens_are_a_whole_number(tmp_path: Path, keep: str) -> None:
    with pytest.raises(ValueError, match="keep_first must (be a whole number of tokens|not be negative), got"):
        RopePlan((1.0,), 1.0, eval(keep))
    file = method(tmp_path, keep=keep)
    assert cli.answer(["plan", file, "--model", "pocket-llama", "--target-length", "1024"]) == 2


def test_numpy_counts_tokens_too() -> None:
    import numpy as np

    assert RopePlan((1.0,), 1.0, np.int64(3)).hash == RopePlan((1.0,), 1.0, 3).hash


# ---- plans that differ from call to call ----

PLAN = "return RopePlan(tuple(v / (1 + {}) for v in rope.inv_freq))"
DIFFERS = {
    "at random": {"line": PLAN.format("random.random()")},
    "by the clock": {"line": PLAN.format("time.perf_counter()")},
    "with every call": {"before": "calls = []", "line": "calls.append(1); " + PLAN.format("len(calls)")},
    "by turns": {"before": "calls = []", "line": "calls.append(1); " + PLAN.format("len(calls) % 2")},
    "after some calls": {"before": "calls = []", "line": "calls.append(1); " + PLAN.format("(len(calls) > 50)")},
    "as the first call was": {"before": "seen = []", "line": "seen.append(length); " + PLAN.format("seen[0]")},
    "as the longest was": {"before": "seen = []", "line": "seen.append(length); " + PLAN.format("max(seen)")},
    "at random, once for each process": {"before": "x = random.random()", "line": PLAN.format("x")},
    "by the process": {"line": PLAN.format("os.getpid()")},
    "as texts are hashed": {"line": PLAN.format("hash('yarn') % 1000")},
    "by the time of its import": {"before": "x = time.time()", "line": PLAN.format("x")},
}


def with_method(file: str) -> list[Method]:
    cls = load("mine", [Path(file).parent])
    return [Method("mine", cls(target_length=256))]


@pytest.mark.parametrize("words", DIFFERS)
def test_a_method_whose_plan_differs_from_call_to_call_is_refused(tmp_path: Path, words: str) -> None:
    file = method(tmp_path, **DIFFERS[words])
    with pytest.raises(ValueError, match="'mine' gives another plan for [0-9]+ tokens"):
        run(experiment(methods=tuple(with_method(file))), tmp_path / "store", FakeEngine(), Quiet())
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["pass", "print(7)", PLAN.format("(length > 100)"), PLAN.format("random.Random(3).random()")]
)
def test_a_method_that_always_gives_one_plan_runs(tmp_path: Path, line: str) -> None:
    file = method(tmp_path, line)
    for computed in (6, 0):
        outcome = run(experiment(methods=tuple(with_method(file))), tmp_path / "store", FakeEngine(), Quiet())
        assert (outcome.computed, outcome.failed) == (computed, ())


def test_many_methods_are_asked_at_once(tmp_path: Path) -> None:
    """A hundred methods answer more than a pipe holds: nobody waited for them, and none of them was looked at."""
    [mine] = with_method(method(tmp_path))
    question = repeatable._question(mine, ROPE, 256)
    assert question is not None
    answers = repeatable._answers([question] * 100)
    assert len(answers) == 100 and all(answer == answers[0] and len(answer or ()) > 50 for answer in answers)
