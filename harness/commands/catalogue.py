"""What there is: methods, tests, models, published results, and the machine."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.terminal import clean, print_table

LISTS = ("extenders", "tests", "experiments", "models", "families", "factors", "recipes")


def list_(
    what: Annotated[
        str, typer.Argument(help="extenders, tests, experiments, models, families, factors or recipes.")
    ] = "extenders",
) -> None:
    """List methods, tests, experiments, models, families of models, published factors or training recipes."""
    from harness.experiment.parameters import hint
    from harness.tools import listing

    if what not in LISTS:
        raise ValueError(f"nothing is listed as {what!r}; {hint(what, LISTS)}")
    if what == "families":
        from harness.tools.families import listed  # reads 111 configurations with transformers

        entries = listed()
    else:
        entries = listing.ALL[what]()
    for name, summary, details in entries:
        print(f"{name:<28} {clean(summary)}".rstrip())
        for detail in details:
            print(f"    {clean(detail)}")


def published(
    out: Annotated[Path | None, typer.Option(help="Write to this Markdown file instead of printing.")] = None,
) -> None:
    """Check tables that papers printed: rankings that one task decides, differences that may be luck."""
    from harness.store import write_whole
    from reports.published.reanalysis import markdown

    if out is None:
        print(markdown(), end="")
    else:
        write_whole(out, markdown())


def doctor() -> None:
    """Say what this machine has, and what each missing thing costs."""
    from harness.tools.doctor import examine

    rows = [[finding.what, finding.value, finding.cost or "-"] for finding in examine()]
    print_table(["", "found", "what that costs"], rows)
