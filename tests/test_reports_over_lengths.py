"""What is followed over lengths is followed on the same tests: a test that some lengths lack bends no curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import synthetic_store as made
from test_reports import Page

from harness.store import Store
from reports.figures import style
from reports.figures.curves import curves
from reports.numbers import frame, over_lengths
from reports.numbers.effective_lengths import effective_lengths
from reports.numbers.scores import Scores
from reports.numbers.summary import summary
from reports.numbers.true_lengths import true_lengths

pytestmark = pytest.mark.slow  # seconds each, or many

SAMPLES = 20


def store_of(folder: Path, lengths: Mapping[str, Sequence[int]], score: Mapping[str, float]) -> Store:
    """Two methods alike on tests at the lengths given, every sample with the test's score."""
    cells = [
        cell
        for task, own in lengths.items()
        for cell in made.planned(("none", "yarn"), own, {task: "retrieval"}, SAMPLES)
    ]
    return made.write(
        folder, cells, {cell["key"]: [score[cell["task"]]] * SAMPLES for cell in cells}, labels=("none", "yarn")
    )


def reached(scores: Scores) -> dict[str, str]:
    """What every rule says of yarn."""
    return {of_rule.rule.name: of_rule.lengths["yarn"].words for of_rule in effective_lengths(scores, summary(scores))}


def drawn(scores: Scores) -> list[list[float]]:
    """The numbers of all lines of the average's curve."""
    with style.drawing("curves"):
        figure = curves(scores, summary(scores))
        assert figure is not None
        lines = [np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[0].get_lines()]
    return [list(line) for line in lines if len(line) == 3]


def test_a_test_at_some_lengths_only_is_left_out(tmp_path: Path) -> None:
    """The hard test comes in at 1,024 tokens; without it nothing is lost up to 2,048."""
    lengths = {"easy": (512, 1024, 2048), "other": (512, 1024, 2048), "hard": (1024, 2048)}
    store = store_of(tmp_path, lengths, {"easy": 1.0, "other": 1.0, "hard": 0.0})
    scores = Scores(frame.read(store))
    assert all(words.startswith("at least 2,048 (not tested further)") for words in reached(scores).values())
    assert drawn(scores) == [[100.0] * 3] * 2
    said = "Over lengths only tests are averaged that all lengths share: 2 of 3."
    assert Page.of(store).text.count(said) == 2, "below the curves and the effective lengths"


def test_lengths_that_share_no_test_are_not_compared(tmp_path: Path) -> None:
    lengths = {"first": (512,), "second": (1024, 2048)}
    store = store_of(tmp_path, lengths, {"first": 1.0, "second": 0.0})
    scores = Scores(frame.read(store))
    assert set(reached(scores).values()) == {"not known: other tests at other lengths"}
    assert np.isnan(drawn(scores)).all()
    said = "Over lengths the average is not known: other tests at other lengths."
    assert Page.of(store).text.count(said) == 2


def test_the_same_tests_everywhere_need_no_note(tmp_path: Path) -> None:
    lengths = {"easy": (512, 1024, 2048), "hard": (512, 1024, 2048)}
    store = store_of(tmp_path, lengths, {"easy": 1.0, "hard": 0.5})
    scores = Scores(frame.read(store))
    assert drawn(scores) == [[75.0] * 3] * 2
    assert "Over lengths" not in Page.of(store).text


def test_tests_that_lengths_share() -> None:
    tests = [[("a", 1), ("b", 1)], [], [("b", 2), ("c", 2)]]
    assert over_lengths.shared(tests) == ((("b", 1),), (), (("b", 2),))
    assert over_lengths.shared([]) == () and over_lengths.note([]) == ""


def test_the_page_says_how_long_samples_are(tmp_path: Path) -> None:
    """Every sample once, whatever the number of methods; those under 90 % of their length are counted."""
    cells = [
        {**cell, "new_tokens": 32}
        for task in ("filled", "short")
        for cell in made.planned(("none", "yarn"), (1024,), {task: "retrieval"}, 4)
    ]
    scores = {cell["key"]: [1.0] * 4 for cell in cells}
    store = made.write(tmp_path, cells, scores, labels=("none", "yarn"))
    for cell in cells:
        content = store.cell(cell["key"])
        assert content is not None
        for i, row in enumerate(content["rows"]):
            row["prompt_tokens"] = 992 - (i if cell["task"] == "filled" else 300 * i)
        store.put_cell(cell["key"], content)
    table = true_lengths(frame.read(store))
    assert table is not None
    numbers = {line.label: line.numbers[0] for line in table.lines}
    assert numbers["filled"].why == "1,021 … 1,024"
    assert numbers["short"].why == "124 … 1,024; 3 of 4 under 90%"
    estimate = numbers["short"].estimate
    assert estimate is not None and estimate.n == 4
    assert estimate.mean == (1024 + 724 + 424 + 124) / 4 / 1024
    assert "124 … 1,024; 3 of 4 under 90%" in Page.of(store).text
