"""The luck of training, pooled over methods: by hand, and in the tests of a report.

Letters: M methods, S seeds, N samples, L labels.
"""

from pathlib import Path

import numpy as np
import pytest
import synthetic_store as made
from scipy.stats import t

from harness.store import Store
from reports import frame, ledger, paper, results, statistics
from reports.pooled_luck import PooledLuck, pooled_luck
from reports.scores import Scores

TEST = ("needle", 4096)


def test_by_hand() -> None:
    """Three methods, two seeds with two samples of their own; every seed's mean over the methods is 0."""
    scores_MSN = np.array([[[0.0, 2], [0, -2]], [[1.0, -3], [1, 1]], [[-1.0, 1], [-1, 1]]])
    luck = pooled_luck(scores_MSN, same_samples=False)
    # Means of seeds 1 -1, -1 1, 0 0: mean squares between 2 · (2 + 2 + 0) = 8. Within, by seed: variances 2 8 2 and
    # 2 0 2, their mean 2 + 4 + 2 = 8. Covariances (2 -2 0; -2 4 -2; 0 -2 2), squares 4+4+0+4+16+4+0+4+4 = 40.
    assert luck is not None and luck.ratio == pytest.approx(1.0)
    assert luck.freedom == pytest.approx(8**2 / 40)
    easier = scores_MSN + np.array([0.0, 7.0])[None, :, None]  # what a seed does to all methods alike
    again = pooled_luck(easier, same_samples=False)
    assert again is not None and again.ratio == pytest.approx(luck.ratio)
    assert again.freedom == pytest.approx(luck.freedom)


def test_what_is_hard_for_every_seed_is_no_luck_on_the_same_samples() -> None:
    rng = np.random.default_rng(0)
    rest_MSN, hard_MN = rng.normal(0, 1, (5, 3, 40)), rng.normal(0, 9, (5, 1, 40))
    plain, harder = (pooled_luck(scores, same_samples=True) for scores in (rest_MSN, rest_MSN + hard_MN))
    assert plain is not None and harder is not None
    assert harder.ratio == pytest.approx(plain.ratio) and harder.freedom == pytest.approx(plain.freedom)
    # Four of five methods vary on their own, in two degrees each, once their common part is taken out.
    assert plain.freedom == pytest.approx(8, abs=1.0)


def test_methods_that_never_vary_do_not_count() -> None:
    rng = np.random.default_rng(1)
    varied_MSN = rng.integers(0, 2, (6, 3, 200)).astype(float)
    at_zero = np.concatenate([varied_MSN, np.zeros((60, 3, 200))])
    few, many = pooled_luck(varied_MSN, False), pooled_luck(at_zero, False)
    assert few is not None and many is not None
    assert many.freedom < 1.3 * few.freedom + 2


def test_nothing_to_pool() -> None:
    rng = np.random.default_rng(2)
    scores_MSN = rng.normal(size=(3, 3, 9))
    assert pooled_luck(scores_MSN, False) is not None
    for too_few in (scores_MSN[:2], scores_MSN[:, :1], scores_MSN[:, :, :1], np.ones((3, 3, 9))):
        assert pooled_luck(too_few, False) is None and pooled_luck(too_few, True) is None


def test_a_pair_with_more_luck_than_the_others_keeps_its_own() -> None:
    """Means of seeds 0.5, 0.6, 0.7 of ten samples: MS_seed = 0.1; within (0.25 + 0.24 + 0.21) · 10/9 / 3 = 0.2593."""
    scores_SN = np.array([[1.0] * k + [0.0] * (10 - k) for k in (5, 6, 7)])
    within = 0.7 / 3 * 10 / 9
    calm = statistics.two_level(scores_SN, "", False, False, PooledLuck(0.1, 20.0))
    assert calm.freedom == 27 and calm.error == pytest.approx((within / 30) ** 0.5)  # never below the samples'
    lucky = statistics.two_level(scores_SN, "", False, False, PooledLuck(4.0, 20.0))
    assert lucky.freedom == 20 and lucky.error == pytest.approx((4 * within / 30) ** 0.5)
    assert lucky.estimate.high == pytest.approx(0.6 + t.ppf(0.975, 20) * lucky.error)
    apart_SN = np.repeat([[0.0], [0.5], [1.0]], 10, axis=1) + np.tile([0.1, -0.1], 5)
    own = statistics.two_level(apart_SN, "", False, False, PooledLuck(1.0, 20.0))
    assert own.error == pytest.approx((10 * 0.25 / 30) ** 0.5) and own.freedom == 20


def test_same_samples_with_a_pooled_error_by_hand() -> None:
    """MS_seed = 1.5 and MS_sample = 2 add up, the rest is 0: pooling changes only the degrees of freedom."""
    found = statistics.two_level([[1.0, 2, 3], [2, 3, 4]], "", True, False, PooledLuck(9.0, 12.0))
    assert found.error == pytest.approx((3.5 / 6) ** 0.5)
    assert found.freedom == pytest.approx(3.5**2 / (1.5**2 / 12 + 2**2 / 2))


def several_trained(folder: Path, right: dict[str, tuple[int, int, int]], unit: str = "score") -> Scores:
    """An untrained method with no answer right, and trained ones with so many of 40 right by seed."""
    labels = ("none", *right)
    planned = [
        cell for label in labels for cell in made.planned([label], [4096], {"needle": "retrieval"}, 40, (0, 1, 2), unit)
    ]
    made.write(folder, planned, {}, labels=labels)
    store = Store.open(folder)
    counts = [0, 0, 0, *(k for of_method in right.values() for k in of_method)]
    shuffled = np.random.default_rng(3)
    for cell, k in zip(planned, counts, strict=True):
        values = shuffled.permutation([1.0] * k + [0.0] * (40 - k))
        store.put_cell(cell["key"], made.content([made.row(i, float(value)) for i, value in enumerate(values)]))
    run = store.run()
    for method in run["methods"][1:]:
        method["training"] = {"base_method": "none", "recipe": "plain", "tokens": 10}
    del run["format"]
    store.write_run(run)
    return Scores(frame.read(store))


def test_three_seeds_decide_where_all_methods_vary_little(tmp_path: Path) -> None:
    right = {"a": (30, 32, 31), "b": (14, 17, 15), "c": (30, 29, 33), "d": (22, 20, 23), "e": (0, 0, 0)}
    scores = several_trained(tmp_path, right)
    luck = scores.luck((TEST,))
    assert luck is not None and 4 < luck.freedom < 8.5
    gap = scores.compare("a", "b", [TEST])
    assert gap.freedom > 4 and gap.p < 1e-4
    grid = results.summary(scores).grid
    marks = {line.label: line.numbers[0].mark for line in grid.lines}
    assert marks == {"none": "", "a": "tie", "b": "", "c": "tie", "d": "", "e": ""}
    zero = scores.number("e", TEST).estimate  # no training has one right: the samples' own doubt is left
    assert zero is not None and (zero.low, zero.high) == statistics.wilson(0, 120)
    assert "error pooled over all trained methods" in " ".join(grid.notes)
    audit = ledger.audit({}, scores.frames.labels)
    assert "pooled over all of them" in paper._statistics(scores.frames, audit, ["summary"])


def test_losses_are_not_pooled(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15), "c": (30, 29, 33)}, unit="nats")
    assert scores.luck((TEST,)) is None


def test_trainings_alike_to_the_last_answer_leave_the_doubt_of_their_samples(tmp_path: Path) -> None:
    """Twenty samples that every seed answers are twenty, not sixty."""
    planned = made.planned(["trained"], [512], {"short/facts": "short"}, 20, (0, 1, 2))
    made.write(tmp_path, [{**cell, "seeded": False} for cell in planned], {}, labels=("trained",))
    store = Store.open(tmp_path)
    for cell in planned:
        store.put_cell(cell["key"], made.content([made.row(i, 1.0) for i in range(20)]))
    run = store.run()
    run["methods"][0]["training"] = {"base_method": "none", "recipe": "plain", "tokens": 10}
    del run["format"]
    store.write_run(run)
    found = Scores(frame.read(store)).number("trained", ("short/facts", 512)).estimate
    assert found is not None and (found.low, found.high) == statistics.wilson(20, 20) and found.n == 60


def test_two_trained_methods_have_nothing_to_pool(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15)})
    assert scores.luck((TEST,)) is None
    assert "pooled" not in " ".join(results.summary(scores).grid.notes)
