"""The arrows: extenders <- harness -> tasks, reports -> harness.store, harness.commands -> reports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parent.parent
OURS = ("extenders", "tasks", "harness", "reports")


def imports(source: str) -> Iterator[str]:
    """Full names of all modules that a file imports, at the top or inside a function. Ours are never relative."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}; write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed(file: str, name: str) -> bool:
    """Whether a file of ours may import a module of ours."""
    start, target = file.split("/")[0], name.split(".")[0]
    if start == target:
        return True
    if start == "harness":
        return target in ("extenders", "tasks") or file.startswith("harness/commands/")
    return start == "reports" and (name == "harness.store" or name.startswith("harness.store."))


def wrong(file: str, source: str) -> list[str]:
    return [name for name in imports(source) if name.split(".")[0] in OURS and not allowed(file, name)]


@pytest.mark.parametrize("package", OURS)
def test_imports_follow_the_arrows(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): wrong(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("extenders/pi.py", "import tasks.base"),
        ("extenders/pi.py", "def f():\n    from harness.store import Store"),
        ("tasks/needle.py", "from extenders.base import RopePlan"),
        ("tasks/ruler/niah.py", "from reports import page"),
        ("reports/page.py", "from harness.run import run"),
        ("reports/page.py", "from harness import run"),
        ("reports/page.py", "import tasks"),
        ("harness/run.py", "from reports.page import write_report"),
        ("harness/cli.py", "from reports.page import write_report"),
    ],
)
def test_the_map_refuses_what_crosses_it(file: str, source: str) -> None:
    assert wrong(file, source)


def test_our_names_are_not_taken_by_another_distribution() -> None:
    assert Path(str(harness.__file__)).resolve().parent == ROOT / "harness"


def test_data_files_are_not_ignored() -> None:
    """The wheel holds what git does not ignore: a pattern that hides data would ship a package without it."""
    patterns = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line and not line.startswith("#")]
    suffixes = (".json", ".jsonl", ".yaml", ".safetensors", ".j2", ".csv", ".txt", ".md")
    assert not [one for one in patterns if one.endswith(suffixes)]
    assert all(one.startswith("/") or one.startswith((".", "__", "*.pyc", "*.partial")) for one in patterns)
