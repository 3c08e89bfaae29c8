"""Where training documents come from.

    pocket            the invented world and questions in the tests' formats, keys and values of the training half
    stories           the invented world's stories alone: nothing that looks like a test
    FOLDER or FILE    .txt and .md files, one document each, or .jsonl files, one document a line under "text"
    dataset:NAME      a datasets dataset: a folder of save_to_disk, or a hub name as NAME[:split]; column "text"

Real fine-tuning corpora hold no benchmark, so `stories` is the strict choice for a pocket model. It was pre-trained on
the tests' formats inside its window; `pocket` goes on with them at length, which is what shows a method's limits
soonest. What was used stands in the ledger.
"""

import hashlib
import importlib
import importlib.util
import json
import math
import random
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypedDict

from extenders.training.recipe import Portion
from harness.model.tokens import added_before
from harness.pocket import data
from harness.training.packing import Document
from tasks.documents import path_of

GENERATED: dict[str, dict[str, float]] = {  # kinds of harness.pocket.data with their weights
    "pocket": {"retrieval": 3, "several": 2, "exact": 1, "lines": 1, "codes": 2, "tracked": 1, "chains": 1,
               "documents": 1, "single": 1, "common": 0.5, "counted": 0.5, "frequent": 0.5, "quiz": 0.7, "sums": 0.3,
               "stories": 2},
    "stories": {"stories": 1},
}  # fmt: skip
CLOSED_BOOK = ("quiz", "sums")  # hold nothing to look back for, so long documents are not made of them
LONGEST_CLOSED = 512  # tokens
SHORTEST = 64  # tokens of a generated document; what is left of a sequence is filled with stories
MOST_DOCUMENTS = 20_000  # read from a dataset
DEALT = 3  # raised when the same texts make other sequences
NGRAM = 13  # words; a document that shares so many in a row with a test is left out (the usual choice since GPT-3)


class CorpusFacts(TypedDict):
    """For the ledger: documents there are, how many were left out and why."""

    documents: int | str
    dropped: int
    decontamination: str


class Corpus(Protocol):
    """Gives the documents of any sequence, in any order of asking."""

    def documents(self, portion: Portion, index: int, size: int, bounds: tuple[int, int]) -> Iterator[Document]:
        """Documents of above < length <= up_to tokens for a portion's index-th sequence, `wanted` tokens or more."""

    def facts(self) -> CorpusFacts: ...

    def unused(self, asked: Collection[tuple[Portion, tuple[int, int]]]) -> int:
        """How many documents are too short or too long for all of these portions with their bounds."""


def wanted(portion: Portion, size: int, bounds: tuple[int, int]) -> int:
    """Tokens of text for a sequence: its own and the last target, or all that two chunks may lie apart in (PoSE)."""
    return max(bounds[1], size + 1) if portion.skipped else size + 1


class Encoder:
    """Text to document: what the model's tokenizer puts before a text, the tokens, the end token."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._raw = getattr(tokenizer, "backend_tokenizer", None)
        self.begin: list[int] = added_before(tokenizer)  # evaluation's rule: a BOS that is only named is never added
        self.end: list[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """`special`: the text may hold end tokens by name, as the pocket data do."""
        if special and self._raw is not None:  # the same tokens, without what the wrapper around it costs a call
            made: list[int] = self._raw.encode(text, add_special_tokens=False).ids
            return made
        ids: list[int] = self.tokenizer(
            text, add_special_tokens=False, verbose=False, split_special_tokens=not special
        ).input_ids
        return ids

    def document(self, text: str) -> Document:
        ids = [*self.begin, *self.ids(text), *self.end]
        return Document(tuple(ids), (0.0,) * len(self.begin) + (1.0,) * (len(ids) - len(self.begin)))


class Generated:
    """Documents made as they are needed, as long as asked for; the index-th sequence depends on nothing else."""

    def __init__(self, name: str, encoder: Encoder, seed: int) -> None:
        self.name, self.encoder, self.seed = name, encoder, seed
        self._counted: dict[str, int] = {}  # generators count the same sentences over and over

    def documents(self, portion: Portion, index: int, size: int, bounds: tuple[int, int]) -> Iterator[Document]:
        rng = random.Random(f"training {self.name} {self.seed} {portion.name} {index}")
        missing = wanted(portion, size, bounds)
        above, up_to = max(bounds[0] + 1, SHORTEST), bounds[1]
        while missing > 0:
            longest = min(up_to, missing)
            if longest < above:
                made = self._made(rng, "stories", max(missing, SHORTEST))
                made = made.first(missing)
            else:
                length = round(math.exp(rng.uniform(math.log(above), math.log(longest))))
                if missing - length < SHORTEST:  # no crumbs: the document takes all that is left
                    length = longest
                made = self._made(rng, self._kind(rng, length), length)
            missing -= len(made)
            yield made

    def facts(self) -> CorpusFacts:
        return {
            "documents": "generated without end",
            "dropped": 0,
            "decontamination": "keys, values, names and questions are of the half that no test uses",
        }

    def unused(self, asked: Collection[tuple[Portion, tuple[int, int]]]) -> int:
        return 0  # they are made as long as they are asked for

    def _kind(self, rng: random.Random, length: int) -> str:
        kinds = {kind: share for kind, share in GENERATED[self.name].items() if data.MAKERS[kind][1] <= length}
        if length > LONGEST_CLOSED:
            kinds = {kind: share for kind, share in kinds.items() if kind not in CLOSED_BOOK}
        return rng.choices(list(kinds), list(kinds.values()))[0]

    def _made(self, rng: random.Random, kind: str, length: int) -> Document:
        """One document of at most `length` tokens. One context token in ten is scored, at ten times its weight."""
        ids = list(self.encoder.begin)
        weights = [0.0] * len(ids)
        for text, weight in data.sequence(rng, kind, length - len(ids) - 1, self._count):
            added = self.encoder.ids(text, special=True)
            ids += added
            if weight > data.CONTEXT:
                weights += [weight] * len(added)
            else:
                weights += [10 * weight * (rng.random() < 0.1) for _ in added]
        return Document(tuple(ids[:length]), tuple(weights[:length]))

    def _count(self, text: str) -> int:
        if len(text) > 400:
            return len(self.encoder.ids(text, special=True))
        if text not in self._counted:
            if len(self._counted) > 100_000:
                self._counted.clear()
            self._counted[text] = len(self.encoder.ids(text, special=True))
        return self._counted[text]


class Texts:
    """Documents of the user's, read and tokenised once, dealt out by length in an order that the seed decides."""

    def __init__(self, name: str, texts: Sequence[str], encoder: Encoder, seed: int, tests: Sequence[str] = ()) -> None:
        self.name, self.seed = name, seed
        seen = {gram for text in tests for gram in ngrams(text)}
        clean = [text for text in texts if seen.isdisjoint(ngrams(text))] if seen else list(texts)
        self.dropped = len(texts) - len(clean)
        self.tested = len(tests)
        self._documents = [document for text in clean if len(document := encoder.document(text)) > 2]
        if not self._documents:
            raise ValueError(f"corpus {name}: no document is left of {len(texts)} ({self.dropped} overlap with tests)")
        self._dealt: dict[tuple[str, int], list[list[int]]] = {}  # by portion and size: documents of each sequence
        self._order: dict[tuple[str, int], Iterator[int]] = {}

    def documents(self, portion: Portion, index: int, size: int, bounds: tuple[int, int]) -> Iterator[Document]:
        key = (portion.name, size)
        if key not in self._order:
            fitting = self._fitting(portion, bounds)
            if not fitting:
                raise ValueError(self._unfit(portion, bounds))
            self._order[key] = self._rounds(fitting, portion.name)
            self._dealt[key] = []
        while len(self._dealt[key]) <= index:
            mine: list[int] = []
            while sum(min(len(self._documents[i]), bounds[1]) for i in mine) < wanted(portion, size, bounds):
                mine.append(next(self._order[key]))
            self._dealt[key].append(mine)
        return (self._documents[i].first(bounds[1]) for i in self._dealt[key][index])

    def unused(self, asked: Collection[tuple[Portion, tuple[int, int]]]) -> int:
        fitting = {i for portion, bounds in asked for i in self._fitting(portion, bounds)}
        return len(self._documents) - len(fitting)

    def _fitting(self, portion: Portion, bounds: tuple[int, int]) -> list[int]:
        above, up_to = bounds
        sizes = enumerate(map(len, self._documents))
        return [i for i, size in sizes if above < size and (portion.cuts or size <= up_to)]

    def _unfit(self, portion: Portion, bounds: tuple[int, int]) -> str:
        sizes = [len(document) for document in self._documents]
        wanted = f"more than {bounds[0]}" if portion.cuts else f"{bounds[0] + 1} to {bounds[1]}"
        advice = "split those that are too long" if max(sizes) > bounds[1] else "use longer documents"
        return (
            f"corpus {self.name} has no documents of {wanted} tokens, which the portion {portion.name!r} wants (its "
            f"documents have {min(sizes)} to {max(sizes)}); {advice} or use another recipe"
        )

    def facts(self) -> CorpusFacts:
        rule = f"no {NGRAM} words in a row shared with {self.tested} texts of the tests"
        return {
            "documents": len(self._documents),
            "dropped": self.dropped,
            "decontamination": rule if self.tested else "no text of the tests was named",
        }

    def _rounds(self, fitting: Sequence[int], name: str) -> Iterator[int]:
        round_ = 0
        while True:
            order = list(fitting)
            random.Random(f"training order {self.seed} {name} {round_}").shuffle(order)
            yield from order
            round_ += 1


def ngrams(text: str) -> set[int]:
    """Hashes of all runs of 13 words, in lower case and without marks; a shorter text is one run."""
    words = "".join(sign if sign.isalnum() else " " for sign in text.lower()).split()
    runs = (" ".join(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1)))
    return {int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), "big") for run in runs}


def corpus(name: str, encoder: Encoder, seed: int, tests: Sequence[str] = ()) -> Corpus:
    """The corpus of that name; `tests` are texts to keep out. Raises ValueError when it cannot be read."""
    if name in GENERATED:
        return Generated(name, encoder, seed)
    return Texts(name, _texts(name), encoder, seed, tests)


def identity(name: str, tests: Sequence[str] = ()) -> dict[str, Any]:
    """What the key of a training covers of its corpus: how documents are made, or what stands in them."""
    if name in GENERATED:
        spec = importlib.util.find_spec("harness.pocket.data")
        assert spec is not None and spec.origin is not None
        source = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]
        return {"corpus": name, "kinds": GENERATED[name], "source": source}
    return {"corpus": "texts", "content": _hash(_texts(name)), "tests": _hash(tests), "dealt": DEALT}


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)  # read for the key, and again for the training
def _texts(name: str) -> list[str]:
    return _dataset(name.removeprefix("dataset:")) if name.startswith("dataset:") else _files(path_of(name))


def _files(path: Path) -> list[str]:
    if not path.exists():
        known = ", ".join(GENERATED)
        raise ValueError(f"corpus {path} does not exist; name {known}, a folder, a .jsonl file or dataset:NAME")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    texts: list[str] = []
    for file in files:
        if file.suffix not in (".txt", ".md", ".jsonl") or not file.is_file():
            continue
        try:
            content = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"corpus: {file} is not UTF-8 text ({error.reason} at byte {error.start})") from None
        if file.suffix != ".jsonl":
            texts.append(content)
            continue
        # not splitlines, which also cuts at marks that may stand inside a JSON text, U+2028 for one
        for number, line in enumerate(content.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
            except (json.JSONDecodeError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                raise ValueError(f'corpus: {file} line {number} is no JSON object with a "text"')
            texts.append(text)
    if not texts:
        raise ValueError(f"corpus {path} holds no .txt, .md or .jsonl documents")
    return texts


def _dataset(name: str) -> list[str]:
    if importlib.util.find_spec("datasets") is None:
        raise ValueError(
            f"dataset {name} is read by the package datasets, which is not installed: pip install datasets"
        )
    datasets = importlib.import_module("datasets")  # only here: it takes a second, and most runs read no data set
    try:
        if Path(name).is_dir():
            dataset = datasets.load_from_disk(name)
        else:
            place, _, split = name.partition(":")
            dataset = datasets.load_dataset(place, split=split or "train", streaming=True)
        if isinstance(dataset, dict):
            dataset = dataset["train"]
        texts = [row["text"] for row in islice(iter(dataset), MOST_DOCUMENTS)]
    except Exception as error:  # the library fails in many ways; all of them mean that it cannot be read
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"dataset {name} cannot be read ({type(error).__name__}: {reason})") from None
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f'dataset {name} has no column "text" of texts')
    return texts
