"""The page of the methods of 2026 says what its scores say."""

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.experiment.file import read

FOLDER = Path(__file__).parents[1] / "docs" / "methods-2026"
pytestmark = pytest.mark.slow  # pandas
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
NAMES = {
    "unextended": "none",
    "longrope2, released code, scaled": "released code",
    "longrope2, released code, full size": "released code, full size",
    "all pairs by gradient from YaRN": "gradient from YaRN",
}


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "tables.py"))


def test_every_count(tables: dict[str, Any]) -> None:
    counts = tables["right"]()
    rows = [
        line.strip("|").split("|")
        for line in PAGE.split("## Order")[0].splitlines()
        if line.startswith("| ") and "*" not in line
    ][1:]
    listed = {NAMES.get(row[0].strip(), row[0].strip()): [int(cell) for cell in row[1:]] for row in rows}
    assert listed == {method: list(counts.loc[method]) for method in counts.index}


def test_what_is_said_of_differences_to_yarn(tables: dict[str, Any]) -> None:
    best = ("rerope", "lampe", "dca", "self_extend (own rule)")
    llama = [tables["against"]("pocket-llama", 4096, method, "yarn") for method in best]
    phi = [tables["against"]("pocket-phi", 4096, method, "yarn") for method in best]
    assert max(up - down for up, down, _ in llama) == 6 and min(p for *_, p in llama) == pytest.approx(0.03, abs=0.005)
    assert {(up, down) for up, down, _ in phi} == {(15, 1), (15, 0)} and max(p for *_, p in phi) < 0.001


def test_questions_of_order_are_at_the_floor() -> None:
    table = pd.read_csv(FOLDER / "scores.csv")
    order = table[table.test.isin(["ordinal", "which_first"])]
    assert len(order) == 2 * 2 * 2 * 15 and set(" ".join(order.scores).split()) == {"0"}


def test_every_number_of_the_table_of_order(tables: dict[str, Any]) -> None:
    table = tables["order"]()
    lines = PAGE.split("| | first, 2,048")[1].split("\n\n")[0].splitlines()[2:]
    assert len(lines) == 10
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        short, long = (table.loc["pocket-llama", length, name] for length in (2048, 4096))
        pairs = [f"{round(row['in order'] * row.pairs / 100)} of {row.pairs:.0f}" for row in (short, long)]
        chances = [tables["first_by_chance"](length)[name] for length in (2048, 4096)]
        firsts = [
            f"{row['first'] * 0.4:.0f} ({chance:.1f})" for row, chance in zip((short, long), chances, strict=True)
        ]
        assert cells == [*firsts, *pairs, f"{long.niah_multikey_1:.0f}", f"{long.vt:.0f}"]


def test_the_counts_of_first_value(tables: dict[str, Any]) -> None:
    table = tables["order"]().first_value
    head, _, *lines = PAGE.split("answer 36 and 39 of 40:\n\n")[1].split("\n\n")[0].splitlines()
    names = [name.strip() for name in head.strip("|").split("|")[1:]]
    for line in lines:
        model, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert cells == [f"{table[model, 4096, name] * 0.32:.0f}" for name in names]
    assert [round(table[model, 512, "none"] * 0.4) for model in ("pocket-llama", "pocket-phi")] == [36, 39]


def test_what_is_said_of_the_first_value(tables: dict[str, Any]) -> None:
    said = tables["first_said"]("pocket-llama", 4096, "niah_multivalue")
    by_test = {model: tables["first_said"](model, 4096, "first_value") for model in ("pocket-llama", "pocket-phi")}
    for found, one, other, up, down, most in (
        (said, "rerope", "lampe", 0, 25, 0.001),
        (said, "dca", "lampe", 2, 23, 0.001),
        (said, "lampe", "self_extend (own rule)", 7, 3, 1),
        (by_test["pocket-llama"], "rerope", "self_extend (own rule)", 0, 6, 0.035),
        (by_test["pocket-phi"], "rerope", "self_extend (own rule)", 0, 9, 0.005),
        (by_test["pocket-llama"], "rerope", "lampe", 4, 11, 0.125),
        (by_test["pocket-phi"], "rerope", "lampe", 4, 15, 0.025),
    ):
        *counts, p = tables["paired"](found[one], found[other])
        assert counts == [up, down] and p < most and f"{up} to {down}" in PAGE, (
            one,
            other,
        )
    earlier = tables["first_said"]("pocket-llama", 2048, "niah_multivalue")
    assert tables["paired"](earlier["self_extend (own rule)"], earlier["mrrope_pro"])[:2] == (0, 9) and "0 to 9" in PAGE
    assert tables["paired"](earlier["lampe"], earlier["self_extend (own rule)"])[:2] == (8, 1) and "8 to 1" in PAGE
    assert tables["paired"](said["rerope"], said["dca"])[:2] == (8, 12) and "8 to 12" in PAGE
    assert tables["paired"](said["rerope"], said["self_extend (own rule)"])[:2] == (0, 21) and "0 to 21" in PAGE
    for model, counts in (("pocket-llama", (1, 15)), ("pocket-phi", (1, 10))):
        short = tables["first_said"](model, 512, "first_value")
        assert tables["paired"](short["lampe"], short["none"])[:2] == counts and "{} to {}".format(*counts) in PAGE
    inside = [tables["first_said"](model, 512, "niah_multivalue")["none"] for model in ("pocket-llama", "pocket-phi")]
    assert [(found.sum(), len(found)) for found in inside] == [(58, 60), (59, 60)]
    assert read(FOLDER / "order.yaml").lengths == (512, 2048, 4096)
