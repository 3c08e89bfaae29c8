"""Simulations with known truth: 5 % of null comparisons are flagged, and 95 % of intervals hold the truth.

Every simulation has two sizes. The small one, of the ordinary suite, asks for a count that fewer than one seed in a
thousand would miss if the rate lay within its slack; `test_small_simulations_can_fail` says what it would notice. The
full one draws thousands of times and holds the rates to 5 % ± 1 and 95 % ± 1.5 (about three minutes in all):

    python -m pytest tests/test_simulation_statistics.py -m full -s

What can be summed exactly stands in test_statistics.py and needs no drawing.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from reports.statistics import intervals, multiplicity, paired
from reports.statistics.blocks import within
from reports.statistics.effective_length import RULES, effective_length
from reports.statistics.intervals import estimate
from reports.statistics.paired import difference_interval
from reports.statistics.pooled_luck import pooled_luck
from reports.statistics.seeds import two_level

pytestmark = pytest.mark.slow  # seconds each, or many

Draw = Callable[[np.random.Generator, int], bool]  # one run of a simulation: did it happen?


def rate(name: str, happens: Draw, runs: int) -> float:
    rng = intervals.generator(name)
    found = sum(happens(rng, i) for i in range(runs)) / runs
    print(f"{name}: {100 * found:.1f} % of {runs}")  # shown with -s
    return found


def accepted(runs: int, truth: float, slack: float) -> tuple[float, float]:
    """The rates between which a simulation passes; slack alone where thousands of runs leave little to luck."""
    if runs >= 2000:
        return truth - slack, truth + slack
    least, most = binom.ppf([0.0005, 0.9995], runs, [max(0.0, truth - slack), min(1.0, truth + slack)])
    return float(least) / runs, float(most) / runs


def held(name: str, happens: Draw, runs: int, truth: float, slack: float) -> None:
    low, high = accepted(runs, truth, slack)
    assert low <= rate(name, happens, runs) <= high


def both(small: int, full: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("runs", [small, pytest.param(full, marks=[pytest.mark.full, pytest.mark.slow])])


@pytest.mark.parametrize("runs", [150, 200, 400, 500])
def test_small_simulations_can_fail(runs: int) -> None:
    """Twice as many mistakes as the slack allows, of intervals or of tests, are noticed by 400 runs four times out of
    five, three times as many by 150 runs."""
    lowest, _ = accepted(runs, 0.95, 0.015)
    _, highest = accepted(runs, 0.05, 0.01)
    times = 2 if runs >= 400 else 3
    assert binom.cdf(lowest * runs - 1, runs, 1 - times * 0.065) > 0.8
    assert binom.sf(highest * runs, runs, times * 0.06) > 0.8


def alike(rng: np.random.Generator, n: int, first: float, second: float) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores of two methods on samples that are hard or easy for both."""
    common, u, v = rng.random(n), rng.random(n), rng.random(n)
    a = np.where(rng.random(n) < 0.6, common, u) < first
    b = np.where(rng.random(n) < 0.6, common, v) < second
    return a.astype(float), b.astype(float)


def shares(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Partial credit, five answers a sample, of two methods of equal strength: counting tests."""
    chance = rng.beta(3, 2, n)
    return rng.binomial(5, chance) / 5, rng.binomial(5, chance) / 5


# ---- null comparisons ----


@both(600, 8000)
def test_null_binary(runs: int) -> None:
    held("null binary", lambda rng, i: paired.p_value([alike(rng, 100, 0.6, 0.6)], "") < 0.05, runs, 0.05, 0.01)


@both(200, 4000)
def test_null_partial_credit(runs: int) -> None:
    """At most: the test that guards against skewed shares (test_simulation_skewed.py) makes it careful here."""
    found = rate("null partial", lambda rng, i: paired.p_value([shares(rng, 25)], f"{i}") < 0.05, runs)
    assert found <= accepted(runs, 0.05, 0.01)[1]


@both(150, 4000)
def test_null_average_over_tests(runs: int) -> None:
    def flagged(rng: np.random.Generator, i: int) -> bool:
        tests = [alike(rng, 40, 0.8, 0.8), shares(rng, 20), alike(rng, 30, 0.4, 0.4)]
        return paired.p_value(tests, f"{i}") < 0.05

    held("null average", flagged, runs, 0.05, 0.01)


@both(600, 8000)
def test_null_losses(runs: int) -> None:
    def flagged(rng: np.random.Generator, i: int) -> bool:
        base = rng.normal(3, 0.2, 8)
        return paired.p_value([(base + rng.normal(0, 0.01, 8), base)], "", bounded=False) < 0.05

    held("null losses", flagged, runs, 0.05, 0.01)


@both(200, 4000)
def test_corrected_grids_keep_the_family_quiet(runs: int) -> None:
    """21 pairs of seven equal methods: uncorrected most grids hold a false alarm, after Holm at most 5 % do."""

    def flagged(rng: np.random.Generator, i: int) -> bool:
        scores = (rng.random((60, 1)) * 0.5 + rng.random((60, 7)) * 0.5 < 0.5).astype(float)
        p_values = [paired.mcnemar(scores[:, a], scores[:, b]) for a in range(7) for b in range(a)]
        return min(multiplicity.holm(p_values)) < 0.05

    assert rate("family", flagged, runs) <= accepted(runs, 0.05, 0.005)[1]


# ---- intervals ----


def covers(ends: tuple[float | None, float | None], truth: float) -> bool:
    low, high = ends
    assert low is not None and high is not None
    return low <= truth <= high


@both(200, 4000)
@pytest.mark.parametrize("n", [25, 100])
def test_bootstrap_of_partial_scores(runs: int, n: int) -> None:
    def covered(rng: np.random.Generator, i: int) -> bool:
        found = estimate(rng.binomial(5, rng.beta(3, 2, n)) / 5, f"partial {i}")
        return covers((found.low, found.high), 0.6)

    held(f"partial {n}", covered, runs, 0.95, 0.015)


@both(200, 4000)
@pytest.mark.parametrize("n", [25, 100])
def test_paired_bootstrap_of_partial_scores(runs: int, n: int) -> None:
    def covered(rng: np.random.Generator, i: int) -> bool:
        chance = rng.beta(3, 2, n)
        first, second = rng.binomial(5, chance) / 5, rng.binomial(5, 0.8 * chance) / 5
        return covers(difference_interval(first, second, f"{i}"), 0.2 * 0.6)

    held(f"paired partial {n}", covered, runs, 0.95, 0.015)


@both(500, 8000)
@pytest.mark.parametrize(("n", "first", "second"), [(100, 0.6, 0.5), (200, 0.95, 0.9)])
def test_differences_of_binary_scores(runs: int, n: int, first: float, second: float) -> None:
    held(
        f"binary {n} {first}",
        lambda rng, i: covers(difference_interval(*alike(rng, n, first, second), ""), first - second),
        runs,
        0.95,
        0.015,
    )


@both(150, 8000)
def test_averages_of_differences(runs: int) -> None:
    def covered(rng: np.random.Generator, i: int) -> bool:
        found = paired.compare([alike(rng, 60, p + 0.1, p) for p in (0.3, 0.5, 0.8)], f"{i}")
        return covers((found.low, found.high), 0.1)

    held("averages", covered, runs, 0.95, 0.015)


@both(500, 8000)
def test_losses_of_few_documents(runs: int) -> None:
    def covered(rng: np.random.Generator, i: int) -> bool:
        found = estimate(rng.normal(3.0, 0.2, 8), "", bounded=False)
        return covers((found.low, found.high), 3.0)

    held("losses", covered, runs, 0.95, 0.015)


@both(500, 8000)
@pytest.mark.parametrize(("seeds", "samples", "of_seed"), [(3, 100, 0.05), (5, 50, 0.03), (3, 200, 0.01), (3, 50, 0.0)])
def test_two_levels_on_the_same_samples(runs: int, seeds: int, samples: int, of_seed: float) -> None:
    """Differences of two methods: training luck on top of samples that are hard for every seed."""

    def covered(rng: np.random.Generator, i: int) -> bool:
        scores = 0.1 + rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, 0.2, (1, samples))
        found = two_level(scores + rng.normal(0, 0.3, (seeds, samples)), f"{i}", bounded=False).estimate
        return covers((found.low, found.high), 0.1)

    held(f"crossed {seeds} {samples} {of_seed}", covered, runs, 0.95, 0.015 if of_seed else 0.03)


@both(500, 8000)
def test_two_levels_on_samples_of_their_own(runs: int) -> None:
    def covered(rng: np.random.Generator, i: int) -> bool:
        scores = 0.1 + rng.normal(0, 0.05, (4, 1)) + rng.normal(0, 0.3, (4, 80))
        found = two_level(scores, f"{i}", same_samples=False, bounded=False).estimate
        return covers((found.low, found.high), 0.1)

    held("nested", covered, runs, 0.95, 0.015)


@both(150, 3000)
@pytest.mark.parametrize(
    ("lucks", "highest"),
    [((0.0,) * 12, 0.05), ((0.3,) * 12, 0.05), ((0.8,) * 12, 0.05), ((0.5,) * 4, 0.05), ((0.9, *(0.3,) * 11), 0.15)],
)
def test_pooled_luck_of_trainings(runs: int, lucks: tuple[float, ...], highest: float) -> None:
    """Two of several trained methods that do not differ: 0/1 answers, samples hard for all, and luck in the logits.

    The last case breaks what pooling takes for granted: one method of the two trains with three times the spread.
    """
    methods, seeds, samples = len(lucks), 3, 300

    def flagged(rng: np.random.Generator, i: int) -> bool:
        spread_M11 = np.array(lucks)[:, None, None]
        logits_MSN = 1.1 + rng.normal(0, 1.5, (seeds, samples)) + spread_M11 * rng.normal(0, 1, (methods, seeds, 1))
        scores_MSN = (rng.random((methods, seeds, samples)) < 1 / (1 + np.exp(-logits_MSN))).astype(np.float64)
        luck = pooled_luck(scores_MSN, scores_MSN[:0], same_samples=False)
        assert luck is not None
        pooled = luck.between(scores_MSN[0], scores_MSN[1], both_trained=True)
        return two_level(scores_MSN[0] - scores_MSN[1], "", False, False, pooled).p < 0.05

    low, high = accepted(runs, 0.035, 0.015)
    found = rate(f"pooled {lucks}", flagged, runs)
    assert (low if highest == 0.05 else 0.05) <= found <= (high if highest == 0.05 else highest + 0.05 * (runs < 2000))


@both(150, 3000)
@pytest.mark.parametrize(("common", "own", "highest"), [(0.0, 0.3, 0.05), (0.3, 0.3, 0.05), (0.6, 0.3, 0.06)])
def test_pooled_luck_against_untrained_methods(runs: int, common: float, own: float, highest: float) -> None:
    """What a seed does to all trained methods alike does not cancel against a method that was not trained."""
    methods, seeds, samples = 8, 3, 300

    def flagged(rng: np.random.Generator, i: int) -> bool:
        hard_SN = 1.1 + rng.normal(0, 1.5, (seeds, samples))
        luck_MS1 = own * rng.normal(0, 1, (methods, seeds, 1)) + common * rng.normal(0, 1, (1, seeds, 1))
        trained_MSN = (rng.random((methods, seeds, samples)) < 1 / (1 + np.exp(-hard_SN - luck_MS1))).astype(np.float64)
        untrained_USN = (rng.random((4, seeds, samples)) < 1 / (1 + np.exp(-hard_SN))).astype(np.float64)
        luck = pooled_luck(trained_MSN, untrained_USN, same_samples=False)
        assert luck is not None
        pooled = luck.between(trained_MSN[0], untrained_USN[0], both_trained=False)
        return two_level(trained_MSN[0] - untrained_USN[0], "", False, False, pooled).p < 0.05

    assert rate(f"untrained {common} {own}", flagged, runs) <= accepted(runs, highest, 0.0)[1]


@both(200, 4000)
@pytest.mark.parametrize(("tests", "highest"), [("three kinds", 0.965), ("thirteen small", 0.965), ("partial", 0.985)])
def test_ratios_of_averages(runs: int, tests: str, highest: float) -> None:
    """Retention: tests of different size and kind with equal weight, thirteen tests of 20 samples, partial credit."""

    def partial(rng: np.random.Generator, n: int, kept: float) -> tuple[np.ndarray, np.ndarray]:
        chance = rng.beta(3, 2, n)
        return rng.binomial(5, kept * chance) / 5, rng.binomial(5, chance) / 5

    def covered(rng: np.random.Generator, i: int) -> bool:
        if tests == "three kinds":
            drawn = [alike(rng, 40, 0.72, 0.8), partial(rng, 20, 0.9), alike(rng, 30, 0.36, 0.4)]
            return covers(paired.ratio_interval(drawn), (0.72 + 0.54 + 0.36) / (0.8 + 0.6 + 0.4))
        if tests == "partial":
            return covers(paired.ratio_interval([partial(rng, 100, 0.8)]), 0.8)
        return covers(paired.ratio_interval([alike(rng, 20, 0.7, 0.8) for _ in range(13)]), 0.875)

    middle = (0.935 + highest) / 2
    held(f"ratio {tests}", covered, runs, middle, highest - middle)


LENGTHS = (512, 1024, 2048, 4096, 8192)


def crossing(means: np.ndarray, threshold: float) -> float:
    """Where the line through the true means first falls below the threshold."""
    i = int(np.flatnonzero(means < threshold)[0])
    part = (means[i - 1] - threshold) / (means[i - 1] - means[i])
    return LENGTHS[i - 1] * (LENGTHS[i] / LENGTHS[i - 1]) ** float(part)


@both(400, 6000)
@pytest.mark.parametrize(
    ("rule", "n", "middle", "slope"),
    [
        ("ruler-chat", 100, 1.9, 1.1),
        ("ruler-chat", 500, 2.6, 1.6),
        ("own-85", 200, 2.4, 1.2),
        ("half", 50, 2.2, 1.0),
        ("passkey-20", 50, 1.7, 1.3),
    ],
)
def test_effective_length_intervals(runs: int, rule: str, n: int, middle: float, slope: float) -> None:
    """Scores fall as a logistic curve over doublings, and are counted right answers. The crossing's interval covers;
    the interval in tested lengths, which cannot be finer than what was tested, covers at least as often."""
    true = 0.98 / (1 + np.exp(slope * (np.arange(5) - middle)))
    threshold = RULES[rule].share * (1.0 if RULES[rule].of == "absolute" else float(true[0]))
    place = crossing(true, threshold)
    value = max(length for length in LENGTHS if length <= place)
    on_grid = []

    def covered(rng: np.random.Generator, i: int) -> bool:
        parts = [estimate((rng.random(n) < share).astype(float), "") for share in true]
        found = effective_length(LENGTHS, list(parts), RULES[rule])
        low, high = found.crossing_low or 0.0, math.inf if found.high_open else found.crossing_high or LENGTHS[0]
        on_grid.append((found.low or 0) <= value <= (math.inf if found.high_open else found.high or 0))
        return low <= place <= high

    held(f"length {rule} {n}", covered, runs, 0.95, 0.015)
    assert np.mean(on_grid) >= accepted(runs, 0.95, 0.015)[0]


# ---- differences within documents ----


@both(400, 4000)
@pytest.mark.parametrize(("documents", "blocks", "alike"), [(7, 256, 0.3), (2, 256, 0.0)])
def test_intervals_within_documents_hold_the_truth(documents: int, blocks: int, alike: float, runs: int) -> None:
    """Seven documents as in the study of a real model; a block hangs together with the one before it."""

    def holds(rng: np.random.Generator, _: int) -> bool:
        noise = rng.normal(size=(documents, blocks + 50)) * math.sqrt(1 - alike**2)
        losses = lfilter([1.0], [1.0, -alike], noise)[:, 50:]
        found = within(list(losses), [np.full(blocks, 32.0)] * documents)
        assert found.low is not None and found.high is not None
        return found.low <= 0 <= found.high

    held(f"within {documents} {blocks} {alike}", holds, runs, 0.95, 0.015)
