"""The luck of training, pooled over methods: by hand, and in the tests of a report.

Letters: M methods, S seeds, N samples, L labels.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_store as made
from scipy.stats import t

from harness.store import Store
from reports.numbers import audit as ledger
from reports.numbers import frame
from reports.numbers.scores import Scores
from reports.numbers.summary import summary
from reports.page import setup_paragraph
from reports.statistics import intervals, seeds
from reports.statistics.pooled_luck import pooled_luck
from reports.statistics.seeds import MeanSquare, within_seeds

TEST = ("needle", 4096)


NOBODY = np.zeros((0, 2, 2))
# Three methods, two seeds with two samples of their own; means of seeds 2 -2, -2 2, 0 0, and of all methods 0.
SCORES_MSN = np.array([[[1.0, 3], [-1, -3]], [[0.0, -4], [2, 2]], [[-1.0, 1], [-1, 1]]])


def test_by_hand() -> None:
    luck = pooled_luck(SCORES_MSN, NOBODY, same_samples=False)
    # Between 2 · (8 + 8 + 0) = 32. Within, by method: (2 + 2) / 2, (8 + 0) / 2, (2 + 2) / 2, in all 8.
    # Covariances (2 -2 0; -2 4 -2; 0 -2 2): squares 40, so Box's methods are 8² / 40 = 1.6.
    assert luck is not None
    assert (luck.ratio, luck.seen, luck.freedom) == pytest.approx(((32 - 8) * 1.5 / 8, 32 * 1.5 / 8, 1.6))
    pair = luck.between(SCORES_MSN[0], SCORES_MSN[1], both_trained=True)
    # Differences 1 7, -3 -5: within (18 + 2) / 2 = 10; own 2 + 4 = 6.
    assert pair.value == pytest.approx(10 + 4.5 * 6)
    assert pair.freedom == pytest.approx(37**2 / ((6 * 6) ** 2 / 1.6))


def test_what_a_seed_does_to_all_trained_methods_counts_against_an_untrained_one() -> None:
    shifted_MSN = SCORES_MSN + np.array([0.0, 5.0])[None, :, None]
    luck = pooled_luck(shifted_MSN, np.zeros((2, 2, 2)), same_samples=False)
    assert luck is not None and (luck.ratio, luck.seen, luck.freedom) == pytest.approx((4.5, 6, 1.6))
    pair = luck.between(shifted_MSN[0], np.zeros((2, 2)), both_trained=False)
    # All trained methods less the untrained: 0 and 5, mean square 2 · 12.5 with one degree, more than 4.5 · 2.
    assert pair.value == pytest.approx(2 + 4.5 * 2 + 25)
    assert pair.freedom == pytest.approx(36**2 / ((6 * 2) ** 2 / 1.6 + 25**2))
    calm = pooled_luck(SCORES_MSN, np.zeros((2, 2, 2)), same_samples=False)
    assert calm is not None  # no common luck was seen: as much as a method's own is taken
    assert calm.between(SCORES_MSN[0], np.zeros((2, 2)), both_trained=False).value == pytest.approx(2 + 9 + 9)


def test_what_is_hard_for_every_seed_is_no_luck_on_the_same_samples() -> None:
    rng = np.random.default_rng(0)
    rest_MSN, hard_MN = rng.normal(0, 1, (5, 3, 40)), rng.normal(0, 9, (5, 1, 40))
    plain, harder = (pooled_luck(scores, scores[:0], same_samples=True) for scores in (rest_MSN, rest_MSN + hard_MN))
    assert plain is not None and harder is not None
    assert (harder.ratio, harder.seen, harder.freedom) == pytest.approx((plain.ratio, plain.seen, plain.freedom))
    # Four of five methods vary on their own, in two degrees each, once their common part is taken out.
    assert plain.freedom == pytest.approx(8, abs=1.0) and 0.3 < plain.seen < 2.5
    first, second = rest_MSN[0] + hard_MN[0], rest_MSN[1] + hard_MN[1]
    values = [plain.between(*pair, True).value for pair in ((first, second), (rest_MSN[0], rest_MSN[1]))]
    assert values[0] == pytest.approx(values[1])


def test_methods_that_never_vary_do_not_count() -> None:
    rng = np.random.default_rng(1)
    varied_MSN = rng.integers(0, 2, (6, 3, 200)).astype(float)
    at_zero = np.concatenate([varied_MSN, np.zeros((60, 3, 200))])
    few, many = (pooled_luck(scores, scores[:0], False) for scores in (varied_MSN, at_zero))
    assert few is not None and many is not None
    assert many.freedom < 1.3 * few.freedom + 2


def test_methods_that_answer_alike_are_not_surer_than_their_own_luck() -> None:
    """Two trainings that agree on most samples have a small spread within, and no less luck of training."""
    rng = np.random.default_rng(4)
    hard_SN, luck_MS = rng.normal(0, 1, (3, 200)), rng.normal(0, 0.15, (8, 3))
    chance_MSN = 0.6 + 0.2 * np.sign(hard_SN) + luck_MS[:, :, None]
    scores_MSN = (rng.random((3, 200)) < chance_MSN).astype(float)  # the same draw for every method
    luck = pooled_luck(scores_MSN, scores_MSN[:0], False)
    assert luck is not None
    apart = within_seeds(scores_MSN[0] - scores_MSN[1], False)
    assert luck.between(scores_MSN[0], scores_MSN[1], True).value > 3 * apart
    assert luck.between(scores_MSN[0], scores_MSN[0], True).freedom >= 2  # at least its own seeds'


def test_nothing_to_pool() -> None:
    rng = np.random.default_rng(2)
    scores_MSN = rng.normal(size=(3, 3, 9))
    assert pooled_luck(scores_MSN, scores_MSN[:0], False) is not None
    for too_few in (scores_MSN[:2], scores_MSN[:, :1], scores_MSN[:, :, :1], np.ones((3, 3, 9))):
        assert pooled_luck(too_few, too_few[:0], False) is None and pooled_luck(too_few, too_few[:0], True) is None


def test_a_pair_with_more_luck_than_the_others_keeps_its_own() -> None:
    """Means of seeds 0.5, 0.6, 0.7 of ten samples: MS_seed = 0.1; within (0.25 + 0.24 + 0.21) · 10/9 / 3 = 0.2593."""
    scores_SN = np.array([[1.0] * k + [0.0] * (10 - k) for k in (5, 6, 7)])
    within = 0.7 / 3 * 10 / 9
    calm = seeds.two_level(scores_SN, "", False, False, MeanSquare(0.1 * within, 20.0))
    assert calm.freedom == 27 and calm.error == pytest.approx((within / 30) ** 0.5)  # never below the samples'
    lucky = seeds.two_level(scores_SN, "", False, False, MeanSquare(4 * within, 20.0))
    assert lucky.freedom == 20 and lucky.error == pytest.approx((4 * within / 30) ** 0.5)
    assert lucky.estimate.high == pytest.approx(0.6 + t.ppf(0.975, 20) * lucky.error)
    apart_SN = np.repeat([[0.0], [0.5], [1.0]], 10, axis=1) + np.tile([0.1, -0.1], 5)
    own = seeds.two_level(apart_SN, "", False, False, MeanSquare(0.01, 20.0))
    assert own.error == pytest.approx((10 * 0.25 / 30) ** 0.5) and own.freedom == 20


def test_same_samples_with_a_pooled_error_by_hand() -> None:
    """MS_seed = 1.5 and MS_sample = 2 add up, the rest is 0."""
    scores_SN = [[1.0, 2, 3], [2, 3, 4]]
    own = seeds.two_level(scores_SN, "", True, False, MeanSquare(1.0, 12.0))
    assert own.error == pytest.approx((3.5 / 6) ** 0.5)
    assert own.freedom == pytest.approx(3.5**2 / (1.5**2 / 12 + 2**2 / 2))
    lucky = seeds.two_level(scores_SN, "", True, False, MeanSquare(9.0, 12.0))
    assert lucky.error == pytest.approx((11 / 6) ** 0.5)
    assert lucky.freedom == pytest.approx(11**2 / (9**2 / 12 + 2**2 / 2))
    alone = seeds.two_level([[1.0, 1.1, 0.9], [9.0, 9.2, 9.1]], "", True, False, MeanSquare(0.1, 12.0))
    assert alone.freedom < 12.5  # the larger mean square is of seeds, with the pooled degrees


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
    grid = summary(scores).grid
    marks = {line.label: line.numbers[0].mark for line in grid.lines}
    assert marks == {"none": "", "a": "tie", "b": "", "c": "tie", "d": "", "e": ""}
    zero = scores.number("e", TEST).estimate  # no training has one right: the samples' own doubt is left
    assert zero is not None and (zero.low, zero.high) == intervals.wilson(0, 120)
    assert "error pooled over the trained methods" in " ".join(grid.notes)
    audit = ledger.audit({}, scores.frames.labels)
    assert "pooled over all of them" in setup_paragraph._statistics(scores.frames, audit, ["summary"])


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
    scores = Scores(frame.read(store))
    found = scores.number("trained", ("short/facts", 512)).estimate
    assert found is not None and (found.low, found.high) == intervals.wilson(20, 20) and found.n == 60
    joined = scores.average("trained", [("short/facts", 512)] * 2).estimate
    assert joined is not None and joined.low is not None and found.low is not None and joined.low > found.low


def test_all_right_is_not_tied_with_all_wrong(tmp_path: Path) -> None:
    """No answer varies, so seeds have nothing to say: 120 samples have, and 120 that agree leave doubt."""
    right = {"a": (40, 40, 40), "b": (0, 0, 0), "c": (0, 0, 0), "d": (22, 20, 23)}
    scores = several_trained(tmp_path, right)
    gap = scores.compare("a", "b", [TEST])
    assert gap.p < 1e-9 and gap.low is not None and gap.low < gap.difference == 1.0
    assert scores.relation("a", "b", [TEST], 0.01).word == "better"
    alike = scores.compare("b", "c", [TEST])
    assert alike.p == 1.0 and alike.low is not None and alike.low < 0
    marks = {line.label: line.numbers[0].mark for line in summary(scores).grid.lines}
    assert marks == {"none": "", "a": "best", "b": "", "c": "", "d": ""}


def test_what_is_not_finished_or_was_trained_once_is_left_out(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15), "c": (30, 29, 33), "d": (9, 8, 7)})
    whole = scores.luck((TEST,))
    cells = scores.frames.cells
    failed = cells.assign(status=cells["status"].where(~((cells["label"] == "d") & (cells["seed"] == 1)), "failed"))
    left = Scores(frame.Frames(scores.frames.run, failed, scores.frames.rows)).luck((TEST,))
    assert whole is not None and left is not None and left.freedom < whole.freedom
    once = cells[(cells["label"] != "d") | (cells["seed"] == 0)]
    assert Scores(frame.Frames(scores.frames.run, once, scores.frames.rows)).luck((TEST,)) == left


def test_seeds_without_a_sample_in_common_leave_things_open(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15), "c": (30, 29, 33)})
    rows = scores.frames.rows
    other = rows.assign(sample=rows["sample"].where(rows["label"] != "a", rows["sample"] + 40 * rows["seed"]))
    lone = Scores(frame.Frames(scores.frames.run, scores.frames.cells, other))
    number = lone.number("a", TEST).estimate
    assert number is not None and number.mean == pytest.approx(93 / 120)
    gap = lone.compare("a", "b", [TEST])
    assert gap.p == 1.0 and gap.low is None
    assert summary(lone).grid.lines


def test_tests_that_draw_by_seed_and_tests_that_do_not_are_not_pooled_together(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15), "c": (30, 29, 33)})
    cells, rows = scores.frames.cells, scores.frames.rows
    both = scores.frames.cells.assign(task="other", seeded=False)
    joined = frame.Frames(
        scores.frames.run, pd.concat([cells, both]), pd.concat([rows, rows.assign(task="other")], ignore_index=True)
    )
    mixed = Scores(joined)
    assert mixed.luck((TEST,)) is not None and mixed.luck((("other", 4096),)) is not None
    assert mixed.luck((TEST, ("other", 4096))) is None
    assert mixed.luck((TEST,)) != mixed.luck((("other", 4096),))  # samples that all seeds answer are crossed


def test_two_trained_methods_have_nothing_to_pool(tmp_path: Path) -> None:
    scores = several_trained(tmp_path, {"a": (30, 32, 31), "b": (14, 17, 15)})
    assert scores.luck((TEST,)) is None
    assert "pooled" not in " ".join(summary(scores).grid.notes)
