"""What the page of the pocket trainings says of the trained window is what the scores beside it say."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from harness.experiment.file import read

FOLDER = Path(__file__).parents[1] / "docs" / "pocket-training"
pytestmark = pytest.mark.slow  # pandas
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## The same documents") : PAGE.index("## What of mixed windows")]
APART = PAGE[PAGE.index("## What of mixed windows") : PAGE.index("## The factorial of 2026-11-22")]


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "tables.py"))


def rows(head: str, section: str = SECTION) -> list[list[str]]:
    """The rows of the table whose head begins so."""
    found = [line.strip("|").split("|") for line in section[section.index(head) :].split("\n\n")[0].splitlines()]
    return [[cell.strip() for cell in row] for row in found[2:]]


def test_every_mean(tables: dict[str, Any]) -> None:
    means = tables["means"]()
    listed = rows("| | four long tests")
    assert [row[0] for row in listed] == list(means.index)
    for method, *said in listed:
        assert said == [f"{value:.1f}" for value in means.loc[method]], method


def test_every_difference(tables: dict[str, Any]) -> None:
    listed = rows("| mixed minus plain_same_data")
    assert [row[0] for row in listed] == list(tables["METHODS"])
    for method, *said in listed:
        pair = (f"{method} + mixed", f"{method} + plain_same_data")
        assert said == [tables["words"](*pair, group) for group in tables["SHOWN"]], method


def test_the_sentences(tables: dict[str, Any]) -> None:
    pair = ("longrope2 + plain_same_data", "longrope2 + plain")
    for group in ("four long tests", "three short suites"):
        said = re.sub(r"[+]", "", tables["words"](*pair, group))
        mean, limits = said.split(" ", 1)
        assert mean in SECTION and limits in SECTION, (group, said)


def test_a_difference_is_never_surer_than_the_samples(tables: dict[str, Any]) -> None:
    """Three seeds whose differences happen to be equal would have an interval of no width."""
    mean, half = tables["difference"]("none + mixed", "none + plain_same_data", "three of retrieval")
    assert half == pytest.approx(1.96 * tables["error_of_samples"]("none + mixed", "none + plain_same_data",
                                                                    "three of retrieval"), rel=1e-3)  # fmt: skip
    assert 0.5 < half < 1.5 and mean == pytest.approx(5 / 9, abs=0.01)


def test_what_was_taken_apart(tables: dict[str, Any]) -> None:
    means = tables["taken_apart"]().groupby(level="method").mean()
    listed = rows("| | short documents trained", APART)
    assert len(listed) == 10
    for method, _, _, *said in listed:
        assert said == [f"{value:.1f}" for value in means.loc[method]], method
    steps = rows("| | tracking |", APART)
    assert len(steps) == 2 * len(tables["STEPS"])
    for name, *said in steps:
        method, pair = name.split(": ")
        one, other = (f"{method} + {training}" for training in pair.split(" minus "))
        assert said == [tables["apart_words"](one, other, test) for test in tables["APART"]], name
    unextended = means.loc["none + mixed"] - means.loc["none + plain_same_data"]
    assert ", ".join(f"{gap:+.1f}" for gap in unextended).replace("-", "−") == "−1.3, +1.1, +0.2"
    for one, other, test, said in (
        ("none", "yarn", "niah_multikey_1", "−1.7 [−8.8, +5.5]"),
        ("none", "yarn", "tracking", "+56.3 [+48.3, +64.3]"),
        ("yarn + plain_same_data", "none + plain_same_data", "arithmetic", "−2.5 [−4.7, −0.3]"),
        ("yarn + mixed not switched", "none + mixed", "arithmetic", "−3.0 [−9.2, +3.2]"),
        ("none + mixed", "none + plain_same_data", "tracking", "−1.3 [−7.1, +4.4]"),
    ):
        assert tables["apart_words"](one, other, test) == said, (one, other, test)
    read(FOLDER / "inside-switched.yaml")


def test_the_experiment_can_be_run() -> None:
    experiment = read(FOLDER / "inside-window.yaml")
    assert [training.label if training else "none" for training in experiment.trainings] == [
        "none", "plain", "plain_same_data", "mixed"
    ]  # fmt: skip
