"""Is the winner still the winner when one test is left out, when categories count alike, when samples are drawn anew?

An average over tests can rest on one of them: in LCEG (arXiv:2409.12181) the order of NTK and PI turns round when one
of thirteen tasks is dropped. Letters: N samples, M methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.statistics.intervals import LEVEL, RESAMPLES, Array, Estimate, generator


@dataclass(frozen=True)
class Flip:
    """A way of averaging under which another method leads."""

    how: str  # such as "without fwe"
    winner: str
    lead: float  # over the overall winner, in the unit of the scores


@dataclass(frozen=True)
class Stability:
    """`winner` leads the plain average over all tests by `lead` over `second`."""

    winner: str
    second: str
    lead: float
    tests: int
    without: tuple[Flip, ...]  # other winners when one test is left out
    balanced: tuple[str, float]  # winner when categories weigh alike, and its lead

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Every way of averaging here that has another winner."""
        name, lead = self.balanced
        return self.without + (() if name == self.winner else (Flip("with categories weighted alike", name, lead),))

    @property
    def stable(self) -> bool:
        return not self.flips

    @property
    def sentence(self) -> str:
        ways = f"leaving out any one of {self.tests} tests and weighting categories alike"
        if self.lead == 0:
            return f"There is no winner: {self.winner} and {self.second} have the same average."
        if self.stable:
            return f"{self.winner} stays first when {ways}." if self.tests > 1 else f"{self.winner} leads on one test."
        flips = ", ".join(f"{flip.winner} leads {flip.how}" for flip in self.flips)
        return f"The winner flips: {self.winner} leads over all tests, but {flips}."


def stability(means: pd.DataFrame, categories: Mapping[str, str] | None = None) -> Stability:
    """How the order of methods (columns) depends on the tests (lines); higher is better.

    Raises ValueError for fewer than two methods, no test, or a missing score: a method without one test would be
    averaged over easier or harder ones than the others.
    """
    if means.shape[1] < 2:
        raise ValueError(f"a ranking needs at least two methods, got {means.shape[1]}")
    if means.shape[0] < 1:
        raise ValueError("a ranking needs at least one test")
    if means.isna().to_numpy().any():
        gaps = means.columns[means.isna().any()].tolist()
        raise ValueError(f"a ranking needs every test of every method; {gaps[0]} lacks one")
    if not (means.index.is_unique and means.columns.is_unique):
        raise ValueError("a ranking needs tests and methods with names of their own")
    groups = {test: (categories or {}).get(str(test), "all") for test in means.index}
    winner, second, lead = _lead(means.mean())
    without = []
    for test in means.index if len(means) > 1 else []:
        rest = means.drop(index=test).mean()
        other, _, _ = _lead(rest)
        if rest[other] > rest[winner]:
            without.append(Flip(f"without {test}", other, float(rest[other] - rest[winner])))
    by_category = means.groupby(pd.Series(groups), sort=False).mean()
    balanced = by_category.mean()
    name = winner if balanced[winner] >= balanced.max() else _lead(balanced)[0]
    ahead = float(balanced[name] - balanced.drop(name).max())
    return Stability(winner, second, lead, len(means), tuple(without), (name, ahead))


def _lead(means: pd.Series) -> tuple[str, str, float]:
    """(first, second, lead); of equal ones the first in the given order."""
    order = means.sort_values(ascending=False, kind="stable")
    return str(order.index[0]), str(order.index[1]), float(order.iloc[0] - order.iloc[1])


def bootstrap_ranks(
    tests: Sequence[Array], labels: Sequence[str], name: str, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Chance of every rank (columns 1 … M) for every method (lines), samples drawn anew.

    `tests` holds for each test the scores_NM of all methods on the same samples. A draw takes the same samples for all
    methods. Methods with equal averages share their ranks evenly.
    """
    if len(labels) < 2 or not tests or any(scores.ndim != 2 or scores.shape[1] != len(labels) for scores in tests):
        raise ValueError("ranks need at least two methods and, for every test, one line of scores for each sample")
    if any(len(scores) < 2 or not np.isfinite(scores).all() for scores in tests):
        raise ValueError("ranks need at least two samples of every test, and no missing score")
    rng = generator(f"ranks {name}")
    totals = np.zeros((resamples, len(labels)))
    for scores in tests:
        drawn = rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=resamples)
        totals += drawn @ scores / (len(scores) * len(tests))
    totals = np.round(totals, 12)
    better = (totals[:, None, :] > totals[:, :, None]).sum(axis=2)
    alike = (totals[:, None, :] == totals[:, :, None]).sum(axis=2)  # itself included
    ranks = np.arange(len(labels))
    inside = (ranks >= better[:, :, None]) & (ranks < (better + alike)[:, :, None])
    chances = (inside / alike[:, :, None]).mean(axis=0)
    return pd.DataFrame(chances, index=list(labels), columns=[int(rank) + 1 for rank in ranks])


def kendall(first: Array, second: Array) -> float:
    """Kendall's tau-b of two lists of values of the same methods: 1 for one order, -1 for the opposite one; a pair that
    is tied in either list says nothing. NaN where all values of one list are equal."""
    above = np.sign(first[:, None] - first[None]), np.sign(second[:, None] - second[None])
    untied = [float(np.abs(signs).sum()) for signs in above]
    return float((above[0] * above[1]).sum() / np.sqrt(untied[0] * untied[1])) if min(untied) else float("nan")


def rank_correlation(first_NM: Array, second_NM: Array, name: str, resamples: int = RESAMPLES) -> Estimate:
    """Kendall's tau-b of the methods' means (columns, the same methods in both) over two sets of samples (lines).

    The interval is of other samples of the same tests: each set is drawn anew, all methods on the same lines. Luck of
    samples moves tau towards 0, the drawn ones more than the measured one. None for its ends where a set has one
    sample, or where draws leave no order. `n` counts the methods. Raises ValueError for fewer than three methods.
    """
    if first_NM.shape[1] != second_NM.shape[1] or first_NM.shape[1] < 3:
        raise ValueError("a rank correlation needs the same methods twice, and at least three of them")
    methods = first_NM.shape[1]
    tau = kendall(first_NM.mean(axis=0), second_NM.mean(axis=0))
    if min(len(first_NM), len(second_NM)) < 2 or not np.isfinite(tau):
        return Estimate(tau, None, None, methods)
    rng = generator(f"rank correlation {name}")
    means = [
        rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resamples) @ table / len(table)
        for table in (first_NM, second_NM)
    ]
    drawn = np.array([kendall(np.round(a, 12), np.round(b, 12)) for a, b in zip(*means, strict=True)])
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < resamples / 2:
        return Estimate(tau, None, None, methods)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(tau, min(float(low), tau), max(float(high), tau), methods)
