"""How many samples a difference takes: before a run, and where a run ended in a tie."""

import math

from scipy.special import ndtri

from reports.statistics.intervals import LEVEL
from reports.statistics.paired import POWER, Comparison

SPREAD = float(ndtri(0.5 + LEVEL / 2) + ndtri(POWER))  # standard errors: significant at 5 % four times out of five


def seen(samples: int, differing: float) -> float:
    """The smallest difference of two methods, in shares of the score, that so many paired samples show four times out
    of five at a level of 5 %, where that share of the answers is right under one of them alone.

    The variance of a difference δ of such answers is `differing` - δ² (McNemar's setting; Connor 1987, Biometrics 43).
    A difference cannot be larger than `differing`: then 1 is said, which no number of samples of that kind shows.
    """
    lowest = SPREAD * math.sqrt(differing / (samples + SPREAD**2))
    return lowest if lowest <= differing else 1.0


def needed(difference: float, differing: float) -> int:
    """The samples that show a difference of that size; see `seen`."""
    return max(1, math.ceil(SPREAD**2 * (differing / difference**2 - 1)))


def would_settle(gap: Comparison, comparisons: int = 1) -> str:
    """What would call a lead of this size real four times out of five, in words, in a table of so many comparisons.

    '' where there is nothing to say: no lead, no spread, or enough samples already. Where the degrees of freedom are
    those of a few trainings or searches, samples alone settle nothing.
    """
    if gap.n < 2 or gap.difference == 0 or not gap.error > 0:
        return ""
    needed = gap.n * (gap.detectable(comparisons) / abs(gap.difference)) ** 2
    if not gap.n < needed:
        return ""
    if math.isfinite(gap.freedom):
        return "more seeds of the training would be needed to settle a lead of that size"
    rounded = float(f"{needed:.2g}")
    return f"about {rounded:,.0f} samples would settle a lead of that size" if rounded < 1e7 else ""
