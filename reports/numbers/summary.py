"""The summary: every method's average over the long-context tests. One `Column` for each length, made in `columns`.

A further column is one more `Column` at the end of what `columns` returns; the page and the files follow. It joins
Holm's correction over the whole table, as every column does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.numbers.best import MARKS_NOTE, Ranked, rank
from reports.numbers.decided import stopping_notes
from reports.numbers.frame import Test
from reports.numbers.grid import Grid, Line, tokens
from reports.numbers.scores import Scores
from reports.numbers.telling_apart import at_the_floor


@dataclass(frozen=True)
class Column:
    """An average over tests, which are the same for every method. `length` is in tokens; 0 where there are several."""

    head: str
    note: str  # below the head
    tests: tuple[Test, ...]
    length: int = 0


@dataclass(frozen=True)
class Summary:
    """Methods over lengths, and what the answer in words is made from."""

    grid: Grid
    lengths: tuple[int, ...]  # of the first columns
    tests: tuple[tuple[Test, ...], ...]  # for each length, the tests that the average is over
    ranked: Ranked


def columns(scores: Scores) -> list[Column]:
    """The columns of the summary. Those of single lengths come first, shortest length first."""
    planned = scores.tests("score")
    lengths = sorted({length for _, length in planned})
    return [_at_length(scores, [test for test in planned if test[1] == length], length) for length in lengths]


def _at_length(scores: Scores, tests: Sequence[Test], length: int) -> Column:
    """All methods are averaged over the same tests: those that every method with at least half of the tests has
    finished. A method with fewer has no average."""
    labels = scores.frames.labels
    done = {label: {test for test in tests if scores.number(label, test).estimate} for label in labels}
    enough = [label for label in labels if done[label] and 2 * len(done[label]) >= len(tests)]
    common = tuple(test for test in tests if enough and all(test in done[label] for label in enough))
    note = f"{len(common)} test{'s' * (len(common) != 1)}"
    if len(common) != len(tests):
        note = f"{len(common)} of {len(tests)} tests"
    floor = at_the_floor(scores)
    low = sum(task in floor for task, _ in common or tests)
    note += f", {low} at the floor" if low else ""
    return Column(tokens(length), note, common or tuple(tests), length)


def summary(scores: Scores) -> Summary:
    """The table, with every pair of methods tested in every column."""
    listed = columns(scores)
    ranked = rank(scores, [column.tests for column in listed])
    lines = tuple(
        Line(label, tuple(ranked.numbers[i, label] for i in range(len(listed)))) for label in scores.frames.labels
    )
    grid = Grid(
        "summary",
        "Average over the long-context tests, %",
        "Method",
        tuple(column.head for column in listed),
        lines,
        column_notes=tuple(column.note for column in listed),
        notes=(
            MARKS_NOTE,
            "Every test has equal weight; all methods are averaged over the same tests.",
            *floor_notes(scores),
            *stopping_notes(scores.frames),
            *_luck_notes(scores, [column.tests for column in listed]),
        ),
        lengths=tuple(column.length for column in listed),
        shows_n=True,
    )
    of_lengths = [column for column in listed if column.length]
    return Summary(
        grid, tuple(column.length for column in of_lengths), tuple(column.tests for column in of_lengths), ranked
    )


def floor_notes(scores: Scores) -> list[str]:
    """Which tests say nothing about methods, though averages hold them."""
    low = at_the_floor(scores)
    if not low:
        return []
    return [f"At the floor, no better than chance inside the window, and part of the averages: {', '.join(low)}."]


def _luck_notes(scores: Scores, columns: Sequence[Sequence[Test]]) -> list[str]:
    """What the intervals of trained methods know of the luck of training."""
    trained = [str(m["label"]) for m in scores.frames.run["methods"] if isinstance(m.get("training"), dict)]
    several = [label for label in trained if scores.by_seed(label)]
    notes = []
    if several:
        named = ", ".join(several) if len(several) < len(trained) else "the trained methods"
        notes.append(f"Intervals of {named} go by the means of the trained seeds.")
    if ratios := [100 * luck.ratio for tests in columns if (luck := scores.luck(tuple(tests)))]:
        notes.append(
            "Their differences are tested with an error pooled over the trained methods: the luck of training adds "
            f"{_range(ratios)} % to the variance between seeds that samples explain (taken to be alike for all, unless "
            "a pair's own seeds vary more)."
        )
    if len(several) < len(trained):
        notes.append("Trained with one seed, a method's interval knows nothing of the luck of training.")
    return notes


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"
