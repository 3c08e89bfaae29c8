"""The figures of a report: scores and losses over length and position, and the plans themselves.

Each function returns a Figure inside `style.drawing`, or None where the store has nothing to draw. `narrow` lays the
same figure out for a phone.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.frame import Frames
from reports.numbers.over_lengths import OTHER_TESTS, shared
from reports.numbers.scores import Scores, Test
from reports.numbers.tables import Summary, original

CATEGORY_TITLES = {"retrieval": "Retrieval", "tracking": "Tracking", "counting": "Counting", "qa": "Questions"}
Colours = Mapping[str, str]


def looks(scores: Scores) -> tuple[dict[str, str], dict[str, str]]:
    """Colours and markers of the methods; a method's trained selves have its own."""
    families = scores.frames.families
    return style.colours(families, original(scores)), style.markers(families)


def curves(scores: Scores, found: Summary, narrow: bool = False) -> Figure | None:
    """Score against length: the average with the methods' names, and one small panel for each category.

    Every panel averages the tests that all its lengths share.
    """
    if found.grid.empty:
        return None
    category = dict(zip(scores.frames.cells["task"], scores.frames.cells["category"], strict=True))
    present = [
        name for name in CATEGORY_TITLES if any(category[task] == name for tests in found.tests for task, _ in tests)
    ]
    panels = present if len(present) > 1 else []
    room = style.label_room(scores.frames.labels)
    if narrow:
        rows = math.ceil(len(panels) / 2)
        height = 3.1 + 1.6 * rows
        figure = Figure(figsize=(style.NARROW, height))
        main = figure.add_axes((0.09, 1 - 2.55 / height, 0.91 - room / style.NARROW, 2.3 / height))
        places = dict(left=0.09, right=0.985, bottom=0.35 / height, top=1 - 3.35 / height, wspace=0.25, hspace=0.5)
    else:
        figure = Figure(figsize=(style.WIDE, 4.0))
        middle = (4.9 if panels else 9.4 - room) / 9.4  # where the large panel ends
        main = figure.add_axes((0.35 / 9.4, 0.12, middle - 0.35 / 9.4, 0.80))
        places = dict(left=middle + (room + 0.35) / 9.4, right=0.995, bottom=0.12, top=0.92, wspace=0.25, hspace=0.38)
    ends = _curve(main, scores, found.lengths, found.tests, bands=True)
    main.set_title("Average over long tests, %")
    if not narrow:
        main.set_xlabel("Length, tokens")
    small = figure.add_gridspec(max(1, math.ceil(len(panels) / 2)), 2, **places) if panels else None
    for i, name in enumerate(panels):
        assert small is not None
        axes = figure.add_subplot(small[i // 2, i % 2])
        chosen = [tuple(test for test in tests if category[test[0]] == name) for tests in found.tests]
        _curve(axes, scores, found.lengths, chosen, bands=False)
        axes.set_title(CATEGORY_TITLES[name])
    style.label_ends(main, ends)
    return figure


def _curve(
    axes: Axes, scores: Scores, lengths: Sequence[int], tests: Sequence[Sequence[Test]], bands: bool
) -> list[style.End]:
    """Draw all methods; returns where the lines end."""
    colour, marker = looks(scores)
    families = scores.frames.families
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
    length_axis(axes, lengths, scores.frames.trained_length, named=bands)
    axes.set_ylim(-9 if bands else -3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    return ends


def length_axis(axes: Axes, lengths: Sequence[int], trained: int, named: bool = True) -> None:
    """A length axis in powers of two with a line where training ended."""
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(list(lengths), [short(length) for length in lengths])
    if trained and lengths and min(lengths) <= trained <= max(lengths):
        axes.axvline(trained, color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
        if named:
            note(axes, "trained length", trained, 0, 4, 3, style.MUTED)


def note(axes: Axes, text: str, x: float, y: float, right: float, up: float, colour: str) -> None:
    """A small remark at data x and axes fraction y, moved by points."""
    coords = ("data", "axes fraction")
    axes.annotate(text, (x, y), (right, up), xycoords=coords, textcoords="offset points", fontsize=8, color=colour)


def short(length: int) -> str:
    """4096 as 4k, where it is a whole number of them."""
    return f"{length // 1024}k" if length >= 1024 and length % 1024 == 0 else str(length)


def loss_by_position(scores: Scores, task: str, narrow: bool = False) -> tuple[Figure, int] | None:
    """Mean loss by position in the document at the longest length that has curves; returns that length as well."""
    rows = scores.frames.rows[scores.frames.rows["task"] == task]
    curve = rows["extra"].map(_curve_of)
    rows = rows.assign(curve=curve)[curve.notna()]
    if rows.empty:
        return None
    length = int(rows["length"].max())
    rows = rows[rows["length"] == length]
    colour, _ = looks(scores)
    figure = Figure(figsize=(style.NARROW, 2.7) if narrow else (style.WIDE, 3.4))
    axes = figure.subplots()
    ends = []
    for i, label in enumerate(scores.frames.labels):
        found = list(rows[rows["label"] == label]["curve"])
        found = [(edges, loss) for edges, loss in found if edges == found[0][0]]
        if not found:
            continue
        edges = np.array(found[0][0], dtype=float)
        loss = np.mean([values for _, values in found], axis=0)
        middle = np.sqrt(np.maximum(edges[:-1], 1) * edges[1:]) if edges[-1] > 0 else edges[1:]
        style.tag(axes.plot(middle, loss, color=colour[label])[0], i)
        ends.append(style.End(i, label, float(middle[-1]), float(loss[-1]), colour[label]))
    powers = [2**k for k in range(4, 24, 2 if narrow else 1) if 2**k <= length]
    length_axis(axes, powers, scores.frames.trained_length)
    axes.set_xlabel("Position in the document, tokens")
    axes.set_ylabel("Loss, nats per token")
    style.margins(figure, 0.5, style.label_room(scores.frames.labels), 0.42, 0.1)
    style.label_ends(axes, ends)
    return figure, length


def _curve_of(extra: Any) -> tuple[list[float], list[float]] | None:
    """(edges, loss) of a row, or None when it has no usable curve."""
    curve = extra.get("curve") if isinstance(extra, dict) else None
    if not isinstance(curve, dict):
        return None
    edges, loss = curve.get("edges"), curve.get("loss")
    if not (isinstance(edges, list) and isinstance(loss, list) and len(edges) == len(loss) + 1 and loss):
        return None
    good = all(isinstance(v, int | float) and math.isfinite(v) for v in edges + loss)
    return (edges, loss) if good else None


def rescale_factors(frames: Frames, colour: Colours, narrow: bool = False) -> Figure | None:
    """λ_i of every rotary pair at the target length, above the share of each pair's period that training has seen."""
    rope = frames.run.get("model", {}).get("rope", {})
    trained = rope.get("inv_freq") or []
    methods = list(frames.run["methods"])
    plans = [target_plan(method, frames.target_length) for method in methods]
    drawn = [i for i, plan in enumerate(plans) if plan and trained and len(plan["inv_freq"]) == len(trained)]
    if not drawn:
        return None
    alike: dict[tuple[float, ...], list[int]] = {}  # a method and its trained selves have one plan and so one line
    for i in drawn:
        alike.setdefault(tuple((plans[i] or {})["inv_freq"]), []).append(i)
    pairs = np.arange(len(trained))
    figure = Figure(figsize=(style.NARROW, 4.2) if narrow else (style.WIDE, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
    ends, stopped = [], {}
    for planned, same in alike.items():
        i, label = same[0], methods[same[0]]["label"]
        factors = [t / p if p else (math.nan if t else 1.0) for t, p in zip(trained, planned, strict=True)]
        stopped[i] = [pair for pair, value in enumerate(factors) if math.isnan(value)]
        style.tag(upper.step(pairs, factors, where="mid", color=colour[label], linewidth=1.7)[0], i)
        words = label if len(same) == 1 else f"{label} (and {len(same) - 1} alike)"
        ends.append(style.End(i, words, float(pairs[-1]), factors[-1], colour[label]))
        if (found := critical_of(methods[i])) is not None:
            line = upper.axvline(found, color=colour[label], linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=1)
            style.tag(line, i)
    factor = frames.target_length / frames.trained_length if frames.trained_length else 1.0
    upper.set_yscale("log", base=2)
    upper.minorticks_off()
    upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    upper.axhline(factor, color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    words = f"factor {factor:g}" if narrow else f"target ÷ trained length = {factor:g}"
    place = {"xytext": (2, 4), "textcoords": "offset points", "fontsize": 8, "color": style.MUTED}
    upper.annotate(words, (0, factor), **place)
    upper.set_ylabel("Rescale factor λ")
    upper.set_ylim(top=upper.get_ylim()[1] * 1.7)
    ends = _with_stopped(upper, ends, {i: places for i, places in stopped.items() if places})
    share = [frames.trained_length * frequency / (2 * math.pi) for frequency in trained]
    lower.bar(pairs, [min(value, 1.0) * 100 for value in share], color=style.NEUTRAL, width=0.8)
    lower.set_ylim(0, 105)
    lower.set_yticks([0, 50, 100])
    lower.set_ylabel("Seen, %" if narrow else "Period seen, %")
    lower.set_xlabel("Rotary pair (0 turns fastest)")
    critical = rope.get("critical_pair")
    if isinstance(critical, int | float):
        for axes in (upper, lower):
            axes.axvline(critical - 0.5, color=style.INK, linewidth=0.9, linestyle=(0, (3, 3)))
        theory = f"critical pair {critical:g}" if narrow else f"critical pair {critical:g} (theory)"
        note(upper, theory, critical - 0.5, 1, -70 if narrow and critical > len(trained) / 2 else 5, -9, style.INK)
    style.margins(figure, 0.5, style.label_room([end.label for end in ends]), 0.42, 0.12, 0.15)
    style.label_ends(upper, ends)
    return figure


def _with_stopped(upper: Axes, ends: Sequence[style.End], stopped: Mapping[int, Sequence[int]]) -> list[style.End]:
    """Mark the pairs that methods stop (λ = ∞) above all lines, one row a method; the ends, with those of such rows."""
    top = 2 * upper.get_ylim()[1]
    rows = {i: top / 1.25**row for row, i in enumerate(stopped)}
    moved = []
    for end in ends:
        if (places := stopped.get(end.method)) is None:
            moved.append(end)
            continue
        line = upper.plot(places, [rows[end.method]] * len(places), "^", color=end.colour, markersize=4)[0]
        style.tag(line, end.method)
        moved.append(dataclasses.replace(end, y=rows[end.method]) if math.isnan(end.y) else end)
    if stopped:
        first, last, lowest = min(map(min, stopped.values())), upper.get_xlim()[1], min(rows.values())
        words: dict[str, Any] = {"xytext": (0, -12), "textcoords": "offset points", "fontsize": 8, "color": style.MUTED}
        upper.annotate("stopped (λ = ∞)", (first, lowest), ha="right" if first > last / 2 else "left", **words)
        upper.set_ylim(top=2.2 * top)
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}" if value < lowest / 1.5 else "")
    return moved


def critical_of(method: Mapping[str, Any]) -> float | None:
    """The critical pair that a method was given or has found; None where it uses none or the theory's."""
    value = (method.get("parameters") or {}).get("critical_pair")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def target_plan(method: Mapping[str, Any], target: int) -> dict[str, Any] | None:
    """The plan of a method at the target length, or at the longest length below it."""
    plans = {int(length): plan for length, plan in (method.get("plans") or {}).items()}
    lengths = [length for length in plans if length <= target] or list(plans)
    return plans[max(lengths)] if lengths else None
