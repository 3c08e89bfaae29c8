"""The paper kit: it compiles, holds every field of the ledger, and is bold only where a lead is significant."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import synthetic_store as made

from harness.store import Store
from reports.numbers import audit as ledger
from reports.numbers import frame
from reports.numbers.grid import Grid, Line, Number
from reports.page import setup_paragraph
from reports.page import table_formats as tables
from reports.page.page import write_report
from reports.statistics.intervals import Estimate

pytestmark = pytest.mark.slow  # seconds each, or many


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written from a small store whose labels and values are hard on LaTeX."""
    folder = tmp_path_factory.mktemp("kit")
    store = made.realistic(folder / "store", 4, ("none", "yarn"), (512, 2048))
    run = store.run()
    run["ledger"]["environment"]["cpu"] = "50 % of a_CPU & {more} \\ ~^#$ λ 漢"
    del run["format"]
    store.write_run(run)
    write_report(store, folder / "out")
    return folder / "out"


@pytest.mark.slow
def test_the_setup_holds_every_field_of_the_ledger(kit: Path) -> None:
    store = Store.open(kit.parent / "store")
    frames = frame.read(store)
    printed = [file.stem for file in (kit / "tables").glob("*.csv")]
    parts = setup_paragraph.setup(frames, ledger.audit(frames.run["ledger"], frames.labels), printed)
    text = " ".join(body for _, body in parts)
    for condition in frames.run["ledger"]["conditions"]:
        assert condition["condition"] in text
        for value in condition["values"].values():
            assert str(value) in text
    for name, value in frames.run["ledger"]["environment"].items():
        assert f"{name}: {value if isinstance(value, str) else str(value).lower()}" in text
    for word in (*frames.labels, "pocket-llama", "512", "4,096", "niah_single_1", "9f2c4b6a1d3e5f70"):
        assert word in text
    assert (kit / "paper" / "setup.md").read_text(encoding="utf-8") == setup_paragraph.setup_markdown(parts)
    assert (kit / "paper" / "setup.tex").read_text(encoding="utf-8") == setup_paragraph.setup_latex(parts)


def test_the_statistics_paragraph_says_what_was_done(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn + plain"), (4096,), {"needle": "retrieval"}, 4, (0, 1))
    made.write(tmp_path, planned, {}, labels=("none", "yarn + plain"))
    store = Store.open(tmp_path)
    run = store.run()
    run["methods"][1]["training"] = {"base_method": "yarn", "recipe": "plain", "tokens": 10}
    for equal, said in ((True, "All methods answered"), (False, "Not all methods answered")):
        values = {"none": "a", "yarn + plain": "a" if equal else "b"}
        run["ledger"] = {"conditions": [made.condition("prompts", values, True)]}
        frames = frame.Frames(run, frame.read(store).cells, frame.read(store).rows)
        audit = ledger.audit(run["ledger"], frames.labels)
        text = setup_paragraph._statistics(frames, audit, ["summary", "by-test-4096", "loss-perplexity", "retention"])
        assert text.startswith(said)
        for word in ("mid-p", "Fieller", "paired t test", "Benjamini", "yarn + plain go by the seeds"):
            assert word in text
        short = setup_paragraph._statistics(frames, audit, ["summary"])
        assert "Fieller" not in short and "losses" not in short


def test_a_condition_that_differs_is_told_for_each_method() -> None:
    labels = ("none", "yarn")
    run = {"ledger": {"conditions": [made.condition("engine", {"none": "a", "yarn": "b"}, True)]}}
    said = setup_paragraph._listed(ledger.audit(run["ledger"], labels).conditions, run)
    assert said == "engine (differs, and must not): none a, yarn b."


def test_figures_come_as_pdf_and_svg(kit: Path) -> None:
    figures = kit / "paper" / "figures"
    names = {path.stem for path in figures.iterdir()}
    assert {"curves", "rescale", "cost", "heat-needle", "position-perplexity"} <= names
    for name in names:
        assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
        svg = (figures / f"{name}.svg").read_text(encoding="utf-8")
        assert svg.startswith("<?xml") and "var(--" not in svg
        assert not re.search(r'id="m\d+"', svg)
        pdf = (figures / f"{name}.pdf").read_bytes()
        assert b"CreationDate" not in pdf


def test_all_files_are_named_in_the_document(kit: Path) -> None:
    text = (kit / "paper" / "all.tex").read_text(encoding="utf-8")
    for name in re.findall(r"\\input\{([^}]*)\}", text):
        assert (kit / "paper" / f"{name}.tex").is_file()
    for name in re.findall(r"\\includegraphics\[[^]]*\]\{([^}]*)\}", text):
        assert (kit / "paper" / name).is_file()


@pytest.mark.slow
def test_the_latex_compiles(kit: Path) -> None:
    latex = shutil.which("pdflatex") or shutil.which("tectonic")
    if latex is None:
        pytest.skip("no LaTeX is installed (pdflatex or tectonic)")
    words = (
        [latex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"] if "pdflatex" in latex else [latex, "all.tex"]
    )
    done = subprocess.run(words, cwd=kit / "paper", capture_output=True, timeout=250)
    out = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, out[-3000:]
    assert (kit / "paper" / "all.pdf").read_bytes().startswith(b"%PDF-")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", out)]
    assert max(wide, default=0.0) < 5.0


def numbers(*marks: str) -> tuple[Number, ...]:
    return tuple(Number(Estimate(0.5, 0.25, 0.75, 8), "done", mark=mark) for mark in marks)


def test_bold_is_only_a_significant_lead_and_wide_tables_leave_intervals_out() -> None:
    narrow = Grid(
        "a", "t", "M", tuple("abcdef"), (Line("x", numbers("best", "tie", "", "", "", "")),), notes=("Note.",)
    )
    latex = tables.to_latex(narrow)
    assert latex.count(r"\textbf") == 1 and latex.count("$^{=}$") == 1 and latex.count("[25.0, 75.0]") == 6
    wide = Grid(
        "b", "t", "M", tuple("abcdefg"), (Line("x", numbers("best", *[""] * 6)),), notes=("Brackets: 95 % interval.",)
    )
    latex = tables.to_latex(wide)
    assert "[25.0" not in latex and "Intervals are in the CSV file." in latex and r"\textbf{50.0}" in latex


def test_latex_knows_what_it_cannot_print() -> None:
    assert tables.latex("a_b 漢 é λ|<") == r"a\_b U+6F22 é $\lambda$$|$$<$"
