"""A grid as CSV (one number per line, to compute with), Markdown (for a message) and LaTeX (for a paper)."""

import csv
import io
import re
from itertools import groupby

from reports.grid import Grid, Number, interval, shown

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
}


def to_csv(grid: Grid) -> str:
    """Columns: line, group, column, unit, value, low, high, n, mark, status, why. Percent where `unit` is percent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["line", "group", "column", "unit", "value", "low", "high", "n", "mark", "status", "why"])
    for line in grid.lines:
        for i, (column, number) in enumerate(zip(grid.columns, line.numbers, strict=True)):
            unit, found = grid.unit_of(i), number.estimate
            scale = 100 if unit == "percent" else 1
            values = ("", "", "") if found is None else (found.mean, found.low, found.high)
            cells = ["" if v in ("", None) else f"{scale * float(v):.6g}" for v in values]
            n = "" if found is None else found.n
            writer.writerow([line.label, line.group, column, unit, *cells, n, number.mark, number.status, number.why])
    return out.getvalue()


def to_markdown(grid: Grid) -> str:
    heads = [grid.corner, *_heads(grid)]
    lines = [f"**{_markdown(grid.title)}**", "", "| " + " | ".join(map(_markdown, heads)) + " |"]
    lines.append("|" + "|".join([":--", *["--:"] * len(grid.columns)]) + "|")
    for line in grid.lines:
        label = f"{line.label} ({line.group})" if line.group == "Averages" else line.label
        numbers = [_markdown_number(number, grid.unit_of(i)) for i, number in enumerate(line.numbers)]
        lines.append("| " + " | ".join([_markdown(label), *numbers]) + " |")
    lines += ["", *(_markdown(note) for note in grid.notes)]
    return "\n".join(lines) + "\n"


def _markdown_number(number: Number, unit: str) -> str:
    if number.estimate is None:
        return "failed" if number.status == "failed" else "–"
    value = shown(number.estimate.mean, unit)
    value = f"**{value}**" if number.mark == "best" else f"{value} =" if number.mark == "tie" else value
    return f"{value} {interval(number.estimate, unit)} n={number.estimate.n}"


def _markdown(text: str) -> str:
    """Text inside a table of Markdown: no markup, no new column, no new line."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def to_latex(grid: Grid) -> str:
    """A `table` environment; needs the packages booktabs and, for `=` marks, none."""
    spec = "l" + "r" * len(grid.columns)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(grid.title)}. {_latex(' '.join(grid.notes))}}}",
        rf"\label{{tab:{re.sub(r'[^a-zA-Z0-9]+', '-', grid.name)}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        " & ".join(map(_latex, [grid.corner, *_heads(grid)])) + r" \\",
        r"\midrule",
    ]
    for i, (group, members) in enumerate(groupby(grid.lines, key=lambda line: line.group)):
        if group:
            lines += [r"\addlinespace"] * (i > 0) + [
                rf"\multicolumn{{{len(grid.columns) + 1}}}{{l}}{{\textit{{{_latex(group)}}}}} \\"
            ]
        for line in members:
            numbers = [_latex_number(number, grid.unit_of(i)) for i, number in enumerate(line.numbers)]
            lines.append(" & ".join([_latex(line.label), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _latex_number(number: Number, unit: str) -> str:
    if number.estimate is None:
        return r"\textit{failed}" if number.status == "failed" else "--"
    value = _latex(shown(number.estimate.mean, unit))
    value = rf"\textbf{{{value}}}" if number.mark == "best" else f"{value}$^{{=}}$" if number.mark == "tie" else value
    if number.estimate.low is None:
        return value
    return rf"{value} {{\scriptsize {_latex(interval(number.estimate, unit))}}}"


def _latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _heads(grid: Grid) -> list[str]:
    notes = grid.column_notes or ("",) * len(grid.columns)
    return [f"{column} ({note})" if note else column for column, note in zip(grid.columns, notes, strict=True)]
