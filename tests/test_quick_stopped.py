"""What ten stops cost: `quick` is ended by SIGTERM at ten moments and goes on, beside the same without a stop.

In seconds of processor time of all processes, so that other work of the machine does not count: all sittings together,
less the undisturbed run, less what a run takes to begin: its processes start and load the model. `quick` is made
smaller here (three methods, two lengths, a third of the training): stops fall on searches, trainings and cells alike.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parent.parent)
STOPS = 10
SMALLER = [
    *("--set", "lengths=[512, 2048]"),
    *("--set", "training_settings={tokens: 32768, tokens_per_step: 8192}"),
    *("--set", "extenders=[none, yarn, {longrope2: {searcher: gradient, needles: 4, budget: 163840}}]"),
]
ALLOWED = 60.0  # seconds of work done twice, all stops together


def sitting(store: Path, seconds: float | None = None) -> tuple[float, int]:
    """Processor seconds of a run that is stopped after so many seconds of a clock, and its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.cli", "run", "quick", *SMALLER, "--out", str(store), "--no-report"],
        env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"},
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


def beginning(store: Path) -> float:
    """Processor seconds of a run that has the two shortest cells to do, one for each of its processes."""
    cells = [(json.loads(path.read_text())["cost"]["seconds"], path) for path in (store / "cells").glob("*.json")]
    shortest = sorted(cells)[:2]
    for _, path in shortest:
        path.unlink()
    spent, code = sitting(store)
    assert code == 0
    return spent - sum(seconds for seconds, _ in shortest)


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_ten_stops_of_quick_cost_less_than_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    undisturbed, code = sitting(tmp_path / "whole")
    assert code == 0
    clock = time.monotonic() - began
    begin = min(beginning(tmp_path / "whole") for _ in range(2))
    rng, spent, codes = random.Random("stops of quick"), 0.0, []
    for _ in range(STOPS):
        seconds, code = sitting(tmp_path / "stopped", rng.uniform(0.5, 1.5) * clock / (STOPS + 1))
        spent, codes = spent + seconds, [*codes, code]
    seconds, code = sitting(tmp_path / "stopped")
    twice = spent + seconds - undisturbed - STOPS * begin
    print(f"\nundisturbed {undisturbed:.0f} s of processor time, to begin {begin:.1f} s, exit codes {codes}, {code}; "
          f"done twice: {twice:.1f} s")  # fmt: skip
    assert code == 0 and set(codes) <= {0, 130} and codes.count(130) >= STOPS // 2
    assert twice < ALLOWED
