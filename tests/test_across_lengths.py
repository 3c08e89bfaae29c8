"""RULER's weighted averages and LongScore on cases worked by hand."""

from pathlib import Path

import pytest
import synthetic_store as made

from reports.numbers import frame
from reports.numbers.across_lengths import across_lengths, long_score, weighted_average
from reports.numbers.scores import Scores
from reports.numbers.summary import summary
from reports.statistics.intervals import Estimate

# RULER's leaderboard, Llama3.1-70B-Instruct at 4k to 128k, with its wAvg(inc) and wAvg(dec).
LLAMA31_70B, INC, DEC = (96.5, 95.8, 95.4, 94.8, 88.4, 66.6), 85.5, 93.7


def sure(*means: float, half: float = 0.01) -> list[Estimate]:
    return [Estimate(mean, mean - half, mean + half, 100) for mean in means]


def test_rulers_weighted_averages_are_those_of_its_leaderboard() -> None:
    parts = [Estimate(score / 100, None, None, 500) for score in LLAMA31_70B]
    assert round(100 * weighted_average(parts, True).mean, 1) == INC
    assert round(100 * weighted_average(parts, False).mean, 1) == DEC
    two = weighted_average(sure(0.9, 0.6), True)
    assert two.mean == pytest.approx(0.7) and two.low is not None
    assert two.mean - two.low == pytest.approx(0.01 * (1 / 9 + 4 / 9) ** 0.5)


def test_long_score_is_the_mean_share_that_is_lost() -> None:
    found = long_score(sure(0.8, 0.6, 0.35, 0.21), 2)
    assert isinstance(found, Estimate)
    assert found.mean == pytest.approx(((0.35 - 0.7) / 0.7 + (0.21 - 0.7) / 0.7) / 2)
    assert found.low is not None and found.high is not None and found.low < found.mean < found.high
    assert found.high - found.mean == pytest.approx(0.01 * (2 * (0.5 / 0.7) ** 2 + 2 * (0.4 / 0.7 / 2) ** 2) ** 0.5)
    gained = long_score(sure(0.2, 0.6), 1)
    assert isinstance(gained, Estimate) and gained.mean == pytest.approx(2.0), "not set to 0 above one half"
    assert long_score(sure(0.0, 0.5, half=0), 1) == "the base is 0"
    assert isinstance(long_score(sure(0.5, 0.5), 2), str) and isinstance(long_score(sure(0.5, 0.5), 0), str)


def test_the_table_names_its_rules(tmp_path: Path) -> None:
    lengths = (256, 512, 1024)
    score = {256: [1.0] * 20, 512: [1.0, 0.0] * 10, 1024: [1.0, 0.0, 0.0, 0.0] * 5}
    cells = made.planned(("none", "yarn"), lengths, {"needle": "retrieval"}, 20)
    store = made.write(tmp_path, cells, {cell["key"]: score[cell["length"]] for cell in cells}, labels=("none", "yarn"))
    scores = Scores(frame.read(store))
    grid = across_lengths(scores, summary(scores))
    assert grid is not None and "RULER" in grid.column_notes[0] and "100-LongBench" in grid.column_notes[2]
    assert "2 lengths inside" in grid.notes[0]
    for line in grid.lines:
        means = [number.estimate.mean for number in line.numbers if number.estimate]
        assert means == pytest.approx([(1 + 2 * 0.5 + 3 * 0.25) / 6, (3 + 2 * 0.5 + 0.25) / 6, 0.25 / 0.75 - 1])
    one = [cell for cell in cells if cell["length"] == 256]
    alone = Scores(frame.read(made.write(tmp_path / "one", one, {one[0]["key"]: [1.0] * 20}, labels=("none",))))
    assert across_lengths(alone, summary(alone)) is None
