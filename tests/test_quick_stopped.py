"""What ten stops cost: `quick` is ended by SIGTERM at ten moments and goes on, beside the same without a stop.

Every process of a run records its units of work (tests/work_log): a step of a training, the loss of a plan on a text, a
pass of the model in a cell, the making of a text. What was computed and did not last, because it was broken off or
computed again, is work done twice. It is counted in seconds of processor time, so that other work of the machine does
not count, and no start of Python and torch and no load of a model is work. What all sittings took more than the
undisturbed run is shown beside it. `quick` is made smaller here (three methods, two lengths, a third of the training):
stops fall on searches, trainings and cells alike. Each of the two has a cache of prompts of its own.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STOPS = 10
SMALLER = [
    *("--set", "lengths=[512, 2048]"),
    *("--set", "training_settings={tokens: 32768, tokens_per_step: 8192}"),
    *("--set", "extenders=[none, yarn, {longrope2: {searcher: gradient, needles: 4, budget: 163840}}]"),
]
ALLOWED = 60.0  # seconds of work done twice, all stops together
BEGIN = "to begin"  # kinds that are no work
PARTS = ("search: rest", "cell: rest", "training: rest", "training: updates")  # each sitting may do another part of it


@dataclass(frozen=True)
class Entry:
    """A unit of work that ended, or was broken off."""

    process: int
    kind: str
    name: str
    seconds: float
    whole: bool


def entries(log: Path) -> list[Entry]:
    return [Entry(*json.loads(line)) for line in log.read_text().splitlines()]


def by_unit(log: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    units = defaultdict(list)
    for entry in log:
        if not entry.kind.startswith(BEGIN):
            units[entry.kind, entry.name].append(entry)
    return units


def twice(stopped: Sequence[Entry], undisturbed: Sequence[Entry]) -> dict[str, float]:
    """Seconds of work done twice, by kind. Of a unit that came to its end several times the last one counts once; of
    one that is done part by part, what all parts took more than in the undisturbed run."""
    found: dict[str, float] = defaultdict(float)
    before = by_unit(undisturbed)
    for (kind, name), times in by_unit(stopped).items():
        spent = sum(entry.seconds for entry in times)
        if kind in PARTS and len(times) > 1:
            found[kind] += max(0.0, spent - sum(entry.seconds for entry in before[kind, name]))
        elif kind not in PARTS:
            found[kind] += spent - next((entry.seconds for entry in reversed(times) if entry.whole), 0.0)
    return found


def environment(folder: Path) -> dict[str, str]:
    """Of a run whose processes record their work in that folder."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/work_log")]),
        "OMP_NUM_THREADS": "1",
        "ROPEBENCH_CACHE": str(folder / "cache"),
        "ROPEBENCH_WORK_LOG": str(folder / "work.jsonl"),
    }


def sitting(folder: Path, seconds: float | None = None) -> tuple[float, int]:
    """Processor seconds of a run that is stopped after so many seconds of a clock, and its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["run", "quick", *SMALLER, "--out", str(folder / "store"), "--no-report"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.cli", *command],
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, code


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_ten_stops_of_quick_cost_less_than_a_minute(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    began = time.monotonic()
    undisturbed, code = sitting(whole)
    assert code == 0
    clock = time.monotonic() - began
    rng, spent, codes = random.Random("stops of quick"), 0.0, []
    for _ in range(STOPS):
        seconds, code = sitting(stopped, rng.uniform(0.5, 1.5) * clock / (STOPS + 1))
        spent, codes = spent + seconds, [*codes, code]
    seconds, code = sitting(stopped)
    spent, codes = spent + seconds, [*codes, code]
    first, log = entries(whole / "work.jsonl"), entries(stopped / "work.jsonl")
    lost, work = twice(log, first), [sum(entry.seconds for entry in entries) for entries in (first, log)]
    print(f"\nundisturbed {clock:.0f} s by the clock, {undisturbed:.0f} s of processor time, of which {work[0]:.0f} s "
          f"in units of work; in {STOPS + 1} sittings {spent:.0f} and {work[1]:.0f} s; exit codes {codes}")  # fmt: skip
    for kind in sorted(lost):
        broken = sum(not entry.whole for entry in log if entry.kind == kind)
        print(f"  {kind}: {lost[kind]:.1f} s done twice, {broken} broken off")
    print(f"done twice: {sum(lost.values()):.1f} s; of the undisturbed run {sum(twice(first, first).values()):.1f} s")
    assert codes[-1] == 0 and set(codes) <= {0, 130} and codes.count(130) >= STOPS // 2
    assert by_unit(first).keys() == by_unit(log).keys()  # nothing is missed because it has another name
    assert sum(lost.values()) < ALLOWED


def test_what_counts_as_done_twice() -> None:
    def entry(kind: str, name: str, seconds: float, whole: bool = True) -> Entry:
        return Entry(1, kind, name, seconds, whole)

    undisturbed = [entry("step", "a", 5), entry("step", "b", 5), entry("cell: rest", "c", 2)]
    assert not any(twice(undisturbed, undisturbed).values())
    broken = [entry("step", "a", 3, whole=False), entry("step", "a", 5.5), entry("to begin: load", "m", 9)]
    again = [entry("step", "b", 4), entry("step", "b", 6), entry("step", "b", 5)]
    parts = [entry("cell: rest", "c", 1, whole=False), entry("cell: rest", "c", 1.5), entry("cell: rest", "d", 7)]
    assert twice([*broken, *again, *parts], undisturbed) == {"step": 3 + 4 + 6, "cell: rest": 0.5}
    assert twice([entry("step", "a", 3, whole=False)], undisturbed) == {"step": 3}


SMALL = """
model: {model}
target_length: 128
lengths: [64]
extenders: [none, {{longrope2: {{searcher: gradient, fitness: perplexity, documents: texts, budget: 2560}}}}]
training: [none, plain]
training_settings: {{tokens: 1024, tokens_per_step: 256, corpus: texts}}
tests: [{{perplexity: {{folder: others, samples: 1}}}}]
"""


@pytest.mark.slow
def test_all_work_of_a_run_is_recorded(tmp_path: Path, tiny_model_folder: Path) -> None:
    """Else a function that has another name now would make everything look cheap."""
    rng = random.Random("texts")
    for name, sizes in (("texts", range(20, 290, 10)), ("others", (150, 160))):
        (tmp_path / name).mkdir()
        for size in sizes:
            text = "".join(rng.choice("abcdefgh ") for _ in range(size))
            (tmp_path / name / f"{size}.txt").write_text(text)
    (tmp_path / "small.yaml").write_text(SMALL.format(model=tiny_model_folder))
    command = ["run", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "store"), "--no-report", "--workers", "1"]
    subprocess.run([sys.executable, "-P", "-m", "harness.cli", *command], env=environment(tmp_path), check=True)
    log = entries(tmp_path / "work.jsonl")
    kinds = {entry.kind for entry in log}
    assert {kind for kind in kinds if kind.startswith("search: ")} == {
        f"search: {part}" for part in ("losses", "slopes", "texts", "passages of tests", "far use", "rest")
    }
    assert {kind for kind in kinds if kind.startswith("training: ")} == {
        f"training: {part}" for part in ("steps", "batches", "updates", "rest")
    }
    assert {kind for kind in kinds if kind.startswith("cell: ")} == {"cell: passes", "cell: rest"}
    assert all(entry.whole for entry in log) and not any(twice(log, log).values())
