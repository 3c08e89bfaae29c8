"""Several result stores side by side."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.terminal import clean, clean_lines, print_table


def compare_stores(
    folders: Annotated[list[Path], typer.Argument(help="Result stores of different models, at least two.")],
    out: Annotated[Path | None, typer.Option(help="Also write the tables to this folder, as CSV and Markdown.")] = None,
) -> None:
    """Do methods come in the same order on other models? Rank correlations, test by test."""
    from harness.store import Store, write_whole
    from reports.numbers.between_subjects import between, orders, subjects, within
    from reports.page.table_formats import to_csv, to_markdown

    given = subjects([Store.open(folder) for folder in folders])
    grids = [between(given), within(given)]
    for grid in grids:
        print(clean_lines(to_markdown(grid)))
    for test in (line.label for line in grids[0].lines):
        having = [subject for subject in given if test in subject.tables]
        if len(having) > 1:
            print(clean(f"{test}: ranks"))
            print_table(["method", *(clean(subject.name) for subject in having)], orders(having, test))
    if out is not None:
        for grid in grids:
            write_whole(out / f"{grid.name}.csv", to_csv(grid))
            write_whole(out / f"{grid.name}.md", to_markdown(grid))


def merge(
    store: Annotated[Path, typer.Argument(help="The result store that the others are brought into.")],
    others: Annotated[list[Path], typer.Argument(help="Result stores of other machines.")],
) -> None:
    """Bring together what several machines have computed, and say in what their common cells differ."""
    from harness.store import Store
    from harness.tools.merge import merge as bring

    head = ["test", "tokens", "cells of both", "answers", "differing", "scores that differ", "largest difference"]
    for merged in bring(Store.open(store), [Store.open(folder) for folder in others]):
        brought = f"{merged.cells} cells, {merged.searches} searches and {merged.trainings} trainings"
        print(clean(f"{merged.folder}: {brought} brought"))
        for line in merged.left:
            print(clean(f"left there, since it is damaged: {line}"))
        if not merged.parity:
            print("the two have no finished cell in common, so nothing shows whether the machines agree")
            continue
        rows = []
        for (test, length), one in sorted(merged.parity.items()):
            counts = map(str, (one.cells, one.rows, one.answers, one.scores))
            rows.append([test, f"{length:,}", *counts, f"{one.largest:.3g}"])
        print_table(head, rows)
    print(clean(f"`ropebench run … --out {store}` computes what none of them has, and writes the report"))
