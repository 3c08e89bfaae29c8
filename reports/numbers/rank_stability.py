"""Does the order of the methods rest on one test, or on the luck of the samples?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.statistics import ranks


@dataclass(frozen=True)
class RankStability:
    """`chances` has one line for each method: the chance of rank 1, 2, …, if samples were drawn anew; empty
    where a test has one sample."""

    stability: ranks.Stability
    chances: pd.DataFrame
    methods: tuple[str, ...]


def rank_stability(scores: Scores, summary: Summary, column: int) -> RankStability | None:
    """None where fewer than two methods were measured on the same tests."""
    if not summary.lengths:
        return None
    tests = summary.tests[column]
    labels = [line.label for line in summary.grid.lines if line.numbers[column].estimate is not None]
    if len(labels) < 2 or not tests:
        return None
    # For each test the scores of all methods on the samples that all of them have; letters N samples, M methods.
    tables_NM = [scores.matrix[test][labels].dropna().to_numpy(dtype=np.float64) for test in tests]
    if any(len(table) == 0 for table in tables_NM):
        return None
    category = dict(zip(scores.frames.cells["task"], scores.frames.cells["category"], strict=True))
    names = [task for task, _ in tests]
    means = pd.DataFrame([table.mean(axis=0) for table in tables_NM], index=names, columns=labels)
    stable = ranks.stability(means, {name: str(category[name]) for name in names})
    chances = pd.DataFrame()
    if all(len(table) > 1 for table in tables_NM):
        chances = ranks.bootstrap_ranks(tables_NM, labels, f"ranks {summary.lengths[column]}")
    return RankStability(stable, chances, tuple(labels))
