"""What RULER takes from elsewhere: essays, SQuAD, HotpotQA and a long word list, in the files of its own checkout.

A folder is a checkout of RULER, or any folder with its four files. Nothing is downloaded here; see `fetch`.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tasks.ruler.exact.essays import Essay
from tasks.ruler.wording import CHECKOUT, SYNTHETIC
from tasks.token_counts import TokenCounts

FILES = {"essay": "PaulGrahamEssays.json", "qa_1": "squad.json", "qa_2": "hotpotqa.json", "cwe": "english_words.json"}


@dataclass(frozen=True)
class Question:
    """One question; numbers are places in the list of documents."""

    query: str
    outputs: tuple[str, ...]
    context: tuple[int, ...]  # documents that come with the question
    more: tuple[int, ...] = ()  # other paragraphs of the same article, taken before any else
    gold: tuple[int, ...] = ()  # those of `context` that hold the answer, as far as the file says


@dataclass(frozen=True)
class Library:
    questions: tuple[Question, ...]
    documents: tuple[str, ...]
    # by tokenizer, the tokens of the documents that were counted so far
    tokens: "WeakKeyDictionary[TokenCounts, dict[str, int]]" = field(default_factory=WeakKeyDictionary, compare=False)


MODEL = "tokenizers/punkt_tab/english"
CARRIER = "llama-index-core"
NO_PUNKT = (
    "RULER splits essays by nltk's punkt_tab, which is not here: pip install nltk, and "
    f"pip install --no-deps {CARRIER}, whose copy of it is read (or python -m nltk.downloader punkt_tab, or take "
    "ruler-head+standin, which needs neither)"
)


def found(kind: str, folder: str) -> str:
    """The path of the file of that kind in a folder or in $ROPEBENCH_RULER; "" where there is none.

    Raises ValueError when a folder was named and does not exist.
    """
    if folder and not Path(folder).is_dir():
        raise ValueError(f"folder {folder!r} does not exist; name a checkout of RULER or a folder with its json files")
    for root in [folder] if folder else [os.environ.get(CHECKOUT, "")]:
        for place in (Path(root), Path(root) / "json", Path(root) / SYNTHETIC / "json") if root else ():
            if (place / FILES[kind]).is_file():
                return str(place / FILES[kind])
    return ""


def essay(path: str, repeats: bool) -> Essay:
    """The essay file as a haystack, split by nltk's Punkt as in the original."""
    return _essay(path, _stamp(path), repeats)


@lru_cache(maxsize=4)
def _essay(path: str, stamp: float, repeats: bool) -> Essay:
    del stamp
    content = _json(path)
    if not isinstance(content, dict) or not isinstance(content.get("text"), str):
        raise ValueError(f"{path} must hold one object with the key 'text', as RULER's download script writes it")
    return Essay(re.sub(r"\s+", " ", content["text"]).split(" "), punkt(), repeats)


@lru_cache(maxsize=1)
def punkt() -> Any:
    """nltk's English sentence splitter. Raises ValueError when it or its model is not here."""
    if problem := no_punkt():
        raise ValueError(problem)
    from nltk.data import path as places  # type: ignore[import-untyped]
    from nltk.tokenize.punkt import PunktTokenizer  # type: ignore[import-untyped]

    places.append(carried := _carried_model())
    try:
        return PunktTokenizer("english").tokenize
    finally:
        places.remove(carried)


def no_punkt() -> str:
    """What the splitter lacks on this machine, with the remedy; "" when it is here."""
    if find_spec("nltk") is None:
        return NO_PUNKT
    if (Path(_carried_model()) / MODEL).is_dir():
        return ""  # said without importing nltk, which takes seconds
    from nltk.data import find, path

    try:
        find(f"{MODEL}/", path)
    except LookupError:
        return NO_PUNKT
    return ""


def _carried_model() -> str:
    """nltk's data in a package that carries an unchanged copy of them; a path that does not exist where it is absent.
    The package is read and not imported."""
    try:
        return str(distribution(CARRIER).locate_file("llama_index/core/_static/nltk_cache"))
    except PackageNotFoundError:
        return "/nowhere"


def library(path: str, kind: str) -> Library:
    """The questions and documents of SQuAD (`qa_1`) or HotpotQA (`qa_2`)."""
    return _library(path, _stamp(path), kind)


@lru_cache(maxsize=4)
def _library(path: str, stamp: float, kind: str) -> Library:
    del stamp
    content = _json(path)
    try:
        return squad(content) if kind == "qa_1" else hotpot(content)
    except (KeyError, TypeError, ValueError) as error:
        shape = "SQuAD's dev-v2.0.json" if kind == "qa_1" else "HotpotQA's hotpot_dev_distractor_v1.json"
        raise ValueError(f"{path} does not have the shape of {shape} ({error!r}); name that file") from None


def squad(content: Any) -> Library:
    """The answerable questions of SQuAD's JSON; paragraphs are sorted and counted once."""
    documents = _sorted(paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"])
    places = {document: i for i, document in enumerate(documents)}
    questions = []
    for article in content["data"]:
        own = [places[paragraph["context"]] for paragraph in article["paragraphs"]]
        for paragraph in article["paragraphs"]:
            here = places[paragraph["context"]]
            questions += [
                Question(
                    asked["question"],
                    tuple(answer["text"] for answer in asked["answers"]),
                    (here,),
                    tuple(place for place in own if place != here),
                    (here,),
                )
                for asked in paragraph["qas"]
                if not asked["is_impossible"]
            ]
    return Library(tuple(questions), documents)


def hotpot(content: Any) -> Library:
    """The questions of HotpotQA's JSON, each with its ten paragraphs under their titles."""

    def text(title: str, sentences: Sequence[str]) -> str:
        return f"{title}\n{''.join(sentences)}"

    documents = _sorted(text(*entry) for asked in content for entry in asked["context"])
    places = {document: i for i, document in enumerate(documents)}
    questions = []
    for asked in content:
        told = {fact[0] for fact in asked.get("supporting_facts", ())}
        context = tuple(places[text(*entry)] for entry in asked["context"])
        gold = tuple(places[text(*entry)] for entry in asked["context"] if entry[0] in told)
        questions.append(Question(asked["question"], (asked["answer"],), context, (), gold))
    return Library(tuple(questions), documents)


def more_words(path: str) -> list[str]:
    """The words of `english_words.json`, in file order."""
    return _more_words(path, _stamp(path))


@lru_cache(maxsize=2)
def _more_words(path: str, stamp: float) -> list[str]:
    del stamp
    content = _json(path)
    if not isinstance(content, dict) or not all(isinstance(word, str) for word in content.values()):
        raise ValueError(f"{path} must hold one object whose values are words, as RULER's does")
    return list(content.values())


def _json(path: str) -> Any:
    text = Path(path).read_text(encoding="utf-8")
    if text.startswith("version https://git-lfs"):
        raise ValueError(f"{path} is only a pointer to a large file: run git lfs pull in that checkout")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def _stamp(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        raise ValueError(f"file {path} does not exist") from None


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))
