"""What the search study's page says of answers is what the scores beside it say."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from harness.experiment.file import read

FOLDER = Path(__file__).parents[1] / "docs" / "search-study"
pytestmark = pytest.mark.slow  # pandas
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## By answers") : PAGE.index("## What it said before")]
MODELS = sorted(path.stem for path in (FOLDER / "generation").glob("*.csv"))


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "generation" / "tables.py"))


def lines(length: int) -> list[list[str]]:
    """The rows of the table of that length."""
    part = SECTION[SECTION.index(f"**{length:,} tokens") :]
    found = []
    for line in part.splitlines()[1:]:
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
        elif found:
            break
    return found[2:]


@pytest.mark.parametrize("length", [2048, 4096])
def test_every_figure_of_the_tables(tables: dict[str, Any], length: int) -> None:
    [model] = MODELS
    scores = tables["scores"](model)
    means = tables["means"](scores, length)
    assert {row[0] for row in lines(length)} == set(means.index)
    for method, *said, against in lines(length):
        assert said == [f"{value:.1f}" for value in means.loc[method]], method
        if method != "yarn":
            mean, half = tables["difference"](scores[length][method], scores[length]["yarn"])
            assert against == f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]".replace("-", "−"), method


def test_differences_are_paired_and_stratified(tables: dict[str, Any]) -> None:
    import pandas as pd

    index = pd.MultiIndex.from_tuples([("a", 0), ("a", 1), ("b", 0), ("b", 1)], names=["test", "sample"])
    one, other = pd.Series([1.0, 0.0, 1.0, 1.0], index), pd.Series([0.0, 0.0, 1.0, 0.0], index)
    mean, half = tables["difference"](one, other)
    assert mean == 50.0  # a: 1/2, b: 1/2
    # Each test: variance 1/2 over 2 samples, over 2² tests: 1/16, two of them: 1/8; one degree of freedom each.
    assert half == pytest.approx(100 * 4.302653 * (1 / 8) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_the_experiment_file_can_be_run_and_names_the_methods_of_the_scores(tables: dict[str, Any], model: str) -> None:
    experiment = read(FOLDER / "generation" / f"{model}.yaml")
    assert {method.label for method in experiment.methods} == set(tables["scores"](model)[4096].columns)
