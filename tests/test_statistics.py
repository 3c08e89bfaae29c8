"""Intervals cover the truth as often as they claim, tests are quiet when nothing differs, and small cases by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from reports import statistics
from reports.statistics import Estimate


def bits(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_wilson_by_hand() -> None:
    # 8 of 10: (0.8 + 3.8415/20) / (1 + 3.8415/10) = 0.71671 ± 1.96 · √(0.016 + 3.8415/400) / 1.38415 = 0.22661
    assert statistics.wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=2e-5)
    assert statistics.wilson(0, 20)[0] == 0.0 and statistics.wilson(20, 20)[1] == 1.0
    assert statistics.wilson(20, 20)[0] == pytest.approx(20 / (20 + statistics.Z**2))


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_wilson_covers_what_it_claims(n: int) -> None:
    """Exact: the probability of every count is summed, nothing is drawn."""
    ends = [statistics.wilson(k, n) for k in range(n + 1)]
    shares = np.linspace(0.02, 0.98, 97)
    covered = [sum(binom.pmf(k, n, p) for k, (low, high) in enumerate(ends) if low <= p <= high) for p in shares]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert min(covered) > 0.83


def coverage(draw, truth: float, runs: int, bounded: bool) -> float:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(7)
    hits = 0
    for i in range(runs):
        found = statistics.estimate(draw(rng), f"coverage {i}", bounded)
        hits += found.low is not None and found.high is not None and found.low <= truth <= found.high
    return hits / runs


def test_bootstrap_covers_partial_scores() -> None:
    """Sums of five half-dependent answers, as counting tests give them."""
    assert coverage(lambda rng: rng.binomial(5, rng.beta(3, 2, 30)) / 5, 0.6, 600, True) == pytest.approx(
        0.95, abs=0.02
    )


def test_student_covers_losses_of_few_documents() -> None:
    assert coverage(lambda rng: rng.normal(3.0, 0.2, 8), 3.0, 4000, False) == pytest.approx(0.95, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 100])
def test_bootstrap_covers_partial_scores_at_large(n: int) -> None:
    found = coverage(lambda rng: rng.binomial(5, rng.beta(3, 2, n)) / 5, 0.6, 8000, True)
    assert found == pytest.approx(0.95, abs=0.015)


def test_an_average_over_tests_covers() -> None:
    """Six tests of 20 answers, some so easy that most draws have no wrong answer at all."""
    shares = np.array([0.5, 0.7, 0.9, 0.95, 0.99, 0.3])
    rng, hits, runs = np.random.default_rng(3), 0, 4000
    for right in rng.binomial(20, shares, size=(runs, 6)):
        found = statistics.average([Estimate(k / 20, *statistics.wilson(k, 20), 20) for k in right])
        assert found.low is not None and found.high is not None
        hits += found.low <= shares.mean() <= found.high
    assert 0.94 <= hits / runs <= 0.975


def test_one_sample_has_no_interval() -> None:
    assert statistics.estimate([1.0], "one") == Estimate(1.0, None, None, 1)
    assert statistics.average([Estimate(1.0, None, None, 1), Estimate(0.5, 0.2, 0.8, 9)]).low is None


def test_equal_scores_are_not_certain() -> None:
    right = statistics.estimate([1.0] * 20, "right")
    assert right.low == pytest.approx(0.8389, abs=1e-4) and right.high == 1.0
    half = statistics.estimate([0.5] * 10, "half")
    assert half.low is not None and half.low < 0.3 and half.high is not None and half.high > 0.7
    assert statistics.estimate([3.1] * 5, "losses", bounded=False).low is None


def test_the_interval_holds_the_mean_and_stays_in_range() -> None:
    rng = np.random.default_rng(0)
    for i in range(200):
        values = np.round(rng.beta(0.3, 0.3, rng.integers(2, 12)), 1)
        found = statistics.estimate(values, f"range {i}")
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.mean <= found.high <= 1


def test_draws_belong_to_names() -> None:
    values = np.array([0.0, 0.2, 0.9, 0.4, 0.4])
    assert statistics.bootstrap(values, "a") == statistics.bootstrap(values, "a")
    assert statistics.bootstrap(values, "a") != statistics.bootstrap(values, "b")


def test_resampling_by_counts_equals_resampling_by_places() -> None:
    values = np.repeat([0.0, 0.5, 1.0], [30, 50, 20])
    by_counts = statistics.resampled_means(values, np.random.default_rng(1), 20_000)
    by_places = np.random.default_rng(2).choice(values, (20_000, 100)).mean(axis=1)
    assert by_counts.mean() == pytest.approx(by_places.mean(), abs=0.002)
    assert by_counts.std() == pytest.approx(by_places.std(), rel=0.03)


def test_mcnemar_by_hand() -> None:
    # five samples only the first gets right, one only the second: 2 · (C(6,0) + C(6,1)) / 2^6
    first, second = bits(1, 1, 1, 1, 1, 0, 1, 0), bits(0, 0, 0, 0, 0, 1, 1, 0)
    assert statistics.mcnemar(first, second) == pytest.approx(14 / 64)
    assert statistics.mcnemar(first, first) == 1.0


def test_sign_flips_by_hand() -> None:
    # of the eight sign patterns of 1, 2, 3 only +++ and --- reach a sum of 6
    assert statistics.sign_flip(np.array([1.0, 2.0, 0.0, 3.0]), "hand") == pytest.approx(2 / 8)
    assert statistics.sign_flip(np.zeros(4), "zeros") == 1.0


def test_drawn_sign_flips_agree_with_mcnemar() -> None:
    differences = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 20)
    exact = statistics.mcnemar((differences > 0).astype(float), (differences < 0).astype(float))
    assert statistics.sign_flip(differences, "agree") == pytest.approx(exact, abs=0.006)


def test_null_comparisons_are_flagged_at_five_percent() -> None:
    rng, runs = np.random.default_rng(11), 600
    binary = partial = losses = 0
    for i in range(runs):
        chance = rng.beta(2, 2, 60)
        binary += statistics.p_value([((rng.random(60) < chance) * 1.0, (rng.random(60) < chance) * 1.0)], "") < 0.05
        tests = [(rng.binomial(5, chance[:20]) / 5, rng.binomial(5, chance[:20]) / 5) for _ in range(2)]
        partial += statistics.p_value(tests, f"null {i}") < 0.05
        base = rng.normal(3, 0.2, 8)
        losses += statistics.p_value([(base + rng.normal(0, 0.01, 8), base)], "", bounded=False) < 0.05
    assert 0.01 <= binary / runs <= 0.05  # exact McNemar is on the careful side
    assert partial / runs == pytest.approx(0.05, abs=0.02)
    assert losses / runs == pytest.approx(0.05, abs=0.02)


def test_intervals_of_differences_cover() -> None:
    rng, runs, hits = np.random.default_rng(5), 600, 0
    for i in range(runs):
        luck = rng.random((3, 40))
        tests = [((u < p + 0.1) * 1.0, (u < p) * 1.0) for u, p in zip(luck, (0.3, 0.5, 0.8), strict=True)]
        found = statistics.compare(tests, f"cover {i}")
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.1 <= found.high
    assert 0.94 <= hits / runs <= 0.99


def test_the_detectable_effect_is_detected_four_times_out_of_five() -> None:
    rng, runs, found = np.random.default_rng(9), 800, 0
    detectable = statistics.compare(
        [(rng.normal(0, 1, 4000), np.zeros(4000))], "", bounded=False
    ).detectable * math.sqrt(100)
    for _ in range(runs):
        found += statistics.p_value([(rng.normal(detectable, 1, 40), np.zeros(40))], "", bounded=False) < 0.05
    assert found / runs == pytest.approx(0.8, abs=0.05)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_ratios() -> None:
    first, second = bits(1, 1, 0, 1) * 0.8, bits(1, 1, 1, 1) * 0.8
    low, high = statistics.ratio_interval([(first, second)], "ratio")
    assert low is not None and high is not None and low < 0.75 < high <= 1.0
    same_low, same_high = statistics.ratio_interval([(second, second)], "same")
    unseen = (1 - 0.05 ** (1 / 4)) / 0.8
    assert (same_low, same_high) == pytest.approx((1 - unseen, 1 + unseen))
    assert statistics.ratio_interval([(first, bits(0, 0, 0, 0))], "zero") == (None, None)
    assert statistics.ratio_interval([(first[:1], second[:1])], "one") == (None, None)


def test_a_comparison_needs_the_same_samples() -> None:
    with pytest.raises(ValueError, match="same samples"):
        statistics.compare([(bits(1, 0), bits(1, 0, 1))], "")
    with pytest.raises(ValueError, match="same samples"):
        statistics.compare([], "")
