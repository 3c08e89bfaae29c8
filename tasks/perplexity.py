"""Perplexity on held-out documents, with the loss by position beside the mean: a mean hides where a method breaks.

The score is in nats per scored token; exp of it is the perplexity. Papers call four different things "sliding window
256", so the modes here are named by what they do (L is the length, BOS included):

- `truncate`: the document cut to L, one pass, all tokens scored. YaRN's eval.sh (its flag of that name), LongRoPE's
  examples.
- `stride`: windows of L over `document_tokens`, each `stride` tokens further on, only new tokens scored. transformers'
  recipe for models of fixed length, YaRN's eval/perplexity.py without that flag.
- `last`: the last L tokens of `document_tokens`, one pass, the last `last` tokens scored: the same ones at every
  length, so that only their context changes.

Every window begins with the tokenizer's BOS, if it has one, and is a document of its own to the model. The very first
token of a document is not scored, BOS or not, so that tokenizers with and without BOS score the same tokens.

`as_published` gives the number of YaRN's eval/perplexity.py (995db5b) and of LongRoPE's evaluation/perplexity.py
(c9e56aa): there the first token after BOS is scored too, which moves `truncate` and `stride` by half a percent at 512
tokens, and every window counts alike, however many tokens it scores. LongRoPE's reads no more than `most_windows: 10`
times `stride` tokens of a document, whatever the length. They put BOS before a window wherever the tokenizer names
one; here it stands where the tokenizer itself puts it.
"""

import math
import random
import time
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from tasks.base import LM, Row, Task, Tokenizer, later
from tasks.corpora import chronicle
from tasks.documents import Source, joined, text_files
from tasks.far import far_loss
from tasks.loss_curve import blocks, losses_by_position

MODES = ("truncate", "stride", "last")
WORLDS, TOKENS = ("stories", "chronicle"), ("all", "far")
SPARE = 32  # tokens: how far from its end a text's tokens no longer depend on what follows
LOST = 0.01  # share of letters that a tokenizer may lose before its losses mean nothing


@dataclass(frozen=True, kw_only=True)
class Perplexity(Task):
    """Documents of the invented world, or those of `folder` (.txt, .md), `file` (JSONL, parquet) or `dataset` (hub).

    `world: stories` are short pieces that have no use for far context, `chronicle` are long stories that need it. With
    `tokens: far` only tokens count that need what stands at least `far` tokens back (see `tasks.far`), the same for
    every method: LongPPL's idea (arXiv:2410.23771). Whether they really do is what the row of sliding_window says.

    Yours are taken in order, whatever the seed; those with fewer than `at_least` tokens are skipped (name the longest
    length, so that every length has the same documents). With `joined`, short texts in a row are made one document,
    with an empty line between them, until it has `at_least` tokens. A row is a document. Its `extra`: number of scored
    tokens, their UTF-8 bytes and bits per byte; `window_mean`, the mean of the windows' means (what YaRN's script
    averages; the score counts every token alike); the curve: `edges` in tokens, and the mean loss between them; and
    the mean losses of `blocks` of equal size, for statistics.
    """

    unit: ClassVar[str] = "nats"
    category: ClassVar[str] = "perplexity"

    folder: str = ""
    file: str = later("")
    dataset: str = later("")
    column: str = later("text")
    config: str = later("")
    split: str = later("test")
    revision: str = later("")
    at_least: int = later(0)
    mode: str = later("truncate")
    stride: int = later(256)
    last: int = later(256)
    document_tokens: int = later(0)
    joined: bool = later(False)
    as_published: bool = later(False)
    most_windows: int = later(0)
    world: str = later("stories")
    tokens: str = later("all")
    far: int = later(0)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"perplexity: mode is one of {', '.join(MODES)}, got {self.mode!r}")
        self._check_far()
        if sum(map(bool, (self.folder, self.file, self.dataset))) > 1:
            raise ValueError("perplexity takes one of folder, file and dataset, got several")
        if min(self.stride, self.last) < 1 or min(self.at_least, self.document_tokens) < 0:
            raise ValueError("perplexity: stride and last are at least 1, at_least and document_tokens at least 0")
        if self.joined and not self.at_least:
            raise ValueError("perplexity: joined needs at_least, the longest length, so that every length has one text")
        if self.joined and not (self.folder or self.file or self.dataset):
            raise ValueError("perplexity: joined is for texts of yours; name a folder, a file or a dataset")
        if self.as_published and self.mode == "last" or self.most_windows and self.mode != "stride":
            raise ValueError(
                "perplexity: as_published is for the modes truncate and stride, most_windows for stride; got mode "
                f"{self.mode!r}"
            )
        if self.most_windows < 0:
            raise ValueError(f"perplexity: most_windows is at least 1, or 0 for all, got {self.most_windows}")
        if self.mode == "last" and not self.document_tokens:
            raise ValueError("perplexity: mode last needs document_tokens, the longest length, to fix what is scored")
        if self.mode == "truncate" and self.document_tokens:
            raise ValueError(
                "perplexity: document_tokens is for the modes stride and last; truncate cuts to the length"
            )

    def _check_far(self) -> None:
        if self.world not in WORLDS or self.tokens not in TOKENS:
            raise ValueError(
                f"perplexity: world is one of {', '.join(WORLDS)} and tokens one of {', '.join(TOKENS)}, got "
                f"{self.world!r} and {self.tokens!r}"
            )
        if self.world != "stories" and not self.seeded:
            raise ValueError("perplexity: world chooses texts of the invented world; leave it out with texts of yours")
        if (self.tokens == "far") != (self.far > 0) or self.far < 0:
            raise ValueError(
                f"perplexity: tokens far and far go together (how many tokens back, such as the trained window), got "
                f"tokens {self.tokens} and far {self.far}"
            )
        if self.tokens == "far" and (self.mode != "truncate" or self.as_published):
            raise ValueError("perplexity: tokens far is for the mode truncate, and not for as_published")

    @property
    def version(self) -> int:  # type: ignore[override]
        """2 with texts of a user's: what spells a special token is text there, and was that token before."""
        return 1 if self.seeded else 2

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        return not (self.folder or self.file or self.dataset)

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        size = length - lm.added_tokens  # tokens of the document in one window
        tokens = self._tokens(length, size, lm.added_tokens)
        for i, (name, text, ids, needed) in enumerate(self._documents(lm, seed, samples, tokens)):
            plan = windows(tokens, size, self.mode, self.stride, self.last)
            if self.as_published and lm.added_tokens:
                plan[0] = (*plan[0][:2], 0)
            note = round_trip(lm, name, text, ids)
            started = time.perf_counter()
            losses = [lm.losses(ids[begin:end], length, first - begin) for begin, end, first in plan]
            seconds = time.perf_counter() - started
            scored = [loss for window in losses for loss in window]
            far = far_loss(name, ids, needed, scored, self.far) if self.tokens == "far" else {}
            window_mean = sum(sum(window) / len(window) for window in losses) / len(losses)
            size_in_bytes = _bytes(lm, text, ids, bool(note)) - _bytes(lm, text, ids[: -len(scored)], bool(note))
            yield Row(
                sample=i,
                score=self._score(scored, window_mean, far),
                prompt=lm.decode(ids),
                prompt_tokens=plan[0][1] - plan[0][0] + lm.added_tokens,
                seconds=seconds,
                plan_hash=lm.plan_hash(length),
                extra={
                    "document": name,
                    "tokens": len(scored),
                    "bytes": size_in_bytes,
                    "bits_per_byte": sum(scored) / max(1, size_in_bytes) / math.log(2),
                    "windows": len(plan),
                    "window_mean": window_mean,
                    "curve": losses_by_position(scored, plan[0]),
                    "blocks": blocks(scored, plan[0]),
                    **({"far": far} if far else {}),
                    **({"note": note} if note else {}),
                },
            )

    def check(self, tokenizer: Tokenizer, length: int, samples: int) -> None:
        """That there are enough documents, and long enough ones. A data set of the hub is first read in the run."""
        tokens = self._tokens(length, length - tokenizer.added_tokens, tokenizer.added_tokens)
        if self.folder or self.file:
            for name, text, ids, _ in self._documents(tokenizer, 0, samples, tokens):
                round_trip(tokenizer, name, text, ids)

    def _score(self, scored: Sequence[float], window_mean: float, far: Mapping[str, Any]) -> float:
        if far:
            return float(far["loss"])
        return window_mean if self.as_published else sum(scored) / len(scored)

    def _tokens(self, length: int, size: int, added: int) -> int:
        """Tokens of every document, BOS not counted."""
        if size < 2:
            raise ValueError(f"perplexity needs a length of at least {2 + added} tokens, got {length}")
        if self.mode == "truncate":
            return size
        name, step = ("stride", self.stride) if self.mode == "stride" else ("last", self.last)
        if step >= size:
            raise ValueError(f"perplexity: {name} is {step}, and a length of {length} has {size - 1} tokens to score")
        tokens = self.document_tokens or 2 * size
        if tokens < size:
            raise ValueError(
                f"perplexity: document_tokens is {tokens}, below the length {length}; name the longest one"
            )
        return min(tokens, self.most_windows * step) if self.most_windows else tokens

    def _documents(
        self, lm: Tokenizer, seed: int, samples: int, tokens: int
    ) -> Iterator[tuple[str, str, list[int], Sequence[chronicle.Needed]]]:
        """(name, text, its first `tokens` ids, what a chronicle says again) of each sample."""
        for i in range(samples if self.seeded else 0):
            name = f"world {seed} {i}"
            if self.world == "chronicle":
                yield name, *chronicle.document(lm.encode, name, tokens, held_out=True)
            else:
                yield name, *_world(lm, name, tokens), ()
        if self.seeded:
            return
        source = Source(self.folder, self.file, self.dataset, self.column, self.config, self.split, self.revision)
        given = self.folder or self.file or self.dataset
        if self.folder and not self.joined and len(text_files(self.folder)) < samples:
            found = len(text_files(self.folder))
            raise ValueError(f"{given} holds {found} .txt and .md files, {samples} documents were asked for")
        taken = seen = 0
        documents = source.documents()
        if self.joined and self.folder:
            documents = iter(_joined_files(lm, self.at_least, tuple(documents)))
        elif self.joined:
            documents = _joined(lm, self.at_least, documents)
        for name, text in documents:
            if taken == samples:
                return
            seen += 1
            ids = _first_ids(lm, text, max(tokens, self.at_least))
            if len(ids) < self.at_least:
                continue
            if len(ids) < tokens:
                raise ValueError(
                    f"{name} of {given} has {len(ids)} tokens and {tokens} are needed; skip short documents with "
                    "at_least, use longer files or a shorter length"
                )
            taken += 1
            yield name, text, ids[:tokens], ()
        if taken < samples:
            long = f" of at least {self.at_least} tokens" if self.at_least else ""
            raise ValueError(f"{given} holds {taken} documents{long} ({seen} in all), {samples} were asked for")


def windows(tokens: int, size: int, mode: str, stride: int, last: int) -> list[tuple[int, int, int]]:
    """(begin, end, first scored) of every window over a document, in tokens.

    `stride` follows transformers' recipe (docs/source/en/perplexity.md): windows begin at multiples of the stride, and
    the last one ends with the document and may be shorter. It differs in the weight of a window: theirs is one less
    than the tokens that it scores, from the second window on.
    """
    if mode == "last":
        return [(tokens - size, tokens, tokens - last)]
    found = [(0, min(size, tokens), 1)]
    while found[-1][1] < tokens:
        begin = len(found) * stride
        found.append((begin, min(begin + size, tokens), found[-1][1]))
    return found


def round_trip(lm: Tokenizer, name: str, text: str, ids: Sequence[int]) -> str:
    """'' when the tokens give back the text; else one line for the reader. Raises ValueError when letters are lost.

    Spaces and capitals may change: the losses still count, only bytes then have to be counted in the text.
    """
    back = lm.decode(ids).rstrip("\ufffd")  # a character may be cut in the middle of its bytes
    if text.startswith(back):
        return ""
    own, theirs = (_letters(one) for one in (text[: _characters(lm, text, ids)], back))
    lost = sum((own - theirs).values()) / max(1, sum(own.values()))
    if lost > LOST:
        some = "".join(sorted(own - theirs)[:12])
        raise ValueError(
            f"the tokenizer loses {lost:.0%} of the letters of {name} ({some}); its losses would not be comparable, so "
            "use documents in a script that it knows"
        )
    return "the tokenizer changes spaces, capitals or rare signs of this text; bytes are counted in the text itself"


_JOINED: list[Any] = []  # (tokenizer, tokens, files) and their documents: every method asks for the same ones


def _joined_files(lm: Tokenizer, tokens: int, files: tuple[tuple[str, str], ...]) -> Sequence[tuple[str, str]]:
    """The files of a folder, joined; kept, because counting the tokens of all takes seconds. Keeps no model alive."""
    asked = (getattr(lm, "tokenizer", lm), tokens, files)
    if _JOINED[:1] != [asked]:
        _JOINED[:] = [asked, tuple(_joined(lm, tokens, files))]
    return _JOINED[1]


def _joined(lm: Tokenizer, tokens: int, documents: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return joined(documents, lambda text: len(_first_ids(lm, text, tokens)) >= tokens)


def _letters(text: str) -> Counter[str]:
    return Counter(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def _bytes(lm: Tokenizer, text: str, ids: Sequence[int], in_text: bool) -> int:
    """UTF-8 bytes of the text's beginning that these ids stand for."""
    start = text[: _characters(lm, text, ids)] if in_text else lm.decode(ids)
    return len(start.encode("utf-8", "replace"))


def _characters(lm: Tokenizer, text: str, ids: Sequence[int]) -> int:
    """The fewest characters of the text that have as many tokens."""
    return bisect_left(range(len(text)), len(ids), key=lambda size: len(lm.encode(text[:size])))


def _first_ids(lm: Tokenizer, text: str, tokens: int) -> list[int]:
    """At least the first `tokens` ids of the text, or all; a long book is not read to its end for its beginning."""
    part = 8 * (tokens + SPARE)
    while True:
        ids = lm.encode(text[:part])
        if part >= len(text):
            return ids
        if len(ids) >= tokens + SPARE:
            return ids[:-SPARE]
        part *= 2


def _world(lm: Tokenizer, name: str, tokens: int) -> tuple[str, list[int]]:
    """(text, its first `tokens` ids): the same ones however much longer the text is."""
    text = ""
    while True:
        text = world_text(name, max(len(text) * 3 // 2, 6 * tokens + 200))
        ids = lm.encode(text)
        if len(ids) >= tokens + SPARE:
            return text, ids[:tokens]


@lru_cache(maxsize=32)
def world_text(name: str, characters: int) -> str:
    """At least that many characters of one document; a longer text begins with every shorter one."""
    from tasks.corpora.world import story

    rng = random.Random(f"perplexity {name}")
    paragraphs: list[str] = []
    total = 0
    while total < characters:
        paragraphs.append(story(rng))
        total += len(paragraphs[-1]) + 1
    return "\n".join(paragraphs)
