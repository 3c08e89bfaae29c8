"""The figures of a report. Each function returns a complete SVG, or None where the store has nothing to draw."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reports import style
from reports.frame import Frames
from reports.grid import Grid
from reports.results import Summary, original, tokens
from reports.scores import Scores, Test

CATEGORY_TITLES = {"retrieval": "Retrieval", "tracking": "Tracking", "counting": "Counting", "qa": "Questions"}
HEAT_DEPTHS = 12  # more depths than this are binned
Looks = tuple[dict[str, str], dict[str, str]]


def looks(scores: Scores) -> Looks:
    labels = scores.frames.labels
    return style.colours(labels, original(scores)), style.markers(labels)


def curves(scores: Scores, found: Summary) -> str | None:
    """Score against length: the average at the left with the methods' names, one small panel for each category."""
    if found.grid.empty:
        return None
    category = dict(zip(scores.frames.cells["task"], scores.frames.cells["category"], strict=True))
    present = [
        name for name in CATEGORY_TITLES if any(category[task] == name for tests in found.tests for task, _ in tests)
    ]
    panels = present if len(present) > 1 else []
    with style.drawing("curves"):
        figure = Figure(figsize=(9.4, 4.0))
        room = style.label_room(scores.frames.labels)
        middle = (4.9 if panels else 9.4 - room) / 9.4  # where the large panel ends
        main = figure.add_axes((0.35 / 9.4, 0.12, middle - 0.35 / 9.4, 0.80))
        ends = _curve(main, scores, found.lengths, found.tests, bands=True)
        main.set_title("Average over long tests, %")
        main.set_xlabel("Length, tokens")
        small = figure.add_gridspec(
            2, 2, left=middle + (room + 0.35) / 9.4, right=0.995, bottom=0.12, top=0.92, wspace=0.25, hspace=0.38
        )
        for i, name in enumerate(panels):
            axes = figure.add_subplot(small[i // 2, i % 2])
            chosen = [tuple(test for test in tests if category[test[0]] == name) for tests in found.tests]
            _curve(axes, scores, found.lengths, chosen, bands=False)
            axes.set_title(CATEGORY_TITLES[name])
        style.label_ends(main, ends)
        return style.to_svg(figure)


def _curve(
    axes: Axes, scores: Scores, lengths: Sequence[int], tests: Sequence[Sequence[Test]], bands: bool
) -> list[tuple[str, float, float, str]]:
    """Draw all methods; returns where the lines end."""
    colour, marker = looks(scores)
    ends = []
    for label in scores.frames.labels:
        numbers = [scores.average(label, chosen).estimate if chosen else None for chosen in tests]
        mean = [math.nan if e is None else 100 * e.mean for e in numbers]
        axes.plot(
            lengths,
            mean,
            color=colour[label],
            marker=marker[label],
            linewidth=1.7 if bands else 1.3,
            markersize=4 if bands else 3,
        )
        if bands:
            low = [math.nan if e is None or e.low is None else 100 * e.low for e in numbers]
            high = [math.nan if e is None or e.high is None else 100 * e.high for e in numbers]
            axes.fill_between(lengths, low, high, color=colour[label], alpha=0.12, linewidth=0)
        last = [(x, y) for x, y in zip(lengths, mean, strict=True) if not math.isnan(y)]
        if last:
            ends.append((label, float(last[-1][0]), last[-1][1], colour[label]))
    _lengths(axes, lengths, scores.frames.trained_length, named=bands)
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    return ends


def _lengths(axes: Axes, lengths: Sequence[int], trained: int, named: bool = True) -> None:
    """A length axis in powers of two with a line where training ended."""
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(list(lengths), [_short(length) for length in lengths])
    if trained and lengths and min(lengths) <= trained <= max(lengths):
        axes.axvline(trained, color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
        if named:
            _note(axes, "trained length", trained, 1, 4, -9, style.MUTED)


def _note(axes: Axes, text: str, x: float, y: float, right: float, up: float, colour: str) -> None:
    """A small remark at data x and axes fraction y, moved by points."""
    coords = ("data", "axes fraction")
    axes.annotate(text, (x, y), (right, up), xycoords=coords, textcoords="offset points", fontsize=8, color=colour)


def _short(length: int) -> str:
    return f"{length // 1024}k" if length >= 1024 and length % 1024 == 0 else str(length)


def heat_maps(scores: Scores, task: str) -> str | None:
    """Depth × length for every method, side by side on one scale."""
    frames = scores.frames
    rows = frames.rows[(frames.rows["task"] == task) & frames.rows["depth"].notna()]
    planned = frames.cells[frames.cells["task"] == task]
    lengths = sorted(int(length) for length in planned["length"].unique())
    if rows.empty:
        return None
    depth = rows["depth"].astype(float).clip(0, 1).round(4)
    if depth.nunique() > HEAT_DEPTHS:
        depth = ((depth * 10).clip(upper=9.999) // 1) / 10
    levels = sorted(depth.unique())
    means = rows.assign(depth=depth).groupby(["label", "depth", "length"])["score"].mean()
    failed = {(c.label, int(c.length)) for c in planned.itertuples() if c.status == "failed"}
    per_row = min(3, len(frames.labels))
    rows_of_panels = math.ceil(len(frames.labels) / per_row)
    with style.drawing(f"heat {task}"):
        height = 0.1 + rows_of_panels * (0.5 + 0.17 * len(levels))
        figure = Figure(figsize=(9.4 if per_row > 1 else 4.2, height))
        panels = figure.subplots(rows_of_panels, per_row, squeeze=False)
        ramp = LinearSegmentedColormap.from_list("score", [style.LOW, style.MIDDLE, style.HIGH])
        for i, axes in enumerate(panels.flat):
            if i >= len(frames.labels):
                axes.axis("off")
                continue
            label = frames.labels[i]
            _heat(axes, ramp, [[float(means.get((label, d, n), math.nan)) for n in lengths] for d in levels],
                  [(label, n) in failed for n in lengths])  # fmt: skip
            axes.set_title(label)
            axes.set_xticks(range(len(lengths)), [_short(n) for n in lengths])
            axes.set_yticks(range(len(levels)), [f"{100 * d:.0f}" for d in levels], fontsize=7)
            if i % per_row == 0:
                axes.set_ylabel("Depth, %")
        style.margins(figure, 0.5, 0.05, 0.3, 0.3, 0.5)
        return style.to_svg(figure)


def _heat(axes: Axes, ramp: LinearSegmentedColormap, values: list[list[float]], failed: list[bool]) -> None:
    """One heat map of rectangles; a place without a result stays empty and says so."""
    from matplotlib.patches import Rectangle

    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(-0.5, len(values[0]) - 0.5)
    axes.set_ylim(len(values) - 0.5, -0.5)
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            empty = math.isnan(value)
            face = "none" if empty else ramp(value)
            axes.add_patch(
                Rectangle(
                    (x - 0.47, y - 0.45),
                    0.94,
                    0.9,
                    facecolor=face,
                    edgecolor=style.RULE if empty else "none",
                    linewidth=0.6,
                )
            )
            text = ("×" if failed[x] else "–") if empty else f"{100 * value:.0f}"
            ink = style.MUTED if empty else ("#ffffff" if value < 0.18 or value > 0.82 else "#22262b")
            axes.text(x, y, text, ha="center", va="center_baseline", fontsize=7, color=ink)


def loss_by_position(scores: Scores, task: str) -> tuple[str, int] | None:
    """Mean loss by position in the document at the longest length that has curves; returns the SVG and that length."""
    rows = scores.frames.rows[scores.frames.rows["task"] == task]
    curve = rows["extra"].map(_curve_of)
    rows = rows.assign(curve=curve)[curve.notna()]
    if rows.empty:
        return None
    length = int(rows["length"].max())
    rows = rows[rows["length"] == length]
    colour, _ = looks(scores)
    with style.drawing(f"position {task}"):
        figure = Figure(figsize=(9.4, 3.4))
        axes = figure.subplots()
        ends = []
        for label in scores.frames.labels:
            found = list(rows[rows["label"] == label]["curve"])
            found = [(edges, loss) for edges, loss in found if edges == found[0][0]]
            if not found:
                continue
            edges = np.array(found[0][0], dtype=float)
            loss = np.mean([values for _, values in found], axis=0)
            middle = np.sqrt(np.maximum(edges[:-1], 1) * edges[1:]) if edges[-1] > 0 else edges[1:]
            axes.plot(middle, loss, color=colour[label])
            ends.append((label, float(middle[-1]), float(loss[-1]), colour[label]))
        powers = [2**k for k in range(4, 24) if 2**k <= length]
        _lengths(axes, powers, scores.frames.trained_length)
        axes.set_xlabel("Position in the document, tokens")
        axes.set_ylabel("Loss, nats per token")
        style.margins(figure, 0.5, style.label_room(scores.frames.labels), 0.42, 0.1)
        style.label_ends(axes, ends)
        return style.to_svg(figure), length


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


def rescale_factors(frames: Frames, colour: dict[str, str]) -> str | None:
    """λ_i of every rotary pair at the target length, above the share of each pair's period that training has seen."""
    rope = frames.run.get("model", {}).get("rope", {})
    trained = rope.get("inv_freq") or []
    lines = {
        m["label"]: plan["inv_freq"] for m in frames.run["methods"] if (plan := target_plan(m, frames.target_length))
    }
    lines = {label: values for label, values in lines.items() if len(values) == len(trained) and trained}
    if not lines:
        return None
    pairs = np.arange(len(trained))
    with style.drawing("rescale"):
        figure = Figure(figsize=(9.4, 4.6))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
        ends = []
        for label, planned in lines.items():
            factors = [t / p if p else math.nan for t, p in zip(trained, planned, strict=True)]
            upper.step(pairs, factors, where="mid", color=colour[label], linewidth=1.7)
            ends.append((label, float(pairs[-1]), factors[-1], colour[label]))
        factor = frames.target_length / frames.trained_length if frames.trained_length else 1.0
        upper.set_yscale("log", base=2)
        upper.minorticks_off()
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        upper.axhline(factor, color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        upper.annotate(
            f"target ÷ trained length = {factor:g}",
            (0, factor),
            xytext=(2, 4),
            textcoords="offset points",
            fontsize=8,
            color=style.MUTED,
        )
        upper.set_ylabel("Rescale factor λ")
        share = [frames.trained_length * frequency / (2 * math.pi) for frequency in trained]
        lower.bar(pairs, [min(value, 1.0) * 100 for value in share], color=style.NEUTRAL, width=0.8)
        lower.set_ylim(0, 105)
        lower.set_yticks([0, 50, 100])
        lower.set_ylabel("Period seen, %")
        lower.set_xlabel("Rotary pair (0 turns fastest)")
        critical = rope.get("critical_pair")
        if isinstance(critical, int | float):
            for axes in (upper, lower):
                axes.axvline(critical - 0.5, color=style.INK, linewidth=0.9, linestyle=(0, (3, 3)))
            _note(upper, f"critical pair {critical:g} (theory)", critical - 0.5, 0.05, 5, 0, style.INK)
        style.margins(figure, 0.5, style.label_room(list(lines)), 0.42, 0.3, 0.15)
        style.label_ends(upper, ends)
        return style.to_svg(figure)


def target_plan(method: dict[str, Any], target: int) -> dict[str, Any] | None:
    """The plan of a method at the target length, or at the longest length below it."""
    plans = {int(length): plan for length, plan in (method.get("plans") or {}).items()}
    lengths = [length for length in plans if length <= target] or list(plans)
    return plans[max(lengths)] if lengths else None


def cost(totals: pd.DataFrame, colour: dict[str, str]) -> str | None:
    """Bars of seconds, token-forwards and peak memory; `totals` has one line for each method."""
    panels = [
        ("seconds", "Time, s", 1.0),
        ("token_forwards", "Token-forwards, millions", 1e6),
        ("peak_memory_bytes", "Peak memory, GiB", 2.0**30),
    ]
    panels = [panel for panel in panels if totals[panel[0]].notna().any()]
    if not panels:
        return None
    with style.drawing("cost"):
        figure = Figure(figsize=(9.4, 0.8 + 0.27 * len(totals)))
        for axes, (column, title, scale) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            values = (totals[column] / scale).fillna(0.0)
            places = range(len(totals))
            axes.barh(places, values, color=[colour[label] for label in totals.index], height=0.62)
            axes.set_yticks(places, totals.index if axes.get_subplotspec().is_first_col() else [""] * len(totals))
            axes.invert_yaxis()
            axes.grid(False)
            axes.set_xlim(0, float(values.max()) * 1.28 or 1.0)
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)
            for place, value in zip(places, values, strict=True):
                axes.annotate(
                    f"{value:,.0f}" if value >= 100 else f"{value:.3g}",
                    (value, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
            axes.set_title(title)
        style.margins(figure, style.label_room(list(totals.index)), 0.05, 0.08, 0.3, 0.25)
        return style.to_svg(figure)


def short_against_long(kept: Grid | None, found: Summary, column: int, colour: dict[str, str]) -> str | None:
    """Retention in short context (x) against the long average at one length (y), with both intervals."""
    if kept is None or not kept.columns or kept.unit_of(0) != "percent" or found.grid.empty:
        return None
    points = []
    for short, long in zip(kept.lines, found.grid.lines, strict=True):
        if (x := short.numbers[0].estimate) is not None and (y := long.numbers[column].estimate) is not None:
            points.append((short.label, x, y))
    if len(points) < 2:
        return None
    with style.drawing("short against long"):
        figure = Figure(figsize=(6.4, 3.9))
        axes = figure.subplots()
        for label, x, y in points:
            xerr = (
                [[100 * (x.mean - x.low)], [100 * (x.high - x.mean)]]
                if x.low is not None and x.high is not None
                else None
            )
            yerr = (
                [[100 * (y.mean - y.low)], [100 * (y.high - y.mean)]]
                if y.low is not None and y.high is not None
                else None
            )
            axes.errorbar(
                100 * x.mean,
                100 * y.mean,
                xerr=xerr,
                yerr=yerr,
                fmt="o",
                color=colour[label],
                elinewidth=0.9,
                markersize=5,
            )
        axes.set_xlabel(f"Short context kept, % of original ({kept.columns[0]})")
        axes.set_ylabel(f"Long average at {tokens(found.lengths[column])} tokens, %")
        axes.margins(0.12)
        style.margins(figure, 0.5, 0.6, 0.42, 0.1)
        axes.autoscale_view()
        heights = [
            float(axes.transData.transform((100 * x.mean, 100 * y.mean))[1]) * 72 / figure.dpi for _, x, y in points
        ]
        for (label, x, y), height, moved in zip(points, heights, style.spread(heights, 11), strict=True):
            place = (7, moved - height + 6)
            where = (100 * x.mean, 100 * y.mean)
            axes.annotate(label, where, place, textcoords="offset points", fontsize=8.5, color=colour[label])
        return style.to_svg(figure)
