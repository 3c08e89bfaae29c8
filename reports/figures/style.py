"""How figures look, and how they become SVG whose bytes depend on nothing but the data.

Figures are drawn in the colours of the light theme, so a saved file is complete; inside the page `themed` turns every
colour into a CSS variable, and the figure follows the page's theme.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.numbers.frame import Frames
from reports.numbers.grid import short_length

Colours = Mapping[str, str]  # of the methods

INK, MUTED, RULE, PAPER = "#1b1f24", "#6b7178", "#dfe2e6", "#fdfdfc"
# After Okabe and Ito, Color Universal Design (2008): told apart with every common colour blindness.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc6ea5", "#c98a00", "#4ba3d9", "#7a5c99", "#8c6d46")
NEUTRAL = "#7d848c"  # the unextended model
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (4, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
LOW, MIDDLE, HIGH = "#b4532a", "#f1e9da", "#1d6f86"  # scores from 0 to 1: rust over sand to teal
WIDE, NARROW = 9.4, 4.1  # inches: a desk's column and a phone's
MOST_SIGNS = 32  # of a label in a figure: on a phone, the plot beside it keeps an inch

_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", NEUTRAL: "series-none"} | {
    colour: f"series-{i}" for i, colour in enumerate(SERIES)
}
_SETTINGS = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's own font
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "text.parse_math": False,  # a method's label may hold $ and is no formula
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Settings for one figure; its name makes its ids differ from those of other figures in the page."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a label in another script
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS | {"svg.hashsalt": f"ropebench {name}"})
        yield


def colours(families: Mapping[str, str], original: str | None) -> dict[str, str]:
    """One colour for each method and its trained selves, `families` being label → untrained label; the unextended model
    is grey."""
    others = [family for family in dict.fromkeys(families.values()) if family != original]
    colour = {family: SERIES[i % len(SERIES)] for i, family in enumerate(others)}
    return {label: colour.get(family, NEUTRAL) for label, family in families.items()}


def colours_of(frames: Frames) -> dict[str, str]:
    """The colours of a run's methods."""
    return colours(frames.families, frames.original)


def markers(families: Mapping[str, str]) -> dict[str, str]:
    """One marker for each method and its trained selves."""
    marker = {family: MARKERS[i % len(MARKERS)] for i, family in enumerate(dict.fromkeys(families.values()))}
    return {label: marker[family] for label, family in families.items()}


def dashes(families: Mapping[str, str]) -> dict[str, Any]:
    """Solid lines for methods as they are; another dash for each further self of a method."""
    trained: dict[str, list[str]] = {}
    for label, family in families.items():
        trained.setdefault(family, [family]).extend([label] if label != family else [])
    return {label: DASHES[min(trained[family].index(label), len(DASHES) - 1)] for label, family in families.items()}


def to_svg(figure: Figure, background: str | None = None) -> str:
    """A complete SVG file, transparent unless it has a background. Call it inside `drawing`."""
    out = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", transparent=background is None, facecolor=background, metadata=metadata)
    return out.getvalue()


def to_pdf(figure: Figure) -> bytes:
    """The figure as PDF with embedded TrueType fonts and without a date."""
    out = io.BytesIO()
    metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
    figure.savefig(out, format="pdf", transparent=True, metadata=metadata)
    return out.getvalue()


def standalone(svg: str) -> str:
    """The SVG as a file of its own: without the names that only the page needs."""
    return re.sub(r' id="m\d+"', "", svg)


def themed(svg: str, description: str) -> str:
    """The SVG as an element of the page: no header, the page's colours and font, and a description that is read out.

    What belongs to method i is marked data-m="i", so the page can hide it.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.S)
    body = re.sub(r' id="m(\d+)"', r' data-m="\1"', body)
    body = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", body)  # figure_1, axes_1 …: would stand in the page many times
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.S)
    body = re.sub(r"\n\s+", "\n", body)
    body = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--sans)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    size = re.search(r'<svg[^>]*? width="([\d.]+)pt"', body)
    width = float(size.group(1)) * 4 / 3 if size else 900.0
    body = re.sub(r'(<svg[^>]*?) (width|height)="[\d.]+pt"', r"\1", body)
    body = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", body)
    safe = _printable(description).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return body.replace("<svg", f'<svg role="img" aria-label="{safe}" style="max-width: {width:.0f}px"', 1).strip()


@dataclass(frozen=True)
class End:
    """Where the line of a method ends, in data units."""

    method: int
    label: str
    x: float
    y: float
    colour: str


def spread(values: Sequence[float], gap: float, low: float = float("-inf"), high: float = float("inf")) -> list[float]:
    """Move values apart until neighbours are `gap` from each other, as little as possible; order is kept. They stay
    between `low` and `high` where there is room for all of them."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    blocks: list[list[float]] = []  # [sum of (value - place in block), count]
    for place, i in enumerate(order):
        blocks.append([values[i] - place * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    moved = [0.0] * len(values)
    place = 0
    for total, count in blocks:
        for _ in range(int(count)):
            moved[order[place]] = total / count + place * gap
            place += 1
    for k, i in enumerate(reversed(order)):
        moved[i] = min(moved[i], high - k * gap)
    for k, i in enumerate(order):
        moved[i] = max(moved[i], low + k * gap)
    return moved


def short_names(labels: Sequence[str]) -> list[str]:
    """What a figure writes for these labels: one line of at most MOST_SIGNS, different labels differently. Tables show
    labels whole."""
    names: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        name, number = _short(label), 2
        while name in names.values():
            name, number = f"{_short(label, MOST_SIGNS - 5)} #{number}", number + 1
        names[label] = name
    return [names[label] for label in labels]


def _short(label: str, most: int = MOST_SIGNS) -> str:
    """The beginning and the end of a long label, on one line and without control signs."""
    text = " ".join(_printable(label).split())
    if _signs(text) <= most:
        return text
    head = tail = ""
    for first, last in zip(text, reversed(text), strict=True):
        if _signs(head + first + tail) >= most:
            break
        head += first
        if 2 * _signs(tail + last) < _signs(head) and _signs(head + last + tail) < most:
            tail = last + tail
    return f"{head}…{tail}"


def _printable(text: str) -> str:
    """Without control signs, which a file in XML cannot hold and a reader does not see."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _signs(text: str) -> int:
    """The width of a text in letters of usual width; Chinese and Japanese signs take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def label_room(labels: Sequence[str]) -> float:
    """Inches at the right of a plot for the names of its lines."""
    return 0.3 + 0.068 * max((_signs(name) for name in short_names(labels)), default=0)


def margins(figure: Figure, left: float, right: float, bottom: float, top: float, gap: float = 0.3) -> None:
    """Room around and between the panels of a figure, in inches. Fixed, as a layout that measures text is slow."""
    width, height = figure.get_size_inches()
    specs = {spec.get_gridspec() for axes in figure.axes if (spec := axes.get_subplotspec()) is not None}
    rows, columns = max(spec.nrows for spec in specs), max(spec.ncols for spec in specs)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=gap / ((width - left - right - gap * (columns - 1)) / columns),
        hspace=gap / ((height - bottom - top - gap * (rows - 1)) / rows),
    )


def tag(artist: Artist, method: int) -> None:
    """Say which method this part of a figure belongs to."""
    artist.set_gid(f"m{method}")


def label_ends(axes: Axes, ends: Sequence[End], gap: float = 11.5) -> None:
    """Write names at the right of lines; `gap` is in points. Names are in ink, their leaders in the line's colour.

    Call it last: it needs the final limits and margins.
    """
    axes.autoscale_view()
    scale = 72 / axes.figure.dpi  # pixels to points
    right = float(axes.transAxes.transform((1, 0))[0]) * scale
    places = [axes.transData.transform((end.x, end.y)) * scale for end in ends]
    bottom, top = (float(axes.transAxes.transform((0, y))[1]) * scale for y in (0, 1))
    heights = spread([float(p[1]) for p in places], gap, bottom, top)
    names = short_names([end.label for end in ends])
    for end, name, place, moved in zip(ends, names, places, heights, strict=True):
        leader = {"arrowstyle": "-", "color": end.colour, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 2}
        offset = (max(14.0, right - float(place[0]) + 14), moved - float(place[1]))
        note = axes.annotate(
            name, (end.x, end.y), xytext=offset, textcoords="offset points", color=INK, va="center", fontsize=8.5,
            annotation_clip=False, arrowprops=leader,
        )  # fmt: skip
        tag(note, end.method)


def variable(colour: str) -> str:
    """The name of the CSS variable that stands for a colour of this file."""
    return _VARIABLES[colour]


def length_axis(axes: Axes, lengths: Sequence[int], trained: int, named: bool = True) -> None:
    """A length axis in powers of two with a line where training ended."""
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(list(lengths), [short_length(length) for length in lengths])
    if trained and lengths and min(lengths) <= trained <= max(lengths):
        axes.axvline(trained, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
        if named:
            note(axes, "trained length", trained, 0, 4, 3, MUTED)


def note(axes: Axes, text: str, x: float, y: float, right: float, up: float, colour: str) -> None:
    """A small remark at data x and axes fraction y, moved by points."""
    coords = ("data", "axes fraction")
    axes.annotate(text, (x, y), (right, up), xycoords=coords, textcoords="offset points", fontsize=8, color=colour)
