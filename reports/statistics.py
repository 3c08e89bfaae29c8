"""How sure a number is, and whether two methods differ: intervals and paired tests, all at the 95 % level.

A single mean gets Wilson's interval when its scores are 0 or 1, a bootstrap when they are shares between 0 and 1, and
Student's t when they are losses of whole documents (`bounded=False`): a mean over many tokens is close to normal, and
a handful of documents must suffice. Averages over several tests join the tests' own intervals. Two methods are only
ever compared on the same samples. One sample gives no interval, and scores that are all equal still leave the doubt
that so few samples must leave.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

Array = NDArray[np.float64]

LEVEL = 0.95
Z = float(ndtri(0.5 + LEVEL / 2))
POWER_Z = float(ndtri(0.8))  # minimum detectable effects are for 80 % power
RESAMPLES = 2_000  # of an interval
PERMUTATIONS = 9_999  # of a test; the smallest p-value is then 1e-4
EXACT_UP_TO = 12  # differing samples: 2^12 sign patterns are all looked at


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of the values. `low` and `high` are None where nothing can be said."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """First minus second on the same samples. `p` is two-sided and not yet corrected for many comparisons."""

    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    error: float  # standard error of the difference

    @property
    def detectable(self) -> float:
        """The smallest true difference that as many samples would call significant four times out of five."""
        return (Z + POWER_Z) * self.error


def generator(name: str) -> np.random.Generator:
    """A random generator that belongs to a name, so that equal reports draw equal numbers."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def is_binary(values: Array) -> bool:
    return bool(np.all((values == 0) | (values == 1)))


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22, p. 209); never leaves [0, 1]."""
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def resampled_means(values: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """Means of bootstrap samples; shape (resamples,). Equal values are drawn together, which is much faster."""
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    if len(distinct) * 4 < n:
        return np.asarray(rng.multinomial(n, counts / n, size=resamples) @ distinct / n, dtype=np.float64)
    return np.asarray(values[rng.integers(0, n, size=(resamples, n))].mean(axis=1), dtype=np.float64)


def bootstrap(values: Array, name: str, resamples: int = RESAMPLES) -> tuple[float, float]:
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
    wide = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * math.sqrt(n / (n - 1))
    ends = []
    for z in (-wide, wide):
        slope = 1 - skew * (bias + z)
        # With very few skewed values the correction can turn round (slope <= 0): then the whole range is the answer.
        share = float(ndtr(bias + (bias + z) / slope)) if slope > 0 else (0.0 if z < 0 else 1.0)
        ends.append(float(np.quantile(means, min(max(share, 0.0), 1.0))))
    return min(ends[0], float(values.mean())), max(ends[1], float(values.mean()))


def student(values: Array) -> tuple[float, float]:
    """Student's t interval of a mean."""
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def estimate(values: ArrayLike, name: str, bounded: bool = True) -> Estimate:
    """Mean and interval of one cell's scores; `bounded` says that they lie in [0, 1].

    Equal partial scores have no spread to resample; in [0, 1] no scores with that mean can vary more than 0/1 scores
    do, so Wilson's interval is a safe one. Equal losses have no interval.
    """
    data = np.asarray(values, dtype=np.float64)
    n, mean = len(data), float(data.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    equal = bool(np.all(data == data[0]))
    if not bounded:
        return Estimate(mean, None, None, n) if equal else Estimate(mean, *student(data), n)
    if equal or is_binary(data):
        return Estimate(mean, *wilson(float(data.sum()), n), n)
    return Estimate(mean, *bootstrap(data, name), n)


def average(parts: Sequence[Estimate]) -> Estimate:
    """Unweighted mean over tests, with an interval from the tests' own intervals.

    Squares of the distances to the limits are added (method of variance estimates recovery; Zou and Donner 2008,
    Statistics in Medicine 27, p. 1693), so a test with all answers right still adds its doubt.
    """
    if not parts:
        raise ValueError("an average needs at least one test")
    mean = sum(part.mean for part in parts) / len(parts)
    n = sum(part.n for part in parts)
    lows = [part.mean - part.low for part in parts if part.low is not None]
    highs = [part.high - part.mean for part in parts if part.high is not None]
    if len(lows) < len(parts) or len(highs) < len(parts):
        return Estimate(mean, None, None, n)
    return Estimate(mean, mean - math.hypot(*lows) / len(parts), mean + math.hypot(*highs) / len(parts), n)


def mcnemar(first: Array, second: Array) -> float:
    """Exact two-sided p-value of McNemar's test: among samples that differ, is each winner as likely as the other?"""
    wins, losses = int(np.sum(first > second)), int(np.sum(first < second))
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2 ** (wins + losses))


def sign_flip(differences: Array, name: str) -> float:
    """Two-sided p-value of a paired permutation test: under no difference every sign is a coin toss.

    Up to 12 differences that are not 0 all sign patterns are counted; beyond that 9,999 are drawn. Differences of
    one size are drawn together as a binomial number.
    """
    moved = differences[differences != 0]
    if len(moved) == 0:
        return 1.0
    seen = abs(float(moved.sum())) * (1 - 1e-9)  # sums in another order may differ in the last digit
    if len(moved) <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        return float(np.mean(np.abs(signs @ moved) >= seen))
    sizes, counts = np.unique(np.round(np.abs(moved), 12), return_counts=True)
    heads = generator(f"sign flip {name}").binomial(counts, 0.5, size=(PERMUTATIONS, len(counts)))
    sums = np.abs((2 * heads - counts) @ sizes)
    return float((1 + np.sum(sums >= seen)) / (1 + PERMUTATIONS))


def paired_t(differences: Array) -> float:
    """Two-sided p-value of the paired t test; sign flips where all differences are equal and t is not defined."""
    n = len(differences)
    if n < 2 or np.all(differences == differences[0]):
        return sign_flip(differences, "equal")
    t = abs(float(differences.mean())) / (float(differences.std(ddof=1)) / math.sqrt(n))
    return min(1.0, 2 * float(stdtr(n - 1, -t)))


def difference_interval(
    first: Array, second: Array, name: str, bounded: bool = True
) -> tuple[float | None, float | None]:
    """Interval of the mean of first - second, samples paired.

    For 0/1 scores Bonett and Price (2012, Journal of Educational and Behavioral Statistics 37, p. 479): one win and one
    loss are added, so equal answers on few samples do not look certain. A bootstrap of the differences for other
    scores, with Wilson's interval (of values between -1 and 1) where all differences are equal; Student's t for losses.
    """
    differences = first - second
    n = len(differences)
    if n < 2:
        return None, None
    if is_binary(first) and is_binary(second):
        won, lost = (np.sum(differences > 0) + 1) / (n + 2), (np.sum(differences < 0) + 1) / (n + 2)
        half = Z * math.sqrt((won + lost - (won - lost) ** 2) / (n + 2))
        return float(max(-1.0, won - lost - half)), float(min(1.0, won - lost + half))
    equal = bool(np.all(differences == differences[0]))
    if not bounded:
        return (None, None) if equal else student(differences)
    if equal:
        low, high = wilson(float(np.sum((differences + 1) / 2)), n)
        return 2 * low - 1, 2 * high - 1
    return bootstrap(differences, f"difference {name}")


def p_value(tests: Sequence[tuple[Array, Array]], name: str, bounded: bool = True) -> float:
    """Are two methods equal on average over these tests? Exact McNemar for one test of 0/1 scores, the paired t test
    for one test of losses, else sign flips."""
    if not tests or any(len(a) != len(b) or len(a) == 0 for a, b in tests):
        raise ValueError("two methods are compared on the same samples, at least one for each test")
    if len(tests) == 1 and all(is_binary(values) for values in tests[0]):
        return mcnemar(*tests[0])
    if len(tests) == 1 and not bounded:
        return paired_t(tests[0][0] - tests[0][1])
    return sign_flip(np.concatenate([(a - b) / (len(a) * len(tests)) for a, b in tests]), name)


def compare(tests: Sequence[tuple[Array, Array]], name: str, bounded: bool = True) -> Comparison:
    """Two methods on the same samples of one or several tests, each test with equal weight."""
    p = p_value(tests, name, bounded)
    error = math.sqrt(sum(float(np.var(a - b, ddof=1)) / len(a) for a, b in tests if len(a) > 1)) / len(tests)
    parts = []
    for i, (a, b) in enumerate(tests):
        mean = float(np.mean(a - b))
        low, high = difference_interval(a, b, f"{name} {i}", bounded)
        # Bonett and Price's interval is centred a little nearer to 0 than the mean and may end before it.
        low, high = (None, None) if low is None or high is None else (min(low, mean), max(high, mean))
        parts.append(Estimate(mean, low, high, len(a)))
    joined = average(parts)
    return Comparison(joined.mean, joined.low, joined.high, p, joined.n, error)


def ratio_interval(tests: Sequence[tuple[Array, Array]], name: str) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of average(first) / average(second), samples paired, tests with equal weight.

    Where no sample differs there is nothing to resample: then the share of samples that could differ and were not seen
    is at most 1 - 0.05^(1/n) (the rule of three), and the interval reaches as far as that share could move the ratio.
    """
    original = sum(float(b.mean()) for _, b in tests)
    if original <= 0 or any(len(a) < 2 for a, _ in tests):
        return None, None
    if all(np.all(a == b) for a, b in tests):
        n = min(len(a) for a, _ in tests)
        unseen = (1 - (1 - LEVEL) ** (1 / n)) * len(tests) / original
        return max(0.0, 1 - unseen), 1 + unseen
    rng = generator(f"ratio {name}")
    above, below = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for a, b in tests:
        drawn = rng.integers(0, len(a), size=(RESAMPLES, len(a)))
        above, below = above + a[drawn].mean(axis=1), below + b[drawn].mean(axis=1)
    low, high = np.quantile(above[below > 0] / below[below > 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979, Scandinavian Journal of Statistics 6, p. 65): any of them below 0.05 is real,
    with 5 % risk of even one mistake among all."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = highest
    return adjusted
