"""May a comparison of two methods stop before all samples are answered? A sequential test of paired scores.

The samples are looked at a few times, and each look may spend a part of the 5 % of false claims (alpha spending; Lan
and DeMets 1983, Biometrika 70, p. 659). What a difference has to pass at a look follows from random signs: under no
difference every sample's difference is as likely as its opposite, so sums of the differences seen so far with random
signs, one draw of signs for all looks, say how large a sum is by luck. Right-or-wrong answers need no more than that.
Skewed shares do (`reports/statistics/skewed.py`), so there Student's t of that file has to pass a limit of its own,
which spends 5 % in the same way over looks at a normal path.

A comparison also stops where a repeated confidence interval (Jennison and Turnbull 1989, Journal of the Royal
Statistical Society B 51, p. 305) lies within a margin around no difference: both one-sided tests at 5 % exclude the
margin. It is Bonett and Price's interval, one win and one loss added, so few answers that are all alike do not look
certain. And it stops where the samples that are left would hardly decide it, by their predictive chance (Spiegelhalter,
Freedman and Blackburn 1986, Controlled Clinical Trials 7, p. 8): that can only take claims away, never make a false
one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from reports.statistics.intervals import SIGNIFICANT, Array, generator, is_binary
from reports.statistics.skewed import skewed_p, studentised

LOOKS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)  # shares of the samples
LEAST = 8  # samples of a look: with fewer no limit can be passed
PATHS = 9_999  # drawn for the signs of one comparison
NORMAL_PATHS = 200_000
ABOVE, BELOW, WITHIN, OPEN, HARDLY = "above", "below", "within", "open", "hardly"
HOPE = 0.1  # a smaller chance of being decided by all samples is not worth them


@dataclass(frozen=True)
class Stopping:
    """How far a comparison got: the first method minus the second, in the unit of the scores, and a repeated 95 %
    interval, which holds the truth wherever one stops."""

    word: str  # above, below, within; open: not decided by the samples that are there; hardly: nor likely by all
    samples: int  # of each seed
    look: int  # from 1; 0: there are too few samples for one
    difference: float
    low: float
    high: float

    @property
    def stops(self) -> bool:
        return self.word != OPEN


def looks(samples: int) -> tuple[int, ...]:
    """After how many samples is looked, where so many are planned."""
    sizes = sorted({math.ceil(round(share * samples, 6)) for share in LOOKS})
    return tuple(size for size in sizes if size >= min(LEAST, samples))


def comparison(label: str, against: str, test: str, length: int) -> str:
    """The name of a comparison, by which its random signs are drawn."""
    return f"{label} against {against}, {test} at {length}"


def stopping(first: Sequence[Array], second: Sequence[Array], samples: int, margin: float, name: str) -> Stopping:
    """Look by look, up to the first that decides. `first` and `second` are scores in [0, 1], for each seed those of its
    first samples, as many as there are; `samples` are planned for each seed."""
    there = min(len(scores) for scores in (*first, *second))
    signs = _Signs(name)
    state = Stopping(OPEN, there, 0, math.nan, math.nan, math.nan)
    before, shares = 0, tuple(size / samples for size in looks(samples))
    for number, size in enumerate(looks(samples)):
        if size > there:
            break
        pair = tuple(np.concatenate([scores[:size] for scores in side]) for side in (first, second))
        new = np.concatenate([a[before:size] - b[before:size] for a, b in zip(first, second, strict=True)])
        sums = signs.passed(new, SIGNIFICANT * spent(shares[number]))
        state = _at_look(pair, sums, shares, number, size, margin)
        if state.stops:
            break
        before = size
    return state


def _at_look(
    pair: tuple[Array, ...], passed: bool, shares: tuple[float, ...], number: int, size: int, margin: float
) -> Stopping:
    a, b = pair
    mean, error, freedom = studentised([(a, b)], added=1.0)
    word = OPEN
    if passed and (is_binary(a) and is_binary(b) or skewed_p([(a, b)]) < nominal(shares, SIGNIFICANT)[number]):
        word = ABOVE if float((a - b).sum()) > 0 else BELOW
    else:
        half = error * float(stdtrit(freedom, 1 - nominal(shares, 2 * SIGNIFICANT)[number] / 2))
        word = WITHIN if -margin < mean - half and mean + half < margin else OPEN
        if word == OPEN and number + 1 < len(shares) and _chance(mean, error, shares, number, margin) < HOPE:
            word = HARDLY
    half = error * float(stdtrit(freedom, 1 - nominal(shares, SIGNIFICANT)[number] / 2))
    return Stopping(word, size, number + 1, float((a - b).mean()), max(-1.0, mean - half), min(1.0, mean + half))


def _chance(mean: float, error: float, shares: tuple[float, ...], number: int, margin: float) -> float:
    """The chance that all samples decide it, given those up to this look and no other knowledge; normal."""
    at_end = error * math.sqrt(shares[number])  # standard error of the mean of all
    moves = error * math.sqrt(1 - shares[number])  # standard deviation of that mean around this one
    beyond, inside = (-float(ndtri(nominal(shares, times * SIGNIFICANT)[-1] / 2)) * at_end for times in (1, 2))
    differs = float(ndtr((-beyond - mean) / moves) + ndtr((mean - beyond) / moves))
    width = margin - inside
    return differs + (float(ndtr((width - mean) / moves) - ndtr((-width - mean) / moves)) if width > 0 else 0.0)


def spent(share: float) -> float:
    """The share of the level that may be spent once so much of the samples was looked at."""
    return math.log(1 + (math.e - 1) * share)


class _Signs:
    """Sums of one comparison's differences under random signs, look by look."""

    def __init__(self, name: str) -> None:
        self._random = generator(f"sequential signs {name}")
        self._sums = np.zeros(PATHS)
        self._alive = np.ones(PATHS, dtype=bool)  # paths that no look has called a difference
        self._seen = self._slack = 0.0

    def passed(self, new: Array, level: float) -> bool:
        """Whether the sum of all differences so far lies beyond this look's limit: at most `level` of the paths have
        passed one by now."""
        moved = new[new != 0]
        self._sums += (2.0 * self._random.integers(0, 2, (PATHS, len(moved)), dtype=np.int8) - 1.0) @ moved
        self._seen += float(moved.sum())
        self._slack += 1e-9 * float(np.abs(moved).sum())
        left = math.floor(level * PATHS) - int((~self._alive).sum())
        sizes = np.sort(np.abs(self._sums[self._alive]))[::-1]
        limit = float(sizes[left]) + self._slack
        self._alive &= np.abs(self._sums) <= limit
        return abs(self._seen) > limit


@cache
def nominal(shares: tuple[float, ...], level: float) -> tuple[float, ...]:
    """The two-sided p-value to be fallen below at each look, for a path whose increments are normal."""
    steps = np.sqrt(np.diff(shares, prepend=0.0))
    random = generator(f"sequential limits {shares} {level}")
    path, alive, found = np.zeros(NORMAL_PATHS), np.ones(NORMAL_PATHS, dtype=bool), []
    for share, step in zip(shares, steps, strict=True):
        path += step * random.standard_normal(NORMAL_PATHS)
        sizes = np.abs(path) / math.sqrt(share)
        left = math.floor(level * spent(share) * NORMAL_PATHS) - int((~alive).sum())
        limit = float(np.sort(sizes[alive])[::-1][left])
        alive &= sizes <= limit
        found.append(2 * float(ndtr(-limit)))
    return tuple(found)
