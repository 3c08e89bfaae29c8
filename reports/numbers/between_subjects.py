"""Do methods come in the same order on other models? Rank correlations of what several stores hold, test by test.

A test is taken by its name: its lengths differ between models whose windows differ. Beyond the window all its lengths
count together, every sample alike, and losses are those beyond the window where rows say them; inside the window it is
a test of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from harness.store import Store
from reports.numbers.frame import Frames, read
from reports.numbers.grid import Grid, Line, Number
from reports.numbers.loss_curve import blocks_of, curve_of, mean_between
from reports.numbers.scores import Scores
from reports.statistics import ranks

INSIDE = " (inside the window)"
FEWEST = 3  # methods that both must have; of two, every order is the same or the opposite
NOTES = (
    "Kendall's tau-b of the methods' means; 1: the same order, −1: the opposite, 0: none. Losses count with their sign "
    "turned. Brackets: 95 % interval over samples drawn anew, the same ones for all methods; luck of samples moves tau "
    "towards 0.",
)


@dataclass(frozen=True)
class Subject:
    """A store by the name of its model: for every test a table, lines are samples and columns methods; higher is
    better."""

    name: str
    tables: Mapping[str, pd.DataFrame]


def subjects(stores: Sequence[Store]) -> list[Subject]:
    """One for each store; of stores of one model, each with the name of its folder."""
    frames = [read(store) for store in stores]
    models = [str(one.model.get("name", "a model")) for one in frames]
    names = [
        model if models.count(model) == 1 else f"{model} ({store.folder.name})"
        for model, store in zip(models, stores, strict=True)
    ]
    return [Subject(name, _tables(one)) for name, one in zip(names, frames, strict=True)]


def between(given: Sequence[Subject]) -> Grid:
    """Lines are tests, columns are pairs of subjects. Raises ValueError for fewer than two."""
    if len(given) < 2:
        raise ValueError(f"methods are compared between at least two result stores, got {len(given)}")
    tests = list(dict.fromkeys(test for subject in given for test in subject.tables))
    pairs = list(combinations(given, 2))
    lines = tuple(
        Line(test, tuple(_tau(a.tables.get(test), b.tables.get(test), f"{a.name} {b.name} {test}") for a, b in pairs))
        for test in tests
    )
    columns = tuple(f"{a.name} and {b.name}" for a, b in pairs)
    return Grid(
        "between-subjects", "Do methods come in the same order? Kendall's tau", "Test", columns, lines,
        unit="tau", notes=NOTES, lines_are="tests",
    )  # fmt: skip


def within(given: Sequence[Subject]) -> Grid:
    """The same between the tests of one subject: does one measure say what another says? Columns are subjects."""
    names = dict.fromkeys(pair for subject in given for pair in combinations(subject.tables, 2))
    lines = tuple(
        Line(
            f"{first} and {second}",
            tuple(_tau(s.tables.get(first), s.tables.get(second), f"{s.name} {first} {second}") for s in given),
        )
        for first, second in names
    )
    return Grid(
        "between-tests", "Do two tests of one model order the methods alike? Kendall's tau", "Tests",
        tuple(subject.name for subject in given), lines, unit="tau", notes=NOTES, lines_are="tests",
    )  # fmt: skip


def orders(given: Sequence[Subject], test: str) -> list[list[str]]:
    """For the methods that all subjects with this test have: name and rank in each, best of the first subject first."""
    tables = [subject.tables[test].mean() for subject in given if test in subject.tables]
    common = [label for label in tables[0].index if all(label in table.index for table in tables)]
    placed = [table[common].rank(ascending=False) for table in tables]
    order = sorted(common, key=lambda label: float(placed[0][label]))
    return [[label, *(f"{table[label]:g}" for table in placed)] for label in order]


def _tables(frames: Frames) -> dict[str, pd.DataFrame]:
    """Samples that all methods have, by the name of the test; methods without a finished cell are left out."""
    scores, window = Scores(frames), frames.trained_length
    tables: dict[str, list[pd.DataFrame]] = {}
    for task, length in [*scores.tests("score"), *scores.tests("nats")]:
        rows = frames.rows[(frames.rows["task"] == task) & (frames.rows["length"] == length)]
        if not len(rows):
            continue
        loss = bool((rows["unit"] == "nats").all())
        if loss and length > window:
            beyond = [mean_between(extra, window, _end(extra)) for extra in rows["extra"]]
            known = [score if value is None else value for score, value in zip(rows["score"], beyond, strict=True)]
            rows = rows.assign(score=known)
        table = rows.pivot(index=["seed", "sample"], columns="label", values="score").dropna(axis=1, how="all")
        tables.setdefault(task + (INSIDE if length <= window else ""), []).append(-table if loss else table)
    joined = {test: pd.concat(parts, join="inner", ignore_index=True).dropna() for test, parts in tables.items()}
    return {test: table for test, table in joined.items() if len(table)}


def _end(extra: object) -> float:
    """The last position of a row's curve or blocks; 0 where there is neither."""
    curve, blocks = curve_of(extra), blocks_of(extra)
    return curve[0][-1] if curve is not None else blocks.edges[-1] if blocks is not None else 0.0


def _tau(first: pd.DataFrame | None, second: pd.DataFrame | None, name: str) -> Number:
    if first is None or second is None:
        return Number(None, "missing", "one of the two has no result")
    common = [label for label in first.columns if label in second.columns]
    if len(common) < FEWEST:
        return Number(None, "missing", f"only {len(common)} methods in common")
    tables = [table[common].to_numpy(dtype=np.float64) for table in (first, second)]
    found = ranks.rank_correlation(tables[0], tables[1], name)
    if not np.isfinite(found.mean):
        return Number(None, "missing", "all methods score the same on one of the two")
    return Number(found, "done")
