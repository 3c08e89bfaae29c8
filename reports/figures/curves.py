"""Score against length: the average over the long-context tests, and each category of tests.

As all figures here, it returns a Figure inside `style.drawing`, or None where the store has nothing to draw; `narrow`
lays the same figure out for a phone.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.frame import Test
from reports.numbers.over_lengths import OTHER_TESTS, shared
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary

CATEGORY_TITLES = {"retrieval": "Retrieval", "tracking": "Tracking", "counting": "Counting", "qa": "Questions"}


def curves(scores: Scores, summary: Summary, narrow: bool = False) -> Figure | None:
    """Score against length: the average with the methods' names, and one small panel for each category.

    Every panel averages the tests that all its lengths share.
    """
    if summary.grid.empty:
        return None
    category = dict(zip(scores.frames.cells["task"], scores.frames.cells["category"], strict=True))
    present = [
        name for name in CATEGORY_TITLES if any(category[task] == name for tests in summary.tests for task, _ in tests)
    ]
    panels = present if len(present) > 1 else []
    figure, main, places = _layout(style.label_room(scores.frames.labels), len(panels), narrow)
    ends = _curve(main, scores, summary.lengths, summary.tests, bands=True)
    main.set_title("Average over long tests, %")
    if not narrow:
        main.set_xlabel("Length, tokens")
    small = figure.add_gridspec(max(1, math.ceil(len(panels) / 2)), 2, **places) if panels else None
    for i, name in enumerate(panels):
        assert small is not None
        axes = figure.add_subplot(small[i // 2, i % 2])
        chosen = [tuple(test for test in tests if category[test[0]] == name) for tests in summary.tests]
        _curve(axes, scores, summary.lengths, chosen, bands=False)
        axes.set_title(CATEGORY_TITLES[name])
    style.label_ends(main, ends)
    return figure


def _layout(room: float, panels: int, narrow: bool) -> tuple[Figure, Axes, dict[str, float]]:
    """(figure, large panel, where the small panels stand), with `room` in inches for the names of the lines."""
    if narrow:
        rows = math.ceil(panels / 2)
        height = 3.1 + 1.6 * rows
        figure = Figure(figsize=(style.NARROW, height))
        main = figure.add_axes((0.09, 1 - 2.55 / height, 0.91 - room / style.NARROW, 2.3 / height))
        small = dict(left=0.09, right=0.985, bottom=0.35 / height, top=1 - 3.35 / height, wspace=0.25, hspace=0.5)
    else:
        figure = Figure(figsize=(style.WIDE, 4.0))
        middle = (4.9 if panels else 9.4 - room) / 9.4  # where the large panel ends
        main = figure.add_axes((0.35 / 9.4, 0.12, middle - 0.35 / 9.4, 0.80))
        small = dict(left=middle + (room + 0.35) / 9.4, right=0.995, bottom=0.12, top=0.92, wspace=0.25, hspace=0.38)
    return figure, main, small


def _curve(
    axes: Axes, scores: Scores, lengths: Sequence[int], tests: Sequence[Sequence[Test]], bands: bool
) -> list[style.End]:
    """Draw all methods; returns where the lines end."""
    families = scores.frames.families
    colour, marker = style.colours_of(scores.frames), style.markers(families)
    dashes = style.dashes(families)
    ends = []
    alike = shared(tests)
    if not any(alike):
        words = "not known:\n" + OTHER_TESTS.replace(" at ", "\nat ")
        axes.text(
            0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=8, color=style.MUTED,
            backgroundcolor=style.PAPER,
        )  # fmt: skip
    for i, label in enumerate(scores.frames.labels):
        numbers = [scores.average(label, chosen).estimate if chosen else None for chosen in alike]
        mean = [math.nan if e is None else 100 * e.mean for e in numbers]
        (line,) = axes.plot(
            lengths, mean, color=colour[label], marker=marker[label], linestyle=dashes[label],
            markerfacecolor=colour[label] if families[label] == label else style.PAPER,
            linewidth=1.7 if bands else 1.3, markersize=4 if bands else 3,
        )  # fmt: skip
        style.tag(line, i)
        if bands:
            low = [math.nan if e is None or e.low is None else 100 * e.low for e in numbers]
            high = [math.nan if e is None or e.high is None else 100 * e.high for e in numbers]
            style.tag(axes.fill_between(lengths, low, high, color=colour[label], alpha=0.12, linewidth=0), i)
        last = [(x, y) for x, y in zip(lengths, mean, strict=True) if not math.isnan(y)]
        if last:
            ends.append(style.End(i, label, float(last[-1][0]), last[-1][1], colour[label]))
    style.length_axis(axes, lengths, scores.frames.trained_length, named=bands)
    axes.set_ylim(-9 if bands else -3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    return ends
