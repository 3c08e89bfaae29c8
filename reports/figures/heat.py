"""Needle heat maps: depth × length for every method, as numbers for the page and as a figure for a paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.figures import style
from reports.figures.curves import short
from reports.numbers.scores import Scores

MOST_DEPTHS = 12  # more depths than this are binned
RAMP = LinearSegmentedColormap.from_list("score", [style.LOW, style.MIDDLE, style.HIGH])


@dataclass(frozen=True)
class Place:
    """One rectangle: a mean score in [0, 1] over n samples, or None with the cell's status (failed, missing)."""

    score: float | None
    n: int
    status: str
    key: str

    @property
    def shown(self) -> str:
        return f"{100 * self.score:.0f}" if self.score is not None else "×" if self.status == "failed" else "–"

    @property
    def colour(self) -> str:
        return "" if self.score is None else str(to_hex(RAMP(self.score)))

    @property
    def ink(self) -> str:
        return "" if self.score is None else "#ffffff" if self.score < 0.18 or self.score > 0.82 else "#22262b"


@dataclass(frozen=True)
class Heat:
    """`panels` has one entry for each method: rows are depths, columns are lengths (tokens)."""

    task: str
    depths: tuple[float, ...]
    width: float  # of a bin of depths; 0 where depths are as planned
    lengths: tuple[int, ...]
    panels: tuple[tuple[str, tuple[tuple[Place, ...], ...]], ...]

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(short(length) for length in self.lengths)


def heat(scores: Scores, task: str) -> Heat | None:
    """None where no sample of the test has a depth."""
    frames = scores.frames
    rows = frames.rows[(frames.rows["task"] == task) & frames.rows["depth"].notna()]
    planned = frames.cells[frames.cells["task"] == task]
    if rows.empty:
        return None
    lengths = tuple(sorted(int(length) for length in planned["length"].unique()))
    depth = rows["depth"].astype(float).clip(0, 1).round(4)
    width = 0.0
    if depth.nunique() > MOST_DEPTHS:
        depth, width = ((depth * 10).clip(upper=9.999) // 1) / 10, 0.1
    depths = tuple(sorted(float(one) for one in depth.unique()))
    groups = rows.assign(depth=depth).groupby(["label", "depth", "length"])["score"]
    means, counts = groups.mean().to_dict(), groups.size().to_dict()
    cell = {(c.label, int(c.length)): (c.status, c.key) for c in planned.itertuples()}

    def place(label: str, deep: float, length: int) -> Place:
        status, key = cell.get((label, length), ("missing", ""))
        score = means.get((label, deep, length))
        return Place(None if score is None else float(score), int(counts.get((label, deep, length), 0)), status, key)

    panels = tuple(
        (label, tuple(tuple(place(label, deep, length) for length in lengths) for deep in depths))
        for label in frames.labels
    )
    return Heat(task, depths, width, lengths, panels)


def figure(found: Heat, narrow: bool = False) -> Figure:
    """The maps side by side on one scale."""
    per_row = min(2 if narrow else 4, len(found.panels))
    lines = math.ceil(len(found.panels) / per_row)
    height = 0.1 + lines * (0.5 + 0.17 * len(found.depths))
    drawn = Figure(figsize=(style.NARROW if narrow else style.WIDE if per_row > 1 else 4.2, height))
    panels = drawn.subplots(lines, per_row, squeeze=False)
    for i, axes in enumerate(panels.flat):
        if i >= len(found.panels):
            axes.axis("off")
            continue
        label, places = found.panels[i]
        _panel(axes, places)
        axes.set_title(label)
        axes.set_xticks(range(len(found.lengths)), found.heads)
        axes.set_yticks(range(len(found.depths)), [f"{100 * deep:.0f}" for deep in found.depths], fontsize=7)
        if i % per_row == 0:
            axes.set_ylabel("Depth, %")
    style.margins(drawn, 0.5, 0.05, 0.3, 0.3, 0.5)
    return drawn


def _panel(axes: Axes, places: Sequence[Sequence[Place]]) -> None:
    """One heat map of rectangles; a place without a result stays empty and says so."""
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(-0.5, len(places[0]) - 0.5)
    axes.set_ylim(len(places) - 0.5, -0.5)
    for y, line in enumerate(places):
        for x, one in enumerate(line):
            empty = one.score is None
            look: dict[str, Any] = {
                "facecolor": one.colour or "none",
                "edgecolor": style.RULE if empty else "none",
                "linewidth": 0.6,
            }
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, **look))
            axes.text(x, y, one.shown, ha="center", va="center_baseline", fontsize=6.5, color=one.ink or style.MUTED)
