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
