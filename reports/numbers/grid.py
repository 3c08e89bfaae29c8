"""A table before it has a format: numbers with their intervals, or the reason why there is none."""

from dataclasses import dataclass

from reports.statistics.intervals import Estimate


@dataclass(frozen=True)
class Number:
    """One place of a table. `status` is done, missing, failed or absent (not planned)."""

    estimate: Estimate | None = None
    status: str = "absent"
    why: str = ""  # why there is no number, or what a reader should know about it
    keys: tuple[str, ...] = ()  # the cells behind it, for one test; empty for averages
    mark: str = ""  # "best": better than every other, significantly; "tie": not significantly below the highest


@dataclass(frozen=True)
class Line:
    label: str
    numbers: tuple[Number, ...]
    group: str = ""  # lines of one group stand together under this heading


@dataclass(frozen=True)
class Grid:
    """A table. `unit` says how numbers are shown: percent, nats, points, samples."""

    name: str  # file name
    title: str
    corner: str  # heading of the first column
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    unit: str = "percent"
    column_notes: tuple[str, ...] = ()
    column_units: tuple[str, ...] = ()  # where columns differ in unit
    notes: tuple[str, ...] = ()
    # or "tests", and columns are methods; or "tests over lengths"; or "judged tests", whose group is the judgement
    lines_are: str = "methods"
    lengths: tuple[int, ...] = ()  # of the columns, in tokens, where they are lengths; 0 for one that is not
    at_length: int = 0  # in tokens, where all of the table is at one
    shows_n: bool = False  # the page prints the number of samples

    def unit_of(self, column: int) -> str:
        return self.column_units[column] if self.column_units else self.unit

    def same_n(self, column: int) -> int:
        """The number of samples where all numbers of a column have the same, else 0."""
        counts = {e.n for line in self.lines if (e := line.numbers[column].estimate) is not None}
        return counts.pop() if len(counts) == 1 else 0

    @property
    def empty(self) -> bool:
        return all(number.estimate is None for line in self.lines for number in line.numbers)


def tokens(length: int) -> str:
    return f"{length:,}"


def short_length(length: int) -> str:
    """4096 as 4k, where it is a whole number of them."""
    return f"{length // 1024}k" if length >= 1024 and length % 1024 == 0 else str(length)


def shown(value: float, unit: str) -> str:
    """A value as tables print it: percent with one decimal, nats with three, differences with their sign."""
    if unit == "percent":
        return f"{100 * value:.1f}"
    if unit == "points":
        return f"{100 * value:+.1f}".replace("-", "−")
    if unit == "nats difference":
        return f"{value:+.3f}".replace("-", "−")
    if unit == "samples":
        return f"{value:,.0f}"
    return f"{value:.3f}"


def interval(estimate: Estimate, unit: str) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"[{shown(estimate.low, unit)}, {shown(estimate.high, unit)}]"
