"""How answers fail: the classes of wrong answers by method and length; and the cells that have no result."""

from dataclasses import dataclass

import pandas as pd

from reports.numbers.frame import CONTROL, Frames


@dataclass(frozen=True)
class FailureShares:
    """One method at one length: the share of answers that are not fully right, and of each class, among all `n`."""

    n: int
    wrong: float
    shares: tuple[float, ...]  # in the order of `Failures.kinds`


@dataclass(frozen=True)
class Failures:
    """`lines` has one entry for each method, by length; None where nothing is finished."""

    kinds: tuple[str, ...]  # classes of wrong answers, most frequent first
    lengths: tuple[int, ...]
    lines: tuple[tuple[str, tuple[FailureShares | None, ...]], ...]


@dataclass(frozen=True)
class FailedCell:
    key: str
    label: str
    task: str
    length: int
    seed: int
    reason: str


def failures(frames: Frames) -> Failures:
    """How wrong answers of the long tests went wrong: for each method and length, the share of all its answers."""
    rows = frames.rows[(frames.rows["unit"] == "score") & ~frames.rows["category"].isin(["short", CONTROL])]
    named = rows.assign(failure=rows["failure"].where(rows["failure"] != "", other=None))
    counts = named["failure"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    kinds = tuple(str(kind) for kind in counts.index)
    lengths = tuple(sorted(int(length) for length in rows["length"].unique()))
    groups = dict(tuple(named.groupby(["label", "length"])))
    lines = tuple(
        (label, tuple(_shares(groups.get((label, length)), kinds) for length in lengths)) for label in frames.labels
    )
    return Failures(kinds, lengths, lines)


def _shares(rows: pd.DataFrame | None, kinds: tuple[str, ...]) -> FailureShares | None:
    if rows is None:
        return None
    counts = rows["failure"].value_counts(normalize=False)
    shares = tuple(float(counts.get(kind, 0)) / len(rows) for kind in kinds)
    return FailureShares(len(rows), float((rows["score"] < 1).mean()), shares)


def failed_cells(frames: Frames) -> list[FailedCell]:
    failed = frames.cells[frames.cells["status"] == "failed"]
    return [
        FailedCell(str(cell.key), str(cell.label), str(cell.task), int(cell.length), int(cell.seed), str(cell.reason))
        for cell in failed.itertuples()
    ]


def missing_cells(frames: Frames) -> dict[str, int]:
    """How many cells of each method have not run; methods without any are left out."""
    missing = frames.cells[frames.cells["status"] == "missing"]
    return {str(label): int(n) for label, n in missing.groupby("label", sort=False).size().items()}
