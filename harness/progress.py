"""What a user sees while a run works: a bar on a terminal, one line per cell elsewhere, both with the time left."""

import sys
from collections.abc import Sequence
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from harness.experiment.cells import Cell

# In tokens. A model of 135 million weights: 2,700 by 1,024 and 2,048 tokens on one CPU, 4,600 by 8,192 and 16,384 on
# another. Larger models cross later, so of them this says too much until two lengths are measured.
CROSSING = 4096


Measured = tuple[int, int, float]  # prompts, tokens of each, and the seconds that they took together


class TimeLeft:
    """Estimates the seconds left: each test has its own measured speed, which falls with the length.

    `at_once`: cells that are at work together. `known`: cells that were measured before on this machine, in seconds.
    """

    def __init__(self, cells: Sequence[Cell], at_once: int = 1, known: Sequence[tuple[Cell, float]] = ()) -> None:
        self._at_once = at_once
        self._waiting = {cell.key: cell for cell in cells}
        self._measured: dict[str, list[Measured]] = {}  # by test
        for cell, seconds in known:
            self.finished(cell, seconds)

    def finished(self, cell: Cell, seconds: float) -> None:
        self._waiting.pop(cell.key, None)
        self._measured.setdefault(cell.test.label, []).append((cell.samples, cell.length, seconds))

    def seconds(self) -> float | None:
        """None while nothing has been measured."""
        every = [one for measured in self._measured.values() for one in measured]
        if not every:
            return None
        left = 0.0
        for cell in self._waiting.values():
            measured = self._measured.get(cell.test.label, every)
            same = [one for one in measured if one[1] == cell.length]
            first, growth = pace(same or measured)
            left += cell.samples * cell.length * (first + growth * cell.length)
        return left / self._at_once


def pace(measured: Sequence[Measured]) -> tuple[float, float]:
    """(a, b): a token of a prompt of n tokens takes a + b·n seconds, as attention over all tokens before it makes it.

    A least-squares line, every prompt with equal weight, none of the two below 0. Where all have one length it cannot
    be told how much grows with it: half of the time at `CROSSING` tokens then. Where a token costs less in long
    prompts, since every answer costs the same, the longest tell.
    """
    total = sum(prompts for prompts, _, _ in measured)
    points = [(prompts / total, length, seconds / (prompts * length)) for prompts, length, seconds in measured]
    length = sum(weight * n for weight, n, _ in points)
    token = sum(weight * t for weight, _, t in points)
    spread = sum(weight * (n - length) ** 2 for weight, n, _ in points)
    if len({n for _, n, _ in points}) == 1:  # asked of the lengths, for rounding leaves a spread of equal ones
        growth = token / (CROSSING + length)
        return growth * CROSSING, growth
    slope = sum(weight * (n - length) * (t - token) for weight, n, t in points) / spread
    if slope <= 0:
        longest = max(n for _, n, _ in points)
        few = [(weight, t) for weight, n, t in points if n == longest]
        return sum(weight * t for weight, t in few) / sum(weight for weight, _ in few), 0.0
    growth = min(slope, token / length)
    return token - growth * length, growth


def spoken(seconds: float | None) -> str:
    """The time left, in words."""
    return "time left unknown yet" if seconds is None else f"about {duration(max(1.0, seconds))} left"


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = seconds / 60
    return f"{round(minutes)} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class Progress(Protocol):
    """What a run reports."""

    def say(self, line: str) -> None:
        """One line that stays."""

    def start(
        self, missing: Sequence[Cell], total: int, at_once: int = 1, known: Sequence[tuple[Cell, float]] = ()
    ) -> None:
        """Before the first cell: what is to be computed, out of how many, how many cells together, and what cells took
        that were measured before on this machine."""

    def begin(self, cell: Cell) -> None: ...

    def end(self, cell: Cell, seconds: float, error: str) -> None:
        """The cell is stored; `error` is "" or one line."""

    def close(self) -> None: ...


class Lines:
    """One line per cell, for logs and pipes."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._left = TimeLeft(())
        self._done = self._total = 0

    def say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def start(
        self, missing: Sequence[Cell], total: int, at_once: int = 1, known: Sequence[tuple[Cell, float]] = ()
    ) -> None:
        self._left, self._total, self._done = TimeLeft(missing, at_once, known), total, total - len(missing)
        if missing and known:
            self.say(f"{len(missing)} of {total} cells to do, {spoken(self._left.seconds())}")

    def begin(self, cell: Cell) -> None:
        pass

    def end(self, cell: Cell, seconds: float, error: str) -> None:
        self._left.finished(cell, seconds)
        self._done += 1
        outcome = f"FAILED: {error}" if error else f"{seconds:.1f} s"
        self.say(f"[{self._done}/{self._total}] {cell.words} · {outcome} · {spoken(self._left.seconds())}")

    def close(self) -> None:
        pass


class Bar:
    """A bar over all cells. Failed cells are printed above it and stay."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        columns = (TextColumn("{task.completed:.0f}/{task.total:.0f} cells"), BarColumn(bar_width=24))
        words = (TextColumn("{task.fields[left]}"), TextColumn("{task.description}", markup=False))
        self._bar = RichProgress(*columns, *words, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=1, left="")
        self._left = TimeLeft(())
        self._base = 0.0

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def start(
        self, missing: Sequence[Cell], total: int, at_once: int = 1, known: Sequence[tuple[Cell, float]] = ()
    ) -> None:
        self._left, self._base = TimeLeft(missing, at_once, known), float(total - len(missing))
        self._bar.update(self._task, total=total, completed=self._base, left=spoken(self._left.seconds()))
        self._bar.start()

    def begin(self, cell: Cell) -> None:
        self._bar.update(self._task, description=cell.words)

    def end(self, cell: Cell, seconds: float, error: str) -> None:
        self._left.finished(cell, seconds)
        self._base += 1
        if error:
            self.say(f"{cell.words} · FAILED: {error}")
        self._bar.update(self._task, completed=self._base, left=spoken(self._left.seconds()))

    def close(self) -> None:
        self._bar.stop()


def progress() -> Progress:
    """The right one for where standard error goes."""
    return Bar() if sys.stderr.isatty() else Lines()
