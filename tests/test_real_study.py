"""The page of the real model says what its numbers say."""

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "real-study"
pytestmark = pytest.mark.slow  # pandas and matplotlib
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
FIRST = PAGE[: PAGE.index("## After a short training")]


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "tables.py"))


def row(method: str) -> list[str]:
    [line] = [line for line in FIRST.splitlines() if line.startswith(f"| {method} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("length", "column"), [(8192, 3), (12288, 4), (16384, 5)])
def test_needles_answered(tables: dict[str, Any], length: int, column: int) -> None:
    shares = tables["answered"](length)
    for method in ("none", "pi", "ntk", "dynamic_ntk", "yarn", "mrrope_pro", "late_ramp", "yarn, end at 1.25 s"):
        said = row(method)[column]
        assert said == (str(round(22 * shares[method])) if method in shares else "–"), method
    if length == 12288:
        for method in ("yarn_tuned", "curve_tuned", "longrope2, gradient", "longrope2, fast"):
            assert row(method)[column] == str(round(22 * shares[method])), method


def test_needle_losses_far_and_near(tables: dict[str, Any]) -> None:
    needles: pd.DataFrame = tables["needles"]()
    far = needles.depth <= 0.2
    for method in ("none", "pi", "ntk", "dynamic_ntk", "llama3", "yarn", "mrrope_pro", "late_ramp"):
        chosen = needles.method == method
        means = [needles[chosen & part].nats_per_answer_token.mean() for part in (far, ~far)]
        assert row(method)[6:] == [f"{mean:.2f}" for mean in means], method


def test_the_edge_moves_and_costs(tables: dict[str, Any]) -> None:
    lines = tables["by_distance"]().splitlines()
    for start, end in (
        ("late_ramp: far 1.36, -1.362", "below on 47 of 47"),
        ("late_ramp: near 0.44, +0.103", "below on 30 of 122"),
        ("yarn, end at 1.25 s: far 0.77, -1.392", "below on 18 of 18"),
        ("yarn, end at 1.25 s: near 0.32, +0.080", "below on 11 of 46"),
    ):
        assert any(line.startswith(start) and line.endswith(end) for line in lines), (start, lines)
    for said in (
        "all 18 texts with far needles, by 1.39 ± 0.31",
        "all 47 by 1.36 ± 0.20",
        "0.08 ± 0.05 and 0.10 ± 0.04",
    ):
        assert said in PAGE


def test_needles_after_a_training() -> None:
    table = pd.read_csv(FOLDER / "trained.csv")
    right = {(row.method, row.test, row.length): sum(map(float, row.scores.split())) for row in table.itertuples()}
    columns = [("needle", 4096), ("needle", 8192), ("needle", 12288),
               ("ruler-pocket/niah_single_2", 8192), ("ruler-pocket/niah_multikey_1", 8192)]  # fmt: skip
    section = PAGE[PAGE.index("## After a short training") : PAGE.index("## The papers' claims")]
    listed = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(listed) == 12
    for line in listed:
        method, *said = [cell.strip() for cell in line.strip("|").split("|")]
        assert said == [f"{right[method, *column]:.0f}" for column in columns], method
    scores = {(row.method, row.length): row.scores.split() for row in table[table.test == "needle"].itertuples()}
    before = [i for i in range(32) if i * 7 % 11 / 10 < 0.8]  # depths are visited in turn
    answered = {
        name: sum(scores[name, 8192][i] == "1" for i in before) for name in ("none", "longrope2 + plain_same_data")
    }
    assert len(before) == 23 and answered == {"none": 7, "longrope2 + plain_same_data": 22}
    read_from_it = {"longrope2": 19, "yarn": 17}
    assert {method: right[method, "needle", 16384] for method in read_from_it} == read_from_it


def test_the_orders_of_the_pocket_models(tables: dict[str, Any]) -> None:
    section = PAGE[PAGE.index("## Pocket models and this one") : PAGE.index("## What fell in review")]
    listed = {
        line.split("|")[1].strip(): line.strip("|").split("|")[1:] for line in section.splitlines() if "| by " in line
    }
    for name, real in (("by needle loss", "needle loss"), ("by needles answered at 12,288", "needles at 12,288")):
        places = [(f"pocket-{model}", length) for model in ("llama", "phi") for length in ("1,024", "4,096", "8,192")]
        found = [tables["agreement"](f"real, {real}", f"{model}, needle loss at {length}") for model, length in places]
        assert [cell.strip() for cell in listed[name]] == [f"{every:+.2f} ({few:+.2f})" for every, few in found]
    of_losses = [
        tables["agreement"]("real, perplexity", f"pocket-{model}, perplexity at 1,024") for model in ("llama", "phi")
    ]
    assert [round(every, 2) for every, _ in of_losses] == [0.28, 0.28]
    assert [round(few, 2) for _, few in of_losses] == [-0.05, 0.14]
    real, fewer = tables["orders"]()["real, needle loss"], tables["EXTREMES"] + tables["CHOSEN"]
    five = [
        tables["tau"](real, tables["orders"]()[f"{model}, needle loss at {length}"], fewer) for model, length in places
    ]
    assert [round(one, 2) for one, _ in five] == [0.6, 0.2, 0.4, 0.6, 0.4, 0.4] and round(five[0][1], 2) == 0.23
    for name, said in (("essays", "0.64 (0.47) and 0.79 (0.73)"), ("near", "0.61 (0.43) and 0.72 (0.62)")):
        pairs = [tables["elsewhere"](f"pocket-{model}")[name] for model in ("llama", "phi")]
        found = [(tables["tau"](*pair)[0], tables["tau"](*pair, tables["EXTREMES"])[0]) for pair in pairs]
        assert " and ".join(f"{every:.2f} ({few:.2f})" for every, few in found) == said and said in section
    twice = pd.read_csv(FOLDER / "pocket-twice.csv")
    right = [
        sum(map(float, row.scores.split()))
        for row in twice[(twice.test == "needle") & (twice.length == 768)].itertuples()
    ]
    assert sorted(right)[:4] == [0, 0, 42, 46] and min(sorted(right)[4:]) == 63 and len(right) == 20
