"""Needle heat maps: depth × length for every method, and the colours that the page's own maps share."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.figures import style
from reports.numbers.depths import DepthMap, DepthScore

RAMP = LinearSegmentedColormap.from_list("score", [style.LOW, style.MIDDLE, style.HIGH])


def colour(score: float | None) -> str:
    """Of a field with this mean score in [0, 1]; '' where there is none."""
    return "" if score is None else str(to_hex(RAMP(score)))


def ink(score: float | None) -> str:
    """Of the number on such a field."""
    return "" if score is None else "#ffffff" if score < 0.18 or score > 0.82 else "#22262b"


def heat_maps(depth_map: DepthMap, narrow: bool = False) -> Figure:
    """The maps side by side on one scale."""
    per_row = min(2 if narrow else 4, len(depth_map.panels))
    lines = math.ceil(len(depth_map.panels) / per_row)
    height = 0.1 + lines * (0.5 + 0.17 * len(depth_map.depths))
    drawn = Figure(figsize=(style.NARROW if narrow else style.WIDE if per_row > 1 else 4.2, height))
    panels = drawn.subplots(lines, per_row, squeeze=False)
    names = style.short_names([label for label, _ in depth_map.panels])
    for i, axes in enumerate(panels.flat):
        if i >= len(depth_map.panels):
            axes.axis("off")
            continue
        _panel(axes, depth_map.panels[i][1])
        axes.set_title(names[i])
        axes.set_xticks(range(len(depth_map.lengths)), depth_map.heads)
        axes.set_yticks(range(len(depth_map.depths)), [f"{100 * deep:.0f}" for deep in depth_map.depths], fontsize=7)
        if i % per_row == 0:
            axes.set_ylabel("Depth, %")
    style.margins(drawn, 0.5, 0.05, 0.3, 0.3, 0.5)
    return drawn


def _panel(axes: Axes, rows: Sequence[Sequence[DepthScore]]) -> None:
    """One heat map of rectangles; a field without a result stays empty and says so."""
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(-0.5, len(rows[0]) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for y, line in enumerate(rows):
        for x, field in enumerate(line):
            empty = field.score is None
            look: dict[str, Any] = {
                "facecolor": colour(field.score) or "none",
                "edgecolor": style.RULE if empty else "none",
                "linewidth": 0.6,
            }
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, **look))
            axes.text(
                x,
                y,
                field.shown,
                ha="center",
                va="center_baseline",
                fontsize=6.5,
                color=ink(field.score) or style.MUTED,
            )
