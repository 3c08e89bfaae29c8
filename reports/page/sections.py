"""The sections of the page in their order, and the tables in them.

A new table: one function in reports/numbers/ that makes a `Grid` (or a list of them) of the results, and one line here:

    Section("hardest", "Hardest tests", lambda results: [hardest_tests(results.scores)]),

The section, its entry in the contents, the CSV, Markdown and LaTeX files in tables/ and their place in paper/all.tex
follow. A table may also join the tables of a section that is here already. A section that shows more than tables has a
template of its own: template/sections/<id>.html.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.numbers.grid import Grid
from reports.numbers.results import Results
from reports.page.attempts import Attempts


def _losses(results: Results) -> Sequence[Grid]:
    parts = results.window_losses
    return [*results.losses, *(part.grid for part in parts), *(part.cliff for part in parts if part.cliff)]


def _none(results: Results) -> Sequence[Grid]:
    return ()


@dataclass(frozen=True)
class Section:
    id: str  # its anchor, and the name of its template where it has one
    title: str
    tables: Callable[[Results], Sequence[Grid]] = _none
    only_with: Callable[[Results], Sequence[object]] | None = None  # it is left out where this is empty


RESULTS = (
    Section("summary", "Methods over lengths", lambda results: [results.summary.grid]),
    Section("differences", "Which differences are real"),
    Section(
        "decided",
        "Where comparisons stopped",
        lambda results: results.decided,
        only_with=lambda results: results.decided,
    ),
    Section("needles", "Needles by depth", only_with=lambda results: results.depth_maps),
    Section("tests", "Test by test", lambda results: results.by_test, only_with=lambda results: results.by_test),
    Section(
        "telling",
        "Which tests can tell methods apart",
        lambda results: results.telling_apart,
        only_with=lambda results: results.telling_apart,
    ),
    Section("effective", "Effective length and ranks", lambda results: results.across_lengths),
    Section("loss", "Perplexity", _losses, only_with=lambda results: results.losses),
    Section("short", "Short context", lambda results: [results.retention] if results.retention else []),
)
BACKGROUND = (
    Section("rescale", "Rescale factors"),
    Section("search", "Search and training"),
    Section("cost", "Cost"),
    Section("fairness", "Same conditions?"),
    Section("failures", "How answers fail"),
    Section("published", "Published numbers"),
    Section(
        "lengths", "True lengths", lambda results: results.true_lengths, only_with=lambda results: results.true_lengths
    ),
    Section("compared", "What was compared"),
)


@dataclass(frozen=True)
class FilledSection:
    """A section as the page shows it, with its tables computed."""

    id: str
    title: str
    tables: tuple[Grid, ...]
    shown: bool
    may_be_left_out: bool
    problem: str = ""  # why it could not be made


def filled(results: Results, attempts: Attempts) -> list[list[FilledSection]]:
    """What came out, and what it was made from."""
    return [[_filled(section, results, attempts) for section in group] for group in (RESULTS, BACKGROUND)]


def _filled(section: Section, results: Results, attempts: Attempts) -> FilledSection:
    may_be_left_out = section.only_with is not None
    failed = FilledSection(section.id, section.title, (), True, may_be_left_out, "its numbers could not be computed")

    def fill() -> FilledSection:
        tables = tuple(section.tables(results))
        shown = section.only_with is None or bool(section.only_with(results))
        return FilledSection(section.id, section.title, tables, shown, may_be_left_out)

    return attempts.make(f"section {section.title!r}", fill, failed)
