"""What each part of a method adds, one bar after the other."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.gains import GainStep
from reports.numbers.grid import Number, tokens


def waterfall(start: Number | None, steps: Sequence[GainStep], length: int, narrow: bool = False) -> Figure | None:
    """Bars from the plain method to the full one, each with the interval of what its part adds."""
    if not steps or start is None or start.estimate is None:
        return None
    figure = Figure(figsize=(style.NARROW, 3.2) if narrow else (6.6, 3.2))
    axes = figure.subplots()
    level = 100 * start.estimate.mean
    axes.bar(0, level, color=style.NEUTRAL, width=0.62)
    _value(axes, 0, level, f"{level:.1f}")
    names = style.short_names([steps[0].before])
    labels = style.short_names([step.label for step in steps])
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
        names.append(f"+ {step.part}\n{labels[place - 1]}")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, max(len(names), 4) - 0.4)
    axes.set_ylabel(f"Average at {tokens(length)} tokens, %")
    axes.grid(False, axis="x")
    axes.set_ylim(0, max(axes.get_ylim()[1], 5) * 1.04)
    style.margins(figure, 0.5, 0.05, 0.5, 0.15)
    return figure


def _value(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=8.5, color=style.INK)
