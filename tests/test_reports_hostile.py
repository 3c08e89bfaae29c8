"""Labels never cost a report, a part that fails costs that part only, and nothing is written where it should not be."""

import csv
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic_store as made

from harness import cli
from harness.store import Store
from reports.figures import catalogue, style
from reports.numbers.file_names import file_names
from reports.numbers.results import Results
from reports.page.page import write_report
from reports.page.table_formats import harmless

LONG = "longrope2_with_a_base_of_ten_million_and_a_ramp_" * 6
LABELS = {
    "of 36 letters": "m" * 36,
    "of 52 letters": "a method whose label says all of its parameters: b=1"[:52],
    "of 300 letters": LONG[:300],
    "of one word of wide signs": "长上下文扩展方法" * 12,
    "with control signs": "yarn\x1b[2J\x07\n\ttwo lines\u202e" + "x" * 40,
    "that looks like a formula": '=HYPERLINK("http://x";"y")' + "$x^2$" * 20,
    "with signs of markup": "<b>\\input{/etc/passwd}|`*_%&#{}~^" * 3,
    "of accents": "e\u0301" * 80,
    "that ends in spaces": "y" + " " * 80 + "z",
}


def small(folder: Path, labels: tuple[str, ...], tasks: dict[str, str] | None = None) -> Store:
    """Two methods on needles, losses and short tests, with a search and trainings of the last one."""
    store = Store.create(folder)
    cells = made.planned(labels, (512, 1024), tasks or {"needle": "retrieval", "ruler-pocket/vt": "tracking"}, 4)
    losses = made.planned(labels, (512, 1024), {"perplexity": "perplexity"}, 3, unit="nats")
    short = made.planned(labels, [made.TRAINED], {"short/recall": "short"}, 4)
    store.write_run(made.run_content([*cells, *losses, *short], labels))
    for cell in [*cells, *short]:
        store.put_cell(cell["key"], made.content([made._answer_row(store, cell, i) for i in range(4)]))
    for cell in losses:
        store.put_cell(cell["key"], made.content([made._loss_row(store, cell, i) for i in range(3)]))
    return store


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Two figures, none as PDF, unless a test is about all of them."""
    if "all_figures" not in request.fixturenames:
        monkeypatch.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")
        monkeypatch.setattr("reports.figures.catalogue.FIGURES", catalogue.FIGURES[:2])


@pytest.fixture
def all_figures() -> None: ...


@pytest.mark.slow
@pytest.mark.usefixtures("all_figures")
@pytest.mark.parametrize("labels", [tuple(LABELS.values()), ("y" * 36, "z" * 52, "z" * 51 + "y")])
def test_a_label_never_costs_a_report(tmp_path: Path, labels: tuple[str, ...]) -> None:
    store = made.with_stages(small(tmp_path, ("none", "longrope2", *labels[1:])))
    store.write_run(json.loads(json.dumps(store.run()).replace('"longrope2"', json.dumps(labels[0]))))
    page = write_report(store, tmp_path / "out").read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)
    figures = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out/paper/figures").glob("*.svg")}
    assert {"curves.svg", "cost.svg", "rescale.svg", "training.svg", "heat-needle.svg"} <= set(figures)
    assert not any(unicodedata.category(sign) == "Cc" and sign != "\n" for text in figures.values() for sign in text)
    with (tmp_path / "out/tables/summary.csv").open(encoding="utf-8", newline="") as file:
        lines = {row["line"] for row in csv.DictReader(file)}
    assert len(lines) == len(labels) + 1 and not any(line.startswith(("=", "+", "-", "@")) for line in lines)
    assert all(path.stat().st_size > 1000 for path in (tmp_path / "out/paper/figures").glob("*.pdf"))


def test_figures_shorten_labels_and_tell_them_apart() -> None:
    labels = ["yarn", LONG[:300], LONG[:299], LONG[:298], "x" * style.MOST_SIGNS, *LABELS.values()]
    names = style.short_names([*labels, "yarn"])
    assert names[0] == names[-1] == "yarn" and "x" * style.MOST_SIGNS in names
    assert len(set(names)) == len(set(labels)) and all(style._signs(name) <= style.MOST_SIGNS for name in names)
    assert names[1].startswith("longrope2_with") and "…" in names[1]
    assert style.short_names([]) == [] and style.label_room([LONG]) < 2.6


# ---- names of files ----

TESTS = [
    "a/b",
    "a-b",
    "A-B",
    "a_b",
    "a b",
    "a:b",
    "../a",
    "/etc/x",
    "",
    "con",
    "é",
    "e\u0301",
    "困惑",
    "\x00",
    "x" * 300,
]


def test_file_names_are_safe_and_different() -> None:
    names = file_names([*TESTS, "ruler-pocket/vt", "needle", "a/b"])
    assert names["needle"] == "needle" and names["ruler-pocket/vt"] == "ruler-pocket-vt" and names["a/b"] == "a-b"
    assert len({name.lower() for name in names.values()}) == len(names) == len(TESTS) + 2
    assert len({re.sub("[^a-z0-9]+", "-", name.lower()) for name in names.values()}) == len(names)  # labels in LaTeX
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{0,120}", name) for name in names.values())


@pytest.mark.slow
def test_tests_with_alike_labels_have_tables_and_maps_of_their_own(tmp_path: Path) -> None:
    labels = ("none", "yarn")
    tasks = dict.fromkeys(("a/b", "a-b", "A-B"), "retrieval")
    store = small(tmp_path, labels, tasks)
    losses = made.planned(labels, (512, 1024), dict.fromkeys(("p/q", "p-q", "P_Q"), "perplexity"), 3, unit="nats")
    store.write_run({**store.run(), "cells": [*store.run()["cells"], *losses]})
    for cell in losses:
        store.put_cell(cell["key"], made.content([made._loss_row(store, cell, i) for i in range(3)]))
    page = write_report(store, tmp_path / "out").read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', page)
    assert sorted(set(ids)) == sorted(ids)
    tables = [path.name.lower() for path in (tmp_path / "out/tables").glob("loss-p*.csv")]
    assert len(set(tables)) == 3 and len(list((tmp_path / "out/paper/figures").glob("heat-*.svg"))) == 3
    assert len(re.findall(r'href="tables/loss-[pP][_-][^"]*csv"', page)) == 3
    texts = [path.read_text() for path in (tmp_path / "out/tables").glob("*.tex")]
    marks = re.findall(r"\\label\{(.*?)\}", "".join(texts))
    assert len(set(marks)) == len(marks) == len(texts)


# ---- a part that fails ----


def fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("of\nall things")


PARTS: dict[str, tuple[str, str]] = {
    "a table": ("reports.numbers.results.perplexity", "section 'Perplexity'"),
    "the summary": ("reports.numbers.results.summary", "the summary"),
    "the answer": ("reports.numbers.results.verdict", "the verdict"),
    "the ledger": ("reports.numbers.results.audit", "the audit"),
    "ranks": ("reports.numbers.results.rank_stability", "the ranks"),
    "retention": ("reports.numbers.results.retention", "the verdict"),
    "costs": ("reports.numbers.results.cost_totals", "section 'Cost'"),
    "differences": ("reports.numbers.results.differences", "section 'Which differences are real'"),
    "a figure": ("reports.figures.catalogue.curves", "figure 'curves'"),
    "all figures": ("reports.page.page.drawings", "the figures"),
    "a PDF": ("reports.figures.style.to_pdf", "figure 'curves' as PDF"),
    "samples": ("reports.page.samples.collect", "the samples"),
    "published numbers": ("reports.page.page.published", "the numbers of 'published'"),
    "methods": ("reports.numbers.methods.described", "the numbers of 'methods'"),
    "LaTeX": ("reports.page.paper.to_latex", "table 'summary'"),
    "the setup": ("reports.page.paper.setup", "the setup paragraph"),
    "heat maps": ("reports.numbers.results.depth_maps", "section 'Needles by depth'"),
    "searches": ("reports.numbers.results.searches", "section 'Search and training'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", PARTS)
def test_a_report_is_written_without_what_fails(
    tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small(tmp_path / "store", ("none", "yarn"))
    monkeypatch.delenv("ROPEBENCH_STRICT_REPORT")
    name, problem = PARTS[words]
    monkeypatch.setattr(name, fails)
    assert cli.answer(["report", str(tmp_path / "store")]) == 0
    told = capsys.readouterr()
    assert f"not in the report: {problem}" in told.err and "ZeroDivisionError: of all things" in told.err
    page = (tmp_path / "store/report.html").read_text(encoding="utf-8")
    assert "What could not be made" in page and "ZeroDivisionError" in page and page.rstrip().endswith("</html>")
    assert "What was compared" in page and (tmp_path / "store/paper/all.tex").is_file()


def test_without_our_tests_word_a_part_that_fails_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small(tmp_path, ("none", "yarn"))
    monkeypatch.setattr("reports.numbers.results.perplexity", fails)
    with pytest.raises(ZeroDivisionError):
        write_report(store)


# ---- where a report writes ----


@pytest.mark.slow
@pytest.mark.parametrize("place", ["tables", "paper", "paper/figures"])
def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path, place: str) -> None:
    store = small(tmp_path / "store", ("none", "yarn"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / place).parent.mkdir(exist_ok=True)
    (tmp_path / "store" / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{place} is a link"):
        write_report(store)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.html", "tables/summary.csv", "report-files.json"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_that_is_a_link_is_replaced(tmp_path: Path, name: str, dangling: bool) -> None:
    store = small(tmp_path / "store", ("none", "yarn"))
    write_report(store)
    assert "What could not be made" not in (tmp_path / "store/report.html").read_text(encoding="utf-8")
    other, file = tmp_path / "other", tmp_path / "store" / name
    before = file.read_bytes()
    if not dangling:
        other.write_bytes(before)
    file.unlink()
    file.symlink_to(other)
    write_report(store)
    assert not file.is_symlink() and file.read_bytes() == before and other.exists() != dangling
    assert dangling or other.read_bytes() == before


def test_a_store_behind_a_link_has_its_report(tmp_path: Path) -> None:
    small(tmp_path / "disk", ("none", "yarn"))
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    assert write_report(Store.open(tmp_path / "store")).is_file() and (tmp_path / "disk/tables").is_dir()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n-1", "\uff1d1", "\x00=1"])
def test_what_begins_like_a_formula_is_made_harmless(text: str) -> None:
    made_of = harmless(text)
    assert not re.match(r"[\s\x00]*[=+\-@\uff1d]", made_of)


@pytest.mark.parametrize("text", ["yarn", "a=b", "λ", "", "1,024", "none (as trained)"])
def test_other_texts_stay(text: str) -> None:
    assert harmless(text) == text


def test_results_are_still_read_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    function: Callable[..., Any] = lambda *_: asked.append("perplexity") or []  # noqa: E731
    monkeypatch.setattr("reports.numbers.results.perplexity", function)
    results = Results(small(tmp_path, ("none", "yarn")))
    assert results.summary.lengths == (512, 1024) and asked == []


def test_records_of_days_before_seals_are_said_on_the_page(tmp_path: Path) -> None:
    """A store that was continued holds both: the page says how many, not the terminal alone."""
    store = small(tmp_path / "store", ("none", "yarn"))
    count = len(store.run()["cells"])
    words = f" of {count} cells carry no seal, as before there were seals"
    assert words not in write_report(store, tmp_path / "sealed", "2026-01-01").read_text()
    for path in sorted((store.folder / "cells").iterdir())[:3]:
        content = json.loads(path.read_text())
        del content["seal"]
        content["provenance"]["date"] = "2026-11-25T12:00:00Z"
        path.write_text(json.dumps({**content, "identity": identity_of(store, path.stem)}))
    assert f"3{words}" in write_report(store, tmp_path / "mixed", "2026-01-01").read_text()


def identity_of(store: Store, key: str) -> dict[str, Any]:
    return next({k: v for k, v in cell.items() if k != "key"} for cell in store.run()["cells"] if cell["key"] == key)
