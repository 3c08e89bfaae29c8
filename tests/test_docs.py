"""Links and file names in the documents lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_imports import FLOORS

from extenders import base
from extenders.search.searched import SearchedExtender

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("extenders", "tasks", "harness", "reports", "tests", "docs")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "harness" / "pocket").rglob("*.md")])
NOW = [page for page in PAGES if page.parent != ROOT / "docs" / "history"]  # history names files as they were


def prose(text: str) -> str:
    """The text without its blocks of code and its code spans, where brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> Iterator[str]:
    """Relative links of a page that lead to no file, or to no heading of one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name
        if not path.exists():
            yield target
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8") if name else text):
            yield target


def absent(text: str) -> Iterator[str]:
    """Code spans that are a path in one of our folders, where no file is. A name with a gap (`<name>.py`) is none."""
    for span in re.findall(r"`([^`\n]+)`", text):
        path = span.split()[0].partition("::")[0] if span.split() else ""
        if path.split("/")[0] in FOLDERS and "/" in path and re.fullmatch(r"[\w./\-]+", path):
            if not (ROOT / path).exists():
                yield span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page, page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("page", NOW, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_files_exist(page: Path) -> None:
    assert list(absent(page.read_text(encoding="utf-8"))) == []


def test_what_leads_nowhere_is_seen() -> None:
    page = ROOT / "README.md"
    assert list(broken(page, "[a](docs/none.md), [b](LICENSE), `[c](gone)`, [d](https://example.org)")) == [
        "docs/none.md"
    ]
    assert list(broken(page, "# Two words\n[a](#two-words) [b](#three) [c](LOG.md#none)")) == ["#three", "LOG.md#none"]
    assert list(absent("`harness/none.py` `harness/store.py` `tasks/<name>.py` `short/pocket`")) == ["harness/none.py"]


def test_the_log_is_an_index_of_all_entries() -> None:
    log = (ROOT / "LOG.md").read_text(encoding="utf-8")
    assert len(log.splitlines()) <= 40
    entries = sorted(path.name for path in (ROOT / "docs" / "history").glob("*.md"))
    assert [name for name in entries if f"docs/history/{name}" not in log] == []


def test_the_map_of_the_design_is_the_tested_one() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for package, floors in FLOORS.items():
        lines = [", ".join(room for room in rooms if not room.startswith("_")) for rooms in floors]
        assert f"\n{package}\n" + "".join(f"    {line}\n" for line in lines) in design


def test_the_page_of_methods_names_methods_and_the_searched_ones_as_such() -> None:
    """Not every method has to be there: a new one is one file."""
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (.*) \| (`.*`) \|$", page, re.MULTILINE)
    named = {name: kind for kind, cell in lines for name in re.findall(r"`(\w+)`", cell)}
    assert named and set(named) <= set(base.names())
    searched = {name for name in named if issubclass(base.load(name), SearchedExtender)}
    assert searched == {name for name, kind in named.items() if kind == "searched on the model"}
