"""Loss on both sides of the trained window: a mean over a whole document hides the cliff that lies behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.numbers.best import MARKS_NOTE, Ranked, rank
from reports.numbers.frame import Test
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.numbers.loss_curve import curve_of, mean_between
from reports.numbers.scores import Scores
from reports.statistics.intervals import Estimate

INSIDE, BEYOND = "up to the window", "beyond it"


@dataclass(frozen=True)
class WindowLosses:
    """One perplexity test at its longest length, in nats per token: the same samples, cut at the trained length."""

    test: Test
    inside: Scores
    beyond: Scores
    ranked: Ranked  # line 0 of it is `beyond`
    grid: Grid

    @property
    def order(self) -> list[str]:
        """The methods with a loss beyond the window, lowest first."""
        means = {label: e.mean for label in self.beyond.frames.labels if (e := self.of(label)) is not None}
        return sorted(means, key=lambda label: means[label])

    def of(self, label: str) -> Estimate | None:
        """The method's loss beyond the window."""
        return self.ranked.numbers[0, label].estimate


def window_losses(scores: Scores) -> list[WindowLosses]:
    """One for each perplexity test that goes beyond the trained length and says its loss by position."""
    planned = scores.tests("nats")
    longest = {task: max(length for name, length in planned if name == task) for task, _ in planned}
    parts = [_of_test(scores, (task, length)) for task, length in longest.items()]
    return [part for part in parts if part is not None]


def _of_test(scores: Scores, test: Test) -> WindowLosses | None:
    trained = scores.frames.trained_length
    if not 0 < trained < test[1]:
        return None
    inside, beyond = _between(scores, test, 0, trained), _between(scores, test, trained, test[1])
    if inside is None or beyond is None:
        return None
    ranked = rank(beyond, [[test]], lower_is_better=True)
    lowest = min(
        (label for label in scores.frames.labels if ranked.numbers[0, label].estimate is not None),
        key=lambda label: _mean(ranked.numbers[0, label]),
        default="",
    )
    lines = [
        Line(
            label,
            (inside.number(label, test), ranked.numbers[0, label], _against(beyond, label, lowest, test)),
        )
        for label in scores.frames.labels
    ]
    return WindowLosses(
        test, inside, beyond, ranked, _grid(test, scores.frames.file_names[test[0]], trained, lowest, lines)
    )


def _mean(number: Number) -> float:
    assert number.estimate is not None
    return number.estimate.mean


def _between(scores: Scores, test: Test, low: int, high: int) -> Scores | None:
    """The same cells and samples of one test, scored by the loss at these positions; None where no row says it."""
    frames = scores.frames
    rows = frames.rows[(frames.rows["task"] == test[0]) & (frames.rows["length"] == test[1])]
    last = high if high < test[1] else None
    losses = [mean_between(extra, low, last or _end(extra, high)) for extra in rows["extra"]]
    if not losses or any(loss is None for loss in losses):
        return None
    cells = frames.cells[(frames.cells["task"] == test[0]) & (frames.cells["length"] == test[1])]
    return Scores(replace(frames, rows=rows.assign(score=losses), cells=cells))


def _end(extra: object, length: int) -> float:
    """The last edge of a row's curve: the length, less what stands before the first token (BOS)."""
    curve = curve_of(extra)
    return length if curve is None else curve[0][-1]


def _against(beyond: Scores, label: str, lowest: str, test: Test) -> Number:
    """The method's loss beyond the window minus the lowest one's, samples paired."""
    number = beyond.number(label, test)
    if number.estimate is None or not lowest or beyond.number(lowest, test).estimate is None:
        return Number(None, number.status, number.why)
    if label == lowest:
        return Number(None, "done", "the lowest loss itself")
    gap = beyond.compare(label, lowest, [test])
    return Number(Estimate(gap.difference, gap.low, gap.high, gap.n), "done")


def _grid(test: Test, file_name: str, trained: int, lowest: str, lines: Sequence[Line]) -> Grid:
    task, length = test
    return Grid(
        f"window-{file_name}",
        f"{task} at {tokens(length)} tokens, on both sides of the window of {tokens(trained)}: loss, nats per token",
        "Method",
        (INSIDE, BEYOND, f"beyond it, minus {lowest or 'the lowest'}"),
        tuple(lines),
        column_units=("nats", "nats", "nats difference"),
        notes=(
            MARKS_NOTE.replace("below the highest", "above the lowest") + " Marks are for the loss beyond the window.",
            "The same documents on both sides; a document is a sample.",
        ),
        at_length=length,
        shows_n=True,
    )
