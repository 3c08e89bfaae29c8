"""Loss on both sides of the trained window: a mean over a whole document hides the cliff that lies behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from reports.numbers.best import MARKS_NOTE, Ranked, rank
from reports.numbers.frame import Test
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.numbers.loss_curve import Blocks, blocks_of, curve_of, mean_between
from reports.numbers.scores import Scores
from reports.statistics.blocks import within
from reports.statistics.intervals import SIGNIFICANT, Estimate
from reports.statistics.power import would_settle

INSIDE, BEYOND = "up to the window", "beyond it"
STRETCHES = 16  # of the window; the first behind it shows a cliff that a mean over all positions hides
WITHIN_NOTE = (
    "In these documents: the interval is of runs of neighbouring tokens and speaks of these very documents; the one "
    "before it is over documents and speaks of more of their kind."
)


@dataclass(frozen=True)
class WindowLosses:
    """One perplexity test at its longest length, in nats per token: the same samples, cut at the trained length."""

    test: Test
    inside: Scores
    beyond: Scores
    ranked: Ranked  # line 0 of it is `beyond`
    grid: Grid
    cliff: Grid | None  # loss in stretches before and behind the window, where rows say it

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
    columns = [
        lambda label: inside.number(label, test),
        lambda label: ranked.numbers[0, label],
        lambda label: _against(beyond, label, lowest, test),
        lambda label: _within(beyond, label, lowest, test),
    ]
    has_blocks = any(_blocks(beyond, label, test) for label in scores.frames.labels)
    columns = columns if has_blocks else columns[:3]
    lines = [Line(label, tuple(column(label) for column in columns)) for label in scores.frames.labels]
    file_name = scores.frames.file_names[test[0]]
    grid = _grid(test, file_name, trained, lowest, lines)
    grid = replace(
        grid, notes=(*grid.notes, *_undecided(beyond, ranked, lowest, test), _use_of_far_context(beyond, ranked, test))
    )
    return WindowLosses(test, inside, beyond, ranked, grid, _cliff(scores, test, file_name))


def _undecided(beyond: Scores, ranked: Ranked, lowest: str, test: Test) -> list[str]:
    """Which methods cannot be told from the lowest, and how many documents would settle it, as a note."""
    words = []
    for label in beyond.frames.labels:
        if label == lowest or ranked.numbers[0, label].estimate is None or ranked.p(0, lowest, label) < SIGNIFICANT:
            continue
        settled = would_settle(beyond.compare(label, lowest, [test]), len(ranked.adjusted))
        about = settled.replace("samples", "documents").removesuffix(" a lead of that size") if settled else ""
        words.append(f"{label} ({about} it)" if about else label)
    return [f"Not told apart from {lowest}: {', '.join(words)}."] if words else []


def _use_of_far_context(beyond: Scores, ranked: Ranked, test: Test) -> str:
    """Whether these texts need what stands further back than the window: is anything below a cut context there?"""
    kinds = {str(method["label"]): method.get("extender") for method in beyond.frames.run["methods"]}
    done = [label for label in beyond.frames.labels if ranked.numbers[0, label].estimate is not None]
    cut = next((label for label in done if kinds.get(label) == "sliding_window"), None)
    others = [label for label in done if kinds.get(label) not in ("sliding_window", "none")]
    if cut is None or not others:
        return (
            "Whether these texts have any use for far context is not known here: add the method sliding_window, the "
            "model on its last window alone."
        )
    best = min(others, key=lambda label: _mean(ranked.numbers[0, label]))
    gap = beyond.compare(best, cut, [test])
    where = f"beyond the window {best}, the lowest, has {gap.difference:+.3f} nats against {cut}"
    if gap.low is not None and gap.high is not None:
        where += f" [{gap.low:+.3f}, {gap.high:+.3f}]"
        if gap.high < 0:
            return f"Far context helps on these texts: {where}."
    if gap.difference < 0:
        return f"Whether far context helps on these texts is not shown: {where}."
    return f"These texts have no use for far context, so these losses say nothing about long context: {where}."


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


def _blocks(beyond: Scores, label: str, test: Test) -> dict[tuple[int, int], Blocks]:
    """The blocks beyond the window of each document of a method, by seed and sample; those that have none are left
    out."""
    rows = beyond.frames.rows
    rows = rows[(rows["label"] == label) & (rows["task"] == test[0]) & (rows["length"] == test[1])]
    found = {}
    for seed, sample, extra in zip(rows["seed"], rows["sample"], rows["extra"], strict=True):
        blocks = blocks_of(extra)
        part = blocks.between(beyond.frames.trained_length, blocks.edges[-1]) if blocks else None
        if part is not None:
            found[int(seed), int(sample)] = part
    return found


def _within(beyond: Scores, label: str, lowest: str, test: Test) -> Number:
    """The same difference with an interval for these very documents, from blocks."""
    if label == lowest:
        return Number(None, "done", "the lowest loss itself")
    mine, theirs = (_blocks(beyond, one, test) for one in (label, lowest))
    both = [place for place in mine if place in theirs and mine[place].edges == theirs[place].edges]
    if not both:
        return Number(None, "missing", "the rows of one of the two hold no blocks")
    gaps = [np.array(mine[place].loss) - np.array(theirs[place].loss) for place in both]
    gap = within(gaps, [np.array(mine[place].sizes, dtype=np.float64) for place in both])
    return Number(replace(gap, n=len(both)), "done")


def _cliff(scores: Scores, test: Test, file_name: str) -> Grid | None:
    """Loss in the last sixteenth of the window, in the first one behind it, and in stretches that double from there."""
    trained, step = scores.frames.trained_length, scores.frames.trained_length // STRETCHES
    bounds = [trained - step, trained]
    while bounds[-1] < test[1]:
        bounds.append(min(test[1], trained + max(step, 2 * (bounds[-1] - trained))))
    parts = [(low, high, _between(scores, test, low, high)) for low, high in pairwise(bounds)]
    known = [(low, high, part) for low, high, part in parts if part is not None]
    if len(known) < len(parts) or step < 1:
        return None
    lines = [Line(label, tuple(part.number(label, test) for _, _, part in known)) for label in scores.frames.labels]
    task, length = test
    return Grid(
        f"cliff-{file_name}",
        f"{task} at {tokens(length)} tokens, by position: loss, nats per token; the window ends at {tokens(trained)}",
        "Method",
        tuple(f"{tokens(low)} to {tokens(high)}" for low, high, _ in known),
        tuple(lines),
        unit="nats",
        notes=("Positions in tokens. The same documents in every column; brackets: 95 % interval over documents.",),
        at_length=length,
        shows_n=True,
    )


def _grid(test: Test, file_name: str, trained: int, lowest: str, lines: Sequence[Line]) -> Grid:
    task, length = test
    columns = len(lines[0].numbers) if lines else 3
    return Grid(
        f"window-{file_name}",
        f"{task} at {tokens(length)} tokens, on both sides of the window of {tokens(trained)}: loss, nats per token",
        "Method",
        (INSIDE, BEYOND, f"beyond it, minus {lowest or 'the lowest'}", "the same, in these documents")[:columns],
        tuple(lines),
        column_units=("nats", "nats", "nats difference", "nats difference")[:columns],
        notes=(
            MARKS_NOTE.replace("below the highest", "above the lowest") + " Marks are for the loss beyond the window.",
            "The same documents on both sides; a document is a sample.",
            *([WITHIN_NOTE] if columns > 3 else []),
        ),
        at_length=length,
        shows_n=True,
    )
