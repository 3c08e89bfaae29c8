"""Effective length, rank stability, Pareto fronts and the held-out split on cases worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from reports.statistics.effective_length import RULES, effective_length
from reports.statistics.intervals import Estimate, wilson
from reports.statistics.pareto import membership
from reports.statistics.ranks import bootstrap_ranks, stability

LENGTHS = (4096, 8192, 16384, 32768)


def sure(*means: float, half: float = 0.01) -> list[Estimate]:
    return [Estimate(m, m - half, m + half, 500) for m in means]


def test_the_longest_length_that_passes_with_all_before_it() -> None:
    found = effective_length(LENGTHS, sure(0.95, 0.90, 0.80, 0.60), RULES["ruler-chat"])
    assert (found.value, found.low, found.high) == (8192, 8192, 8192)
    assert found.words == "8,192 [8,192, 8,192]"
    # between 0.90 at 8,192 and 0.80 at 16,384 the line reaches 0.856 after 44 % of the doubling
    assert found.crossing == pytest.approx(8192 * 2**0.44, rel=1e-3)
    assert found.crossing_low is not None and found.crossing_high is not None
    assert found.crossing_low < found.crossing < found.crossing_high


def test_noise_widens_it_in_tested_lengths() -> None:
    noisy = effective_length(LENGTHS, sure(0.95, 0.88, 0.84, 0.60, half=0.05), RULES["ruler-chat"])
    assert noisy.words == "8,192 [4,096, 16,384]"


def test_nothing_is_said_beyond_what_was_tested() -> None:
    top = effective_length(LENGTHS, sure(0.99, 0.98, 0.97, 0.96), RULES["ruler-chat"])
    assert top.at_least and top.words == "at least 32,768 (not tested further)" and top.crossing is None
    doubt = effective_length(LENGTHS, sure(0.99, 0.98, 0.97, 0.86, half=0.03), RULES["ruler-chat"])
    assert doubt.words == "at least 32,768 (not tested further) [16,384, 32,768 or more]"
    close = effective_length(LENGTHS, sure(0.99, 0.98, 0.97, 0.85, half=0.03), RULES["ruler-chat"])
    assert close.words == "16,384 [16,384, 32,768 or more]"
    bottom = effective_length(LENGTHS, sure(0.5, 0.4, 0.3, 0.2), RULES["ruler-base"])
    assert bottom.below_shortest and bottom.value is None and bottom.crossing is None
    assert bottom.words == "below 4,096 (the shortest tested)"
    unsure = effective_length(LENGTHS, sure(0.78, 0.4, 0.3, 0.2, half=0.05), RULES["ruler-base"])
    assert unsure.words == "below 4,096 (the shortest tested) [below 4,096, 4,096]"


def test_rules_that_follow_the_models_own_score() -> None:
    own = effective_length(LENGTHS, sure(0.5, 0.46, 0.44, 0.2), RULES["own-85"])
    assert own.threshold == pytest.approx(0.425) and own.value == 16384
    assert effective_length(LENGTHS, sure(0.5, 0.46, 0.3, 0.2), RULES["half"]).value == 16384
    reference = Estimate(0.45, 0.43, 0.47, 500)
    native = effective_length(LENGTHS, sure(0.5, 0.46, 0.44, 0.2), RULES["native"], reference)
    assert native.value == 8192
    assert "unextended model has no result" in effective_length(LENGTHS, sure(1, 1, 1, 1), RULES["native"]).words
    assert "is 0" in effective_length(LENGTHS, sure(0, 0, 0, 0, half=0), RULES["own-85"]).words
    assert "own reference" in effective_length((4096,), sure(0.9), RULES["own-85"]).words


def test_nolimas_base_is_the_best_of_the_short_scores() -> None:
    lengths = (256, 512, 1024, 2048, 4096)
    found = effective_length(lengths, sure(0.6, 0.8, 0.7, 0.69, 0.5), RULES["nolima-85"])
    assert found.threshold == pytest.approx(0.85 * 0.8) and found.below_shortest
    found = effective_length(lengths, sure(0.8, 0.7, 0.7, 0.69, 0.5), RULES["nolima-85"])
    assert found.value == 2048 and found.crossing is not None and 2048 < found.crossing < 4096
    assert found.low is not None and found.high is not None and found.low <= 2048 <= found.high
    assert "at most 1,024 tokens" in effective_length(LENGTHS, sure(1, 1, 1, 1), RULES["nolima-85"]).words


def test_the_doubt_of_the_reference_counts() -> None:
    means = sure(0.9, 0.8, 0.7, 0.4)
    narrow = effective_length(LENGTHS, means, RULES["native"], Estimate(0.75, 0.74, 0.76, 500))
    wide = effective_length(LENGTHS, means, RULES["native"], Estimate(0.75, 0.62, 0.88, 10))
    assert narrow.value == wide.value == 8192
    assert (narrow.low, narrow.high) == (8192, 8192) and (wide.low, wide.high) == (4096, 16384)


def test_missing_lengths_and_missing_intervals() -> None:
    parts: list[Estimate | None] = [*sure(0.95, 0.9), None, *sure(0.6)]
    assert effective_length(LENGTHS, parts, RULES["ruler-chat"]).value == 8192
    assert "no length has a result" in effective_length(LENGTHS, [None] * 4, RULES["half"]).words
    single = [Estimate(m, None, None, 1) for m in (1.0, 1.0, 0.0, 0.0)]
    assert effective_length(LENGTHS, single, RULES["passkey-80"]).words == "8,192, no interval"
    again = effective_length(LENGTHS, sure(0.95, 0.5, 0.95, 0.5), RULES["ruler-chat"])
    assert again.value == 4096 and again.note == "a longer length passes again"
    with pytest.raises(ValueError, match="ascending"):
        effective_length((2, 1), sure(1, 1), RULES["half"])


def test_few_passkeys_say_little() -> None:
    parts = [Estimate(k / 10, *wilson(k, 10), 10) for k in (10, 10, 9, 3)]
    found = effective_length(LENGTHS, parts, RULES["passkey-80"])
    assert found.value == 16384 and found.low is None and found.high == 16384
    assert found.words == "16,384 [below 4,096, 16,384]"


def test_a_winner_that_rests_on_one_test_is_named() -> None:
    means = pd.DataFrame({"pi": [0.9, 0.8, 0.1], "ntk": [0.8, 0.75, 0.6]}, index=["niah", "vt", "fwe"])
    found = stability(means, {"niah": "retrieval", "vt": "tracking", "fwe": "counting"})
    assert (found.winner, found.second) == ("ntk", "pi") and not found.stable
    assert [(flip.how, flip.winner) for flip in found.flips] == [("without fwe", "pi")]
    assert found.sentence == "The winner flips: ntk leads over all tests, but pi leads without fwe."


def test_categories_weighted_alike_can_flip_it_too() -> None:
    means = pd.DataFrame({"a": [1.0] * 5 + [0.5], "b": [0.9] * 5 + [0.75]}, index=list("uvwxyz"))
    found = stability(means, dict.fromkeys("uvwxy", "retrieval") | {"z": "qa"})
    assert found.winner == "a" and found.balanced == ("b", pytest.approx(0.075))
    assert [flip.how for flip in found.flips] == ["with categories weighted alike"]
    assert stability(means * [1, 0.5]).sentence.startswith("a stays first")
    assert "same average" in stability(pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 1.0]})).sentence


def test_a_ranking_of_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two methods, got 1"):
        stability(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ValueError, match="b lacks one"):
        stability(pd.DataFrame({"a": [1.0], "b": [math.nan]}))
    with pytest.raises(ValueError, match="at least two samples"):
        bootstrap_ranks([np.ones((1, 2))], ["a", "b"], "one")
    with pytest.raises(ValueError, match="at least two methods"):
        bootstrap_ranks([np.ones((4, 1))], ["a"], "one")


def test_bootstrap_ranks() -> None:
    rng = np.random.default_rng(0)
    strong, weak = np.ones(40), np.zeros(40)
    even = (rng.random((40, 2)) < 0.5).astype(float)
    ranks = bootstrap_ranks([np.column_stack([weak, even, strong])], ["weak", "x", "y", "strong"], "ranks")
    assert ranks.to_numpy().sum(axis=0) == pytest.approx(1.0) and ranks.to_numpy().sum(axis=1) == pytest.approx(1.0)
    assert ranks.loc["strong", 1] == pytest.approx(1.0) and ranks.loc["weak", 4] == pytest.approx(1.0)
    assert 0 < ranks.loc["x", 2] < 1
    ties = bootstrap_ranks([np.ones((9, 3))], ["a", "b", "c"], "ties")
    assert ties.to_numpy() == pytest.approx(1 / 3)


def test_pareto() -> None:
    points = {"none": (1.0, 0.1), "pi": (0.5, 0.6), "yarn": (0.9, 0.8), "ntk": (0.9, 0.7)}
    assert membership(points) == {"none": "front", "pi": "dominated", "yarn": "front", "ntk": "dominated"}
    doubtful = {"a": (Estimate(0.9, 0.85, 0.95, 50), 0.8), "b": (Estimate(0.88, 0.83, 0.93, 50), 0.8)}
    assert membership(doubtful) == {"a": "front", "b": "possible"}
    assert membership({"alone": (0.0, 0.0)}) == {"alone": "front"}
    assert membership({"a": (1.0, 1.0), "b": (1.0, 1.0)}) == {"a": "front", "b": "front"}
