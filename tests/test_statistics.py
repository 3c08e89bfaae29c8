"""Intervals and tests by hand and by exact sums. What can only be drawn stands in test_simulation_statistics.py."""

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial, t

from reports.statistics import intervals, multiplicity, paired, seeds
from reports.statistics.equivalence import relation
from reports.statistics.intervals import Estimate
from reports.statistics.multiplicity import benjamini_hochberg
from reports.statistics.paired import mcnemar_counts
from reports.statistics.power import needed, seen, would_settle


def bits(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_wilson_by_hand() -> None:
    # 8 of 10: (0.8 + 3.8415/20) / (1 + 3.8415/10) = 0.71671 ± 1.96 · √(0.016 + 3.8415/400) / 1.38415 = 0.22661
    assert intervals.wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=2e-5)
    assert intervals.wilson(0, 20)[0] == 0.0 and intervals.wilson(20, 20)[1] == 1.0
    assert intervals.wilson(20, 20)[0] == pytest.approx(20 / (20 + intervals.Z**2))
    assert intervals.wilson(8, 10, level=0.9)[0] > intervals.wilson(8, 10)[0]


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_wilson_covers_what_it_claims(n: int) -> None:
    """Exact: the probability of every count is summed, nothing is drawn."""
    low, high = np.array([intervals.wilson(k, n) for k in range(n + 1)]).T[:, :, None]
    shares = np.linspace(0.02, 0.98, 97)
    chances = binom.pmf(np.arange(n + 1)[:, None], n, shares)
    covered = (chances * ((low <= shares) & (shares <= high))).sum(axis=0)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert min(covered) > 0.83


def test_estimates_choose_their_interval() -> None:
    assert intervals.estimate([1.0], "one") == Estimate(1.0, None, None, 1)
    assert intervals.estimate([2.5, 2.5, 2.5], "equal losses", bounded=False) == Estimate(2.5, None, None, 3)
    whole = intervals.estimate([1, 1, 0, 1], "bits")
    assert (whole.low, whole.high) == intervals.wilson(3, 4)
    equal = intervals.estimate([0.5] * 8, "equal shares")
    assert (equal.low, equal.high) == intervals.wilson(4, 8)
    losses = intervals.estimate([1.0, 2.0, 3.0], "losses", bounded=False)
    assert losses.low == pytest.approx(2 - 4.30265 / math.sqrt(3), abs=1e-4)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf, 1.0]])
def test_a_mean_is_never_made_of_missing_scores(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one sample and finite scores"):
        intervals.estimate(values, "missing")


def test_averages_join_intervals() -> None:
    parts = [Estimate(0.5, 0.4, 0.6, 10), Estimate(1.0, 0.7, 1.0, 10)]
    joined = intervals.average(parts)
    assert joined.mean == 0.75 and joined.n == 20
    assert joined.low == pytest.approx(0.75 - math.hypot(0.1, 0.3) / 2)
    assert joined.high == pytest.approx(0.75 + 0.1 / 2)
    assert intervals.average([parts[0], Estimate(1.0, None, None, 1)]).low is None
    with pytest.raises(ValueError, match="at least one test"):
        intervals.average([])


def test_a_negative_weight_takes_the_other_limit() -> None:
    joined = intervals.combined([Estimate(0.5, 0.4, 0.8, 9), Estimate(0.5, 0.2, 0.6, 9)], [1.0, -0.5])
    assert joined.mean == 0.25
    assert joined.low == pytest.approx(0.25 - math.hypot(0.1, 0.05))
    assert joined.high == pytest.approx(0.25 + math.hypot(0.3, 0.15))


def test_equal_values_are_resampled_together() -> None:
    """Drawing counts of equal values is the same as drawing places."""
    values = np.repeat([0.0, 0.25, 1.0], [40, 20, 40])
    by_counts = intervals.resampled_means(values, np.random.default_rng(0), 20_000)
    by_places = values[np.random.default_rng(1).integers(0, 100, (20_000, 100))].mean(axis=1)
    assert by_counts.mean() == pytest.approx(by_places.mean(), abs=0.002)
    assert by_counts.std() == pytest.approx(by_places.std(), rel=0.03)


def test_mcnemar_by_hand() -> None:
    # five samples only the first gets right, one only the second: 2 · (C(6,0) + C(6,1)) / 2^6, mid-p half of C(6,1) off
    first, second = bits(1, 1, 1, 1, 1, 0, 1, 0), bits(0, 0, 0, 0, 0, 1, 1, 0)
    assert paired.mcnemar(first, second, mid_p=False) == pytest.approx(14 / 64)
    assert paired.mcnemar(first, second) == pytest.approx(8 / 64)
    assert paired.mcnemar(first, first) == paired.mcnemar(first, first, mid_p=False) == 1.0
    assert paired.mcnemar(bits(1, 0), bits(0, 1)) == 1.0  # an even split


def test_sign_flips_by_hand() -> None:
    # of the eight sign patterns of 1, 2, 3 only +++ and --- reach a sum of 6
    assert paired.sign_flip(np.array([1.0, 2.0, 0.0, 3.0]), "hand", mid_p=False) == pytest.approx(2 / 8)
    assert paired.sign_flip(np.array([1.0, 2.0, 0.0, 3.0]), "hand") == pytest.approx(1 / 8)
    assert paired.sign_flip(np.zeros(4), "zeros") == 1.0
    assert paired.sign_flip(np.array([1.0, -1.0]), "even") == 1.0


@pytest.mark.parametrize("mid_p", [True, False])
def test_drawn_sign_flips_agree_with_mcnemar(mid_p: bool) -> None:
    differences = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 20)
    exact = paired.mcnemar((differences > 0).astype(float), (differences < 0).astype(float), mid_p)
    assert paired.sign_flip(differences, "agree", mid_p) == pytest.approx(exact, abs=0.006)


@pytest.mark.parametrize(("won", "lost"), [(60, 20), (100, 40), (200, 100)])
def test_a_thin_tail_is_computed_and_not_drawn(won: int, lost: int) -> None:
    """Against McNemar's exact sum; drawing 9,999 sums could not go below 5e-5."""
    exact = mcnemar_counts(won, lost)
    nearly = np.concatenate([np.ones(won) * 1.0001, -np.ones(lost)])  # two sizes, so that it is no binomial sum
    assert paired.sign_flip(nearly, "thin") == pytest.approx(exact, rel=0.15)
    assert paired.sign_flip(np.concatenate([np.ones(won), -np.ones(lost)]), "alike") == exact


def test_a_thin_tail_of_many_sizes() -> None:
    """Against the distribution itself, folded together on a grid of hundredths."""
    moved = np.round(np.random.default_rng(0).normal(0.35, 1, 60), 2)
    steps = np.rint(np.abs(moved) * 100).astype(int)
    chance = np.zeros(2 * steps.sum() + 1)
    chance[steps.sum()] = 1.0
    for step in steps:
        chance = (np.roll(chance, step) + np.roll(chance, -step)) / 2
    seen = steps.sum() + abs(int(np.rint(moved.sum() * 100)))
    exact = 2 * chance[seen + 1 :].sum() + chance[seen]
    assert exact < 1e-3
    assert paired.sign_flip(moved, "grid") == pytest.approx(exact, rel=0.02)
    assert paired.sign_flip(np.linspace(0.5, 1.0, 40), "one side") == pytest.approx(2.0**-40)


def false_alarms(n: int, discordance: float, mid_p: bool = True) -> float:
    """How often McNemar's test flags two equal methods: summed over all outcomes."""
    differ = np.arange(n + 1)
    rates = [
        sum(binom.pmf(won, d, 0.5) for won in range(d + 1) if mcnemar_counts(won, d - won, mid_p) < 0.05)
        for d in differ
    ]
    return float(binom.pmf(differ, n, discordance) @ rates)


def test_mcnemar_flags_null_comparisons_at_five_percent() -> None:
    """Ten differing samples are needed on average before a discrete test can come near to 5 %."""
    assert all(0.04 <= false_alarms(100, d) <= 0.06 for d in (0.1, 0.2, 0.3, 0.5))
    assert false_alarms(100, 0.05, mid_p=False) < 0.04  # conservative
    assert all(false_alarms(n, 0.02) < 0.05 for n in (20, 50, 100))  # few differences: on the safe side


def test_samples_for_a_difference_before_a_run() -> None:
    """(1.96 + 0.8416)² = 7.849 squared errors; by hand 7.849 · (0.1/0.05² - 1) = 306.1 samples."""
    assert needed(0.05, 0.1) == 307 and needed(0.05, 0.3) == 935
    assert seen(307, 0.1) == pytest.approx(0.05, abs=1e-4) and seen(935, 0.3) == pytest.approx(0.05, abs=1e-4)
    assert seen(20, 0.1) == 1.0, "of 20 samples 2 differ: no difference can be shown"
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(600):
        wins, losses, _ = rng.multinomial(needed(0.1, 0.3), [0.2, 0.1, 0.7])
        found += mcnemar_counts(int(wins), int(losses)) < 0.05
    assert found / 600 == pytest.approx(0.8, abs=0.05)


def test_what_would_settle_a_tie() -> None:
    def gap(difference: float, error: float, **changes: float) -> paired.Comparison:
        return paired.Comparison(difference, None, None, 1.0, 50, error, **changes)

    assert would_settle(gap(0.0, 0.1)) == would_settle(gap(0.1, 0.0)) == ""
    assert would_settle(gap(0.5, 0.01)) == ""  # settled already
    # (1.960 + 0.8416)² · 0.1² / 0.1² · 50 = 392.4; at 5 % over 264 comparisons (3.734 + 0.8416)² · 50 = 1,047
    assert would_settle(gap(-0.1, 0.1)) == "about 390 samples would settle a lead of that size"
    assert would_settle(gap(-0.1, 0.1), 264) == "about 1,000 samples would settle a lead of that size"
    assert would_settle(gap(-0.1, 0.1, freedom=2)).startswith("more seeds of the training")


def test_three_trainings_detect_what_is_said_four_times_out_of_five() -> None:
    """Student's quantiles added up are a little optimistic for three seeds (noncentral t: 5.65 instead of 5.36)."""
    rng = np.random.default_rng(5)
    truth = paired.Comparison(0.0, None, None, 1.0, 3, 1.0, freedom=2).detectable()
    assert truth == pytest.approx(4.303 + 1.061, abs=0.001)
    drawn = rng.normal(truth, math.sqrt(3), (4000, 3))  # standard error 1
    found = np.mean([paired.paired_t(one) < 0.05 for one in drawn])
    assert 0.72 <= found <= 0.85


def test_the_detectable_effect_of_losses() -> None:
    rng, runs, found = np.random.default_rng(9), 800, 0
    detectable = paired.compare([(rng.normal(0, 1, 4000), np.zeros(4000))], "", bounded=False).detectable() * math.sqrt(
        100
    )
    for _ in range(runs):
        found += paired.p_value([(rng.normal(detectable, 1, 40), np.zeros(40))], "", bounded=False) < 0.05
    assert found / runs == pytest.approx(0.8, abs=0.05)


def test_holm_by_hand() -> None:
    assert multiplicity.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert multiplicity.holm([0.5, 0.9]) == [1.0, 1.0]
    assert multiplicity.holm([]) == []


def test_benjamini_hochberg_by_hand() -> None:
    # 4·0.01 = 0.04; 4·0.02/2 = 0.04; 4·0.03/3 = 0.04; 0.5
    assert benjamini_hochberg([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    assert benjamini_hochberg([]) == []
    from scipy.stats import false_discovery_control

    p_values = np.random.default_rng(1).beta(0.5, 2, 40)
    assert benjamini_hochberg(list(p_values)) == pytest.approx(list(false_discovery_control(p_values)))
    with pytest.raises(ValueError, match="lies in 0 … 1"):
        multiplicity.holm([0.5, math.nan])


def test_a_ratio_by_hand() -> None:
    """9 and 10 of 10 right. With a win and a loss added 10 and 11 of 12: means 5/6 and 11/12; covariances over 144 (the
    sums of squares 10 · 2/12, 11 · 1/12 and 9 - 10 · 11/12 over 12 · 11) 0.0126263, 0.0069444, -0.0012626."""
    first, second = bits(0, *[1] * 9), bits(*[1] * 10)
    z2 = intervals.Z**2
    square, middle, rest = 0.8402778 - z2 * 0.0069444, 0.7638889 + z2 * 0.0012626, 0.6944444 - z2 * 0.0126263
    half = math.sqrt(middle**2 - square * rest) / square
    assert paired.ratio_interval([(first, second)]) == pytest.approx(
        (middle / square - half, middle / square + half), abs=1e-5
    )


@pytest.mark.parametrize("n", [2, 5, 20, 100, 1000])
def test_a_ratio_of_equal_scores_keeps_its_doubt(n: int) -> None:
    """All right on both sides: n + 1 of n + 2 each, so r and 1 / r are the ends."""
    low, high = paired.ratio_interval([(np.ones(n), np.ones(n))])
    assert low is not None and high is not None
    assert low == pytest.approx(1 / high) and low < 1 < high
    mean, z2 = (n + 1) / (n + 2), intervals.Z**2
    variance = mean * (1 - mean) / (n + 1)
    across = (n / (n + 2) - mean**2) / (n + 1)
    for end in (low, high):  # the mean of first - r · second lies z standard errors from 0
        gap = mean * (1 - end)
        assert gap**2 == pytest.approx(z2 * (variance * (1 + end**2) - 2 * end * across))
    assert high - low > 2 / n  # a loss that was not seen is at least one of n away
    half = paired.ratio_interval([(np.full(n, 0.5), np.ones(n))])  # partial credit, always half of the original
    assert half[0] is not None and half[1] is not None and half[0] < 0.5 < half[1] and half[1] - half[0] > 1 / n


def test_ratios_of_several_tests() -> None:
    """Tests of one size are as good as one test with all their samples, but for the spread between the tests."""
    tests = [(bits(1, 1, 0, 1, 1, 0), bits(1, 1, 1, 1, 0, 1)), (bits(0, 1, 1, 1, 1, 1), bits(1, 1, 1, 0, 1, 1))]
    low, high = paired.ratio_interval(tests)
    joined = paired.ratio_interval([tuple(map(np.concatenate, zip(*tests, strict=True)))])  # type: ignore[list-item]
    assert low is not None and high is not None and low < 9 / 10 < high
    assert (low, high) == pytest.approx(joined, abs=0.04)
    # Thirteen tests with all answers right are surer than one of them.
    one = paired.ratio_interval([(np.ones(20), np.ones(20))])
    many = paired.ratio_interval([(np.ones(20), np.ones(20))] * 13)
    assert many[1] - many[0] < (one[1] - one[0]) / 8  # type: ignore[operator]


def test_ratios_that_cannot_be() -> None:
    first = bits(1, 1, 0, 1)
    assert paired.ratio_interval([(first, bits(0, 0, 0, 0))]) == (None, None)
    assert paired.ratio_interval([(first[:1], first[:1])]) == (None, None)
    assert paired.ratio_interval([(first, bits(0, 0, 0, 1))]) == (None, None)  # 1 of 4 cannot be told from 0
    low, high = paired.ratio_interval([(np.zeros(40), np.ones(40))])
    assert low == 0.0 and high is not None and 0 < high < 0.15
    with pytest.raises(ValueError, match="same samples"):
        paired.ratio_interval([(bits(1, 0), bits(1, 0, 1))])


@pytest.mark.parametrize(
    ("n", "both", "won", "lost"),
    [
        (8, 0.45, 0.05, 0.3),
        (20, 0.98, 0.01, 0.01),
        (20, 0.45, 0.05, 0.3),
        (20, 0.3, 0.2, 0.2),
        (30, 0.6, 0.1, 0.1),
    ],
)
def test_intervals_of_ratios_cover(n: int, both: float, won: float, lost: float) -> None:
    """Exact: all outcomes of n paired samples are summed. Near 95 % where many samples differ, else above."""
    outcomes = np.array([(i, j, k) for i in range(n + 1) for j in range(n + 1 - i) for k in range(n + 1 - i - j)])
    chances = multinomial.pmf(np.c_[outcomes, n - outcomes.sum(axis=1)], n, [both, won, lost, 1 - both - won - lost])
    likely = chances > 1e-5
    truth, covered = (both + won) / (both + lost), 1 - chances[likely].sum()
    assert covered < 0.01
    for (i, j, k), chance in zip(outcomes[likely], chances[likely], strict=True):
        first, second = (np.repeat([1.0, *sides, 0.0], [i, j, k, n - i - j - k]) for sides in ((1, 0), (0, 1)))
        low, high = paired.ratio_interval([(first, second)])
        covered += chance * (low is None or high is None or low <= truth <= high)
    assert 0.95 <= covered <= (0.98 if n * (won + lost) > 5 else 1.0)


def test_a_comparison_needs_the_same_samples() -> None:
    with pytest.raises(ValueError, match="same samples"):
        paired.compare([(bits(1, 0), bits(1, 0, 1))], "")
    with pytest.raises(ValueError, match="same samples"):
        paired.compare([], "")
    with pytest.raises(ValueError, match="missing or not finite"):
        paired.compare([(np.array([1.0, math.nan]), bits(1, 0))], "")


@pytest.mark.parametrize(
    ("n", "won", "lost", "highest"),
    [
        (100, 0.15, 0.05, 0.965),
        (100, 0.10, 0.10, 0.965),
        (200, 0.06, 0.01, 0.965),
        (400, 0.025, 0.025, 0.965),
        (600, 0.04, 0.01, 0.965),
        (600, 0.01, 0.01, 0.98),  # with fewer than about 20 differing samples it is on the safe side
        (400, 0.005, 0.005, 1.0),
    ],
)
def test_intervals_of_binary_differences_cover(n: int, won: float, lost: float, highest: float) -> None:
    """Exact: all outcomes of n paired samples are summed. 95 % ± 1.5 wherever some 15 samples or more differ."""
    covered = 0.0
    for differ in range(int(binom.ppf(1 - 1e-7, n, won + lost)) + 1):
        wins = np.arange(differ + 1)
        ends = [_difference_ends(n, int(k), differ - int(k)) for k in wins]
        held = [low <= won - lost <= high for low, high in ends]
        covered += binom.pmf(differ, n, won + lost) * binom.pmf(wins, differ, won / (won + lost))[held].sum()
    assert 0.945 <= covered <= highest


def _difference_ends(n: int, won: int, lost: int) -> tuple[float, float]:
    first = np.repeat([1.0, 0.0, 1.0], [won, lost, n - won - lost])
    second = np.repeat([0.0, 1.0, 1.0], [won, lost, n - won - lost])
    low, high = paired.difference_interval(first, second, "")
    assert low is not None and high is not None
    return low, high


def test_tests_of_one_size_are_averaged_as_one_test() -> None:
    rng = np.random.default_rng(4)
    tests = [((rng.random(50) < 0.7) * 1.0, (rng.random(50) < 0.6) * 1.0) for _ in range(4)]
    first, second = (np.concatenate([pair[side] for pair in tests]) for side in (0, 1))
    found = paired.compare(tests, "")
    assert (found.low, found.high) == paired.difference_interval(first, second, "")
    assert found.difference == pytest.approx(np.mean([np.mean(a - b) for a, b in tests])) and found.n == 200


def test_one_sample_and_equal_scores_claim_nothing() -> None:
    alone = paired.compare([(bits(1), bits(0))], "one")
    assert (alone.low, alone.high, alone.p) == (None, None, 0.5)
    equal = paired.compare([(bits(1, 1, 1, 1), bits(1, 1, 1, 1))], "equal")
    assert equal.p == 1.0 and equal.low is not None and equal.low < -0.2 and equal.high is not None and equal.high > 0.2


def test_the_same_is_not_what_few_samples_cannot_tell_apart() -> None:
    few, many = bits(*[1, 0] * 5), bits(*[1, 0] * 500)
    assert relation([(few, few)], "few").word == "open"
    assert relation([(many, many)], "many").word == "same"
    better = relation([(np.ones(40), np.repeat([1.0, 0.0], 20))], "better")
    assert (
        better.word == "better"
        and relation([(np.ones(40), np.repeat([1.0, 0.0], 20))], "", adjusted_p=0.2).word == "open"
    )
    assert relation([(np.repeat([1.0, 0.0], 20), np.ones(40))], "worse").word == "worse"
    rng = np.random.default_rng(2)
    base = rng.normal(3, 0.2, 30)
    worse = base + 0.004 + rng.normal(0, 0.001, 30)
    small = relation([(worse, base)], "loss", margin=0.01, bounded=False, lower_is_better=True)
    assert small.word == "worse" and small.small  # real, and smaller than the margin
    with pytest.raises(ValueError, match="margin must be above 0"):
        relation([(few, few)], "zero", margin=0.0)


def test_two_levels_by_hand() -> None:
    # crossed, scores = seed effect + sample effect: MS_rest = 0, so both levels add up
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    found = seeds.two_level(scores, "hand", bounded=False)
    # MS_seed = 3·0.5 = 1.5, MS_sample = 2·1 = 2; variance 3.5/6; freedom 3.5² / (1.5²/1 + 2²/2) = 2.882
    freedom, error = 12.25 / 4.25, math.sqrt(3.5 / 6)
    assert found.estimate.mean == 2.5 and found.error == pytest.approx(error)
    assert found.freedom == pytest.approx(freedom)
    assert found.estimate.high == pytest.approx(2.5 + t.ppf(0.975, freedom) * error)
    assert found.p == pytest.approx(2 * t.sf(2.5 / error, freedom))
    apart = seeds.two_level(scores, "apart", same_samples=False, bounded=False)
    assert apart.estimate.high == pytest.approx(2.5 + t.ppf(0.975, 1) * 0.5)


def test_seeds_that_agree_by_luck_do_not_make_a_number_sure() -> None:
    """Two seeds with samples of their own, 8 of 10 each: the seeds say no spread, twenty samples say ± 0.19."""
    scores = np.array([[1.0] * 8 + [0.0] * 2] * 2)
    found = seeds.two_level(scores, "luck", same_samples=False)
    error = math.sqrt(scores.var(axis=1, ddof=1).mean() / 20)
    assert found.freedom == 18 and found.error == pytest.approx(error)
    assert found.estimate.low == pytest.approx(0.8 - t.ppf(0.975, 18) * error)
    apart = seeds.two_level(np.array([[1.0] * 10, [0.0] * 10]), "apart", same_samples=False)
    assert apart.freedom == 1


def test_two_levels_at_their_edges() -> None:
    one = seeds.two_level([[1, 0, 1, 1]], "one seed")
    assert (one.estimate.low, one.estimate.high) == intervals.wilson(3, 4)
    assert seeds.two_level(np.ones((3, 5)), "equal").estimate.low is None
    bounded = seeds.two_level([[1, 1, 1, 0], [1, 0, 1, 1]], "cut").estimate
    assert bounded.high == 1.0
    with pytest.raises(ValueError, match="full table"):
        seeds.two_level([[1.0, math.nan]], "gap")
    with pytest.raises(ValueError, match="full table"):
        seeds.two_level([1.0, 0.0], "flat")
