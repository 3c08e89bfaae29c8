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
MODELS = sorted(path.stem for path in (FOLDER / "generation").glob("pocket-*.csv"))
TRAINED = sorted(path.stem for path in (FOLDER / "generation").glob("mixed-*.csv"))


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "generation" / "tables.py"))


def lines(model: str, length: int) -> list[list[str]]:
    """The rows of the table of that model and length; the first model's are headed by the length alone."""
    part = SECTION[SECTION.index(f"**{'' if model == 'pocket-llama' else model + ', '}{length:,} tokens") :]
    found = []
    for line in part.splitlines()[1:]:
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
        elif found:
            break
    return found[2:]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("length", [2048, 4096])
def test_every_figure_of_the_tables(tables: dict[str, Any], model: str, length: int) -> None:
    scores = tables["scores"](model)
    means = tables["means"](scores, length)
    assert {row[0] for row in lines(model, length)} == set(means.index)
    for method, *said, against in lines(model, length):
        assert said == [f"{value:.1f}" for value in means.loc[method]], method
        if method != "yarn":
            mean, half = tables["difference"](scores[length][method], scores[length]["yarn"])
            assert against == f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]".replace("-", "−"), method


def said_of_training() -> dict[str, list[str]]:
    """The rows of the table of trained methods, by method."""
    part = SECTION[SECTION.index("### After `mixed`") :]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


@pytest.mark.parametrize(("model", "length", "place"), [
    ("pocket-llama", 2048, 0), ("pocket-llama", 4096, 2), ("pocket-phi", 2048, 4), ("pocket-phi", 4096, 6)
])  # fmt: skip
def test_every_figure_of_the_trained_methods(tables: dict[str, Any], model: str, length: int, place: int) -> None:
    assert TRAINED == [f"mixed-{name}" for name in tables["MODELS"]]
    means = tables["trained"](model)["mean"].dropna()
    unextended = {"unextended, untrained": "none", "unextended, trained": "none + mixed"}
    for name, cells in said_of_training().items():
        method = unextended.get(name, f"{name} + mixed")
        if (length, method) not in means.index.droplevel("seed"):
            assert cells[place : place + 2] == ["–", "–"], name
            continue
        found = means.loc[length, method]
        assert cells[place] == f"{found.mean():.1f}" + ("" if len(found) == 3 else f" ({len(found)} seeds)"), name
        if name != "yarn":
            mean, half = tables["trained_difference"](model, length, method, "yarn + mixed")
            said = f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]".replace("-", "−")
            assert cells[place + 1] == said, name


def test_trained_differences_go_by_seeds_and_are_never_surer_than_samples(tables: dict[str, Any]) -> None:
    mean, half = tables["trained_difference"]("pocket-phi", 2048, "yarn + mixed", "none + mixed")
    wide = tables["trained"]("pocket-phi").loc[2048]["mean"]
    gaps = wide["yarn + mixed"] - wide["none + mixed"]
    assert mean == pytest.approx(gaps.mean())
    assert half >= 4.302653 * gaps.std() / 3**0.5 - 1e-6 and half > 3  # 480 answers a method, about half right


def test_differences_are_paired_and_stratified(tables: dict[str, Any]) -> None:
    import pandas as pd

    index = pd.MultiIndex.from_tuples([("a", 0), ("a", 1), ("b", 0), ("b", 1)], names=["test", "sample"])
    one, other = pd.Series([1.0, 0.0, 1.0, 1.0], index), pd.Series([0.0, 0.0, 1.0, 0.0], index)
    mean, half = tables["difference"](one, other)
    assert mean == 50.0  # a: 1/2, b: 1/2
    # Each test: variance 1/2 over 2 samples, over 2² tests: 1/16, two of them: 1/8; one degree of freedom each.
    assert half == pytest.approx(100 * 4.302653 * (1 / 8) ** 0.5, rel=1e-5)


def test_every_count_of_the_needles(tables: dict[str, Any]) -> None:
    part = SECTION[SECTION.index("### Other seeds") : SECTION.index("### After `mixed`")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    places = [(model, length) for model in tables["MODELS"] for length in (2048, 4096)]
    assert len(rows) == 2 + 12
    for name, *said in rows[2:]:
        for cell, place in zip(said, places, strict=True):
            several = tables["by_search"](*place)
            wanted = several.get(name, [tables["needles"](*place)[name]])
            assert cell == ", ".join(map(str, wanted)), (name, place)


@pytest.mark.parametrize("model", ["pocket-llama", "pocket-phi"])
def test_the_experiment_of_the_needles_names_their_methods(tables: dict[str, Any], model: str) -> None:
    experiment = read(FOLDER / "generation" / f"needles-{model}.yaml")
    assert {method.label for method in experiment.methods} == set(tables["needles"](model, 4096).index)


@pytest.mark.parametrize("model", TRAINED)
def test_the_experiment_of_the_trained_methods_can_be_run(tables: dict[str, Any], model: str) -> None:
    experiment = read(FOLDER / "generation" / f"{model}.yaml")
    named = {method.label for method in experiment.methods} | {
        f"{method.label} + mixed" for method in experiment.methods
    }
    listed = tables["trained"](model.removeprefix("mixed-")).index.get_level_values("method")
    assert set(listed) <= named | {"none", "none + mixed"}


@pytest.mark.parametrize("model", MODELS)
def test_the_experiment_file_can_be_run_and_names_the_methods_of_the_scores(tables: dict[str, Any], model: str) -> None:
    experiment = read(FOLDER / "generation" / f"{model}.yaml")
    assert {method.label for method in experiment.methods} == set(tables["scores"](model)[4096].columns)
