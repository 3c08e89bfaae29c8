"""Several processes on one run: each takes the next unit (a search, a training, a cell) that nobody has.

The first process starts helpers that run the same command on the same store. A unit at work is locked by a file, which
the system unlocks when a process dies, so a unit that a dying helper had is taken by another. Each process uses its
share of the cores: small models gain little from a second thread and all from a second process, and results no longer
depend on how many cores a machine has.

    DIR/team/<key>.lock         held while the unit is at work
    DIR/team/<session>.<key>    the unit was worked on in this session, whatever came of it

Processes that nobody here started may join (harness/runner/joining.py).
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from harness.experiment.cells import Cell
from harness.model.files import check_weights
from harness.model.locate import local_folder
from harness.progress import Progress
from harness.records import provenance
from harness.runner import joining
from harness.runner.cards import VISIBLE, cards
from harness.runner.helper import Helper, helper_command
from harness.signals import CHANNEL

Unit = TypeVar("Unit")
SESSION = "ROPEBENCH_TEAM"  # in the environment of a helper: the session that it helps
ARGUMENTS_AT = len(helper_command([]))  # where the words of a command begin in the command line of a helper
# Memory of one process beside its weights: twice what 4,096 tokens take in a shipped model; one of 135 million weights
# had 1.9 GB in use at 16,384 tokens in bfloat16.
GIBIBYTES = 3
BYTES_OF_A_WEIGHT = 8  # while it is read, in float32
MOST_WEIGHTS = 500_000_000  # of a small model


class Team:
    """The processes of a run. `size` 1: this one alone. `command` starts another that does the same; without one
    nobody can join. `cards` are GPUs, of which each process has one."""

    def __init__(self, size: int = 1, command: Sequence[str] = (), cards: Sequence[str] = ()) -> None:
        self.size, self._command, self._cards = size, command, cards
        self.session = os.environ.get(SESSION, "")
        self.first = not self.session
        if self.first:
            self.session = f"{os.getpid()}-{time.time_ns()}"
            if cards:
                os.environ[VISIBLE] = cards[0]  # before CUDA looks
        self._folder: Path | None = None
        self._cells: dict[str, Cell] = {}
        self._known = threading.Event()

    @property
    def threads(self) -> int | None:
        """Threads of each process; None: as PyTorch has it."""
        return max(1, provenance.cores() // self.size) if self.size > 1 else None

    @contextmanager
    def at_work(self, folder: Path, units: int, progress: Progress, model: str = "") -> Iterator[Progress]:
        """Helpers run for the length of the block, no more than there are units, and others may join. Gives the
        progress to report to, which that of helpers goes to as well. `model` is what keys depend on: who joins with
        another is refused (ValueError)."""
        if self.size == 1 and not self._command:
            yield progress
            return
        self._folder = folder / "team"
        if not self.first:
            offer = joining.read(self._folder)
            if offer is not None and offer.model != model:
                raise ValueError(
                    f"the run has the model as {offer.model}, here it would be {model}; write dtype and attention into "
                    "the experiment file"
                )
            yield progress
            return
        self._folder.mkdir(exist_ok=True)
        shared = Shared(progress)
        with joining.head_lock(self._folder):
            joining.write(self._folder, joining.offer_of(self.session, self._command[ARGUMENTS_AT:], model))
            helpers = [self._helper(shared, number) for number in range(1, min(self.size, units))]
            try:
                yield shared
            finally:
                self._known.set()
                _end(helpers)
                self._leave()

    def clear(self, folder: Path) -> None:
        """Take away what an earlier run of this store left, or belong to its session where its workers still work."""
        place = folder / "team"
        offer = joining.read(place)
        if self.first and self._command and offer is not None and joining.at_work(place):
            self.session = offer.session
        else:
            shutil.rmtree(place, ignore_errors=True)

    def _leave(self) -> None:
        """The folder goes with the first process, unless workers still have units at work."""
        assert self._folder is not None
        others = [path for path in self._folder.glob("*.lock") if path.name != joining.HEAD]
        if not any(joining.held(self._folder, path.name) for path in others):
            shutil.rmtree(self._folder, ignore_errors=True)

    def take(self, units: Sequence[Unit], key: Callable[[Unit], str]) -> Iterator[Unit]:
        """Every unit once in one of the processes; those given here are locked until the next is asked for."""
        if self._folder is None:
            yield from units
            return
        waiting = list(units)
        while waiting:
            busy = []
            for unit in waiting:
                lock, over = (self._folder / name for name in (f"{key(unit)}.lock", f"{self.session}.{key(unit)}"))
                if not self._folder.is_dir():
                    return  # the first process is done, and all units with it
                try:
                    with FileLock(lock, timeout=0):
                        if not over.exists():
                            yield unit
                            over.touch()
                except Timeout:
                    busy.append(unit)
                except FileNotFoundError:
                    if self._folder.is_dir():
                        raise
            waiting = busy
            time.sleep(0.2 if busy else 0)

    def expects(self, cells: Sequence[Cell]) -> None:
        """The cells that helpers may report from now on."""
        self._cells = {cell.key: cell for cell in cells}
        self._known.set()

    def _helper(self, progress: Progress, number: int) -> Helper:
        """A helper at work, on the very same code."""
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, SESSION: self.session, "OMP_NUM_THREADS": str(self.threads), "PYTHONPATH": paths}
        if self._cards:
            environment[VISIBLE] = self._cards[number % len(self._cards)]
        return Helper(self._command, environment, lambda event: self._pass_on(event, progress), progress.say)

    def _pass_on(self, event: Mapping[str, Any], progress: Progress) -> None:
        """What a helper reported, to where this process reports."""
        if "say" in event:
            progress.say(str(event["say"]))
        elif "end" in event:
            self._known.wait()
            if event["end"] in self._cells:
                progress.end(self._cells[event["end"]], float(event["seconds"]), str(event["error"]))


def _end(helpers: Sequence[Helper]) -> None:
    """All of them have ended afterwards; whoever is asked to stop a second time does not wait for them."""
    try:
        for helper in helpers:
            helper.end()
        for helper in helpers:
            helper.join()
    except BaseException:
        for helper in helpers:
            helper.kill()
        raise


class Relay:
    """The progress of a helper: what the first process is to say, as lines of JSON on a descriptor of its own, which
    nothing that a method or a library prints can reach."""

    def __init__(self) -> None:
        self._channel = int(os.environ[CHANNEL]) if CHANNEL in os.environ else None
        if self._channel is not None:
            os.set_inheritable(self._channel, False)

    def say(self, line: str) -> None:
        self._send(say=line)

    def start(
        self, missing: Sequence[Cell], total: int, at_once: int = 1, known: Sequence[tuple[Cell, float]] = ()
    ) -> None: ...

    def begin(self, cell: Cell) -> None: ...

    def end(self, cell: Cell, seconds: float, error: str) -> None:
        self._send(end=cell.key, seconds=seconds, error=error)

    def close(self) -> None: ...

    def _send(self, **event: Any) -> None:
        if self._channel is not None:
            os.write(self._channel, (json.dumps(event) + "\n").encode())


class Shared:
    """A progress that several threads report to, one at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.RLock()

    def __getattr__(self, name: str) -> Any:
        def locked(*given: Any) -> Any:
            with self._lock:
                return getattr(self._progress, name)(*given)

        return locked


def team_for(model: str, workers: int | None, command: Sequence[str], device: str = "auto") -> Team:
    """The team of a command on a model: one process for each core where a small model runs on a CPU, else one.

    Where there are several GPUs, each gets a process that sees it alone. One GPU, torchrun, large models on a CPU and
    those of the hub are left to one process; `workers` overrules this. A helper has the size of the team that it
    belongs to.
    """
    several = cards() if device == "auto" and len(cards()) > 1 and SESSION not in os.environ else []
    size = workers or max(1, len(several))
    on_cpu = device == "cpu" or (device == "auto" and not Path("/dev/nvidiactl").exists())
    if workers is None and on_cpu and (parameters := small(model)):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**32
        needed = int(GIBIBYTES * 2**30 + BYTES_OF_A_WEIGHT * parameters)
        size = max(1, min(provenance.cores(), memory // needed))
    if "WORLD_SIZE" in os.environ:  # under torchrun, whose processes are one
        return Team()
    return Team(size, command, several if size > 1 else ())


def small(model: str) -> int:
    """The number of weights of a model that is here and small, which gains most from a second process; else 0."""
    try:
        folder = local_folder(model)
        parameters = check_weights(folder) if folder is not None else 0
    except ValueError:
        return 0  # said where the model is read
    return parameters if parameters <= MOST_WEIGHTS else 0
