"""The loss on both sides of the trained window: hand-worked curves, the table, and the answer that rests on it."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import synthetic_store as made
from test_reports import Page

from harness.store import Store
from reports.numbers.beyond_window import window_losses
from reports.numbers.frame import read
from reports.numbers.loss_curve import Blocks, blocks_of, curve_of, mean_between
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


def blocks(loss: Sequence[float], size: int = 32, start: int = 0, end: int = 0) -> dict[str, object]:
    return {"blocks": {"start": start, "end": end or start + size * len(loss), "size": size, "loss": list(loss)}}


def test_the_mean_of_blocks_where_the_curve_has_no_edge() -> None:
    of_row = {**extra(3.0, 1.0, 2.0, 5.0), **blocks([1.0] * 16 + [2.0, 4.0] + [3.0] * 14, end=1023)}
    assert mean_between(of_row, 512, 576) == pytest.approx(3.0)
    assert mean_between(of_row, 0, 512) == pytest.approx(2.0), "the curve has six digits, blocks five"
    assert mean_between(of_row, 512, 560) is None and mean_between(blocks([1.0]), 32, 32) is None
    assert blocks_of(blocks([1.0, 2.0], start=10, end=50)) == Blocks((10, 42, 50), (1.0, 2.0))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"blocks": 3},
        blocks([]),
        blocks([1.0], end=33),
        blocks([1.0], size=0, end=5),
        blocks([float("nan")]),
        blocks([1.0], start=-5),
        blocks([1.0], size=1, end=2**40),
        {"blocks": {"start": 0.0, "end": 32, "size": 32, "loss": [1.0]}},
        {"blocks": {"start": 0, "end": 32, "size": 32, "loss": ["1"]}},
    ],
    ids=str,
)
def test_blocks_that_cannot_be_trusted_are_none(broken: dict[str, object]) -> None:
    assert blocks_of(broken) is None and mean_between(broken, 0, 32) is None


def test_a_cliff_shows_by_position_and_these_documents_decide_more(tmp_path: Path) -> None:
    """Beyond the window `pi` is 0.1 above `yarn` in every block of two documents, give or take; over two documents that
    decides nothing, in these two it does. `none` falls off at the window."""
    length, window = 8192, 512
    labels = ("none", "yarn", "pi")
    cells = made.planned(labels, (length,), {"perplexity": "perplexity"}, 2, unit="nats")
    store = made.write(tmp_path, cells, {}, labels=labels)
    rng = np.random.default_rng(0)
    for cell in cells:
        rows = []
        for i, gap in enumerate((0.05, 0.15)):
            above = {"none": 4.0, "yarn": 0.0, "pi": gap}[cell["label"]]
            loss = [3.0] * 16 + [round(3.0 + above + 0.05 * float(x), 5) for x in rng.normal(size=240)]
            of_row = {**blocks(loss, end=8191), **extra(3.0, float(np.mean(loss[16:])), edges=[0, window, 8191])}
            rows.append(made.row(i, 3.0 + above, extra=of_row))
        store.put_cell(cell["key"], made.content(rows))
    [losses] = window_losses(Scores(read(store)))
    lines = {line.label: line.numbers for line in losses.grid.lines}
    over, here = lines["pi"][2].estimate, lines["pi"][3].estimate
    assert over is not None and over.low is not None and over.low < 0 < over.mean == pytest.approx(0.1, abs=0.01)
    assert here is not None and here.low is not None and here.high is not None and here.n == 2
    assert here.mean == pytest.approx(over.mean, abs=1e-4) and 0.08 < here.low < here.high < 0.12
    cliff = losses.cliff
    assert cliff is not None and cliff.columns[:3] == ("480 to 512", "512 to 544", "544 to 576")
    assert cliff.columns[-1] == "4,608 to 8,192"
    of_none = [round(e.mean, 1) for number in cliff.lines[0].numbers if (e := number.estimate)]
    assert of_none == [3.0, *[7.0] * (len(cliff.columns) - 1)]
    assert "by position: loss" in Page.of(store).text


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


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ((3.5, 3.6, 3.5, 3.4), "Far context helps on these texts: beyond the window yarn, the lowest, has -0.45"),
        ((2.9, 3.0, 2.7, 3.0), "These texts have no use for far context, so these losses say nothing"),
        ((3.1, 3.1, 3.1, 3.0), "Whether far context helps on these texts is not shown"),
        (None, "is not known here: add the method sliding_window"),
    ],
)
def test_losses_on_text_without_use_for_far_context_say_so(
    tmp_path: Path, cut: Sequence[float] | None, words: str
) -> None:
    store = store_of(tmp_path, LOSSES if cut is None else {**LOSSES, "sliding_window": cut})
    [losses] = window_losses(Scores(read(store)))
    assert words in losses.grid.notes[-1]


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


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ((3.4, 3.6, 3.3, 3.5), "last window alone has 3.450: text further back helps."),
        (
            (3.02, 3.18, 2.93, 3.1),
            "not significantly more: nothing here shows that yarn uses text further back.",
        ),
        ((2.5, 2.7, 2.4, 2.6), "sliding_window reads the last window alone, so no method shows here that text further"),
    ],
)
def test_the_answer_says_whether_far_text_helps(tmp_path: Path, cut: tuple[float, ...], words: str) -> None:
    verdict = Results(store_of(tmp_path, {**LOSSES, "sliding_window": cut})).verdict
    assert words in verdict.sentences[0]


def test_answers_inside_the_window_do_not_decide_beyond_it(tmp_path: Path) -> None:
    """Needles that all methods find inside the window say nothing of the cliff behind it."""
    store = store_of(tmp_path, LOSSES)
    needles = made.planned(tuple(LOSSES), (512,), {"needle": "retrieval"}, 2)
    for cell in needles:
        store.put_cell(cell["key"], made.content([made.row(i, 1.0) for i in range(2)]))
    content = store.run()
    content["cells"] += needles
    store.write_run(content)
    verdict = Results(store).verdict
    assert "by perplexity beyond the window of 512, yarn wins" in verdict.sentences[0]
    assert verdict.sentences[1].startswith("No test of answers has a result beyond the window")
    assert "yarn wins" in Page.of(store).text


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (None, "yarn is lowest, 3.050 nats per token; significantly above it: pi (+0.525), none (+3.000)."),
        (
            (3.02, 3.18, 2.93, 3.1),
            "; not told apart from it: sliding_window (+0.007); significantly above it: pi (+0.525), none (+3.000). "
            "The unextended model on the last window alone has 3.058, which is not significantly more: nothing here",
        ),
    ],
)
def test_a_few_answers_beyond_the_window_do_not_hide_what_losses_say(
    tmp_path: Path, cut: tuple[float, ...] | None, words: str
) -> None:
    """Eleven needles decided nothing of a real model where seven documents told it from every method."""
    methods = LOSSES if cut is None else {**LOSSES, "sliding_window": cut}
    store = store_of(tmp_path, methods)
    needles = made.planned(tuple(methods), (1024,), {"needle": "retrieval"}, 2)
    for cell in needles:
        store.put_cell(cell["key"], made.content([made.row(i, 1.0) for i in range(2)]))
    content = store.run()
    content["cells"] += needles
    store.write_run(content)
    verdict = Results(store).verdict
    assert verdict.kind == "tie" and len(verdict.sentences) == 3
    assert verdict.sentences[1].startswith("By loss, perplexity at 1,024 tokens, beyond the window (4 documents): ")
    assert words in verdict.sentences[1]
    assert words in Page.of(store).text


def test_losses_that_cannot_be_told_apart_are_a_tie(tmp_path: Path) -> None:
    close = {**LOSSES, "pi": (3.3, 2.9, 3.1, 2.95)}
    verdict = Results(store_of(tmp_path, close)).verdict
    assert verdict.kind == "tie" and "not significantly below pi" in verdict.sentences[0]
    [losses] = Results(store_of(tmp_path / "again", close)).window_losses
    assert re.fullmatch(
        r"Not told apart from yarn: pi \(about [\d,]+ documents would settle it\)\.", losses.grid.notes[-2]
    )
    assert re.search(r"; about [\d,]+ documents would settle a lead of that size\)\.", verdict.sentences[0])


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
