"""What a paper needs, beside the page: tables as CSV, Markdown and LaTeX, figures as PDF and SVG, and the paragraph on
the experimental setup. All of it is written again with the same bytes.

    tables/<name>.{csv,md,tex}      every table of the page
    paper/figures/<name>.{pdf,svg}  every figure of the page
    paper/setup.{md,tex}            the setup, with every field of the ledger
    paper/all.tex                   a document that holds everything; compiles as it is
"""

from collections.abc import Mapping, Sequence
from functools import partial

from reports.figures.drawing import Drawing
from reports.numbers.grid import Grid
from reports.numbers.results import Results
from reports.page.attempts import Attempts
from reports.page.setup_paragraph import setup, setup_latex, setup_markdown
from reports.page.table_formats import latex, to_csv, to_latex, to_markdown


def kit(
    results: Results, grids: Sequence[Grid], drawings: Mapping[str, Drawing], attempts: Attempts
) -> dict[str, bytes]:
    """The files of tables/ and paper/, by path."""
    texts: dict[str, str] = {}
    nothing: dict[str, str] = {}
    for grid in grids:
        texts |= attempts.make(f"table {grid.name!r}", partial(_table, grid), nothing)
    printed = [grid for grid in grids if f"tables/{grid.name}.tex" in texts and not grid.empty]
    no_parts: list[tuple[str, str]] = []
    parts = attempts.make("the setup paragraph", lambda: _setup(results, printed), no_parts)
    texts["paper/setup.md"] = setup_markdown(parts)
    texts["paper/setup.tex"] = setup_latex(parts)
    pdfs = {
        name: attempts.make(f"figure {name!r} as PDF", partial(_pdf, drawing), b"")
        for name, drawing in drawings.items()
    }
    whole = {name: drawing for name, drawing in drawings.items() if pdfs[name]}
    texts["paper/all.tex"] = document(printed, whole)
    texts |= {f"paper/figures/{name}.svg": drawing.svg for name, drawing in drawings.items()}
    files = {path: text.encode("utf-8", "surrogatepass") for path, text in texts.items()}
    return files | {f"paper/figures/{name}.pdf": pdfs[name] for name in whole}


def _table(grid: Grid) -> dict[str, str]:
    forms = (("csv", to_csv), ("md", to_markdown), ("tex", to_latex))
    return {f"tables/{grid.name}.{ending}": convert(grid) for ending, convert in forms}


def _setup(results: Results, printed: Sequence[Grid]) -> list[tuple[str, str]]:
    return setup(results.frames, results.audit, [grid.name for grid in printed])


def _pdf(drawing: Drawing) -> bytes:
    return drawing.pdf


def document(grids: Sequence[Grid], drawings: Mapping[str, Drawing]) -> str:
    """A whole document around the kit; a paper takes its parts with \\input and \\includegraphics."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[margin=25mm]{geometry}",
        r"\usepackage{booktabs,graphicx}",
        r"\sloppy",
        r"\begin{document}",
        r"\input{setup}",
    ]
    for grid in grids:
        lines.append(rf"\input{{../tables/{grid.name}}}")
    for i, (name, drawing) in enumerate(drawings.items()):
        lines += [
            r"\begin{figure}\centering",
            rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{figures/{name}.pdf}}",
            rf"\caption{{{latex(drawing.caption)}}}",
            r"\end{figure}",
        ]
        if i % 8 == 7:
            lines.append(r"\clearpage")
    return "\n".join([*lines, r"\end{document}"]) + "\n"
