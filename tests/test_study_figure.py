"""The picture of a search study: every finite row is in it, in its kind's colour, and bytes follow from the data."""

import re
from typing import Any

import pytest

from reports.figures import style
from reports.figures.study import NEAR, drawn, kind, study_figure
from reports.figures.study_cost import cost_drawn, cost_figure

PARAMETERS: dict[str, dict[str, Any]] = {"released code": {"searcher": "released"}}


def line(row: str, extender: str, loss: float | None, behind: list[float] | None, seeds: int = 2) -> dict[str, Any]:
    return {
        "row": row,
        "extender": extender,
        "parameters": PARAMETERS.get(row, {}),
        "loss": loss,
        "losses_of_seeds": [loss] * seeds,
        "losses_on_own_texts": [0.05, None][:seeds],
        "seeds": list(range(seeds)),
        "behind_reference": behind,
        "token_forwards": 256 * 1234,
    }


def content() -> dict[str, Any]:
    rows = [
        line("fast, a tenth", "longrope2", 0.2, None),
        line("released code", "longrope2", 0.1, [-0.1, -0.2, 0.0]),
        line("yarn_rcd, a tenth", "yarn_rcd", 0.3, [0.1, -0.1, 0.3]),
        line("pi <b>", "pi", 3.2, [3.0, 2.0, 4.0], seeds=0),
        line("broken", "ntk", None, None, seeds=0),
    ]
    return {"rows": rows, "reference": "fast, a tenth", "target_length": 256}


def test_the_picture_shows_every_finite_row_and_what_lies_beyond_its_edge() -> None:
    svg = study_figure(content())
    words = re.findall(r">([^<>]+)</text>", svg)
    assert "fast, a tenth (1,234)" in words and "pi &lt;b&gt; (1,234)" in words
    assert "+3.0 →" in words and not any("broken" in word for word in words)
    assert words.index("released code (1,234)") < words.index("fast, a tenth (1,234)") < words.index("+3.0 →")
    assert {"official procedure", "tuned baseline", "closed form"} <= set(words)
    assert svg == study_figure(content()) and style.PAPER in svg


@pytest.mark.parametrize(
    ("row", "expected"), [(0, "ours"), (1, "official"), (2, "tuned"), (3, "closed"), (4, "closed")]
)
def test_kinds(row: int, expected: str) -> None:
    assert kind(content()["rows"][row]) == expected


def test_a_kind_that_no_row_has_is_not_in_the_legend() -> None:
    only = content()
    only["rows"] = only["rows"][:1]
    assert "official procedure" not in study_figure(only)


def test_an_interval_ends_at_the_panels_edge() -> None:
    wide = content()
    wide["rows"][1]["behind_reference"] = [-1.0, -2.0, -0.5]
    wide["rows"][2]["behind_reference"] = [NEAR, -9.0, 9.0]
    with style.drawing("test"):
        left, right = drawn(wide).axes
    assert [0.05] in [list(one.get_xdata()) for one in left.lines]  # the mean of what is known
    spans = [list(one.get_xdata()) for one in right.lines if len(one.get_xdata()) == 2]
    assert [-NEAR, NEAR] in spans
    assert [one.get_text() for one in right.texts] == ["-1.0 ←", "+3.0 →"]


def test_the_picture_of_costs_has_a_line_for_each_procedure() -> None:
    rows = [
        {**line("fast", "longrope2", 0.1, None), "token_forwards": 256 * 900},
        {**line("fast, a tenth", "longrope2", 0.2, None), "token_forwards": 256 * 98, "losses_of_seeds": [0.15, 0.25]},
        {**line("gradient, a tenth", "longrope2", 0.05, None), "parameters": {"searcher": "gradient"}},
        line("gradient, ablation: texts=2", "longrope2", 0.04, None),
        line("yarn", "yarn", 0.3, None, seeds=0),
        line("pi", "pi", 3.0, None, seeds=0),
        line("broken", "longrope2", None, None),
    ]
    made: Any = {"rows": rows, "reference": "fast", "target_length": 256}
    with style.drawing("test"):
        [axes] = cost_drawn(made).axes
    spans = [(list(one.get_xdata()), list(one.get_ydata())) for one in axes.lines]
    assert ([98, 900], [0.2, 0.1]) in spans and ([98, 98], [0.15, 0.25]) in spans
    assert ([0, 1], [0.3, 0.3]) in spans and not any(3.0 in heights for _, heights in spans)
    assert [one.get_text() for one in axes.texts] == ["fast", "gradient", "yarn"]
    svg = cost_figure(made)
    assert "by gradient" in svg and "official procedure" not in svg and svg == cost_figure(made)
