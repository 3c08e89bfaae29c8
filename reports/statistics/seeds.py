"""The interval of a mean over seeds: two levels of luck, the samples of a test and the seeds of trainings or searches.

Three trained models that answer the same questions are not three times as many questions. For seeds of evaluation,
which only draw more samples for the same weights, pool the samples instead.

`two_level` is for one table of seeds and samples, also of paired differences; `difference_of_searches` for two tables
whose seeds are not the same.

Letters: S seeds, N samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from reports.statistics.intervals import LEVEL, Array, Estimate, estimate
from reports.statistics.paired import paired_t


@dataclass(frozen=True)
class MeanSquare:
    """A variance times the number of what it is a mean of, with its degrees of freedom."""

    value: float
    freedom: float


@dataclass(frozen=True)
class TwoLevel:
    """The mean over seeds and samples, the standard error with its degrees of freedom, and the two-sided p-value of
    the mean being 0."""

    estimate: Estimate
    error: float
    freedom: float
    p: float


def two_level(
    scores_SN: ArrayLike, name: str, same_samples: bool = True, bounded: bool = True, pooled: MeanSquare | None = None
) -> TwoLevel:
    """Mean and interval of scores, or of paired differences, of several training or search seeds.

    `same_samples`: every seed answered the same samples (two crossed random effects). The variance of the mean is
    (MS_seed + MS_sample - MS_rest) / SN, its degrees of freedom Satterthwaite's (1946, Biometrics Bulletin 2, p. 110);
    it is never taken below what seeds alone or samples alone give. Otherwise each seed has samples of its own, and the
    seeds' means are treated as one sample of size S, unless the samples alone give a wider interval: seeds that agree
    by luck do not make a number sure. Few seeds make wide intervals, and rightly so, unless other methods tell how much
    seeds differ: `pooled` is MS_seed as they say it, and the larger of it and the own one counts, with the degrees of
    freedom of the pooled. Pass `bounded=False` for losses and for differences; scores in
    [0, 1] are cut off there. One seed gives the interval of its samples. Raises ValueError for a missing score.
    """
    scores = np.asarray(scores_SN, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("scores of seeds are a full table, one line a seed; leave samples out that a seed lacks")
    seeds, samples = scores.shape
    if seeds == 1:
        error = float(scores.std(ddof=1)) / math.sqrt(samples) if samples > 1 else 0.0
        return TwoLevel(estimate(scores[0], name, bounded), error, float(samples - 1), paired_t(scores[0]))
    mean = float(scores.mean())
    variance, freedom = _of_mean(scores, same_samples, pooled)
    error = math.sqrt(variance)
    # Nothing varies: then the seeds' signs are all there is.
    p = min(1.0, 2 * float(stdtr(freedom, -abs(mean) / error))) if error > 0 else paired_t(scores.mean(axis=1))
    return TwoLevel(_interval(mean, variance, freedom, scores.size, bounded), error, freedom, p)


def _of_mean(scores_SN: Array, same_samples: bool, pooled: MeanSquare | None) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) over several seeds."""
    seeds, samples = scores_SN.shape
    of_seed, freedom = between_seeds(scores_SN), seeds - 1.0
    if pooled is not None:
        of_seed, freedom = max(of_seed, pooled.value), pooled.freedom
    if samples < 2:
        return of_seed / seeds, freedom
    of_rest = within_seeds(scores_SN, same_samples)
    if same_samples:
        of_sample = seeds * float(np.var(scores_SN.mean(axis=0), ddof=1))
        return _crossed(of_seed, of_sample, of_rest, freedom, seeds, samples)
    levels = [(of_seed / scores_SN.size, freedom), (of_rest / scores_SN.size, float(seeds * (samples - 1)))]
    return max(levels, key=lambda level: float(stdtrit(level[1], 0.5 + LEVEL / 2)) * math.sqrt(level[0]))


def between_seeds(scores_SN: Array) -> float:
    """Mean square between seeds."""
    return scores_SN.shape[1] * float(np.var(scores_SN.mean(axis=1), ddof=1))


def within_seeds(scores_SN: Array, same_samples: bool) -> float:
    """Mean square within seeds; where all answer the same samples, without what is hard for every seed."""
    seeds, samples = scores_SN.shape
    free = (seeds - 1 if same_samples else seeds) * (samples - 1)
    return float(np.sum(rest(scores_SN, same_samples) ** 2)) / free


def rest(scores_SN: Array, same_samples: bool) -> Array:
    """What is left of scores without their seed's mean and, where seeds share samples, without their sample's."""
    rest_SN = scores_SN - scores_SN.mean(axis=-1, keepdims=True)
    return rest_SN - rest_SN.mean(axis=-2, keepdims=True) if same_samples else rest_SN


def difference_of_searches(losses_SN: ArrayLike, reference_SN: ArrayLike) -> tuple[float, float, float] | None:
    """(mean, low, high) of the first table less the second: the same samples, but each table has seeds of its own.

    A 95 % interval of Student's t. Samples are paired, seeds are not; the squared standard errors of samples (mean over
    seeds) and of both tables' seeds (mean over samples) are added, with Satterthwaite's degrees of freedom. What
    depends on seed and sample together counts in both, which is on the safe side. A table with one seed adds nothing of
    its own: its luck is not in the interval. None where a value is infinite, or for a single sample and seed.
    """
    first_SN, second_SN = np.asarray(losses_SN, dtype=np.float64), np.asarray(reference_SN, dtype=np.float64)
    if not (np.isfinite(first_SN).all() and np.isfinite(second_SN).all()):
        return None
    gap_N = first_SN.mean(axis=0) - second_SN.mean(axis=0)
    levels = [gap_N, *(table_SN.mean(axis=1) for table_SN in (first_SN, second_SN))]
    parts = [(float(level.var(ddof=1)) / len(level), len(level) - 1.0) for level in levels if len(level) > 1]
    if not parts:
        return None
    mean, variance = float(gap_N.mean()), sum(square for square, _ in parts)
    if variance == 0:
        return mean, mean, mean
    half = _half(variance, satterthwaite(parts))
    return mean, mean - half, mean + half


def satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, each with its own (1946, Biometrics Bulletin 2, p. 110)."""
    return sum(value for value, _ in parts) ** 2 / sum(value**2 / freedom for value, freedom in parts)


def _crossed(
    of_seed: float, of_sample: float, of_rest: float, freedom: float, seeds: int, samples: int
) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) from the mean squares of a crossed table; `freedom` is of_seed's."""
    total = of_seed + of_sample - of_rest
    if total <= max(of_seed, of_sample):
        larger, freedom = max((of_seed, freedom), (of_sample, samples - 1.0))
        return larger / (seeds * samples), freedom
    parts = [(of_seed, freedom), (of_sample, samples - 1.0), (-of_rest, (seeds - 1.0) * (samples - 1))]
    return total / (seeds * samples), satterthwaite(parts)


def _half(variance: float, freedom: float) -> float:
    """Half the width of an interval of Student's t."""
    return float(stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(variance)


def _interval(mean: float, variance: float, freedom: float, n: int, bounded: bool) -> Estimate:
    if variance == 0:
        return Estimate(mean, None, None, n)  # nothing varies: no interval rather than one of width 0
    half = _half(variance, freedom)
    low, high = mean - half, mean + half
    return Estimate(mean, max(0.0, low), min(1.0, high), n) if bounded else Estimate(mean, low, high, n)


def side_by_side(tests_SN: Sequence[Array]) -> Array:
    """Tables of several tests as one, whose mean over samples is the average over the tests with equal weight.

    Each value is moved and scaled so that the spread among samples is that of single tests. Empty where a test has no
    sample that all seeds answered.
    """
    if not all(table.size for table in tests_SN):
        return np.empty((tests_SN[0].shape[0], 0))
    samples = sum(table.shape[1] for table in tests_SN)
    average = float(np.mean([table.mean() for table in tests_SN]))
    return np.concatenate(
        [average + (table - table.mean()) * samples / (len(tests_SN) * table.shape[1]) for table in tests_SN], axis=1
    )
