"""What a number of samples can show: minimum detectable effect, samples needed, and the exact power of McNemar's test.

Discordance is the share of samples that one of two methods has right and the other wrong. It decides everything for
paired 0/1 scores: two methods that nearly always agree need few samples, whatever their scores.
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, ndtri
from scipy.stats import binom

POWER = 0.8
ALPHA = 0.05


def samples_needed(difference: float, discordance: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """Samples for a true difference to be called significant with that power.

    McNemar's test, two-sided, normal approximation (Connor 1987, Biometrics 43, p. 207, equation 4). Raises ValueError
    for a difference above the discordance, which cannot be.
    """
    _check(discordance, power, alpha)
    gap = abs(difference)
    if not 0 < gap <= discordance:
        raise ValueError(
            f"a difference must be above 0 and at most the discordance {discordance:g}, got {difference:g}"
        )
    return math.ceil(_needed(gap, discordance, power, alpha))


def _needed(gap: float, discordance: float, power: float, alpha: float) -> float:
    z_level, z_power = float(ndtri(1 - alpha / 2)), float(ndtri(power))
    return ((z_level * math.sqrt(discordance) + z_power * math.sqrt(discordance - gap**2)) / gap) ** 2


def detectable(n: int, discordance: float, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """The smallest true difference that n samples call significant with that power; None where not even a method that
    wins every differing sample would be."""
    _check(discordance, power, alpha)
    if n < 1:
        raise ValueError(f"the number of samples must be at least 1, got {n}")
    if _needed(discordance, discordance, power, alpha) > n:
        return None
    smallest = (float(ndtri(power)) + float(ndtri(1 - alpha / 2))) * math.sqrt(discordance / n) / 10
    return float(brentq(lambda gap: _needed(gap, discordance, power, alpha) - n, smallest, discordance))


def mcnemar_power(n: int, won: float, lost: float, alpha: float = ALPHA, mid_p: bool = True) -> float:
    """Chance that McNemar's test calls a difference significant when the first method alone is right on a share `won`
    of all samples and the second alone on `lost`. Summed over all outcomes, no approximation; with won = lost it is the
    true rate of false alarms."""
    _check(won + lost, 0.5, alpha)
    share = won / (won + lost)
    low, high = (int(binom.ppf(q, n, won + lost)) for q in (1e-9, 1 - 1e-9))
    chances = [_flagged(differ, share, alpha, mid_p) for differ in range(low, high + 1)]
    return min(1.0, float(binom.pmf(np.arange(low, high + 1), n, won + lost) @ np.array(chances)))


def _flagged(differ: int, share: float, alpha: float, mid_p: bool) -> float:
    """The same when just `differ` samples differ, of which the first wins each with chance `share`."""
    fewer = np.arange((differ + 1) // 2)  # an even split is never significant
    below = bdtr(fewer, differ, 0.5)
    here = below - np.concatenate([[0.0], below[:-1]]) if mid_p else np.zeros(len(fewer))
    # p grows with the smaller count, so what is flagged are two tails of equal size.
    tail = int(np.sum(2 * below - here < alpha)) - 1
    return float(bdtr(tail, differ, share) + bdtr(tail, differ, 1 - share)) if tail >= 0 else 0.0


def would_settle(difference: float, error: float, n: int) -> str:
    """What would change a tie, in words: how many samples would call a lead of this size real four times out of five.
    '' where there is nothing to say: no lead, no spread, or enough samples already."""
    if n < 2 or difference == 0 or not error > 0:
        return ""
    needed = n * ((float(ndtri(1 - ALPHA / 2)) + float(ndtri(POWER))) * error / abs(difference)) ** 2
    rounded = float(f"{needed:.2g}")
    return f"about {rounded:,.0f} samples would settle a lead of that size" if n < rounded < 1e7 else ""


def _check(discordance: float, power: float, alpha: float) -> None:
    if not 0 < discordance <= 1:
        raise ValueError(f"discordance is a share above 0 and at most 1, got {discordance:g}")
    if not (0 < power < 1 and 0 < alpha < 1 and np.isfinite(discordance)):
        raise ValueError(f"power and alpha lie between 0 and 1, got {power:g} and {alpha:g}")
