"""Rank correlations between models: against scipy, on stores by hand, and how sure they are."""

from pathlib import Path

import numpy as np
import pytest
import synthetic_store as made
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from harness import cli
from harness.store import Store
from reports.numbers.between_subjects import between, orders, subjects, within
from reports.statistics.ranks import kendall, rank_correlation

METHODS = ("none", "yarn", "pi", "ntk")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_kendall_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    assert kendall(first, second) == pytest.approx(float(kendalltau(first, second).statistic), nan_ok=True)


def test_an_interval_is_as_wide_as_the_luck_of_samples() -> None:
    rng = np.random.default_rng(0)
    far = np.arange(4.0)[None] + 0.1 * rng.normal(size=(40, 4))
    near = np.zeros(4)[None] + rng.normal(size=(40, 4))
    sure, doubtful = rank_correlation(far, far[::-1], "sure"), rank_correlation(far, near, "doubtful")
    assert (sure.mean, sure.low, sure.high, sure.n) == (1.0, 1.0, 1.0, 4)
    assert doubtful.low is not None and doubtful.high is not None and doubtful.high - doubtful.low > 0.6
    assert rank_correlation(far[:1], far, "one").low is None
    assert np.isnan(rank_correlation(np.ones((5, 3)), np.ones((5, 3)), "ties").mean)
    with pytest.raises(ValueError, match="at least three"):
        rank_correlation(far[:, :2], far[:, :2], "two")


def store_of(folder: Path, needles: dict[str, float], losses: dict[str, float], model: str) -> Store:
    """Needles right by that share of 20 at 1,024 tokens and always at 512; losses by document at 1,024."""
    cells = made.planned(METHODS, (512, 1024), {"needle": "retrieval"}, 20)
    cells += made.planned(METHODS, (1024,), {"perplexity": "perplexity"}, 3, unit="nats")
    scores: dict[str, list[float]] = {}
    for cell in cells:
        right = round(20 * needles[cell["label"]]) if cell["length"] == 1024 else 20
        of_needles = [1.0] * right + [0.0] * (20 - right)
        of_losses = [losses[cell["label"]] + 0.1 * i for i in range(3)]
        scores[cell["key"]] = of_needles if cell["task"] == "needle" else of_losses
    store = made.write(folder, cells, scores, labels=METHODS)
    content = store.run()
    content["model"]["name"] = model
    store.write_run(content)
    return store


@pytest.fixture
def stores(tmp_path: Path) -> list[Store]:
    """On the second model yarn and pi change places in needles; losses turn the order round, and needles follow."""
    needles = {"none": 0.0, "yarn": 0.9, "pi": 0.6, "ntk": 0.3}
    losses = {"none": 6.0, "yarn": 3.0, "pi": 3.5, "ntk": 4.0}
    other = {**needles, "yarn": 0.6, "pi": 0.9}
    turned = {"none": 3.0, "yarn": 6.0, "pi": 5.0, "ntk": 4.0}
    first = store_of(tmp_path / "a", needles, losses, "small")
    return [first, store_of(tmp_path / "b", other, turned, "large")]


def test_between_two_models_test_by_test(stores: list[Store]) -> None:
    given = subjects(stores)
    lines = {line.label: line.numbers[0] for line in between(given).lines}
    assert list(lines) == ["needle (inside the window)", "needle", "perplexity"]
    needle, loss = lines["needle"].estimate, lines["perplexity"].estimate
    assert needle is not None and needle.mean == pytest.approx(4 / 6) and needle.n == 4
    assert loss is not None and loss.mean == -1.0
    assert "score the same" in lines["needle (inside the window)"].why
    [(_, both)] = [(line.label, line.numbers) for line in within(given).lines if line.label == "needle and perplexity"]
    assert [round(n.estimate.mean, 3) for n in both if n.estimate] == [1.0, round(-4 / 6, 3)]
    assert orders(given, "needle")[:2] == [["yarn", "1", "2"], ["pi", "2", "1"]]


def test_the_command(stores: list[Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(store.folder) for store in stores]
    assert cli.answer(["compare-stores", *folders, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "small and large" in shown and "0.667" in shown and "needle: ranks" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"between-{what}.{kind}" for what in ("subjects", "tests") for kind in ("csv", "md")
    }
    assert cli.answer(["compare-stores", folders[0]]) == 2
    assert "at least two result stores, got 1" in capsys.readouterr().err
    assert cli.answer(["compare-stores", folders[0], str(tmp_path / "nothing")]) == 2
