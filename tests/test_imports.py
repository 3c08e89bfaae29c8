"""The map: which package, and inside `harness` and `reports` which room, may import which.

    extenders <- harness -> tasks        reports -> harness.store        harness.commands -> reports
    ropebench.py, the door for notebooks, stands above all

Inside harness and reports the rooms have one order from top to bottom, so there is no circle. The order holds for
imports inside functions too. Those are for harness/commands alone, where `--help` has to answer at once, and for the
door, which has to import at once.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parent.parent
OURS = ("extenders", "tasks", "harness", "reports")
DOOR = "ropebench.py"

# From top to bottom. Rooms of one line may not import each other.
FLOORS = {
    "harness": (
        ("cli",),
        ("commands",),
        ("tools",),
        ("forms",),
        ("runner",),
        ("search", "training"),
        ("progress", "prompts"),
        ("experiment", "pocket"),
        ("model", "records"),
        ("rope", "store"),
        ("store_checks", "study_rows"),
        ("files_on_disk", "seals", "signals", "store_rows", "store_shape", "__version__"),
    ),
    "reports": (("page",), ("figures", "gate", "published"), ("numbers",), ("statistics",)),
}


def imports(source: str) -> Iterator[str]:
    """Full names of all modules that a file imports, at the top or inside a function. Ours are never relative."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}; write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The room of a module: `harness.rope.applied` lies in `rope`, `harness.store` is a room of its own."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor(package: str, name: str) -> int:
    """Counted from the top; a room without a floor is an error, so that a new one is put on the map."""
    for number, rooms in enumerate(FLOORS[package]):
        if name in rooms:
            return number
    raise AssertionError(f"{package}/{name} has no place on the map; give it one in FLOORS")


def allowed(file: str, name: str) -> bool:
    """Whether a file of ours may import a module of ours."""
    if file == DOOR:
        return True
    here, there = file.removesuffix(".py").replace("/", "."), name
    start, target = here.split(".")[0], there.split(".")[0]
    if start == target:
        if start not in FLOORS or room(here) in ("", "__init__") or room(here) == room(there):
            return True
        return floor(start, room(here)) < floor(start, room(there))
    if start == "harness":
        return target in ("extenders", "tasks") or room(here) == "commands"
    return start == "reports" and (name == "harness.store" or name.startswith("harness.store."))


def wrong(file: str, source: str) -> list[str]:
    return [name for name in imports(source) if name.split(".")[0] in OURS and not allowed(file, name)]


def files(package: str) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / package).rglob("*.py"))}


@pytest.mark.parametrize("package", OURS)
def test_imports_follow_the_map(package: str) -> None:
    wrong_imports = {file: wrong(file, source) for file, source in files(package).items()}
    assert wrong_imports
    assert {file: names for file, names in wrong_imports.items() if names} == {}


def late(source: str) -> list[str]:
    """What a file imports inside its functions."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    parts = [part for function in functions for part in ast.walk(function)]
    return sorted({ast.unparse(part) for part in parts if isinstance(part, ast.Import | ast.ImportFrom)})


@pytest.mark.parametrize("package", FLOORS)
def test_imports_stand_at_the_top_of_a_file(package: str) -> None:
    late_imports = {file: late(source) for file, source in files(package).items() if "/commands/" not in file}
    assert {file: names for file, names in late_imports.items() if names} == {}
    assert late("def f():\n    if True:\n        import torch") == ["import torch"]


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


@pytest.mark.parametrize("package", FLOORS)
def test_no_room_may_import_a_room_above_it_or_beside_it(package: str) -> None:
    floors = FLOORS[package]
    for number, rooms in enumerate(floors):
        for name in rooms:
            others = [other for line in floors[: number + 1] for other in line if other != name]
            below = [other for line in floors[number + 1 :] for other in line]
            for other in (*others, *below):
                sources = [f"import {package}.{other}", f"def f():\n    from {package}.{other} import x"]
                refused = [bool(wrong(f"{package}/{name}.py", source)) for source in sources]
                assert refused == [other in others] * 2, f"{name} imports {other}"


def test_our_names_are_not_taken_by_another_distribution() -> None:
    assert Path(str(harness.__file__)).resolve().parent == ROOT / "harness"


def test_data_files_are_not_ignored() -> None:
    """The wheel holds what git does not ignore: a pattern that hides data would ship a package without it."""
    patterns = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line and not line.startswith("#")]
    suffixes = (".json", ".jsonl", ".yaml", ".safetensors", ".j2", ".csv", ".txt", ".md")
    assert not [pattern for pattern in patterns if pattern.endswith(suffixes)]
    assert all(pattern.startswith(("/", ".", "__", "*.pyc", "*.partial")) for pattern in patterns)
