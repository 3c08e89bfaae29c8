"""What each method cost, as bars: time, token-forwards and peak memory."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.style import Colours

PANELS = (
    ("total_seconds", "Time, s", 1.0),
    ("total_token_forwards", "Token-forwards, millions", 1e6),
    ("peak_memory_bytes", "Peak memory, GiB", 2.0**30),
)


def cost_bars(totals: pd.DataFrame, colour: Colours, narrow: bool = False) -> Figure | None:
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
        names = style.short_names(list(totals.index)) if named else [""] * len(totals)
        _bars(axes, totals, column, scale, colour, names)
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
