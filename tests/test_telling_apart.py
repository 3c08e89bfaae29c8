"""Tests that can tell methods apart, told from those that cannot: on stores whose scores are given."""

from pathlib import Path

import pytest
import synthetic_store as made

from harness.experiment.cells import Base, cells_of
from harness.store import Store
from reports.numbers import frame
from reports.numbers.results import Results
from reports.numbers.scores import Scores
from reports.numbers.telling_apart import APART, FLOOR, FULL, OPEN, at_the_floor, telling_apart
from reports.page import which_tests

N = 100
# test: (unextended at 512, at 1,024, yarn at 1,024), in right answers of 100
RIGHT = {
    "needle": (98, 40, 90),
    "key_value": (1, 0, 2),
    "coin": (55, 50, 60),
    "passkey": (100, 100, 100),
    "cwe": (60, 50, 52),
}


def answers(right: int, shift: int = 0) -> list[float]:
    return [float((i + shift) % N < right) for i in range(N)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    cells = made.planned(("none", "yarn"), (512, 1024), dict.fromkeys(RIGHT, "retrieval"), N)
    scores = {}
    for cell in cells:
        inside, beyond, better = RIGHT[cell["task"]]
        right = inside if cell["length"] == 512 else beyond if cell["label"] == "none" else better
        scores[cell["key"]] = answers(right, 7 if cell["label"] == "yarn" and cell["task"] in ("cwe", "coin") else 0)
        cell |= {"chance": 0.5} if cell["task"] == "coin" else {}
    return made.write(tmp_path, cells, scores, labels=("none", "yarn"))


def test_every_test_is_judged(store: Store) -> None:
    scores = Scores(frame.read(store))
    grid = telling_apart(scores)
    assert grid is not None
    assert {line.label: line.group for line in grid.lines} == {
        "needle": APART, "cwe": OPEN, "passkey": FULL, "key_value": FLOOR, "coin": FLOOR,
    }  # fmt: skip
    assert [line.group for line in grid.lines] == sorted(
        (line.group for line in grid.lines), key=[APART, OPEN, FULL, FLOOR].index
    )
    numbers = {line.label: [n.estimate and n.estimate.mean for n in line.numbers] for line in grid.lines}
    assert numbers["needle"][:4] == pytest.approx([0.98, 0, 0.4, 0.5])
    assert numbers["coin"][1] == 0.5
    # needle: 50 of 100 samples differ, all one way: a spread of 0.5 a sample, so (2.8 * 0.5025 / 0.05)^2 samples
    assert numbers["needle"][4] == pytest.approx((2.8016 * 0.50252 / 0.05) ** 2, rel=1e-3)
    assert numbers["passkey"][4] is None
    assert at_the_floor(scores) == ["key_value", "coin"]


def test_averages_say_how_many_of_their_tests_are_at_the_floor(store: Store) -> None:
    results = Results(store)
    assert results.summary.grid.column_notes == ("5 tests, 2 at the floor",) * 2
    for grid in (results.summary.grid, *results.by_test):
        assert any("part of the averages: key_value, coin" in note for note in grid.notes)


def test_the_page_holds_the_table(store: Store, tmp_path: Path) -> None:
    text = which_tests.page([store])
    assert (
        "**Which tests can tell methods apart?**" in text
        and "| needle (Tell methods apart) | 98.0" in text
        and FLOOR in text
    )
    cells = made.planned(("none",), (512,), {"needle": "retrieval"}, 2)
    alone = made.write(tmp_path / "alone", cells, {cells[0]["key"]: [1.0, 0.0]}, labels=("none",))
    with pytest.raises(ValueError, match="judges no test"):
        which_tests.page([alone])


def test_nothing_is_judged_without_a_length_inside_the_window(tmp_path: Path) -> None:
    cells = made.planned(("none", "yarn"), (1024,), {"needle": "retrieval"}, N)
    scores = Scores(frame.read(made.write(tmp_path, cells, {c["key"]: answers(0) for c in cells})))
    assert at_the_floor(scores) == [] and telling_apart(scores) is None


def test_a_run_writes_the_chance_of_its_tests() -> None:
    import fake_engine

    from harness.experiment.file import Test
    from tasks.needle import Needle
    from tasks.which_first import WhichFirst

    tests = (Test("first", WhichFirst(), 4), Test("needle", Needle(), 4))
    base = Base("w" * 16, fake_engine.ROPE, "float32", "sdpa")
    planned = [cell.planned() for cell in cells_of(fake_engine.experiment(tests=tests, lengths=(256,)), base)]
    assert {cell["task"]: cell.get("chance") for cell in planned} == {"first": 0.5, "needle": None}
