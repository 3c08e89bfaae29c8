"""What is paid and what is got: cost of each method, short against long context, score against cost, and what each part
of a method adds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.curves import critical_of
from reports.numbers.frame import Frames
from reports.numbers.grid import Grid, Number
from reports.numbers.scores import Scores
from reports.numbers.searches_and_trainings import Search, Training
from reports.numbers.tables import Summary, tokens
from reports.statistics import pareto
from reports.statistics.intervals import Estimate
from reports.statistics.paired import Comparison

Colours = Mapping[str, str]
PANELS = (
    ("total_seconds", "Time, s", 1.0),
    ("total_token_forwards", "Token-forwards, millions", 1e6),
    ("peak_memory_bytes", "Peak memory, GiB", 2.0**30),
)


def cost_totals(frames: Frames, searches: Sequence[Search] = (), trainings: Sequence[Training] = ()) -> pd.DataFrame:
    """One line for each method: cells done and planned; seconds and token-forwards of evaluation, of search (search_…)
    and of one training (training_…, the mean over its seeds), the sums (total_…), highest peak memory in bytes.

    NaN: not known; a method that was neither searched nor trained has NaN there and adds nothing. A trained method has
    had the search of its untrained self, and those of the earlier stages of its training.
    """
    cells = frames.cells
    groups = cells.groupby("label")
    totals = pd.DataFrame(
        {
            "done": (cells["status"] == "done").groupby(cells["label"]).sum(),
            "planned": groups.size(),
            "seconds": groups["seconds"].sum(min_count=1),
            "token_forwards": groups["token_forwards"].sum(min_count=1),
            "peak_memory_bytes": groups["peak_memory_bytes"].max(),
        }
    ).reindex(frames.labels)
    for name in ("seconds", "token_forwards"):
        for label in totals.index:
            searched = [one.cost(name) for one in _searches_of(label, frames.families[label], searches)]
            trained = [one.cost(name) for one in trainings if one.label == label]
            totals.loc[label, f"search_{name}"] = sum(searched) if searched else math.nan
            totals.loc[label, f"training_{name}"] = sum(trained) / len(trained) if trained else math.nan
    for name in ("seconds", "token_forwards"):
        parts = totals[[name, f"search_{name}", f"training_{name}"]]
        totals[f"total_{name}"] = parts.sum(axis=1, min_count=1)
    totals.index.name = "label"
    return totals


def _searches_of(label: str, untrained: str, searches: Sequence[Search]) -> list[Search]:
    return [one for one in searches if one.label in (label, untrained) or label in one.stage_of]


def cost(totals: pd.DataFrame, colour: Colours, narrow: bool = False) -> Figure | None:
    """Bars of time, token-forwards and peak memory; search and training are the darker part."""
    panels = [panel for panel in PANELS if totals[panel[0]].notna().any()]
    if not panels:
        return None
    room = style.label_room(list(totals.index))
    if narrow:
        figure = Figure(figsize=(style.NARROW, len(panels) * (0.45 + 0.24 * len(totals))))
        axes_of = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    else:
        figure = Figure(figsize=(style.WIDE, 0.8 + 0.27 * len(totals)))
        axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for k, (axes, (column, title, scale)) in enumerate(zip(axes_of, panels, strict=True)):
        named = narrow or k == 0
        _bars(axes, totals, column, scale, colour, list(totals.index) if named else [""] * len(totals))
        axes.set_title(title)
    style.margins(figure, room, 0.05, 0.08, 0.3, 0.32 if narrow else 0.25)
    return figure


def _bars(axes: Axes, totals: pd.DataFrame, column: str, scale: float, colour: Colours, names: list[str]) -> None:
    values = (totals[column] / scale).fillna(0.0)
    before = pd.Series(0.0, index=totals.index)
    if column.startswith("total_"):
        name = column.removeprefix("total_")
        before = totals[[f"search_{name}", f"training_{name}"]].sum(axis=1) / scale
    for place, (label, value) in enumerate(values.items()):
        style.tag(axes.barh(place, value, color=colour[str(label)], height=0.62, alpha=0.55)[0], place)
        if before[label] > 0:
            style.tag(axes.barh(place, before[label], color=colour[str(label)], height=0.62)[0], place)
        known = not math.isnan(totals[column].iloc[place])
        text = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") if known else "not measured"
        where: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        style.tag(axes.annotate(text, (value, place), **where), place)
    axes.set_yticks(range(len(totals)), names)
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_xlim(0, float(values.max()) * 1.28 or 1.0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


@dataclass(frozen=True)
class Point:
    """A method in a trade-off; higher is better on both axes unless the axis says otherwise."""

    method: int
    label: str
    x: Estimate
    y: Estimate


def short_and_long(kept: Grid | None, found: Summary, column: int, labels: Sequence[str]) -> list[Point]:
    """Share of the short-context score that is kept (x) and the long average at one length (y)."""
    if kept is None or not kept.columns or kept.unit_of(0) != "percent" or found.grid.empty:
        return []
    points = []
    for i, (label, short, long) in enumerate(zip(labels, kept.lines, found.grid.lines, strict=True)):
        x, y = short.numbers[0].estimate, long.numbers[column].estimate
        if x is not None and y is not None:
            points.append(Point(i, label, x, y))
    return points


def cost_and_score(totals: pd.DataFrame, found: Summary, column: int) -> list[Point]:
    """Millions of token-forwards of search and training (x) and the long average (y). Empty where nothing was paid."""
    if found.grid.empty:
        return []
    paid = totals[["search_token_forwards", "training_token_forwards"]].sum(axis=1) / 1e6
    if not (paid > 0).any():
        return []
    points = []
    for i, line in enumerate(found.grid.lines):
        y = line.numbers[column].estimate
        if y is not None:
            points.append(Point(i, line.label, Estimate(float(paid[line.label]), None, None, 0), y))
    return points


def scatter(
    points: Sequence[Point], x_name: str, y_name: str, colour: Colours, cheaper: bool = False, narrow: bool = False
) -> Figure | None:
    """Trade-off of two quantities with intervals; methods that nothing beats on both are joined by a line.

    `cheaper`: less is better on the x axis, which is then in plain units; else x is a share shown in percent.
    """
    if len(points) < 2:
        return None
    unit = 1.0 if cheaper else 100.0
    figure = Figure(figsize=(style.NARROW, 3.4) if narrow else (6.6, 3.9))
    axes = figure.subplots()
    for one in points:
        bars = axes.errorbar(
            unit * one.x.mean, 100 * one.y.mean, xerr=_reach(one.x, unit), yerr=_reach(one.y, 100), fmt="o",
            color=colour[one.label], elinewidth=0.9, markersize=5.5,
        )  # fmt: skip
        for part in (bars.lines[0], *bars.lines[2]):
            style.tag(part, one.method)
    sign = -1.0 if cheaper else 1.0
    ranked = pareto.membership({p.label: (_signed(p.x, sign), p.y) for p in points})
    front = sorted((p for p in points if ranked[p.label] == pareto.FRONT), key=lambda p: (p.x.mean, p.y.mean))
    if len(front) > 1:
        axes.plot([unit * p.x.mean for p in front], [100 * p.y.mean for p in front], color=style.MUTED, linewidth=0.8,
                  linestyle=(0, (4, 3)), zorder=1)  # fmt: skip
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    axes.margins(0.12)
    style.margins(figure, 0.5, style.label_room([p.label for p in points]), 0.42, 0.12)
    axes.autoscale_view()
    places = [axes.transData.transform((unit * p.x.mean, 100 * p.y.mean)) * 72 / figure.dpi for p in points]
    heights = [float(place[1]) for place in places]
    for one, height, moved in zip(points, heights, style.spread(heights, 11), strict=True):
        where: dict[str, Any] = {"xytext": (7, moved - height + 6), "textcoords": "offset points", "fontsize": 8.5}
        style.tag(axes.annotate(one.label, (unit * one.x.mean, 100 * one.y.mean), color=style.INK, **where), one.method)
    return figure


def _signed(value: Estimate, sign: float) -> Estimate:
    if sign > 0 or value.low is None or value.high is None:
        return Estimate(sign * value.mean, value.low, value.high, value.n)
    return Estimate(-value.mean, -value.high, -value.low, value.n)


def _reach(value: Estimate, unit: float) -> list[list[float]] | None:
    if value.low is None or value.high is None:
        return None
    return [[max(0.0, unit * (value.mean - value.low))], [max(0.0, unit * (value.high - value.mean))]]


@dataclass(frozen=True)
class Step:
    """One part of a method and what it adds: `label` minus `before`, on the same samples."""

    part: str
    before: str
    label: str
    gain: Comparison


def waterfall_steps(scores: Scores, found: Summary, column: int) -> tuple[Number | None, list[Step]]:
    """What critical dimension, searched factors and mixed training each add, where the store has such methods.

    The chain: YaRN or NTK as published → the same with the critical pair that was found → searched factors → the same
    with mixed training. Links that no method fills are left out; a chain needs two methods that were all measured.
    """
    if not found.lengths:
        return None, []
    measured = {line.label: line.numbers[column] for line in found.grid.lines if line.numbers[column].estimate}
    methods = [method for method in scores.frames.run["methods"] if method["label"] in measured]
    recipes = list(dict.fromkeys(recipe for method in methods if (recipe := _recipe(method)) != "mixed"))
    chains = [_chain(methods, base, recipe) for base in ("yarn", "ntk") for recipe in recipes]
    chain = max(chains, key=len, default=[])
    if len(chain) < 2:
        return None, []
    steps = [
        Step(part, before, label, scores.compare(label, before, found.tests[column]))
        for (part, label), (_, before) in zip(chain[1:], chain, strict=False)
    ]
    return measured[chain[0][1]], steps


def _chain(methods: Sequence[Mapping[str, Any]], base: str, recipe: str) -> list[tuple[str, str]]:
    """(part, label) from the plain method on, all trained alike but the last; '' is the part of the first."""
    wanted = [("", base, recipe), ("critical dimension", f"{base}_rcd", recipe)]
    wanted += [("searched factors", "longrope2", recipe), ("mixed training", "longrope2", "mixed")]
    chain = []
    for part, extender, training in wanted:
        fits = [m["label"] for m in methods if _kind(m) == extender and _recipe(m) == training]
        if fits:
            chain.append((part, str(fits[0])))
    return chain if chain and chain[0][0] == "" else []


def _kind(method: Mapping[str, Any]) -> str:
    """The extender; a plain method that was given a critical pair of its own counts as the one that has found it."""
    name = str(method.get("extender", ""))
    return f"{name}_rcd" if name in ("yarn", "ntk") and critical_of(method) is not None else name


def _recipe(method: Mapping[str, Any]) -> str:
    """The training recipe, '' for an untrained method."""
    training = method.get("training")
    return str(training.get("recipe") or "") if isinstance(training, Mapping) else ""


def waterfall(
    start: Number | None, steps: Sequence[Step], length: int, colour: Colours, narrow: bool = False
) -> Figure | None:
    """Bars from the plain method to the full one, each with the interval of what its part adds."""
    if not steps or start is None or start.estimate is None:
        return None
    figure = Figure(figsize=(style.NARROW, 3.2) if narrow else (6.6, 3.2))
    axes = figure.subplots()
    level = 100 * start.estimate.mean
    axes.bar(0, level, color=style.NEUTRAL, width=0.62)
    _value(axes, 0, level, f"{level:.1f}")
    names = [steps[0].before]
    for place, step in enumerate(steps, 1):
        gain = 100 * step.gain.difference
        shade = style.SERIES[2] if gain >= 0 else style.SERIES[1]
        axes.bar(place, gain, bottom=level, color=shade, width=0.62)
        axes.plot([place - 1.31, place + 0.31], [level, level], color=style.MUTED, linewidth=0.7)
        if step.gain.low is not None and step.gain.high is not None:
            reach = [[gain - 100 * step.gain.low], [100 * step.gain.high - gain]]
            axes.errorbar(place, level + gain, yerr=reach, color=style.INK, elinewidth=0.9, capsize=3, capthick=0.9)
        top = max(level, level + gain, level + 100 * (step.gain.high if step.gain.high is not None else 0))
        _value(axes, place, top, f"{gain:+.1f}".replace("-", "−"))
        level += gain
        names.append(f"+ {step.part}\n{step.label}")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, max(len(names), 4) - 0.4)
    axes.set_ylabel(f"Average at {tokens(length)} tokens, %")
    axes.grid(False, axis="x")
    axes.set_ylim(0, max(axes.get_ylim()[1], 5) * 1.04)
    style.margins(figure, 0.5, 0.05, 0.5, 0.15)
    return figure


def _value(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=8.5, color=style.INK)
