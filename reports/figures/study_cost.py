"""The picture of what a search costs and brings: held-out loss against forward passes, both on log axes.

A procedure at several budgets is one line; a bar spans its seeds. Closed forms cost nothing and are lines across. Rows
that change one number of a recipe, and those that lower another loss, are left to the table.
"""

import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from reports.figures import style
from reports.figures.study import KINDS, kind
from reports.numbers.search_study import StudyContent, StudyLine

BUDGETS = re.compile(r", (a thirtieth|a tenth|three tenths|the whole|full size)$")
LEFT_OUT = re.compile("ablation|perplexity|far context|four needles")
ACROSS = ("yarn", "late_ramp", "mrrope_pro", "flat")  # closed forms that are shown
COLOURS = {**{name: colour for name, (_, colour) in KINDS.items()}, "gradient": style.SERIES[3]}
WORDS = {
    "gradient": "by gradient",
    "ours": "smooth family",
    "official": "official procedure",
    "tuned": "tuned baseline",
}


def cost_figure(content: StudyContent) -> str:
    """An SVG file of a study's content."""
    with style.drawing("search study cost"):
        return style.to_svg(cost_drawn(content), style.PAPER)


def cost_drawn(content: StudyContent) -> Figure:
    """The figure, inside `style.drawing`."""
    figure = Figure(figsize=(style.WIDE, 4.6))
    axes = figure.subplots()
    style.margins(figure, 0.6, 2.2, 0.8, 0.4)
    procedures = _procedures(content)
    for name, lines in procedures.items():
        _procedure(axes, name, lines, content["target_length"])
    for line in content["rows"]:
        if line["row"] in ACROSS and line["loss"]:
            axes.axhline(line["loss"], color=style.NEUTRAL, linewidth=0.8, linestyle=(0, (4, 2)))
            axes.annotate(
                line["row"], (1, line["loss"]), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", color=style.MUTED, fontsize=8, annotation_clip=False,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("forward passes (a backward pass counts two)")
    axes.set_title("Held-out loss, nats per answer token")
    present = [name for name in WORDS if any(_kind(lines[0]) == name for lines in procedures.values())]
    marks = [Line2D([], [], color=COLOURS[name], marker="o", linestyle="", label=WORDS[name]) for name in present]
    figure.legend(handles=marks, loc="lower left", ncols=len(marks) or 1, frameon=False, fontsize=8)
    return figure


def _procedures(content: StudyContent) -> dict[str, list[StudyLine]]:
    """The searched rows by procedure, each by its cost."""
    found: dict[str, list[StudyLine]] = {}
    for line in content["rows"]:
        if line["seeds"] and line["loss"] is not None and not LEFT_OUT.search(line["row"]):
            found.setdefault(BUDGETS.sub("", line["row"]), []).append(line)
    return {name: sorted(lines, key=lambda line: line["token_forwards"]) for name, lines in found.items()}


def _kind(line: StudyLine) -> str:
    return "gradient" if line["parameters"].get("searcher") == "gradient" else kind(line)


def _procedure(axes: Axes, name: str, lines: list[StudyLine], target_length: int) -> None:
    colour = COLOURS[_kind(lines[0])]
    costs = [line["token_forwards"] / target_length for line in lines]
    losses = [line["loss"] or 0.0 for line in lines]
    axes.plot(costs, losses, "-o", color=colour, linewidth=1)
    for cost, line in zip(costs, lines, strict=True):
        seeds = [loss for loss in line.get("losses_of_seeds", []) if loss is not None]
        axes.plot([cost, cost], [min(seeds, default=0), max(seeds, default=0)], color=colour, linewidth=0.8, alpha=0.7)
    axes.annotate(
        name, (costs[-1], losses[-1]), xytext=(6, 0), textcoords="offset points", va="center", color=colour, fontsize=8
    )
