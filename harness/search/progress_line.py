"""What a user sees while a search works: best loss, share of the budget and time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from extenders.search.problem import Report
from harness.progress import spoken

EVERY = 10.0  # seconds between lines where there is no terminal


class Clock:
    """Time left from the speed of what was measured just now; what a stored search replays takes no time."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before: int | None = None

    def words(self, name: str, report: Report, measured: bool) -> str:
        if self._before is None or not measured:
            self._before, self._started = report.spent, time.monotonic()
        done = report.spent - self._before
        seconds = (time.monotonic() - self._started) / done * (report.budget - report.spent) if done else None
        share = 100 * report.spent / report.budget
        best = f"best loss {report.best:.4f} nats" if report.best < float("inf") else "no finite loss yet"
        return f"searching {name} · {report.candidates} candidates · {best} · {share:.0f} % · {spoken(seconds)}"


@contextmanager
def search_progress(name: str) -> Iterator[Callable[[Report, bool], None]]:
    """A reporter: (report, whether something was measured and not just read from the store)."""
    clock, shown_at, bar = Clock(), 0.0, None
    if sys.stderr.isatty():
        columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        task = bar.add_task(f"searching {name}", total=None)
        bar.start()

    def report(now: Report, measured: bool) -> None:
        nonlocal shown_at
        words = clock.words(name, now, measured)
        if bar is not None:
            bar.update(task, total=now.budget, completed=now.spent, description=words)
        elif time.monotonic() - shown_at > EVERY:
            shown_at = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    try:
        yield report
    finally:
        if bar is not None:
            bar.stop()
