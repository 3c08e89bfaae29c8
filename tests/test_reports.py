"""The report says what is in the store and nothing else: missing is not failed, failed is not zero, text is text."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_store as made

from harness.store import Store
from reports.figures import style
from reports.numbers import audit as ledger
from reports.numbers import frame
from reports.numbers.by_test import by_test
from reports.numbers.costs import cost_totals
from reports.numbers.grid import Grid, Line, Number
from reports.numbers.perplexity import perplexity
from reports.numbers.results import Results
from reports.numbers.retention import retention
from reports.numbers.scores import Scores
from reports.numbers.summary import Column, columns, summary
from reports.numbers.verdict import verdict
from reports.page import samples, sections, visible_text
from reports.page import table_formats as tables
from reports.page.page import build, render, write_report
from reports.statistics.intervals import Estimate
from reports.statistics.seeds import side_by_side

pytestmark = pytest.mark.slow  # seconds each, or many


def unpack(block: str) -> dict:  # type: ignore[type-arg]
    """What the browser does with a block of samples."""
    return json.loads(zlib.decompress(base64.b64decode(block), -zlib.MAX_WBITS))  # type: ignore[no-any-return]


class Page(HTMLParser):
    """All start tags, the text of the page without scripts and styles, and its data."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.inside: list[str] = []
        self.source = source
        self.feed(source)

    @classmethod
    def of(cls, store: Store) -> "Page":
        """The page of a store, without the files beside it."""
        return cls(render(build(Results(store), "a day")))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.words.append(data)
        elif self.inside[-1] == "script":
            self.scripts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def data(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.scripts[0])  # type: ignore[no-any-return]

    def block(self, key: str) -> dict:  # type: ignore[type-arg]
        """The unpacked samples of the test that a cell belongs to."""
        blocks = re.findall(r'<script type="text/plain" id="block-\d+">([^<]*)</script>', self.source)
        return unpack(blocks[self.data["cells"][key]["b"]])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Small but with everything: all kinds of tests, a failed cell and a missing one."""
    return made.realistic(tmp_path_factory.mktemp("real") / "store", 6, ("none", "pi", "longrope", "yarn"), (512, 2048))


@pytest.fixture(scope="module")
def page(real: Store) -> Page:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")  # takes longest and is not looked at
        return Page(write_report(real).read_text(encoding="utf-8"))


def cells(labels: tuple[str, ...] = ("none", "yarn"), task: str = "needle", n: int = 4, **more: object) -> list[dict]:  # type: ignore[type-arg]
    return made.planned(labels, (4096,), {task: "retrieval"}, n, **more)  # type: ignore[arg-type]


def scores_of(folder: Path, planned: list[dict], values: list[list[float]], **run: object) -> Scores:  # type: ignore[type-arg]
    given = {cell["key"]: value for cell, value in zip(planned, values, strict=True) if value}
    labels = tuple(dict.fromkeys(cell["label"] for cell in planned))
    return Scores(frame.read(made.write(folder, planned, given, labels=labels, **run)))


# --- the page as a whole


@pytest.mark.slow
def test_the_same_store_gives_the_same_bytes(real: Store, page: Page, tmp_path: Path) -> None:
    for copy in ("first", "second"):
        again = write_report(Store.open(real.folder), tmp_path / copy)
        assert again.read_text(encoding="utf-8") == page.source
    for folder in ("tables", "paper", "paper/figures"):
        first = sorted(path for path in (tmp_path / "first" / folder).iterdir() if path.is_file())
        second = sorted(path for path in (tmp_path / "second" / folder).iterdir() if path.is_file())
        assert [p.name for p in first] == [p.name for p in second] and len(first) > 2
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))


def test_the_date_is_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")  # takes longest and is not looked at
    store = made.write(tmp_path, [], {})
    assert "2026-01-02" in Page(write_report(store).read_text(encoding="utf-8")).text
    other = Page(write_report(store, date="a day in May").read_text(encoding="utf-8")).text
    assert "a day in May" in other and "2026-01-02" not in other


@pytest.mark.slow
def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action", "xlink:href"):
            assert not attributes.get(name) or attributes[name].startswith("#"), (tag, attributes)  # type: ignore[union-attr]
        assert tag not in ("link", "iframe", "object", "embed", "base", "img", "image")
        if "href" in attributes:
            assert tag in ("a", "use")
            assert tag == "a" or attributes["href"].startswith("#")  # type: ignore[union-attr]
    assert "@import" not in page.source
    assert not re.search(r"url\((?!\s*#)", page.source)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\s*\(", page.source)
    assert "default-src 'none'" in page.source


def test_every_inner_link_leads_somewhere(page: Page, real: Store) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    known = set(ids) | {f"cell-{key}" for key in page.data["cells"]}
    known |= {f"wrong-{m}-{length}" for m in range(4) for length in (512, 2048)}
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert {link[1:].partition("?")[0] for link in links if link and link.startswith("#")} <= known
    for link in links:
        assert link and (link.startswith("#") or (real.folder / link).is_file()), link


def test_all_parts_are_there(page: Page) -> None:
    headings = "What was compared, Methods over lengths, Which differences are real, Needles by depth, Test by test"
    headings += ", Effective length and ranks, Perplexity, Short context, Rescale factors, Search and training, Cost"
    headings += ", Same conditions?, How answers fail, Published numbers, Versions and hardware"
    for heading in headings.split(", "):
        assert heading in page.text
    assert page.source.count("<svg") == 2 * 5  # every figure in two widths; nothing was searched or trained
    assert sum("heat" == attributes.get("class") for _, attributes in page.tags) == 2 * 4
    assert page.text.count("pocket numbers") >= 4


@pytest.mark.slow
def test_a_new_table_is_a_function_and_a_line_of_the_sections(
    real: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengths_tested(results: Results) -> Grid:
        number = Number(Estimate(len(results.summary.lengths), None, None, 1), "done")
        return Grid("toy", "Lengths tested", "Test", ("none",), (Line("this one", (number,)),), lines_are="tests")

    new = sections.Section("toy", "A toy section", lambda results: [lengths_tested(results)])
    monkeypatch.setattr(sections, "RESULTS", (*sections.RESULTS, new))
    monkeypatch.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")
    page = Page(write_report(real, tmp_path).read_text(encoding="utf-8"))
    assert '<a href="#toy">A toy section</a>' in page.source and "Lengths tested" in page.text
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert {"toy", "table-toy"} <= set(ids)
    for ending in ("csv", "md", "tex"):
        assert "this one" in (tmp_path / "tables" / f"toy.{ending}").read_text(encoding="utf-8")
        assert f'href="tables/toy.{ending}"' in page.source
    assert r"\input{../tables/toy}" in (tmp_path / "paper" / "all.tex").read_text(encoding="utf-8")


def test_a_new_column_of_the_summary_is_made_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """yarn: 1 of 4 at 512 tokens and 3 of 4 at 1,024; over both, a half."""
    planned = made.planned(("none", "yarn"), (512, 1024), {"a": "retrieval"}, 4)
    values = [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]
    given = {cell["key"]: [float(v) for v in scores] for cell, scores in zip(planned, values, strict=True)}
    store = made.write(tmp_path, planned, given, labels=("none", "yarn"))

    def with_both(scores: Scores) -> list[Column]:
        at_lengths = columns(scores)
        return [*at_lengths, Column("both", "2 tests", tuple(test for column in at_lengths for test in column.tests))]

    monkeypatch.setattr("reports.numbers.summary.columns", with_both)
    table = summary(Scores(frame.read(store)))
    assert table.grid.columns == ("512", "1,024", "both") and table.lengths == (512, 1024)
    means = [number.estimate.mean for number in table.grid.lines[1].numbers if number.estimate]
    assert means == [0.25, 0.75, 0.5]
    page = Page.of(store)
    heads = [attributes.get("data-l") for tag, attributes in page.tags if tag == "th" and "num" in str(attributes)]
    assert heads[:3] == ["512", "1024", None] and "both" in page.text


def test_tables_can_be_read_out(page: Page) -> None:
    count = sum(tag == "table" for tag, _ in page.tags)
    assert count == sum(tag == "caption" for tag, _ in page.tags) > 5
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(a.get("role") == "img" and a.get("aria-label") for a in figures)


def test_the_quick_report_stays_small(page: Page) -> None:
    assert len(page.source.encode()) < 3_000_000


def test_only_pocket_models_are_labelled_so(tmp_path: Path) -> None:
    planned = cells()
    store = made.write(tmp_path, planned, {planned[0]["key"]: [1, 0, 1, 1]}, name="some/other-8B")
    assert "pocket" not in Page.of(store).text.lower()


# --- what is not there


def test_missing_and_failed_look_different_and_are_no_zero(tmp_path: Path) -> None:
    planned = cells(("none", "pi", "yarn"))
    store = made.write(tmp_path, planned, {planned[0]["key"]: [1, 1, 0, 1]}, labels=("none", "pi", "yarn"))
    store.put_cell(planned[1]["key"], made.failed("ValueError: the logits hold NaN"))
    page = Page(write_report(store).read_text(encoding="utf-8"))
    numbers = {line.label: line.numbers[0] for line in by_test(Scores(frame.read(store)), 4096).lines}.get("needle")
    assert numbers is not None
    lines = summary(Scores(frame.read(store))).grid.lines
    assert [line.numbers[0].status for line in lines] == ["done", "failed", "missing"]
    assert [line.numbers[0].estimate is None for line in lines] == [False, True, True]
    assert "the logits hold NaN" in page.text and "not run yet" in page.text
    assert any(tag == "td" and "failed" in (a.get("class") or "") for tag, a in page.tags)
    assert any(tag == "td" and "absent" in (a.get("class") or "") for tag, a in page.tags)
    assert "Traceback" in page.data["cells"][planned[1]["key"]]["tb"]
    assert "0.0" not in (store.folder / "tables" / "summary.md").read_text(encoding="utf-8")


def test_nothing_finished_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = Page.of(made.write(tmp_path / "a", cells(), {}, labels=("none", "yarn")))
    assert "No cell is finished yet" in page.text
    empty = Page(write_report(made.write(tmp_path / "b", [], {})).read_text(encoding="utf-8"))
    assert "plans no cells" in empty.text


@pytest.mark.parametrize(
    "rows",
    [
        "nonsense",
        [],
        [{"sample": 0}],
        [made.row(0, 1.5)],
        [made.row(0, float("nan"))],
        [made.row(0, 1.0), made.row(0, 0.0)],
        [{"score": 1.0}],
    ],
)
def test_a_damaged_cell_gives_no_number(tmp_path: Path, rows: object) -> None:
    planned = cells()
    store = made.write(tmp_path, planned, {planned[0]["key"]: [1, 1, 1, 0]})
    content = json.dumps(
        {"key": planned[1]["key"], **made.content([]), "rows": rows}
    )  # writes NaN, as the store never does
    store.cell_path(planned[1]["key"]).write_text(content, encoding="utf-8")
    frames = frame.read(store)
    assert list(frames.cells["status"]) == ["done", "failed"]
    assert "damaged" in frames.cells["reason"].iloc[1]
    assert len(frames.rows) == 4


def test_a_half_written_cell_counts_as_missing(tmp_path: Path) -> None:
    planned = cells()
    store = made.write(tmp_path, planned, {cell["key"]: [1, 1, 1, 0] for cell in planned})
    path = store.cell_path(planned[1]["key"])
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert list(frame.read(store).cells["status"]) == ["done", "missing"]
    store.put_cell(planned[1]["key"], made.content([]))
    assert "damaged cell file: it has no samples" in Page.of(store).text


def test_a_run_file_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    store.write_run({"name": "nothing"})
    with pytest.raises(ValueError, match="describes no run") as error:
        write_report(store)
    assert "\n" not in str(error.value)


def test_one_method_only(tmp_path: Path) -> None:
    planned = cells(("yarn",))
    store = made.write(tmp_path, planned, {planned[0]["key"]: [1, 1, 1, 0]}, labels=("yarn",))
    page = Page.of(store)
    assert "no other method" in page.text and "One method only" in page.text
    assert not any("best" in (a.get("class") or "") for _, a in page.tags)


def test_one_sample_has_a_number_and_no_interval(tmp_path: Path) -> None:
    planned = cells(n=1)
    page = Page.of(made.write(tmp_path, planned, {cell["key"]: [1.0] for cell in planned}, labels=("none", "yarn")))
    assert "no interval" in page.text
    assert "no winner" in page.text


def test_equal_scores_are_a_tie(tmp_path: Path) -> None:
    planned = cells(n=10)
    scores = scores_of(tmp_path, planned, [[1.0] * 10, [1.0] * 10])
    marks = [line.numbers[0].mark for line in summary(scores).grid.lines]
    assert marks == ["tie", "tie"]
    assert "no winner" in " ".join(verdict(scores, summary(scores), None).sentences)


# --- numbers


def test_a_clear_difference_is_bold_and_an_unclear_one_is_not(tmp_path: Path) -> None:
    planned = cells(n=20)
    clear = scores_of(tmp_path / "clear", planned, [[0.0] * 20, [1.0] * 20])
    unclear = scores_of(tmp_path / "unclear", planned, [[1.0] * 10 + [0.0] * 10, [1.0] * 12 + [0.0] * 8])
    assert [line.numbers[0].mark for line in summary(clear).grid.lines] == ["", "best"]
    assert [line.numbers[0].mark for line in summary(unclear).grid.lines] == ["tie", "tie"]
    sentences = verdict(clear, summary(clear), None)
    assert (
        sentences.kind == "clear"
        and sentences.leader == "yarn"
        and "yarn wins: 100.0 % [83.9, 100.0]" in sentences.sentences[0]
    )
    assert verdict(unclear, summary(unclear), None).kind == "tie"
    short = made.planned(("none", "yarn"), (512,), {"needle": "retrieval"}, 20)
    below = scores_of(tmp_path / "below", short, [[0.0] * 20, [1.0] * 20])
    said = verdict(below, summary(below), None).sentences[0]
    assert said.startswith("No long test is planned at the target of 4,096 tokens; at 512 tokens, yarn wins")


def test_losses_are_better_when_lower(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (4096,), {"perplexity": "perplexity"}, 6, unit="nats")
    scores = scores_of(tmp_path, planned, [[5.0, 5.1, 5.2, 4.9, 5.0, 5.1], [3.0, 3.2, 3.1, 3.0, 2.9, 3.0]])
    assert [line.numbers[0].mark for line in perplexity(scores)[0].lines] == ["", "best"]


def test_averages_are_over_the_tests_that_all_finished(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (4096,), {"a": "retrieval", "b": "qa", "c": "qa"}, 2)
    # none: a = 1, b = 0.5, c = 1; yarn: a = 0, b = 1, c not run
    scores = scores_of(tmp_path, planned, [[1, 1], [0, 0], [1, 0], [1, 1], [1, 1], []])
    found = summary(scores)
    assert found.grid.column_notes == ("2 of 3 tests",)
    assert [line.numbers[0].estimate.mean for line in found.grid.lines if line.numbers[0].estimate] == [0.75, 0.5]
    own = {line.label: line.numbers for line in by_test(scores, 4096).lines}
    assert own["held out"][0].estimate is not None and own["held out"][0].estimate.mean == 0.75
    assert own["held out"][1].estimate is None and "1 of 2 tests" in own["held out"][1].why


def test_retention_by_hand(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (512,), {"x": "short", "y": "short"}, 4)
    planned += made.planned(("none", "yarn"), (512,), {"loss": "short"}, 2, unit="nats")
    # x: 0.75 → 0.5; y: 1 → 1; loss: 3.0, 3.4 → 3.1, 3.3
    values: list[list[float]] = [[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [3.0, 3.4], [3.1, 3.3]]
    scores = scores_of(tmp_path, planned, values)
    kept = retention(scores)
    assert kept is not None
    means = [number.estimate.mean for number in kept.lines[1].numbers if number.estimate]
    assert kept.columns == ("all 2 tests", "x", "y", "loss")
    assert means == pytest.approx([1.5 / 1.75, 0.5 / 0.75, 1.0, 0.0])
    assert kept.unit_of(3) == "nats difference"
    assert kept.lines[0].numbers[0].why == "original"
    low, high = kept.lines[1].numbers[1].estimate.low, kept.lines[1].numbers[1].estimate.high  # type: ignore[union-attr]
    # 2 and 3 of 4, one sample lost: 3 and 4 of 6 with the added win and loss, far from certain
    assert low is not None and high is not None and low < 0.4 and 1.2 < high < 3


def test_retention_without_a_short_suite_is_of_the_long_tests_inside_the_window(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (512, 1024), {"needle": "retrieval"}, 2)
    planned += made.planned(("none", "yarn"), (512, 1024), {"loss": "perplexity"}, 2, unit="nats")
    values: list[list[float]] = [[1, 1], [1, 0], [0, 0], [1, 1], [3.0, 3.4], [3.1, 3.6], [5.0, 5.4], [3.2, 3.5]]
    kept = retention(scores_of(tmp_path / "a", planned, values))
    assert kept is not None and kept.columns == ("needle", "loss")
    assert [e.mean for number in kept.lines[1].numbers if (e := number.estimate)] == pytest.approx([0.5, 0.15])
    assert "inside the trained window" in kept.notes[-1]
    suite = made.planned(("none", "yarn"), (512,), {"x": "short"}, 2)
    kept = retention(scores_of(tmp_path / "b", [*planned, *suite], [*values, [1, 1], [1, 0]]))
    assert kept is not None and kept.columns == ("x",), "a suite is the better measure"


def test_retention_needs_the_unextended_model_and_a_score_above_zero(tmp_path: Path) -> None:
    planned = made.planned(("pi", "yarn"), (512,), {"x": "short"}, 2)
    assert retention(scores_of(tmp_path / "a", planned, [[1, 1], [1, 0]])) is None
    planned = made.planned(("none", "yarn"), (512,), {"x": "short"}, 2)
    kept = retention(scores_of(tmp_path / "b", planned, [[0, 0], [1, 0]]))
    assert kept is not None and kept.lines[1].numbers[0].estimate is None and "scores 0" in kept.lines[1].numbers[0].why


def test_methods_with_equal_plans_share_a_cell(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (512,), {"x": "short"}, 3)
    planned[1]["key"] = planned[0]["key"]
    scores = scores_of(tmp_path, planned, [[1, 0, 1], []])
    kept = retention(scores)
    assert kept is not None and kept.lines[1].numbers[0].why == "same plan as the original"
    assert kept.lines[1].numbers[0].estimate == Estimate(1.0, None, None, 3)
    page = Page.of(Store.open(tmp_path))
    assert page.data["cells"][planned[0]["key"]]["m"] == [0, 1]
    assert page.block(planned[0]["key"])["i"] == [0, 1, 2]


def test_seeds_are_joined_and_a_lost_seed_is_missing(tmp_path: Path) -> None:
    planned = cells(n=2, seeds=(0, 1))
    scores = scores_of(tmp_path, planned, [[1, 1], [0, 0], [1, 1], []])
    numbers = [line.numbers[0] for line in summary(scores).grid.lines]
    assert numbers[0].estimate is not None and (numbers[0].estimate.mean, numbers[0].estimate.n) == (0.5, 4)
    assert numbers[1].estimate is None and "1 of 2 seeds" in numbers[1].why


def test_seeds_of_a_training_are_models_not_samples(tmp_path: Path) -> None:
    """Means of three trained seeds: 0.5, 0.6, 0.7. Student's t with two degrees of freedom: 0.6 ± 4.303 · 0.1 / √3."""
    planned = cells(("none", "trained"), n=10, seeds=(0, 1, 2))
    values = [[0.0] * 10] * 3 + [[1.0] * k + [0.0] * (10 - k) for k in (5, 6, 7)]
    made.write(tmp_path, planned, {}, labels=("none", "trained"))
    store = Store.open(tmp_path)
    for cell, own in zip(planned, values, strict=True):
        store.put_cell(cell["key"], made.content([made.row(i, value) for i, value in enumerate(own)]))
    run = store.run()
    pooled = Scores(frame.read(store))
    assert not pooled.by_seed("trained", "none")
    run["methods"][1]["training"] = {"base_method": "none", "recipe": "plain", "tokens": 10}
    del run["format"]
    store.write_run(run)
    scores = Scores(frame.read(store))
    estimate = scores.number("trained", ("needle", 4096)).estimate
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    half = 4.302653 * 0.1 / 3**0.5
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half), abs=1e-5)
    assert estimate.n == 30
    gap = scores.compare("trained", "none", [("needle", 4096)])
    assert (gap.low, gap.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-5)
    assert gap.p > 5 * pooled.compare("trained", "none", [("needle", 4096)]).p  # three models, not thirty
    notes = " ".join(summary(scores).grid.notes)
    assert "Intervals of the trained methods go by the means of the trained seeds" in notes


def trained_on_the_same_samples(tmp_path: Path, base: list[float], trained: list[list[float]], unit: str) -> Scores:
    """A short test that draws nothing: the original answers it once, every training of the method once."""
    planned = made.planned(["none"], [512], {"short/facts": "short"}, len(base), unit=unit)
    planned += made.planned(["trained"], [512], {"short/facts": "short"}, len(base), range(len(trained)), unit)
    made.write(tmp_path, [{**cell, "seeded": False} for cell in planned], {}, labels=("none", "trained"))
    store = Store.open(tmp_path)
    for cell, own in zip(planned, [base, *trained], strict=True):
        store.put_cell(cell["key"], made.content([made.row(i, value) for i, value in enumerate(own)]))
    run = store.run()
    run["methods"][1]["training"] = {"base_method": "none", "recipe": "plain", "tokens": 10}
    del run["format"]
    store.write_run(run)
    return Scores(frame.read(store))


def test_every_training_counts_where_all_seeds_answer_the_same_samples(tmp_path: Path) -> None:
    """The original has 9 of 10, three trainings 9, 3 and 3: kept are 55.6 %, not the 100 % of the first training."""
    answers = [[1.0] * right + [0.0] * (10 - right) for right in (9, 9, 3, 3)]
    scores = trained_on_the_same_samples(tmp_path, answers[0], answers[1:], "score")
    kept = retention(scores)
    assert kept is not None
    estimate = kept.lines[1].numbers[0].estimate
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    assert estimate.mean == pytest.approx(5 / 9)
    assert estimate.low < 0.2 and estimate.high > 0.9  # trainings differ, and there are three
    gap = scores.compare("trained", "none", [("short/facts", 512)])
    assert gap.difference == pytest.approx(-0.4) and gap.p > 0.05 and gap.freedom < 20
    own = scores.number("trained", ("short/facts", 512)).estimate
    assert own is not None and own.mean == pytest.approx(0.5)


def test_losses_of_several_trainings_on_the_same_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    texts = rng.normal(5.0, 1.0, 40)
    trained = [list(texts - 4.0 + rng.normal(0, 0.01, 40) + luck) for luck in (0.0, 0.02, -0.02)]
    scores = trained_on_the_same_samples(tmp_path, list(texts), trained, "nats")
    kept = retention(scores)
    assert kept is not None
    estimate = kept.lines[1].numbers[0].estimate
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    assert estimate.mean == pytest.approx(-4.0, abs=0.02) and -4.1 < estimate.low < estimate.high < -3.9
    assert scores.p_value("trained", "none", [("short/facts", 512)]) < 0.001


def test_tests_side_by_side_have_equal_weight() -> None:
    """Two tests of 2 and 4 samples: the mean is the average of both, the spread that of (1/2)² (v₁/2 + v₂/4)."""
    few, many = np.array([[0.0, 1.0]]), np.array([[0.2, 0.4, 0.6, 1.2]])
    joined = side_by_side([few, many])
    assert joined.shape == (1, 6) and joined.mean() == pytest.approx((0.5 + 0.6) / 2)
    assert joined.var() / 6 == pytest.approx((few.var() / 2 + many.var() / 4) / 4)


def test_costs_add_up(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (512, 4096), {"needle": "retrieval"}, 2)
    store = made.write(tmp_path, planned, {})
    for i, cell in enumerate(planned[:3]):
        cost = {"seconds": 1.0 + i, "token_forwards": 10, "peak_memory_bytes": 100 * i}
        store.put_cell(cell["key"], made.content([made.row(0, 1.0), made.row(1, 0.0)], cost))
    totals = cost_totals(frame.read(store))
    columns = ["done", "planned", "seconds", "token_forwards", "peak_memory_bytes", "total_seconds"]
    assert list(totals.loc["none", columns]) == [2, 2, 4.0, 20.0, 200.0, 4.0]
    assert list(totals.loc["yarn", columns]) == [1, 2, 2.0, 10.0, 100.0, 2.0]
    assert totals["search_seconds"].isna().all() and totals["training_token_forwards"].isna().all()


# --- text of models


HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)> \x00\x1b[31m \u202e txet & "quoted" \'\u2028'


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    planned = cells(n=2)
    store = made.write(tmp_path, planned, {})
    run = store.run()
    run["methods"][1]["summary"] = HOSTILE
    run["ledger"]["environment"]["cpu"] = HOSTILE
    run["name"] = HOSTILE
    store.write_run(run)
    prompt = store.put_prompt(HOSTILE)
    rows = [
        made.row(i, 0.0, generation=HOSTILE, references=[HOSTILE], failure=HOSTILE, prompt=prompt) for i in range(2)
    ]
    store.put_cell(planned[0]["key"], made.content(rows))
    store.put_cell(planned[1]["key"], made.failed(HOSTILE))
    page = Page.of(store)
    assert [tag for tag, _ in page.tags].count("script") == 3 + 1  # data, two scripts and one block
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    said = page.block(planned[0]["key"])["x"][planned[0]["key"]]["g"][0]
    assert said.startswith("</script><script>alert(1)</script><img") and "␀␛[31m" in said
    assert "⟨U+202E⟩" in said and "\u202e" not in page.scripts[0]
    assert "</script" not in page.scripts[0] and "\x00" not in page.source
    assert "<script>alert(1)</script>" in page.text  # as words


def test_a_label_with_signs_of_formulas_is_no_formula(tmp_path: Path) -> None:
    label = r"yarn $\foo$"
    planned = made.planned(("none", label), (512, 1024), {"a": "retrieval"}, 4)
    values = {cell["key"]: [1.0, 0.0, 1.0, 1.0] for cell in planned}
    page = Page.of(made.write(tmp_path, planned, values, labels=("none", label)))
    assert page.source.count(label) > 3 and "mathdefault" not in page.source


def test_visible_keeps_lines_and_letters() -> None:
    assert visible_text.visible("a\tb\nß 漢 🙂\r\nc\x7f") == "a\tb\nß 漢 🙂␍\nc␡"
    assert visible_text.visible("\ud800\u200b") == "⟨U+D800⟩⟨U+200B⟩"


def test_an_excerpt_shows_head_needle_and_tail() -> None:
    text = "START " + "x " * 3000 + "the code is 12345 ok " + "y " * 3000 + "What is the code?"
    found = visible_text.excerpt(text, ["12345"], 0.5)
    most = sum(visible_text.PROMPT) + 2 * len(visible_text.GAP)
    assert len(found) <= most
    assert found.startswith("START") and "the code is 12345 ok" in found and found.endswith("What is the code?")
    assert visible_text.excerpt("short", ["x"], None) == "short"
    assert len(visible_text.excerpt(text, [], None)) <= most
    again = "example: the code is 12345. " + text
    assert "the code is 12345 ok" in visible_text.excerpt(again, ["12345"], 0.5)  # not the example's


def test_a_prompt_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    planned = cells(n=1)
    store = made.write(tmp_path / "store", planned, {})
    (tmp_path / "secret.txt").write_text("secret words", encoding="utf-8")
    (tmp_path / "store" / "prompts").mkdir()
    store.put_cell(planned[0]["key"], made.content([made.row(0, 1.0, prompt="../../secret")]))
    assert "secret words" not in Page.of(store).source


def test_samples_fit_their_budget(real: Store) -> None:
    scores = Scores(frame.read(real))
    all_of_it = samples.collect(real, scores)
    whole = sum(map(len, all_of_it.blocks))
    small = samples.collect(real, scores, whole // 2)
    assert sum(map(len, small.blocks)) <= whole // 2
    assert small.index["texts"] < all_of_it.index["texts"]
    for block in map(unpack, small.blocks):  # every score is there, and as many texts as fit
        assert all(None not in cell["s"] for cell in block["x"].values())
        assert sum(text is not None for text in block["p"]) <= small.index["texts"]
    assert samples.collect(real, scores, 0).index["texts"] == 0


def test_methods_show_the_same_samples_and_disagreement_first(tmp_path: Path) -> None:
    planned = cells(n=20)
    values = [[1.0] * 20, [1.0] * 17 + [0.0] * 3]
    scores = scores_of(tmp_path, planned, values)
    store = Store.open(tmp_path)
    for cell, own in zip(planned, values, strict=True):
        said = [f"{cell['label']} said {value} to question {i}" for i, value in enumerate(own)]
        rows = [made.row(i, value, generation=said[i]) for i, value in enumerate(own)]
        store.put_cell(cell["key"], made.content(rows))
    scores = Scores(frame.read(store))
    full = sum(map(len, samples.collect(store, scores).blocks))
    packed = samples.collect(store, scores, full - 1)
    (block,) = map(unpack, packed.blocks)
    own, other = (block["x"][cell["key"]]["g"] for cell in planned)
    kept = [i for i, said in enumerate(own) if said is not None]
    assert kept == [i for i, said in enumerate(other) if said is not None]
    assert {17, 18, 19} <= set(kept) and 3 <= len(kept) < 20
    assert block["x"][planned[1]["key"]]["s"] == values[1]


# --- tables as files


GRID = Grid(
    "x_1",
    "50% & more_",
    "Method",
    ("512", "4,096"),
    (
        Line(
            "my_method", (Number(Estimate(0.5, 0.25, 0.75, 8), "done", mark="best"), Number(None, "missing", "not run"))
        ),
        Line(
            "pi|",
            (Number(Estimate(0.25, None, None, 1), "done", mark="tie"), Number(None, "failed", "boom")),
            "Averages",
        ),
    ),
    notes=("note",),
)


def test_latex_has_the_shape_of_booktabs() -> None:
    latex = tables.to_latex(GRID)
    for line in (
        r"\begin{tabular}{lrr}",
        r"Method & 512 & 4,096 \\",
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
        r"\label{tab:x-1}",
    ):
        assert line in latex
    assert r"\caption{50\% \& more\_. note}" in latex
    assert r"my\_method & \textbf{50.0} {\scriptsize [25.0, 75.0]} & -- \\" in latex
    assert r"pi$|$ & 25.0$^{=}$ & \textit{failed} \\" in latex
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert all(
        line.count(" & ") == 2 for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    )
    assert latex.count("{") == latex.count("}")


def test_markdown_and_csv() -> None:
    markdown = tables.to_markdown(GRID)
    assert "| my\\_method | **50.0** [25.0, 75.0] n=8 | – |" in markdown
    assert "| pi\\| (Averages) | 25.0 = no interval n=1 | failed |" in markdown
    lines = tables.to_csv(GRID).splitlines()
    assert lines[0] == "line,group,column,unit,value,low,high,n,mark,status,why"
    assert lines[1] == "my_method,,512,percent,50,25,75,8,best,done,"
    assert lines[2] == 'my_method,,"4,096",percent,,,,,,missing,not run'


# --- fairness


def test_controlled_has_to_be_earned() -> None:
    labels = ("none", "yarn", "pi")
    same = made.condition("dtype", dict.fromkeys(labels, "float32"), True)
    assert ledger.audit({"conditions": [same]}, labels).controlled
    other = made.condition("engine", {"none": "a", "yarn": "a", "pi": "b"}, True)
    found = ledger.audit({"conditions": [same, other]}, labels)
    assert not found.controlled and "engine should be equal" in found.sentence
    assert [value.colour for value in found.conditions[1].values] == ["green", "green", "red"]
    free = made.condition("trials", {"none": 0, "yarn": 0, "pi": 9}, False)
    allowed = ledger.audit({"conditions": [same, free]}, labels)
    assert allowed.controlled
    assert [value.colour for value in allowed.conditions[1].values] == ["green", "green", "amber"]


def test_what_is_not_recorded_is_not_equal() -> None:
    lost = {"condition": "dtype", "values": {"none": "float32"}, "equal": True, "must_be_equal": True}
    found = ledger.audit({"conditions": [lost]}, ("none", "yarn"))
    assert not found.controlled and found.conditions[0].values[1].text == "not recorded"
    assert not ledger.audit({}, ("none", "yarn")).controlled
    assert not ledger.audit({"conditions": [lost]}, ("none",)).controlled
    doubted = {"condition": "dtype", "values": {"none": 1, "yarn": 1}, "equal": False, "must_be_equal": True}
    assert not ledger.audit({"conditions": [doubted]}, ("none", "yarn")).controlled


# --- figures


def test_labels_are_spread_as_little_as_possible() -> None:
    assert style.spread([1.0, 50.0], 10) == [1.0, 50.0]
    assert style.spread([5.0, 5.0], 10) == [0.0, 10.0]
    moved = style.spread([30.0, 0.0, 1.0, 2.0], 10)
    assert moved[1] < moved[2] < moved[3] < moved[0]
    assert all(b - a >= 10 - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert style.spread([99.0, 98.0, 97.0], 10, 0, 100) == [100.0, 90.0, 80.0]
    assert style.spread([1.0, 2.0], 10, 0, 100) == [0.0, 10.0]


def test_figures_follow_the_theme(page: Page) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page.source, flags=re.S):
        assert "var(--" in svg and "DejaVu" not in svg and "<metadata" not in svg
        assert not any(colour in svg for colour in (style.INK, style.MUTED, *style.SERIES))
