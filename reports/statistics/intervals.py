"""How sure one number is: intervals of means and of weighted sums of means.

A single mean gets Wilson's interval when its scores are 0 or 1, a bootstrap when they are shares between 0 and 1, and
Student's t when they are losses of whole documents (`bounded=False`): a mean over many tokens is close to normal, and
a handful of documents must suffice. Sums over several tests join the tests' own intervals. One sample gives no
interval, and scores that are all equal still leave the doubt that so few samples must leave.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

Array = NDArray[np.float64]

LEVEL = 0.95
SIGNIFICANT = 0.05  # a p-value below it is called real
Z = float(ndtri(0.5 + LEVEL / 2))
RESAMPLES = 2_000  # of an interval


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of the values. `low` and `high` are None where nothing can be said."""

    mean: float
    low: float | None
    high: float | None
    n: int


def z_of(level: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95."""
    return float(ndtri(0.5 + level / 2))


def generator(name: str) -> np.random.Generator:
    """A random generator that belongs to a name, so that equal reports draw equal numbers."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def is_binary(values: Array) -> bool:
    return bool(np.all((values == 0) | (values == 1)))


def wilson(successes: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22, p. 209); never leaves [0, 1]."""
    z = z_of(level)
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def resampled_means(values: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """Means of bootstrap samples; shape (resamples,). Equal values are drawn together, which is much faster."""
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    if len(distinct) * 4 < n:
        return np.asarray(rng.multinomial(n, counts / n, size=resamples) @ distinct / n, dtype=np.float64)
    return np.asarray(values[rng.integers(0, n, size=(resamples, n))].mean(axis=1), dtype=np.float64)


def bootstrap(values: Array, name: str, resamples: int = RESAMPLES, level: float = LEVEL) -> tuple[float, float]:
    """BCa bootstrap interval of a mean (Efron 1987, JASA 82, p. 171).

    Its tails are widened to those of Student's t, because a bootstrap of few values is too narrow (Hesterberg 2015,
    The American Statistician 69, p. 371, section 4.1). Needs two values that differ.
    """
    n = len(values)
    means = np.sort(resampled_means(values, generator(f"bootstrap {name}"), resamples))
    centre = values - values.mean()
    below = (np.sum(means < values.mean()) + np.sum(means <= values.mean())) / (2 * resamples)
    bias = float(ndtri(min(max(below, 1 / resamples), 1 - 1 / resamples)))
    skew = float(np.sum(centre**3) / (6 * np.sum(centre**2) ** 1.5))
    wide = float(stdtrit(n - 1, 0.5 + level / 2)) * math.sqrt(n / (n - 1))
    ends = []
    for z in (-wide, wide):
        slope = 1 - skew * (bias + z)
        # With very few skewed values the correction can turn round (slope <= 0): then the whole range is the answer.
        share = float(ndtr(bias + (bias + z) / slope)) if slope > 0 else (0.0 if z < 0 else 1.0)
        ends.append(float(np.quantile(means, min(max(share, 0.0), 1.0))))
    return min(ends[0], float(values.mean())), max(ends[1], float(values.mean()))


def student(values: Array, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval of a mean."""
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def estimate(values: ArrayLike, name: str, bounded: bool = True, level: float = LEVEL) -> Estimate:
    """Mean and interval of one cell's scores; `bounded` says that they lie in [0, 1].

    Equal partial scores have no spread to resample; in [0, 1] no scores with that mean can vary more than 0/1 scores
    do, so Wilson's interval is a safe one. Equal losses have no interval. Raises ValueError without a sample, or for
    one that is no finite number.
    """
    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    if n == 0 or not np.isfinite(data).all():
        raise ValueError("a mean needs at least one sample and finite scores; leave missing samples out")
    mean = float(data.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    equal = bool(np.all(data == data[0]))
    if not bounded:
        return Estimate(mean, None, None, n) if equal else Estimate(mean, *student(data, level), n)
    if equal or is_binary(data):
        return Estimate(mean, *wilson(float(data.sum()), n, level), n)
    return Estimate(mean, *bootstrap(data, name, level=level), n)


def combined(parts: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """A weighted sum of independent means, with an interval from their own intervals.

    Squares of the weighted distances to the limits are added (method of variance estimates recovery; Zou and Donner
    2008, Statistics in Medicine 27, p. 1693), so a test with all answers right still adds its doubt. A negative weight
    takes the other limit.
    """
    if not parts or len(parts) != len(weights):
        raise ValueError("a sum needs at least one part, and one weight for each")
    mean = sum(weight * part.mean for part, weight in zip(parts, weights, strict=True))
    n = sum(part.n for part in parts)
    below, above = [], []
    for part, weight in zip(parts, weights, strict=True):
        if part.low is None or part.high is None:
            return Estimate(mean, None, None, n)
        ends = (weight * (part.mean - part.low), weight * (part.high - part.mean))
        below.append(ends[0] if weight > 0 else ends[1])
        above.append(ends[1] if weight > 0 else ends[0])
    return Estimate(mean, mean - math.hypot(*below), mean + math.hypot(*above), n)


def average(parts: Sequence[Estimate]) -> Estimate:
    """Unweighted mean over tests, with an interval from the tests' own intervals."""
    if not parts:
        raise ValueError("an average needs at least one test")
    joined = combined(parts, [1 / len(parts)] * len(parts))
    return Estimate(sum(part.mean for part in parts) / len(parts), joined.low, joined.high, joined.n)
