"""What a user sees while a run works: a bar on a terminal, one line per cell elsewhere, both with the time left."""

import sys
from collections.abc import Sequence
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from harness.experiment.cells import Cell


class TimeLeft:
    """Estimates the seconds left. A cell's work is taken as samples × length; each test has its own measured speed.

    `at_once`: cells that are at work together.
    """

    def __init__(self, cells: Sequence[Cell], at_once: int = 1) -> None:
        self._at_once = at_once
        self._waiting = {cell.key: cell for cell in cells}
        self._spent: dict[str, tuple[float, float]] = {}  # test → (seconds, work)

    def finished(self, cell: Cell, seconds: float) -> None:
        self._waiting.pop(cell.key, None)
        before = self._spent.get(cell.test.label, (0.0, 0.0))
        self._spent[cell.test.label] = (before[0] + seconds, before[1] + work(cell))

    def seconds(self) -> float | None:
        """None while nothing has been measured."""
        measured, done = (
            (sum(values) for values in zip(*self._spent.values(), strict=True)) if self._spent else (0.0, 0.0)
        )
        if not done:
            return None
        left = 0.0
        for cell in self._waiting.values():
            own_seconds, own_work = self._spent.get(cell.test.label, (measured, done))
            left += work(cell) * own_seconds / own_work
        return left / self._at_once


def work(cell: Cell) -> float:
    return float(cell.samples * cell.length)


def spoken(seconds: float | None) -> str:
    """A duration in words."""
    if seconds is None:
        return "time left unknown yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    minutes = seconds / 60
    return f"about {round(minutes)} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"


class Progress(Protocol):
    """What a run reports."""

    def say(self, line: str) -> None:
        """One line that stays."""

    def start(self, missing: Sequence[Cell], total: int, at_once: int = 1) -> None:
        """Before the first cell: what is to be computed, out of how many, and how many cells together."""

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

    def start(self, missing: Sequence[Cell], total: int, at_once: int = 1) -> None:
        self._left, self._total, self._done = TimeLeft(missing, at_once), total, total - len(missing)

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

    def start(self, missing: Sequence[Cell], total: int, at_once: int = 1) -> None:
        self._left, self._base = TimeLeft(missing, at_once), float(total - len(missing))
        self._bar.update(self._task, total=total, completed=self._base, left=spoken(None))
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
