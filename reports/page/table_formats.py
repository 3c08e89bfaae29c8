"""A grid as CSV (one number per line, to compute with), Markdown (for a message) and LaTeX (for a paper).

Bold is only what is significantly ahead of every other method; `=` marks what is tied with the highest.
"""

import csv
import io
import re
from itertools import groupby

from reports.numbers.grid import Grid, Number, interval, shown
from reports.page.visible_text import visible

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # the last four: Excel takes full-width signs too
MOST_INTERVALS = 6  # columns of a LaTeX table with intervals
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "÷": r"$\div$",
    "–": "--",
    "…": r"\ldots{}",
    "λ": r"$\lambda$",
    "θ": r"$\theta$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "“": "``",
    "”": "''",
    "’": "'",
    '"': "''",
}


def to_csv(grid: Grid) -> str:
    """Columns: line, group, column, unit, value, low, high, n, mark, status, why. Percent where `unit` is percent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["line", "group", "column", "unit", "value", "low", "high", "n", "mark", "status", "why"])
    for line in grid.lines:
        for i, (column, number) in enumerate(zip(grid.columns, line.numbers, strict=True)):
            unit, estimate = grid.unit_of(i), number.estimate
            scale = 100 if unit == "percent" else 1
            values = ("", "", "") if estimate is None else (estimate.mean, estimate.low, estimate.high)
            cells = ["" if v in ("", None) else f"{scale * float(v):.6g}" for v in values]
            n = "" if estimate is None else estimate.n
            texts = [harmless(text) for text in (line.label, line.group, column)]
            writer.writerow([*texts, unit, *cells, n, number.mark, number.status, harmless(number.why)])
    return out.getvalue()


def harmless(text: str) -> str:
    """A text that a spreadsheet shows and does not compute: one that begins like a formula has a ' before it."""
    text = visible(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def to_markdown(grid: Grid) -> str:
    heads = [grid.corner, *_heads(grid)]
    lines = [f"**{markdown(grid.title)}**", "", "| " + " | ".join(map(markdown, heads)) + " |"]
    lines.append("|" + "|".join([":--", *["--:"] * len(grid.columns)]) + "|")
    for line in grid.lines:
        said = line.group == "Averages" or grid.lines_are == "judged tests"
        label = f"{line.label} ({line.group.partition(':')[0]})" if said else line.label
        numbers = [_markdown_number(number, grid.unit_of(i)) for i, number in enumerate(line.numbers)]
        lines.append("| " + " | ".join([markdown(label), *numbers]) + " |")
    lines += ["", *(markdown(note) for note in grid.notes)]
    return "\n".join(lines) + "\n"


def _markdown_number(number: Number, unit: str) -> str:
    if number.estimate is None:
        return "failed" if number.status == "failed" else "–"
    value = shown(number.estimate.mean, unit)
    value = f"**{value}**" if number.mark == "best" else f"{value} =" if number.mark == "tie" else value
    return f"{value} {interval(number.estimate, unit)} n={number.estimate.n}" if number.estimate.n else value


def markdown(text: str) -> str:
    """Text inside a table of Markdown: no markup, no new column, no new line."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def to_latex(grid: Grid) -> str:
    """A `table` environment; needs the packages booktabs and graphicx (which shrinks a table that is too wide).

    Tables with many columns leave the intervals to the CSV file.
    """
    intervals = len(grid.columns) <= MOST_INTERVALS
    notes = " ".join(grid.notes) if intervals else " ".join([*grid.notes, "Intervals are in the CSV file."])
    notes = notes if intervals else notes.replace(" Brackets: 95 % interval.", "")
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(grid.title)}. {latex(notes)}}}",
        rf"\label{{tab:{re.sub(r'[^a-zA-Z0-9]+', '-', grid.name)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
        r"\toprule",
        " & ".join(map(latex, [grid.corner, *grid.columns])) + r" \\",
    ]
    if grid.column_notes:
        small = [rf"{{\scriptsize {latex(note)}}}" if note else "" for note in ("", *grid.column_notes)]
        lines.append(" & ".join(small) + r" \\")
    lines.append(r"\midrule")
    for i, (group, members) in enumerate(groupby(grid.lines, key=lambda line: line.group)):
        if group:
            lines += [r"\addlinespace"] * (i > 0) + [
                rf"\multicolumn{{{len(grid.columns) + 1}}}{{l}}{{\textit{{{latex(group)}}}}} \\"
            ]
        for line in members:
            numbers = [_latex_number(number, grid.unit_of(i), intervals) for i, number in enumerate(line.numbers)]
            lines.append(" & ".join([latex(line.label), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def _latex_number(number: Number, unit: str, intervals: bool) -> str:
    if number.estimate is None:
        return r"\textit{failed}" if number.status == "failed" else "--"
    value = latex(shown(number.estimate.mean, unit))
    value = rf"\textbf{{{value}}}" if number.mark == "best" else f"{value}$^{{=}}$" if number.mark == "tie" else value
    if number.estimate.low is None or not intervals:
        return value
    return rf"{value} {{\scriptsize {latex(interval(number.estimate, unit))}}}"


def latex(text: str) -> str:
    """Text inside LaTeX; a character that pdflatex has no glyph for is written as its code point."""
    return "".join(_latex_character(character) for character in " ".join(text.split()))


def _latex_character(character: str) -> str:
    if character in LATEX_SPECIAL:
        return LATEX_SPECIAL[character]
    known = character.isascii() or character in "äöüÄÖÜßàáâãåçèéêëìíîïñòóôõøùúûýÿÀÁÂÃÅÇÈÉÊËÌÍÎÏÑÒÓÔÕØÙÚÛÝæÆœŒ"
    return character if known else f"U+{ord(character):04X}"


def _heads(grid: Grid) -> list[str]:
    notes = grid.column_notes or ("",) * len(grid.columns)
    return [f"{column} ({note})" if note else column for column, note in zip(grid.columns, notes, strict=True)]
