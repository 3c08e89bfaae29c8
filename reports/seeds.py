"""Two levels of luck: the samples of a test, and the seeds of trainings or searches.

Three trained models that answer the same questions are not three times as many questions. For seeds of evaluation,
which only draw more samples for the same weights, pool the samples instead.

Letters: S seeds, N samples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from reports.intervals import LEVEL, Estimate, estimate


@dataclass(frozen=True)
class TwoLevel:
    """The mean over seeds and samples. The deviations are those of single seeds and single samples; None when one seed
    does not allow to tell them apart."""

    estimate: Estimate
    seeds: int
    seed_deviation: float | None
    sample_deviation: float | None

    @property
    def words(self) -> str:
        return f"{self.seeds} seeds" if self.seeds > 1 else "one seed: the interval knows nothing of training luck"


def two_level(scores_SN: ArrayLike, name: str, same_samples: bool = True, bounded: bool = True) -> TwoLevel:
    """Mean and interval of scores, or of paired differences, of several training or search seeds.

    `same_samples`: every seed answered the same samples (two crossed random effects). The variance of the mean is
    (MS_seed + MS_sample - MS_rest) / SN, its degrees of freedom Satterthwaite's (1946, Biometrics Bulletin 2, p. 110);
    it is never taken below what seeds alone or samples alone give. Otherwise each seed has samples of its own, and the
    seeds' means are treated as one sample of size S. Few seeds make wide intervals, and rightly so. Pass
    `bounded=False` for losses and for differences; scores in [0, 1] are cut off there. One seed gives the interval of
    its samples. Raises ValueError for a missing score.
    """
    scores = np.asarray(scores_SN, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("scores of seeds are a full table, one line a seed; leave samples out that a seed lacks")
    seeds, samples = scores.shape
    if seeds == 1:
        return TwoLevel(estimate(scores[0], name, bounded), 1, None, None)
    mean = float(scores.mean())
    of_seed = samples * float(np.var(scores.mean(axis=1), ddof=1))  # mean squares
    if samples < 2 or not same_samples:
        within = float(scores.var(axis=1, ddof=1).mean()) if samples > 1 else 0.0
        variance, freedom = of_seed / (seeds * samples), float(seeds - 1)
        spread = math.sqrt(max(0.0, (of_seed - within) / samples))
        found = _interval(mean, variance, freedom, scores.size, bounded)
        return TwoLevel(found, seeds, spread, math.sqrt(within))
    of_sample = seeds * float(np.var(scores.mean(axis=0), ddof=1))
    rest = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0, keepdims=True) + mean
    of_rest = float(np.sum(rest**2)) / ((seeds - 1) * (samples - 1))
    variance, freedom = _crossed(of_seed, of_sample, of_rest, seeds, samples)
    seed_spread = math.sqrt(max(0.0, (of_seed - of_rest) / samples))
    sample_spread = math.sqrt(max(0.0, (of_sample - of_rest) / seeds) + of_rest)
    return TwoLevel(_interval(mean, variance, freedom, scores.size, bounded), seeds, seed_spread, sample_spread)


def _crossed(of_seed: float, of_sample: float, of_rest: float, seeds: int, samples: int) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) from the mean squares of a crossed table."""
    total = of_seed + of_sample - of_rest
    if total <= max(of_seed, of_sample):
        larger, freedom = max((of_seed, seeds - 1), (of_sample, samples - 1))
        return larger / (seeds * samples), float(freedom)
    parts = of_seed**2 / (seeds - 1) + of_sample**2 / (samples - 1) + of_rest**2 / ((seeds - 1) * (samples - 1))
    return total / (seeds * samples), total**2 / parts


def _interval(mean: float, variance: float, freedom: float, n: int, bounded: bool) -> Estimate:
    if variance == 0:
        return Estimate(mean, None, None, n)  # nothing varies: no interval rather than one of width 0
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(variance)
    low, high = mean - half, mean + half
    return Estimate(mean, max(0.0, low), min(1.0, high), n) if bounded else Estimate(mean, low, high, n)
