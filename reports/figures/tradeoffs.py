"""What is paid and what is got: short against long context, and score against cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.style import Colours
from reports.numbers.grid import Grid
from reports.numbers.summary import Summary
from reports.statistics import pareto
from reports.statistics.intervals import Estimate


@dataclass(frozen=True)
class Point:
    """A method in a trade-off; higher is better on both axes unless the axis says otherwise."""

    method: int
    label: str
    x: Estimate
    y: Estimate


def short_and_long(retention: Grid | None, summary: Summary, column: int, labels: Sequence[str]) -> list[Point]:
    """Share of the short-context score that is kept (x) and the long average at one length (y)."""
    if retention is None or not retention.columns or retention.unit_of(0) != "percent" or summary.grid.empty:
        return []
    points = []
    for i, (label, short, long) in enumerate(zip(labels, retention.lines, summary.grid.lines, strict=True)):
        x, y = short.numbers[0].estimate, long.numbers[column].estimate
        if x is not None and y is not None:
            points.append(Point(i, label, x, y))
    return points


def cost_and_score(totals: pd.DataFrame, summary: Summary, column: int) -> list[Point]:
    """Millions of token-forwards of search and training (x) and the long average (y). Empty where nothing was paid."""
    if summary.grid.empty:
        return []
    paid = totals[["search_token_forwards", "training_token_forwards"]].sum(axis=1) / 1e6
    if not (paid > 0).any():
        return []
    points = []
    for i, line in enumerate(summary.grid.lines):
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
    for point in points:
        bars = axes.errorbar(
            unit * point.x.mean, 100 * point.y.mean, xerr=_reach(point.x, unit), yerr=_reach(point.y, 100), fmt="o",
            color=colour[point.label], elinewidth=0.9, markersize=5.5,
        )  # fmt: skip
        for part in (bars.lines[0], *bars.lines[2]):
            style.tag(part, point.method)
    _front(axes, points, unit, -1.0 if cheaper else 1.0)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    axes.margins(0.12)
    style.margins(figure, 0.5, style.label_room([p.label for p in points]), 0.42, 0.12)
    axes.autoscale_view()
    _names(axes, points, unit)
    return figure


def _front(axes: Axes, points: Sequence[Point], unit: float, sign: float) -> None:
    """Join the methods that nothing beats on both axes; `sign` is -1 where less is better on the x axis."""
    ranked = pareto.membership({p.label: (_signed(p.x, sign), p.y) for p in points})
    front = sorted((p for p in points if ranked[p.label] == pareto.FRONT), key=lambda p: (p.x.mean, p.y.mean))
    if len(front) > 1:
        axes.plot([unit * p.x.mean for p in front], [100 * p.y.mean for p in front], color=style.MUTED, linewidth=0.8,
                  linestyle=(0, (4, 3)), zorder=1)  # fmt: skip


def _names(axes: Axes, points: Sequence[Point], unit: float) -> None:
    """Write the methods' names beside their points, moved apart where they would overlap."""
    places = [axes.transData.transform((unit * p.x.mean, 100 * p.y.mean)) * 72 / axes.figure.dpi for p in points]
    heights = [float(place[1]) for place in places]
    names = style.short_names([point.label for point in points])
    for point, name, height, moved in zip(points, names, heights, style.spread(heights, 11), strict=True):
        where: dict[str, Any] = {"xytext": (7, moved - height + 6), "textcoords": "offset points", "fontsize": 8.5}
        style.tag(
            axes.annotate(name, (unit * point.x.mean, 100 * point.y.mean), color=style.INK, **where),
            point.method,
        )


def _signed(value: Estimate, sign: float) -> Estimate:
    if sign > 0 or value.low is None or value.high is None:
        return Estimate(sign * value.mean, value.low, value.high, value.n)
    return Estimate(-value.mean, -value.high, -value.low, value.n)


def _reach(value: Estimate, unit: float) -> list[list[float]] | None:
    if value.low is None or value.high is None:
        return None
    return [[max(0.0, unit * (value.mean - value.low))], [max(0.0, unit * (value.high - value.mean))]]
