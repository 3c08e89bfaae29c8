"""Vectors of rescale factors that searches start from, smooth families that `fast` searches, and a local move.

PI, NTK and YaRN are one family: λ_i is a mean of 1 and a top factor, weighted by a ramp over the pair index. YaRN
blends frequencies (the harmonic mean of factors), NTK is the geometric mean with a ramp over all pairs, and the
starting vector of LongRoPE's released code is the arithmetic mean.
"""

import math
import random
from collections.abc import Sequence

from extenders._formulas import ntk_fill
from extenders.base import RopeSpec
from extenders.ntk import Ntk
from extenders.pi import PositionInterpolation
from extenders.yarn import Yarn


def lower_critical_pair(rope: RopeSpec) -> int:
    """ceil of the pair that turns ten times in training: where LongRoPE2's search begins (its Algorithm 1).

    At least 1, at most the last pair.
    """
    return min(max(math.ceil(rope.pair_of_period(rope.trained_length / 10)), 1), max(len(rope.inv_freq) - 1, 1))


def upper_critical_pair(rope: RopeSpec) -> int:
    """The theoretical critical pair as a search may use it: at least `lower_critical_pair`, at most the last pair."""
    return max(lower_critical_pair(rope), min(rope.critical_pair, len(rope.inv_freq) - 1))


def seeds(rope: RopeSpec, target_length: int) -> dict[str, tuple[float, ...]]:
    """The factors of PI, NTK and YaRN: what LongRoPE's search starts from (arXiv:2402.13753, Algorithm 1)."""
    made = {"pi": PositionInterpolation, "ntk": Ntk, "yarn": Yarn}
    return {
        name: cls(target_length=target_length).plan(rope, target_length).rescale_factors(rope)
        for name, cls in made.items()
    }


def released_start(rope: RopeSpec, target_length: int) -> tuple[float, ...]:
    """The starting vector of LongRoPE's released search, which it calls YaRN: YaRN's ramp, but factors are blended.

    λ_i = s·γ + (1-γ), where YaRN has 1/λ_i = γ/s + (1-γ) (microsoft/LongRoPE, evolution/search.py).
    """
    yarn = Yarn(target_length=target_length)
    low, high = yarn.ramp(rope)
    factor = target_length / rope.trained_length
    return power_ramp(len(rope.inv_freq), low, high - low, factor, 1.0)


def power_ramp(pairs: int, low: float, width: float, top: float, power: float) -> tuple[float, ...]:
    """λ_i = ((1-γ) + γ·top^p)^(1/p) with γ rising linearly from 0 at pair `low` to 1 at `low + width`.

    p = -1 blends frequencies (YaRN), 0 exponents (NTK), 1 factors. Monotone in i for every p; between 1 and `top`.
    """
    weights = [min(max((i - low) / max(width, 1e-3), 0.0), 1.0) for i in range(pairs)]
    if abs(power) < 1e-6:
        return tuple(top**weight for weight in weights)
    return tuple(((1 - weight) + weight * top**power) ** (1 / power) for weight in weights)


def ntk_then_tail(pairs: int, critical: float, start: float, end: float, bend: float) -> tuple[float, ...]:
    """LongRoPE2's shape in four numbers: NTK up to a real-valued critical pair, where it reaches `start`, then a tail.

    λ_i = start^(i/critical) below it; above, λ_i = start + (end-start)·x^bend with x from 0 to 1 at the last pair.
    """
    below = ntk_fill(critical, start)[:pairs]
    span = max(pairs - 1 - critical, 1e-9)
    above = [start + (end - start) * ((i - critical) / span) ** bend for i in range(len(below), pairs)]
    return (*below, *above)


def flat(rope: RopeSpec, target_length: int, critical: float) -> tuple[float, ...]:
    """NTK up to the critical pair and just s above it: the least that LongRoPE2's theory asks for."""
    factor = target_length / rope.trained_length
    return ntk_then_tail(len(rope.inv_freq), critical, factor, factor, 1.0)


def monotone(factors: Sequence[float], lower: float, upper: float) -> tuple[float, ...]:
    """The factors, each at least its left neighbour and within bounds."""
    rising: list[float] = []
    for value in factors:
        rising.append(min(max(value, lower, rising[-1] if rising else lower), upper))
    return tuple(rising)


def isotonic(values: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """The nearest values that never fall, by weighted squares: neighbours that fall are pooled into their mean."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (left, left_weight, left_count), (right, right_weight, right_count) = pools[-2:]
            total = left_weight + right_weight
            pools[-2:] = [((left * left_weight + right * right_weight) / total, total, left_count + right_count)]
    return [mean for mean, _, count in pools for _ in range(count)]


def stretch(
    factors: tuple[float, ...], first: int, lower: float, upper: float, rng: random.Random, step: float
) -> tuple[float, ...]:
    """The factors with one random stretch from `first` on scaled by a few percent, monotone and within bounds."""
    pairs = len(factors)
    start = rng.randrange(first, pairs)
    end = rng.randrange(start + 1, pairs + 1)
    scale = 2 ** rng.gauss(0, step)
    moved = list(factors)
    moved[start:end] = [value * scale for value in factors[start:end]]
    if scale < 1:  # lowering a stretch lowers what stands before it where it must
        for i in range(start - 1, first - 1, -1):
            moved[i] = min(moved[i], moved[i + 1])
    floor = max(lower, factors[first - 1] if first else lower)
    return (*factors[:first], *monotone(moved[first:], floor, upper))
