"""Is a candidate at most a margin worse than its base? The decision of the gate, on plain arrays.

A group is what is decided on: one method, one category of tests, one length. Its difference is the average over its
tests, samples paired. It passes when the one-sided 95 % lower limit of the difference lies above -margin: then a true
drop of the margin or more would have been let through at most 5 times in 100. For 0/1 scores that holds exactly
(`lowest`); for partial scores, losses and tests of unequal size it holds as well as a bootstrap or Student's t do. The
limit of a method with several trainings goes by its seeds (`reports.statistics.seeds`). The whole passes when every
group does; that needs no correction, because it never passes more often than its worst group alone would
(intersection-union test; Berger 1982, Technometrics 24, p. 295). Where a group does not pass, Holm's correction over
all groups decides whether the drop is called real or only not excluded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from reports.statistics.intervals import SIGNIFICANT, Estimate, is_binary, z_of
from reports.statistics.multiplicity import holm
from reports.statistics.paired import Pairs, difference, p_value, standard_error
from reports.statistics.seeds import TwoLevel

LEVEL = 0.90  # two-sided, so 95 % on the one side that counts
PASS, DROP, NOT_SHOWN, NO_SIGNAL = "pass", "drop", "not shown", "no signal"


@dataclass(frozen=True)
class Group:
    """`tests` holds (candidate, base) scores for each test. Losses (`unit` nats) are better when lower."""

    label: str
    category: str
    length: int  # tokens
    unit: str  # "score" in [0, 1] or "nats" per token
    tests: Pairs
    names: tuple[str, ...] = ()
    of_seeds: TwoLevel | None = None  # candidate minus base over the seeds of a training, where there are several


@dataclass(frozen=True)
class Decision:
    """`difference` is candidate minus base with the sign turned for losses, so below 0 is always worse; `low` is its
    one-sided 95 % lower limit. In the unit of the scores."""

    group: Group
    word: str  # pass, drop (a real one), not shown (a drop of the margin is not excluded), no signal (base scores 0)
    difference: float
    low: float | None
    p: float  # two-sided, corrected over all groups
    n: int
    margin: float  # in the unit of the scores
    base: float
    candidate: float
    needed: int = 0  # samples that would show the margin 19 times out of 20 if nothing had changed; 0 where not asked

    @property
    def passed(self) -> bool:
        return self.word in (PASS, NO_SIGNAL)


def margin_of(unit: str, points: float) -> float:
    """A margin of one point is 0.01 of a score, and 1 % of perplexity: log(1.01) nats per token."""
    return points / 100 if unit == "score" else math.log1p(points / 100)


def decide(groups: Sequence[Group], points: float) -> list[Decision]:
    """Decide on every group with a margin in points. Raises ValueError for no group, or a margin that is not above 0
    and below 100."""
    if not 0 < points < 100:
        raise ValueError(f"the margin must be above 0 and below 100 points, got {points:g}")
    if not groups:
        raise ValueError("there is nothing to compare: no test is finished on both sides")
    decisions = [_decide(group, margin_of(group.unit, points)) for group in groups]
    adjusted = holm([decision.p for decision in decisions])
    return [_named(decision, p) for decision, p in zip(decisions, adjusted, strict=True)]


def _decide(group: Group, margin: float) -> Decision:
    sign = 1.0 if group.unit == "score" else -1.0
    tests = [(sign * a, sign * b) if sign < 0 else (a, b) for a, b in group.tests]
    name = f"gate {group.label} {group.category} {group.length}"
    bounded = group.unit == "score"
    base, candidate = (float(np.mean([pair[side].mean() for pair in group.tests])) for side in (1, 0))
    gap: Estimate = difference(tests, name, bounded, LEVEL)
    p = p_value(tests, name, bounded)
    low = gap.low
    alike = len({len(a) for a, _ in tests}) == 1  # then all tests are one
    if low is not None and alike and all(is_binary(scores) for pair in tests for scores in pair):
        apart = np.concatenate([a - b for a, b in tests])
        low = lowest(int(np.sum(apart > 0)), int(np.sum(apart < 0)), len(apart))
    if not bounded and all(np.array_equal(a, b) for a, b in tests):
        low = 0.0  # losses that agree to the last digit were computed alike
    if (several := group.of_seeds) is not None and low is not None:
        # Seeds that agree by luck do not make a difference sure, so neither limit is passed.
        mean = sign * several.estimate.mean
        low = min(low, mean - float(stdtrit(several.freedom, 0.5 + LEVEL / 2)) * several.error)
        p = max(p, several.p) if several.error > 0 else p
    return Decision(group, "", gap.mean, low, p, gap.n, margin, base, candidate)


def lowest(won: int, lost: int, n: int) -> float:
    """The one-sided 95 % lower limit of a paired difference of 0/1 scores, from the numbers of samples that only the
    candidate and only the base has right.

    Tango's score limit (1998, Statistics in Medicine 17, p. 891, equations 6 to 8) with half a sample taken off the
    difference. Exact sums over all outcomes let no more than 5 in 100 through for 50 to 2,000 samples, margins of 1 to
    5 points and any discordance; without the half sample it is up to 5.7, for Bonett and Price's interval up to 8.
    """
    seen = won - lost - 0.5

    def beyond(limit: float) -> float:
        part = (2 * n - won + lost) * limit - won - lost
        only_base = (math.sqrt(max(0.0, part**2 + 8 * n * lost * limit * (1 - limit))) - part) / (4 * n)
        variance = n * (2 * only_base + limit * (1 - limit))
        return seen - n * limit - z_of(LEVEL) * math.sqrt(max(0.0, variance))

    return float(brentq(beyond, -1.0, seen / n)) if seen > -n else -1.0


def _named(decision: Decision, p: float) -> Decision:
    """The decision in a word, with its corrected p-value."""
    if decision.group.unit == "score" and decision.base == 0 and decision.candidate == 0:
        return replace(decision, word=NO_SIGNAL, p=p)
    if decision.low is not None and decision.low > -decision.margin:
        return replace(decision, word=PASS, p=p)
    if decision.difference < 0 and p < SIGNIFICANT:
        return replace(decision, word=DROP, p=p)
    return replace(decision, word=NOT_SHOWN, p=p, needed=_needed(decision))


def _needed(decision: Decision) -> int:
    """Samples of this group for a lower limit above -margin in 19 of 20 runs without a change, the spread being as it
    was seen, and at least one differing sample each way."""
    z = z_of(LEVEL)
    tests = decision.group.tests
    error = standard_error(tests)
    if decision.group.unit == "score":
        error = max(error, math.sqrt(2) / (decision.n + 2))
    return max(decision.n + 1, math.ceil(decision.n * (2 * z * error / decision.margin) ** 2))
