"""What of a method's code is in a key: a shipped method's version, raised by hand; a user's file by its content.

Seen of a user's method: its file, and the modules of the same folder that these import by an import statement. Not
seen: other packages, the shipped code that it uses (but a shipped method that it inherits from, by its version), and
data that it reads. A comment in a user's file makes its cells stale, one in a shipped file does not.
"""

import ast
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from extenders.base import Extender


def code_of(cls: type[Extender]) -> dict[str, Any]:
    """A method's code as a key holds it. Raises ValueError for a user's class that stands in no file."""
    if is_shipped(cls):
        return {"method": cls.__module__.rpartition(".")[2], "version": cls.version}
    return {"source": source_of(cls), "version": cls.version}


def is_shipped(cls: type[Extender]) -> bool:
    return cls.__module__.startswith("extenders.")


def source_of(cls: type[Extender]) -> str:
    """A hash over the file of a user's method and the modules beside it that it imports."""
    try:
        path = Path(inspect.getsourcefile(cls) or "")
    except (OSError, TypeError):  # a class that was typed in
        path = Path()
    if not path.is_file():
        raise ValueError(
            f"the method {cls.__qualname__} stands in no file, so nobody could tell whether a stored number is of this "
            "version of it; write it into a .py file"
        )
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in with_neighbours(path))).hexdigest()


def with_neighbours(path: Path) -> list[Path]:
    """The file, then the modules of its folder that it imports, directly or through one another."""
    files = [path]
    for file in files:  # grows on the way
        neighbours = [path.with_name(f"{name}.py") for name in _imported(file)]
        files += [file for file in dict.fromkeys(neighbours) if file.is_file() and file not in files]
    return files


def _imported(file: Path) -> Iterator[str]:
    """First parts of the names of all modules that a file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # of a neighbour that is no module after all
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
