"""Do two methods differ on the same samples? Tests and intervals for paired scores.

Scores of 0 and 1 get McNemar's test, partial scores and averages over several tests a sign-flip test (with partial
scores among them also the test of `skewed`, and the larger p-value counts), losses the paired t test. McNemar and sign
flips take mid-p values unless told otherwise: the exact ones are conservative, since with d differing samples only
about d p-values are possible (Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, who recommend
the mid-p test). Below five differing samples neither can reach 5 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, ndtr, stdtr, stdtrit

from reports.statistics.intervals import (  # fmt: skip
    LEVEL,
    Array,
    Estimate,
    average,
    bootstrap,
    generator,
    is_binary,
    student,
    wilson,
    z_of,
)
from reports.statistics.skewed import skewed_p

Pairs = Sequence[tuple[Array, Array]]  # for each test the scores of both methods on the same samples

POWER = 0.8  # of minimum detectable effects
PERMUTATIONS = 9_999  # of a test
ENOUGH = 50  # drawn sums beyond the seen one: with fewer, the tail is computed
EXACT_UP_TO = 12  # differing samples: 2^12 sign patterns are all looked at


@dataclass(frozen=True)
class Comparison:
    """First minus second on the same samples. `p` is two-sided and not yet corrected for many comparisons."""

    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    error: float  # standard error of the difference
    freedom: float = math.inf  # its degrees of freedom: few where a method goes by the seeds of its training

    def detectable(self, comparisons: int = 1) -> float:
        """The smallest true difference that as many samples and seeds would call significant four times out of five,
        at a level of 5 % over so many comparisons (Bonferroni's share, which Holm's correction starts from)."""
        level = 1 - (1 - LEVEL) / comparisons
        return float(stdtrit(self.freedom, 0.5 + level / 2) + stdtrit(self.freedom, POWER)) * self.error


def mcnemar(first: Array, second: Array, mid_p: bool = True) -> float:
    """Two-sided p-value of McNemar's test: among samples that differ, is each winner as likely as the other?

    The mid-p value counts the result itself by half, once for both sides together.
    """
    return mcnemar_counts(int(np.sum(first > second)), int(np.sum(first < second)), mid_p)


def mcnemar_counts(won: int, lost: int, mid_p: bool = True) -> float:
    """`mcnemar` from the numbers of samples that only the first and only the second method has right."""
    differ, fewer = won + lost, min(won, lost)
    if not differ:
        return 1.0
    p = min(1.0, 2 * float(bdtr(fewer, differ, 0.5)))
    if mid_p:
        here = float(bdtr(fewer, differ, 0.5) - (bdtr(fewer - 1, differ, 0.5) if fewer else 0.0))
        p = 2 * float(bdtr(fewer, differ, 0.5)) - here
    return min(1.0, p)


def sign_flip(differences: Array, name: str, mid_p: bool = True) -> float:
    """Two-sided p-value of a paired permutation test: under no difference every sign is a coin toss.

    Up to 12 differences that are not 0 all sign patterns are counted; beyond that 9,999 are drawn. Differences of
    one size are drawn together as a binomial number. The mid-p value counts patterns that do as well by half. A tail
    too thin for drawing is computed (`_flipped_tail`), or else no correction for many comparisons could be passed.
    """
    moved = differences[differences != 0]
    if len(moved) == 0:
        return 1.0
    seen = abs(float(moved.sum()))
    slack = 1e-9 * float(np.abs(moved).sum())  # sums in another order may differ in the last digit
    if len(moved) <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        sums, seen_pattern = np.abs(signs @ moved), 0
    else:
        sizes, counts = np.unique(np.round(np.abs(moved), 12), return_counts=True)
        if len(sizes) == 1:
            return mcnemar_counts(int(np.sum(moved > 0)), int(np.sum(moved < 0)), mid_p)
        heads = generator(f"sign flip {name}").binomial(counts, 0.5, size=(PERMUTATIONS, len(counts)))
        sums, seen_pattern = np.abs((2 * heads - counts) @ sizes), 1  # which belongs to the drawn ones
    beyond, alike = int(np.sum(sums > seen + slack)), int(np.sum(np.abs(sums - seen) <= slack)) + seen_pattern
    if seen_pattern and beyond + alike < ENOUGH:
        return _flipped_tail(np.abs(moved), seen, mid_p)
    return (beyond + alike * (0.5 if mid_p and seen > slack else 1.0)) / (len(sums) + seen_pattern)


def _flipped_tail(sizes: Array, seen: float, mid_p: bool) -> float:
    """Two-sided chance that sizes with random signs add up to as much as was seen.

    A saddlepoint approximation (Lugannani and Rice 1980, Advances in Applied Probability 12, p. 475), good to a few
    percent of the value, to a third of it where sizes are few and it is below 1e-6; exact where all signs are alike.
    """
    all_alike = 2.0 ** (1 - len(sizes))
    if seen >= (1 - 1e-9) * float(sizes.sum()):
        return all_alike / 2 if mid_p else all_alike
    scaled, total = sizes / sizes.max(), seen / float(sizes.max())
    tilt = float(brentq(lambda t: float(scaled @ np.tanh(scaled * t)) - total, 0.0, 1e6))
    # log cosh x without overflow
    log_cosh = float(np.sum(scaled * tilt + np.log1p(np.exp(-2 * scaled * tilt)) - math.log(2)))
    root = math.sqrt(2 * (tilt * total - log_cosh))
    curved = tilt * math.sqrt(float(np.sum((scaled / np.cosh(np.minimum(scaled * tilt, 300))) ** 2)))
    tail = float(ndtr(-root)) + math.exp(-(root**2) / 2) / math.sqrt(2 * math.pi) * (1 / curved - 1 / root)
    return min(1.0, max(2 * tail, all_alike / 2))


def paired_t(differences: Array) -> float:
    """Two-sided p-value of the paired t test; sign flips where all differences are equal and t is not defined."""
    n = len(differences)
    if n < 2 or np.all(differences == differences[0]):
        return sign_flip(differences, "equal")
    t = abs(float(differences.mean())) / (float(differences.std(ddof=1)) / math.sqrt(n))
    return min(1.0, 2 * float(stdtr(n - 1, -t)))


def difference_interval(
    first: Array, second: Array, name: str, bounded: bool = True, level: float = LEVEL
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
        half = z_of(level) * math.sqrt((won + lost - (won - lost) ** 2) / (n + 2))
        return float(max(-1.0, won - lost - half)), float(min(1.0, won - lost + half))
    equal = bool(np.all(differences == differences[0]))
    if not bounded:
        return (None, None) if equal else student(differences, level)
    if equal:
        low, high = wilson(float(np.sum((differences + 1) / 2)), n, level)
        return 2 * low - 1, 2 * high - 1
    return bootstrap(differences, f"difference {name}", level=level)


def p_value(tests: Pairs, name: str, bounded: bool = True, mid_p: bool = True) -> float:
    """Are two methods equal on average over these tests? McNemar for one test of 0/1 scores, the paired t test for one
    test of losses, else sign flips, and where scores are partial the larger of that p-value and `skewed_p`."""
    check(tests)
    if len(tests) == 1 and all(is_binary(values) for values in tests[0]):
        return mcnemar(*tests[0], mid_p=mid_p)
    if len(tests) == 1 and not bounded:
        return paired_t(tests[0][0] - tests[0][1])
    flipped = sign_flip(np.concatenate([(a - b) / (len(a) * len(tests)) for a, b in tests]), name, mid_p)
    if not bounded or all(is_binary(values) for pair in tests for values in pair):
        return flipped
    return max(flipped, skewed_p(tests))


def check(tests: Pairs) -> None:
    """Raises ValueError where two methods were not given the same samples, or a score is missing."""
    if not tests or any(len(a) != len(b) or len(a) == 0 for a, b in tests):
        raise ValueError("two methods are compared on the same samples, at least one for each test")
    if not all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in tests):
        raise ValueError("a score is missing or not finite; compare two methods on the samples that both have")


def difference(tests: Pairs, name: str, bounded: bool = True, level: float = LEVEL) -> Estimate:
    """First minus second with its interval, tests with equal weight.

    Tests of 0/1 scores with equally many samples are taken as one test: the average is the same, and one win and one
    loss are added to all of them together instead of to each, which would make the interval too wide.
    """
    check(tests)
    sizes = {len(a) for a, _ in tests}
    if (
        len(tests) > 1
        and len(sizes) == 1
        and sizes != {1}
        and all(is_binary(scores) for pair in tests for scores in pair)
    ):
        tests = [(np.concatenate([a for a, _ in tests]), np.concatenate([b for _, b in tests]))]
    parts = []
    for i, (a, b) in enumerate(tests):
        mean = float(np.mean(a - b))
        low, high = difference_interval(a, b, f"{name} {i}", bounded, level)
        # Bonett and Price's interval is centred a little nearer to 0 than the mean and may end before it.
        low, high = (None, None) if low is None or high is None else (min(low, mean), max(high, mean))
        parts.append(Estimate(mean, low, high, len(a)))
    return average(parts)


def standard_error(tests: Pairs) -> float:
    """Standard error of the average difference."""
    return math.sqrt(sum(float(np.var(a - b, ddof=1)) / len(a) for a, b in tests if len(a) > 1)) / len(tests)


def compare(tests: Pairs, name: str, bounded: bool = True, level: float = LEVEL) -> Comparison:
    """Two methods on the same samples of one or several tests, each test with equal weight."""
    p = p_value(tests, name, bounded)
    joined = difference(tests, name, bounded, level)
    return Comparison(joined.mean, joined.low, joined.high, p, joined.n, standard_error(tests))


def ratio_interval(tests: Pairs, level: float = LEVEL) -> tuple[float | None, float | None]:
    """Interval of average(first) / average(second), samples paired, tests with equal weight; for scores in [0, 1].

    Fieller's (1954, Journal of the Royal Statistical Society B 16, p. 175): all ratios r for which the mean of
    first - r · second is compatible with 0. As in `difference_interval`, one win and one loss are added, here to all
    tests together, so scores that are all equal on few samples do not look certain. (None, None) where a test has one
    sample, or where the second average cannot be told from 0, so that no ratio can be excluded from above.
    """
    check(tests)
    if any(len(a) < 2 for a, _ in tests) or sum(float(b.mean()) for _, b in tests) <= 0:
        return None, None
    added = 1 / len(tests)  # weight of the win and of the loss in every test
    means, spread = np.zeros(2), np.zeros((2, 2))  # of the sums over tests, and their covariance
    for pair in tests:
        scores = np.concatenate([pair, np.eye(2)], axis=1)
        weights = np.append(np.ones(len(pair[0])), [added, added])
        n = len(pair[0]) + 2 * added
        sums = scores @ weights / n
        apart = scores - sums[:, None]
        means += sums
        spread += (apart * weights) @ apart.T / (n * (n - 1))
    z2 = z_of(level) ** 2
    square, middle, rest = means[1] ** 2 - z2 * spread[1, 1], means.prod() - z2 * spread[0, 1], means[0] ** 2
    root = middle**2 - square * (rest - z2 * spread[0, 0])
    if square <= 0:
        return None, None
    centre, half = float(middle / square), math.sqrt(max(0.0, root)) / float(square)
    ratio = sum(float(a.mean()) for a, _ in tests) / sum(float(b.mean()) for _, b in tests)
    return max(0.0, min(centre - half, ratio)), max(centre + half, ratio)
