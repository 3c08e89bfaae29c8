"""The rules of the house that can be counted: short functions, short files, one class to a name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [ROOT / "ropebench.py"] + sorted(
    path for package in ("extenders", "tasks", "harness", "reports") for path in (ROOT / package).rglob("*.py")
)
LINES_OF_A_FUNCTION, LINES_OF_A_FILE = 60, 350
DATA = {"harness/pocket/data.py", "tasks/corpora/world.py"}  # sentences of an invented world
# A suite that is exact to the byte has its own form of what our tests have too; the two are never used together.
TWINS = {"Question", "Wording", "CommonWords", "FrequentWords", "Asked"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_and_files_fit_on_two_screens(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= LINES_OF_A_FILE or name(path) in DATA
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert {f.name: length(f) for f in functions if length(f) > LINES_OF_A_FUNCTION} == {}


def length(function: ast.FunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name(path))
    assert {word: where for word, where in places.items() if len(where) > 1 and word not in TWINS} == {}
