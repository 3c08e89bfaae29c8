"""Texts that a user names: a folder of text files, one file of rows (JSONL, parquet), or a data set of the hub.

All are read in their order, whatever the seed, and never cut here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

TEXTS = (".txt", ".md")
ROWS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
PACKED = (".gz", ".zst", ".xz", ".bz2")


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
            return self._of_file(Path(self.file).expanduser())
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


def text_files(folder: str) -> list[Path]:
    """The .txt and .md files of a folder in the order of their names. Raises ValueError when there is no folder."""
    path = Path(folder).expanduser()
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
