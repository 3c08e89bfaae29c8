"""The picture of a search study: every row's held-out loss by seed, and how far it is behind the reference."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from reports.figures import style
from reports.numbers.search_study import StudyContent, StudyLine, own_mean

KINDS = {
    "ours": ("LongRoPE, LongRoPE2", style.SERIES[0]),
    "official": ("official procedure", style.SERIES[1]),
    "tuned": ("tuned baseline", style.SERIES[2]),
    "closed": ("closed form", style.NEUTRAL),
}
NEAR = 0.6  # nats; a row further from the reference is beyond the right panel's edge


def kind(line: StudyLine) -> str:
    if not line["seeds"]:
        return "closed"
    if line["parameters"].get("searcher") in ("released", "paper"):
        return "official"
    return "ours" if line["extender"] in ("longrope", "longrope2") else "tuned"


def study_figure(content: StudyContent) -> str:
    """An SVG file of a study's content, as `search-study` writes it to study.json."""
    with style.drawing("search study"):
        return style.to_svg(drawn(content), style.PAPER)


def drawn(content: StudyContent) -> Figure:
    """The figure, inside `style.drawing`. Lowest loss first; rows whose loss is not finite are left to the table."""
    lines = sorted((line for line in content["rows"] if line["loss"] is not None), key=_loss)
    names = [f"{line['row']} ({round(line['token_forwards'] / content['target_length']):,})" for line in lines]
    height = 1.35 + 0.2 * len(lines)
    figure = Figure(figsize=(style.WIDE, height))
    left, right = figure.subplots(1, 2, sharey=True)
    room = 0.075 * max(map(len, names), default=0) + 0.1
    style.margins(figure, room, 0.55, 0.75, 0.45, 0.25)
    for place, line in enumerate(lines):
        _losses(left, place, line)
        _behind(right, place, line)
    left.set_yticks(range(len(lines)), names)
    left.set_ylim(len(lines) - 0.4, -0.6)
    left.set_xscale("log")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    left.tick_params(axis="y", labelcolor=style.INK)
    left.set_title("Held-out loss, nats per answer token")
    right.set_xlim(-NEAR, NEAR)
    right.axvline(0, color=style.MUTED, linewidth=0.8)
    right.set_title(f"Behind “{content['reference']}”, nats [95 %]")
    _legend(figure, {kind(line) for line in lines})
    figure.text(0.985, 0.13 / height, "in brackets: forward passes", ha="right", color=style.MUTED, fontsize=8)
    return figure


def _legend(figure: Figure, present: set[str]) -> None:
    marks = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=words)
        for name, (words, colour) in KINDS.items()
        if name in present
    ]
    marks.append(Line2D([], [], color=style.MUTED, marker="|", linestyle="", markersize=7, label="one seed"))
    hollow = Line2D([], [], color=style.MUTED, marker="o", linestyle="", label="on the texts it searched")
    hollow.set_markerfacecolor(style.PAPER)
    marks.append(hollow)
    figure.legend(
        handles=marks, loc="lower left", ncols=len(marks), frameon=False, fontsize=8, bbox_to_anchor=(0, 0),
        columnspacing=1.0, handletextpad=0.1,
    )  # fmt: skip


def _loss(line: StudyLine) -> float:
    assert line["loss"] is not None
    return line["loss"]


def _losses(axes: Axes, place: int, line: StudyLine) -> None:
    colour = KINDS[kind(line)][1]
    loss, mean = _loss(line), own_mean(line)
    if mean is not None:
        axes.plot([mean, loss], [place, place], color=colour, linewidth=0.8, alpha=0.6)
        axes.plot([mean], [place], "o", color=colour, markerfacecolor=style.PAPER, markeredgewidth=1)
    seeds = [loss for loss in line.get("losses_of_seeds", []) if loss is not None]
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "|", color=colour, markersize=7, markeredgewidth=1, alpha=0.7)
    axes.plot([loss], [place], "o", color=colour)


def _behind(axes: Axes, place: int, line: StudyLine) -> None:
    if line["behind_reference"] is None:
        return
    colour = KINDS[kind(line)][1]
    mean, low, high = line["behind_reference"]
    if abs(mean) > NEAR:
        words = f"{mean:+.1f} {'→' if mean > 0 else '←'}"
        axes.annotate(
            words, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            ha="left", va="center", color=style.MUTED, fontsize=8, annotation_clip=False,
        )  # fmt: skip
        return
    axes.plot([max(low, -NEAR), min(high, NEAR)], [place, place], color=colour, linewidth=1.4)
    axes.plot([mean], [place], "o", color=colour)
