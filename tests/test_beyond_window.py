"""The loss on both sides of the trained window: hand-worked curves, the table, and the answer that rests on it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import synthetic_store as made
from test_reports import Page

from harness.store import Store
from reports.numbers.beyond_window import window_losses
from reports.numbers.frame import read
from reports.numbers.loss_curve import curve_of, mean_between
from reports.numbers.results import Results
from reports.numbers.scores import Scores

EDGES = [0, 256, 512, 724, 1023]  # 1,023: a start token stands before the document
TASK = ("perplexity", 1024)


def extra(*loss: float, edges: Sequence[float] = EDGES) -> dict[str, object]:
    return {"curve": {"edges": list(edges), "loss": list(loss)}}


def test_the_mean_counts_every_token_alike() -> None:
    of_row = extra(3.0, 1.0, 2.0, 5.0)
    assert mean_between(of_row, 0, 512) == pytest.approx(2.0)
    assert mean_between(of_row, 512, 1023) == pytest.approx((212 * 2.0 + 299 * 5.0) / 511)
    assert mean_between(extra(1.0, 2.0, edges=[256, 512, 1024]), 0, 512) == 1.0, "what comes first is not scored"
    assert mean_between(of_row, 512, 1024) is None, "no edge"
    assert mean_between(of_row, 300, 512) is None and mean_between(of_row, 512, 512) is None


@pytest.mark.parametrize(
    "broken", [None, {}, {"curve": 3}, {"curve": {"edges": [0, 1], "loss": []}}, extra(1.0, float("nan"), 2.0, 3.0)]
)
def test_a_curve_that_cannot_be_trusted_is_none(broken: object) -> None:
    assert curve_of(broken) is None and mean_between(broken, 0, 512) is None


def store_of(folder: Path, beyond: dict[str, Sequence[float]]) -> Store:
    """Documents that all have 3 nats up to the window of 512, and these behind it."""
    cells = made.planned(tuple(beyond), (1024,), {"perplexity": "perplexity"}, 4, unit="nats")
    store = made.write(folder, cells, {}, labels=tuple(beyond))
    for cell in cells:
        rows = [
            made.row(i, (3.0 + loss) / 2, extra=extra(3.0, 3.0, loss, loss))
            for i, loss in enumerate(beyond[cell["label"]])
        ]
        store.put_cell(cell["key"], made.content(rows))
    return store


LOSSES = {"none": (6.0, 6.2, 5.9, 6.1), "yarn": (3.0, 3.2, 2.9, 3.1), "pi": (3.5, 3.8, 3.45, 3.55)}


def test_the_table_cuts_every_document_at_the_window(tmp_path: Path) -> None:
    [losses] = window_losses(Scores(read(store_of(tmp_path, LOSSES))))
    lines = {line.label: line.numbers for line in losses.grid.lines}
    assert [number.estimate and round(number.estimate.mean, 6) for number in lines["yarn"]] == [3.0, 3.05, None]
    difference = lines["pi"][2].estimate
    assert difference is not None and difference.mean == pytest.approx(0.525) and difference.n == 4
    assert difference.low is not None and 0 < difference.low < 0.525
    assert losses.order == ["yarn", "pi", "none"]
    assert lines["yarn"][1].mark == "best" and losses.grid.columns[2] == "beyond it, minus yarn"


def test_a_report_of_losses_alone_has_an_answer(tmp_path: Path) -> None:
    store = store_of(tmp_path, LOSSES)
    verdict = Results(store).verdict
    assert verdict.kind == "clear" and verdict.leader == "yarn"
    assert verdict.sentences[0].startswith(
        "At 1,024 tokens, by perplexity beyond the window of 512, yarn wins: 3.050 nats per token ["
    )
    assert "pi +0.525 [" in verdict.sentences[0] and "The unextended model has 6.050 there." in verdict.sentences[0]
    page = Page.of(store)
    assert "yarn wins" in page.text and "on both sides of the window of 512" in page.text


def test_losses_that_cannot_be_told_apart_are_a_tie(tmp_path: Path) -> None:
    close = {**LOSSES, "pi": (3.3, 2.9, 3.1, 2.95)}
    verdict = Results(store_of(tmp_path, close)).verdict
    assert verdict.kind == "tie" and "not significantly below pi" in verdict.sentences[0]


def test_no_table_without_curves_or_beyond_no_window(tmp_path: Path) -> None:
    cells = made.planned(("none", "yarn"), (512, 1024), {"perplexity": "perplexity"}, 3, unit="nats")
    bare = made.write(
        tmp_path / "bare", cells, {cell["key"]: [3.0, 3.1, 3.2] for cell in cells}, labels=("none", "yarn")
    )
    assert window_losses(Scores(read(bare))) == []
    inside = [cell for cell in cells if cell["length"] == 512]
    scores = {cell["key"]: [3.0, 3.1, 3.2] for cell in inside}
    store = made.write(tmp_path / "inside", inside, scores, labels=("none", "yarn"))
    assert window_losses(Scores(read(store))) == []
