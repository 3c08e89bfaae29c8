"""A report's folder holds this report: what an earlier one left is deleted, what somebody else put there stays."""

import json
from pathlib import Path

import pytest
import synthetic_store as made

from reports.page import files
from reports.page.page import write_report


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_stale_files_go_and_foreign_ones_stay(tmp_path: Path) -> None:
    first = {"tables/a.csv": b"a", "tables/b.csv": b"b", "paper/figures/c.pdf": b"c", "report.html": b"1"}
    assert files.replace(tmp_path, first) == []
    (tmp_path / "tables" / "mine.csv").write_bytes(b"notes")
    (tmp_path / "tables" / "b.csv").write_bytes(b"edited by hand")
    (tmp_path / "run.json").write_bytes(b"{}")
    assert files.replace(tmp_path, {"tables/d.csv": b"d", "report.html": b"2"}) == [
        "paper/figures/c.pdf",
        "tables/a.csv",
    ]
    assert listing(tmp_path) == {
        "run.json", "report.html", "tables/mine.csv", "tables/b.csv", "tables/d.csv", files.LIST
    }  # fmt: skip
    assert (tmp_path / "report.html").read_bytes() == b"2"


def test_a_file_that_says_the_same_is_not_written_again(tmp_path: Path) -> None:
    files.replace(tmp_path, {"tables/a.csv": b"a"})
    before = (tmp_path / "tables" / "a.csv").stat().st_mtime_ns, (tmp_path / files.LIST).read_bytes()
    files.replace(tmp_path, {"tables/a.csv": b"a"})
    assert before == ((tmp_path / "tables" / "a.csv").stat().st_mtime_ns, (tmp_path / files.LIST).read_bytes())


def test_a_report_that_was_stopped_leaves_nothing_unlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.replace(tmp_path, {"tables/old.csv": b"old"})
    write = files._write

    def full(path: Path, content: bytes) -> None:
        if path.name == "second.csv":
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(OSError, match="No space"):
        files.replace(tmp_path, {"tables/first.csv": b"1", "tables/second.csv": b"2"})
    monkeypatch.undo()
    files.replace(tmp_path, {"tables/third.csv": b"3"})
    assert listing(tmp_path) == {"tables/third.csv", files.LIST}


def test_a_file_in_the_place_of_the_folder_is_one_clear_line(tmp_path: Path) -> None:
    planned = made.planned(("none",), (512,), {"a": "retrieval"}, 2)
    store = made.write(tmp_path / "store", planned, {planned[0]["key"]: [1.0, 0.0]}, labels=("none",))
    (tmp_path / "report").write_text("mine")
    with pytest.raises(ValueError, match="report is a file; name a folder for the report$"):
        write_report(store, tmp_path / "report")
    assert (tmp_path / "report").read_text() == "mine"


@pytest.mark.parametrize(
    "path", ["../victim.txt", "tables/../../victim.txt", "victim.txt", "cells/x.json", "/etc/none"]
)
def test_a_list_cannot_name_what_is_not_a_reports(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "out"
    (folder / "cells").mkdir(parents=True)
    victims = [tmp_path / "victim.txt", folder / "victim.txt", folder / "cells" / "x.json"]
    for victim in victims:
        victim.write_bytes(b"keep")
    (folder / files.LIST).write_text(json.dumps({"files": {path: [files._hash(b"keep")]}}))
    assert files.replace(folder, {"report.html": b"new"}) == []
    assert all(victim.read_bytes() == b"keep" for victim in victims)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.csv").write_bytes(b"a")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "tables").symlink_to(elsewhere)
    (folder / files.LIST).write_text(json.dumps({"files": {"tables/a.csv": [files._hash(b"a")]}}))
    assert files.replace(folder, {"report.html": b"new"}) == []
    assert (elsewhere / "a.csv").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 7}', '{"files": {"tables/a.csv": 3}}', "\xff"])
def test_a_damaged_list_deletes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_bytes(b"a")
    (tmp_path / files.LIST).write_text(text, encoding="latin-1")
    assert files.replace(tmp_path, {"report.html": b"new"}) == []
    assert (tmp_path / "tables" / "a.csv").exists()


@pytest.mark.slow
def test_a_report_of_another_experiment_leaves_no_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same folder, first with perplexity and two lengths, then with one needle test."""
    monkeypatch.setattr(
        "reports.figures.style.to_pdf", lambda figure: b"%PDF-"
    )  # what takes longest and matters not here
    cells = made.planned(("none", "yarn"), (512, 4096), {"needle": "retrieval"}, 3)
    losses = made.planned(("none", "yarn"), (512, 4096), {"perplexity": "perplexity"}, 3, unit="nats")
    given = {cell["key"]: [1.0, 0.0, 1.0] for cell in cells} | {cell["key"]: [3.0, 3.1, 2.9] for cell in losses}
    store = made.write(tmp_path / "store", [*cells, *losses], given, labels=("none", "yarn"))
    out = tmp_path / "out"
    write_report(store, out)
    before = listing(out)
    assert {"tables/loss-perplexity.csv", "tables/by-test-512.tex", "paper/figures/curves.pdf"} <= before
    (out / "tables" / "notes.txt").write_text("mine")
    later = made.planned(("pi", "longrope"), (4096,), {"passkey": "retrieval"}, 3)
    other = made.write(tmp_path / "other", later, {cell["key"]: [1.0, 0.0, 1.0] for cell in later}, labels=("pi",))
    write_report(other, out)
    fresh = tmp_path / "fresh"
    write_report(other, fresh)
    assert listing(out) == listing(fresh) | {"tables/notes.txt"} and not listing(out) >= before
    assert all((out / path).read_bytes() == (fresh / path).read_bytes() for path in listing(fresh))
