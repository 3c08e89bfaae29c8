"""What RULERv2 takes from elsewhere: MMLU and HotpotQA, as JSON Lines of the data sets' own columns.

A folder holds `mmlu/test.jsonl` and `mmlu/auxiliary_train.jsonl` (cais/mmlu, configuration all) or
`hotpotqa/validation.jsonl` and `hotpotqa/train.jsonl` (hotpotqa/hotpot_qa, configuration distractor): what `to_json` of
the package datasets writes. Nothing is downloaded here.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

FILES = {
    "mmlu": ("test.jsonl", "auxiliary_train.jsonl"),
    "hotpotqa": ("validation.jsonl", "train.jsonl"),
}
HUB = {"mmlu": '"cais/mmlu", "all"', "hotpotqa": '"hotpotqa/hotpot_qa", "distractor"'}
LETTERS = "ABCD"
Read = TypeVar("Read")


@dataclass(frozen=True)
class Choice:
    """One question of MMLU with its four choices, in one line."""

    question: str
    answer: str  # a letter


@dataclass(frozen=True)
class Asked:
    """One question of HotpotQA with its own documents."""

    question: str
    answer: str
    gold: tuple[str, ...]  # documents that hold the answer
    more: tuple[str, ...]  # its other documents


def missing(name: str, kind: str) -> str:
    """The remedy where the files of that kind are not here."""
    files = " and ".join(f"{kind}/{file}" for file in FILES[kind])
    source = f"datasets.load_dataset({HUB[kind]})"
    return f"{name} reads {files}: name the folder that has them (folder: …); {source} has the rows"


def found(name: str, kind: str, folder: str) -> str:
    """The folder with the files of that kind. Raises ValueError when they are not in `folder`."""
    place = Path(folder).expanduser() / kind
    for file in FILES[kind]:
        if not (place / file).is_file():
            raise ValueError(f"folder {folder!r} has no {kind}/{file}; {missing(name, kind)}")
    return str(place)


def mmlu(folder: str) -> tuple[tuple[Choice, ...], tuple[Choice, ...]]:
    """MMLU's test questions, and those among which they are hidden."""
    asked, others = (_lines(Path(folder) / file, _choice) for file in FILES["mmlu"])
    return asked, others


def hotpot(folder: str) -> tuple[tuple[Asked, ...], tuple[str, ...]]:
    """HotpotQA's validation questions, and the documents of its training questions, each once, in file order."""
    questions, documents = (Path(folder) / file for file in FILES["hotpotqa"])
    texts = (text for texts in _lines(documents, _documents) for _, text in texts)
    return _lines(questions, _asked), tuple(dict.fromkeys(texts))


def _choice(row: Any) -> Choice:
    choices = "\n".join(f"{letter}. {row['choices'][i]}" for i, letter in enumerate(LETTERS))
    return Choice(re.sub(r"\s+", " ", f"{row['question']}\n{choices}"), LETTERS[row["answer"]])


def _asked(row: Any) -> Asked:
    told, own = row["supporting_facts"]["title"], _documents(row)
    gold = tuple(text for title, text in own if title in told)
    if not gold:
        raise ValueError("no document has the title of a supporting fact")
    return Asked(row["question"], row["answer"], gold, tuple(text for title, text in own if title not in told))


def _documents(row: Any) -> list[tuple[str, str]]:
    """Every document under its title."""
    own = zip(row["context"]["title"], row["context"]["sentences"], strict=True)
    return [(title, f"{title}\n{''.join(sentences)}") for title, sentences in own]


def _lines(path: Path, read: Callable[[Any], Read]) -> tuple[Read, ...]:
    try:
        stamp = os.stat(path).st_mtime
    except OSError:
        raise ValueError(f"file {path} does not exist") from None
    return _read(path, stamp, read)


@lru_cache(maxsize=4)
def _read(path: Path, stamp: float, read: Callable[[Any], Read]) -> tuple[Read, ...]:
    del stamp
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(read(json.loads(line)))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise ValueError(f"line {number} of {path} is no row of that data set ({error!r})") from None
    if not rows:
        raise ValueError(f"{path} is empty")
    return tuple(rows)
