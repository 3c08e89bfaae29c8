"""Whatever ends a run, it goes on to the same results: random signals in searches, trainings, cells and reports.

A life is a store from its first file to its last: a run is killed at a random moment, what it left is looked at, the
run goes on, is killed again, and so on, until it may end. Then the store says what that of an undisturbed run says.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import byte_tokenizer, tiny_llama

from harness import cli
from harness.records import damage
from harness.store import Store

ROOT = str(Path(__file__).resolve().parent.parent)
OURS = "ROPEBENCH_TEST_OF_KILLS"  # in the environment of all processes of a run
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
PATIENCE = 120.0  # seconds for a run that takes ten, on an idle core
SOON = 2.0  # seconds after which no process of a run is there, likewise
KILLS_OF_A_LIFE = 5
TIMES = {"seconds", "date", "created", "provenance", "peak_memory_bytes", "tokens_per_second", "measured_now", "ledger",
         "seal", "evaluation_passages_avoided"}  # fmt: skip
EXPERIMENT = """
model: tiny
target_length: 128
lengths: [64, 128]
extenders: [none, {pi_tuned: {budget: 2560, fitness: perplexity}}, {abf: {budget: 2560, fitness: perplexity}}]
training: [none, plain]
training_settings: {tokens: 16384, tokens_per_step: 256, learning_rate: 3.0e-3, corpus: corpus}
tests: [{perplexity: {folder: tests, samples: 1}}]
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="finds processes by Linux's /proc"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiment, its model and its texts."""
    folder, rng = tmp_path_factory.mktemp("kills"), random.Random("kills")
    tiny_llama().save_pretrained(folder / "tiny")
    byte_tokenizer().save_pretrained(folder / "tiny")
    for name, sizes in (("corpus", range(20, 190, 10)), ("tests", [150, 160])):
        (folder / name).mkdir()
        for i, size in enumerate(sizes):
            (folder / name / f"{i:02}.txt").write_text("".join(rng.choice("abcdefgh ") for _ in range(size)))
    (folder / "kills.yaml").write_text(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, Any]:
    """What the store of an undisturbed run says."""
    assert cli.answer(["run", str(place / "kills.yaml"), "--out", str(place / "whole"), "--no-report"]) == 0
    return told(place / "whole")


def told(folder: Path) -> dict[str, Any]:
    """All that a store says but for times, machines, and the order in which losses were measured."""
    said: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json" and not name.startswith("report"):
            said[name] = timeless(json.loads(path.read_text()))
        elif path.name.endswith(".losses.jsonl"):
            lines = [json.loads(line)["losses"] for line in path.read_text().splitlines()]
            said[name] = Counter(json.dumps(loss) for losses in lines for loss in losses)
        elif path.suffix == ".jsonl":
            said[name] = [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix in (".txt", ".safetensors") and not name.startswith(("tables", "paper")):
            said[name] = path.read_bytes()
    return said


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


STARTER = """
import os, sys
from harness import cli, signals
import harness.runner.engine, harness.runner.run, reports.page.page, transformers.models.llama.modeling_llama
sys.argv[0] = "ropebench"
for line in sys.stdin:
    said, *arguments = line.rstrip().split("\\t")
    process = os.fork()
    if process:
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
        continue
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    signals.one_line_from_now()
    code = 1
    try:
        cli.main(arguments)
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stderr.flush()
        os._exit(code)
"""


class Starter:
    """Starts runs. It has imported everything and forks: so a run is at work at once, and two hundred take minutes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONFAULTHANDLER": "1", "OMP_NUM_THREADS": "1"}
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", STARTER],
            cwd=place,
            env={**environment, OURS: str(place)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, heard)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asked, self.answers = self.process.stdin, self.process.stdout

    def run(self, *arguments: str) -> int:
        """The number of the process."""
        self.asked.write("\t".join(arguments) + "\n")
        self.asked.flush()
        return int(self.answers.readline())


@pytest.fixture(scope="module")
def starter(place: Path) -> Iterator[Starter]:
    made = Starter(place)
    yield made
    made.asked.close()
    made.process.wait()
    made.answers.close()


@dataclass
class Sitting:
    """One run at work, with what it says in a file, so that nobody has to read a pipe to its end."""

    place: Path
    starter: Starter
    workers: int
    report: bool

    def __post_init__(self) -> None:
        arguments = ["run", "kills.yaml", "--out", "killed", "--workers", str(self.workers)]
        self.said = self.place / "said.txt"
        self.said.write_text("")
        self.process = self.starter.run(str(self.said), *arguments, "--report" if self.report else "--no-report")

    @property
    def lines(self) -> list[str]:
        return self.said.read_text(errors="replace").splitlines()

    @property
    def over(self) -> bool:
        """Whether it has ended: nobody but its starter can take its exit code."""
        status = Path(f"/proc/{self.process}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    def wait_for(self, lines: int, words: str = "") -> None:
        """Until it has said so many lines, or one with these words, or has ended."""
        deadline = time.monotonic() + PATIENCE * busy()
        while not self.over and len(self.lines) < lines and not (words and any(words in line for line in self.lines)):
            self.check(deadline)
            time.sleep(0.003)

    def wait(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE * busy()
        while not self.over:
            self.check(deadline)
            time.sleep(0.01)
        return int(self.starter.answers.readline())

    def check(self, deadline: float) -> None:
        """Where nothing happens any more, all processes say where they are, and the test fails."""
        if time.monotonic() > deadline:
            for number in processes(self.starter):
                os.kill(number, signal.SIGABRT)  # faulthandler then tells where all threads are
            time.sleep(3)
            raise AssertionError(f"a run hangs; its processes were at:\n{self.said.read_text(errors='replace')}")


def busy() -> float:
    """How much slower this machine is by what else runs on it now."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) if hasattr(os, "getloadavg") else 1.0


def processes(starter: Starter) -> list[int]:
    """Those of the starter's runs which are alive."""
    mark, found = f"{OURS}={starter.place}".encode(), []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return [number for number in found if number != starter.process.pid]


def none_is_left(starter: Starter) -> None:
    deadline = time.monotonic() + SOON * busy()
    while left := processes(starter):
        assert time.monotonic() < deadline, f"processes {left} outlived the run by {SOON:.0f} s"
        time.sleep(0.05)


CELL = re.compile(r"\[\d+/\d+\] (.* seed \d+) · [0-9.]+ s")


def finished(lines: list[str]) -> list[str]:
    """The units that a run said to be done."""
    cells = [match[1] for line in lines if (match := CELL.match(line))]
    return cells + [line.partition(": ")[0] for line in lines if re.search(r"^searched |: trained on ", line)]


def units(folder: Path) -> dict[str, Any]:
    """What is done, by its place in the store."""
    if not (folder / "run.json").is_file():
        return {}
    return {name: said for name, said in told(folder).items() if name.count("/") == 1 and name.endswith(".json")}


def check_life(starter: Starter, whole: dict[str, Any], rng: random.Random, kills: int, log: list[str]) -> None:
    """A store from its beginning to its end, through so many kills."""
    folder, done, reported = starter.place / "killed", dict[str, Any](), list[str]()
    shutil.rmtree(folder, ignore_errors=True)
    in_report = rng.random() < 0.5
    for kill in range(kills + 1):
        sitting = Sitting(starter.place, starter, rng.choices((1, 2), (2, 1))[0], in_report and kill >= kills - 1)
        words = disturb(sitting, rng) if kill < kills else "undisturbed"
        code = sitting.wait()
        none_is_left(starter)
        lines = sitting.lines
        log.append(f"{words}, {sitting.workers} processes, exit code {code}: {lines[-1] if lines else ''}")
        print(log[-1], flush=True)
        assert not any("Traceback" in line or "Exception ignored" in line for line in lines), "\n".join(lines)
        reported += finished(lines)
        assert not [unit for unit, times in Counter(reported).items() if times > 1], "\n".join([*log, *reported])
        if (folder / "cells").is_dir():
            found = damage.look(Store(folder))
            assert not found.damaged and not found.foreign, (found, log)
        now = units(folder)
        assert all(now.get(name) == said for name, said in done.items()), log
        done = now
    assert code == 0, "\n".join([*log, *lines])
    assert told(folder) == whole, log
    strange = [path for path in folder.rglob("*") if path.suffix in (".partial", ".lock") or path.name == "team"]
    assert not strange and (folder / "report.html").is_file() == in_report


def disturb(sitting: Sitting, rng: random.Random) -> str:
    """Send a signal at a random moment: as the program starts, at its work, or as it writes the report. Now and then a
    helper is killed before. Gives what was done in words."""
    moment = "report" if sitting.report else rng.choices(("start", "work"), (1, 15))[0]
    number = signal.Signals[rng.choice(SIGNALS)]
    words = f"{number.name} at {moment}"
    if moment == "start":
        time.sleep(rng.uniform(0, 0.5))
    elif moment == "report":
        sitting.wait_for(10**9, " kept from before")
        time.sleep(rng.uniform(0, 2))
    else:
        lines = rng.randint(1, 12)
        sitting.wait_for(lines, " kept from before")
        time.sleep(rng.expovariate(4))
        helpers = [number for number in processes(sitting.starter) if number != sitting.process]
        if helpers and rng.random() < 0.25:
            send(helpers[0], signal.SIGKILL)
            words = f"SIGKILL to a helper, then {words}"
            sitting.wait_for(lines + rng.randint(2, 8), " kept from before")
    if not sitting.over:
        send(sitting.process, number)
    return words


def send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass


def check_lives(starter: Starter, whole: dict[str, Any], kills: int, seed: int) -> None:
    rng, log = random.Random(f"kills {seed}"), list[str]()
    for life in range(0, kills, KILLS_OF_A_LIFE):
        check_life(starter, whole, rng, min(KILLS_OF_A_LIFE, kills - life), log)


def test_a_run_that_is_killed_goes_on_to_the_same_results(starter: Starter, whole: dict[str, Any]) -> None:
    check_lives(starter, whole, 6, 0)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_run_that_is_killed_two_hundred_times(starter: Starter, whole: dict[str, Any], seed: int) -> None:
    check_lives(starter, whole, 25, seed)
