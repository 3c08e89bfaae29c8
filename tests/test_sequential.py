"""The sequential test on made-up scores: false claims, samples that it saves, and whether it says what all would say.

Small and full sizes as in test_simulation_statistics.py:

    python -m pytest tests/test_sequential.py -m full -s
"""

from collections.abc import Callable

import numpy as np
import pytest
from test_simulation_skewed import SKEWED, Pair
from test_simulation_statistics import accepted, alike, both, shares

from reports.statistics import paired, sequential
from reports.statistics.intervals import generator
from reports.statistics.sequential import ABOVE, BELOW, WITHIN, Stopping

MARGIN = 0.05
Made = Callable[[np.random.Generator, int], Pair]


def stopped(pair: Pair, name: str, margin: float = MARGIN, of: int = 0) -> Stopping:
    return sequential.stopping([pair[0]], [pair[1]], of or len(pair[0]), margin, name)


def simulated(name: str, made: Made, samples: int, runs: int) -> dict[str, float]:
    """Shares of the runs with a claimed difference, with "within the margin", and with the verdict of all samples; and
    the share of the samples that was used."""
    random, found = generator(name), {"claims": 0.0, "within": 0.0, "same": 0.0, "used": 0.0}
    for i in range(runs):
        pair = made(random, samples)
        state = stopped(pair, f"{name} {i}")
        sign = float(np.sign(np.sum(pair[0] - pair[1]))) * (paired.p_value([pair], f"{i}") < 0.05)
        claimed = (state.word == ABOVE) - (state.word == BELOW)
        found["claims"] += abs(claimed) / runs
        found["within"] += (state.word == WITHIN) / runs
        found["same"] += (claimed == sign) / runs
        found["used"] += state.samples / samples / runs
    print(f"{name}, {samples}: {', '.join(f'{word} {100 * value:.1f} %' for word, value in found.items())} of {runs}")
    return found


def at_the_margin(random: np.random.Generator, n: int) -> Pair:
    """The second method alone has one answer in twenty right."""
    return (random.random(n) >= MARGIN).astype(float), np.ones(n)


NOTHING: dict[str, Made] = {
    "right or wrong, 0.5": lambda random, n: alike(random, n, 0.5, 0.5),
    "right or wrong, 0.9": lambda random, n: alike(random, n, 0.9, 0.9),
    "shares": shares,
    **SKEWED,
}
APART: dict[str, tuple[Made, float]] = {  # with the largest share of the samples that may be used
    "0.9 against 0.05": (lambda random, n: alike(random, n, 0.9, 0.05), 0.12),
    "0.9 against 0.5": (lambda random, n: alike(random, n, 0.9, 0.5), 0.25),
    "0.7 against 0.5": (lambda random, n: alike(random, n, 0.7, 0.5), 0.55),
    "all alike": (lambda random, n: (np.ones(n), np.ones(n)), 0.45),
}


@pytest.mark.slow
@both(100, 2000)
@pytest.mark.parametrize("samples", [20, 200])
@pytest.mark.parametrize("name", NOTHING)
def test_no_difference_is_seldom_called_one(name: str, samples: int, runs: int) -> None:
    found = simulated(name, NOTHING[name], samples, runs)
    assert found["claims"] <= accepted(runs, 0.05, 0.005)[1]
    assert found["same"] >= 0.9


@pytest.mark.slow
@both(100, 2000)
def test_a_difference_as_large_as_the_margin_is_seldom_called_smaller(runs: int) -> None:
    assert simulated("at the margin", at_the_margin, 200, runs)["within"] <= accepted(runs, 0.05, 0.005)[1]


@pytest.mark.slow
@both(40, 1000)
@pytest.mark.parametrize("name", APART)
def test_what_is_plain_takes_few_samples(name: str, runs: int) -> None:
    made, most = APART[name]
    found = simulated(name, made, 200, runs)
    assert found["used"] <= most and found["same"] >= 0.93


def test_looks() -> None:
    assert sequential.looks(200) == (20, 40, 60, 80, 120, 160, 200)
    assert sequential.looks(20) == (8, 12, 16, 20)
    assert sequential.looks(8) == (8,) and sequential.looks(3) == (3,)


def test_all_of_the_level_is_spent_at_the_end() -> None:
    assert sequential.spent(1.0) == pytest.approx(1.0) and 0 < sequential.spent(0.1) < 0.2
    shares = tuple(size / 200 for size in sequential.looks(200))
    limits = sequential.nominal(shares, 0.05)
    assert all(0 < limit < 0.05 for limit in limits)
    assert sequential.nominal((1.0,), 0.05)[0] == pytest.approx(0.05, abs=0.002)  # one look is the fixed test


def test_a_decision_stays_when_more_samples_come() -> None:
    """Later samples do not change what an earlier look said, or a run that goes on would decide anew."""
    random = generator("stays")
    pair = alike(random, 200, 0.8, 0.5)
    whole = stopped(pair, "stays")
    assert whole.stops and whole.samples < 200
    for there in range(8, 200, 24):
        part = stopped((pair[0][:there], pair[1][:there]), "stays", of=200)
        assert (part == whole) if there >= whole.samples else not part.stops


def test_seeds_are_looked_at_together() -> None:
    ones, zeros = np.ones(8), np.zeros(8)
    state = sequential.stopping([ones, ones], [zeros, zeros], 40, MARGIN, "seeds")
    assert (state.word, state.samples, state.look) == (ABOVE, 8, 1)
    assert sequential.stopping([ones, ones[:5]], [zeros, zeros], 40, MARGIN, "seeds").look == 0


def test_few_samples_that_are_alike_are_not_sure() -> None:
    assert not stopped((np.ones(40), np.ones(40)), "alike", of=200).stops
    assert stopped((np.ones(100), np.ones(100)), "alike", of=200).word == WITHIN
