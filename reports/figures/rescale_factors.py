"""The plans themselves: how far each method slows down every rotary pair at the target length."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.figures.style import Colours
from reports.numbers.frame import Frames
from reports.numbers.methods import critical_of, target_plan


def rescale_factors(frames: Frames, colour: Colours, narrow: bool = False) -> Figure | None:
    """λ_i of every rotary pair at the target length, above the share of each pair's period that training has seen."""
    rope = frames.model.get("rope") or {}
    trained = rope.get("inv_freq") or []
    if not (lines := _lines(frames, trained)):
        return None
    figure = Figure(figsize=(style.NARROW, 4.2) if narrow else (style.WIDE, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
    ends = _factors(upper, frames, lines, trained, colour)
    _target(upper, frames, narrow)
    ends = _with_stopped(upper, ends, _stopped(lines, trained))
    _seen(lower, frames.trained_length, trained, narrow)
    critical = rope.get("critical_pair")
    if isinstance(critical, int | float):
        for axes in (upper, lower):
            axes.axvline(critical - 0.5, color=style.INK, linewidth=0.9, linestyle=(0, (3, 3)))
        words = f"critical pair {critical:g}" if narrow else f"critical pair {critical:g} (theory)"
        right = -70 if narrow and critical > len(trained) / 2 else 5
        style.note(upper, words, critical - 0.5, 1, right, -9, style.INK)
    style.margins(figure, 0.5, style.label_room([end.label for end in ends]), 0.42, 0.12, 0.15)
    style.label_ends(upper, ends)
    return figure


def _lines(frames: Frames, trained: Sequence[float]) -> dict[tuple[float, ...], list[int]]:
    """Frequencies → places of the methods that run with them: a method and its trained selves share one line."""
    lines: dict[tuple[float, ...], list[int]] = {}
    for i, method in enumerate(frames.run["methods"]):
        plan = target_plan(method, frames.target_length)
        if plan and trained and len(plan["inv_freq"]) == len(trained):
            lines.setdefault(tuple(plan["inv_freq"]), []).append(i)
    return lines


def _factors(
    axes: Axes,
    frames: Frames,
    lines: Mapping[tuple[float, ...], list[int]],
    trained: Sequence[float],
    colour: Colours,
) -> list[style.End]:
    """Draw the rescale factors of all plans; returns where the lines end."""
    pairs = np.arange(len(trained))
    ends = []
    for planned, same in lines.items():
        i, method = same[0], frames.run["methods"][same[0]]
        label = method["label"]
        factors = [t / p if p else (math.nan if t else 1.0) for t, p in zip(trained, planned, strict=True)]
        style.tag(axes.step(pairs, factors, where="mid", color=colour[label], linewidth=1.7)[0], i)
        words = label if len(same) == 1 else f"{label} (and {len(same) - 1} alike)"
        ends.append(style.End(i, words, float(pairs[-1]), factors[-1], colour[label]))
        if (critical := critical_of(method)) is not None:
            line = axes.axvline(critical, color=colour[label], linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=1)
            style.tag(line, i)
    return ends


def _stopped(lines: Mapping[tuple[float, ...], list[int]], trained: Sequence[float]) -> dict[int, list[int]]:
    """The pairs that a method stops, which training had turn; methods that stop none are left out."""
    stopped = {
        same[0]: [pair for pair, (t, p) in enumerate(zip(trained, planned, strict=True)) if t and not p]
        for planned, same in lines.items()
    }
    return {i: pairs for i, pairs in stopped.items() if pairs}


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


def _target(axes: Axes, frames: Frames, narrow: bool) -> None:
    """The factor by which the target is longer than the trained length, as a line."""
    factor = frames.target_length / frames.trained_length if frames.trained_length else 1.0
    axes.set_yscale("log", base=2)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axhline(factor, color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    words = f"factor {factor:g}" if narrow else f"target ÷ trained length = {factor:g}"
    place: dict[str, Any] = {"xytext": (2, 4), "textcoords": "offset points", "fontsize": 8, "color": style.MUTED}
    axes.annotate(words, (0, factor), **place)
    axes.set_ylabel("Rescale factor λ")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.7)


def _seen(axes: Axes, trained_length: int, trained: Sequence[float], narrow: bool) -> None:
    """Bars: how much of its period each pair turns through in one training window."""
    share = [trained_length * frequency / (2 * math.pi) for frequency in trained]
    axes.bar(np.arange(len(trained)), [min(value, 1.0) * 100 for value in share], color=style.NEUTRAL, width=0.8)
    axes.set_ylim(0, 105)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("Seen, %" if narrow else "Period seen, %")
    axes.set_xlabel("Rotary pair (0 turns fastest)")
