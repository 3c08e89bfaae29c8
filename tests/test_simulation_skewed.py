"""Partial scores that are equal on average and far from symmetric: how often are they called different?

Small and full sizes as in test_simulation_statistics.py, whose helpers these are:

    python -m pytest tests/test_simulation_skewed.py -m full -s
"""

from collections.abc import Callable

import numpy as np
import pytest
from test_simulation_statistics import accepted, both, rate

from reports.statistics import paired

pytestmark = pytest.mark.slow

Pair = tuple[np.ndarray, np.ndarray]
Made = Callable[[np.random.Generator, int], Pair]


def rare_large_losses(rng: np.random.Generator, n: int) -> Pair:
    """Nine in ten win two points, and few enough lose 70 for both to be equal on average."""
    u = rng.random(n)
    lost = 0.02 * 0.9 / 0.7
    return 0.7 + np.where(u < lost, -0.7, np.where(u < lost + 0.9, 0.02, 0.0)), np.full(n, 0.7)


def one_value_or_all(rng: np.random.Generator, n: int) -> Pair:
    """Most are equal; 15 % find one of five values more, 3.75 % lose four."""
    u = rng.random(n)
    return 0.8 + np.where(u < 0.0375, -0.8, np.where(u < 0.1875, 0.2, 0.0)), np.full(n, 0.8)


def beta_shares(rng: np.random.Generator, n: int) -> Pair:
    """Nearly all close to 1, a few near 0, against their mean."""
    return rng.beta(4, 0.25, n), np.full(n, 4 / 4.25)


SKEWED = {made.__name__: made for made in (rare_large_losses, one_value_or_all, beta_shares)}


@both(150, 2000)
@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize("made", SKEWED)
def test_skewed_shares_are_not_called_different(made: str, n: int, runs: int) -> None:
    found = rate(f"{made}, {n}", lambda rng, i: paired.p_value([SKEWED[made](rng, n)], f"{i}") < 0.05, runs)
    assert found <= accepted(runs, 0.05, 0.01)[1]


@both(100, 1000)
def test_shares_keep_their_power(runs: int) -> None:
    """A gain of 15 points in chance, five answers a sample, 50 samples: sign flips alone find 96 %."""

    def found(rng: np.random.Generator, i: int) -> bool:
        chance = rng.beta(3, 2, 50)
        better = rng.binomial(5, np.minimum(1, chance + 0.15)) / 5
        return paired.p_value([(better, rng.binomial(5, chance) / 5)], f"{i}") < 0.05

    assert rate("power of shares", found, runs) >= 0.85
