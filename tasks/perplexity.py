"""Perplexity on held-out documents: one forward pass each, cut to the length, loss by position beside the mean.

This is what papers call "sliding window" with the truncate flag (one window, no stride). At every length the documents
begin alike, so a longer length adds positions and changes none. The score is in nats per token; exp of it is the
perplexity. The curve is what to look at: a mean hides where a method breaks.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import LM, Row, Task


@dataclass(frozen=True, kw_only=True)
class Perplexity(Task):
    """Documents of the invented world, or the .txt and .md files of `folder` in the order of their names.

    Files are taken in order, whatever the seed. A row's `extra` holds the number of scored tokens, their UTF-8 bytes
    (bits per byte = score · tokens / bytes / ln 2) and the curve: `edges` in tokens, and the mean loss between them.
    """

    unit: ClassVar[str] = "nats"
    category: ClassVar[str] = "perplexity"

    folder: str = ""

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        size = length - lm.added_tokens
        if size < 2:
            raise ValueError(f"perplexity needs a length of at least {2 + lm.added_tokens} tokens, got {length}")
        files = _files(self.folder) if self.folder else []
        if self.folder and samples > len(files):
            raise ValueError(f"{self.folder} holds {len(files)} .txt and .md files, {samples} documents were asked for")
        for i in range(samples):
            name = files[i].name if files else f"world {seed} {i}"
            ids = _file_ids(lm, files[i], size) if files else _world_ids(lm, name, size)
            started = time.perf_counter()
            losses = lm.losses(ids)
            seconds = time.perf_counter() - started
            yield Row(
                sample=i,
                score=sum(losses) / len(losses),
                prompt=lm.decode(ids),
                prompt_tokens=len(ids) + lm.added_tokens,
                seconds=seconds,
                plan_hash=lm.plan_hash(len(ids) + lm.added_tokens),
                extra={
                    "document": name,
                    "tokens": len(losses),
                    "bytes": len(lm.decode(ids[1:]).encode("utf-8", "replace")),
                    "curve": curve(losses),
                },
            )


def edges(length: int) -> list[int]:
    """Bounds of position buckets, in tokens: 0, 16 and then half octaves, the same at every length but for the last."""
    bounds = [0]
    for half_octave in count():
        bound = round(16 * 2 ** (half_octave / 2))
        if bound >= length:
            return [*bounds, length]
        bounds.append(bound)
    raise AssertionError  # count() does not end


def curve(losses: Sequence[float]) -> dict[str, Any]:
    """Mean loss by position. The first loss is that of position 1; bucket k holds edges[k] < position ≤ edges[k+1]."""
    bounds = edges(len(losses))
    means = [sum(losses[a:b]) / (b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
    return {"edges": bounds, "loss": [round(mean, 6) for mean in means]}


def _files(folder: str) -> list[Path]:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"{folder} is not a folder; perplexity wants one with .txt or .md files")
    return sorted(file for file in path.iterdir() if file.suffix in (".txt", ".md") and file.is_file())


def _file_ids(lm: LM, file: Path, size: int) -> list[int]:
    try:
        ids = lm.encode(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); convert it") from None
    if len(ids) < size:
        raise ValueError(f"{file} has {len(ids)} tokens and {size} are needed; use longer files or a shorter length")
    return ids[:size]


def _world_ids(lm: LM, name: str, size: int) -> list[int]:
    text = ""
    while True:
        # Some characters more than needed, so that the cut is far from the text's end and the prefix stays the same.
        text = _world_text(name, max(len(text) * 3 // 2, 6 * size + 200))
        ids = lm.encode(text)
        if len(ids) >= size + 32:
            return ids[:size]


@lru_cache(maxsize=32)
def _world_text(name: str, characters: int) -> str:
    """At least that many characters of one document; a longer text begins with every shorter one."""
    from tasks.corpora.world import story

    rng = random.Random(f"perplexity {name}")
    paragraphs: list[str] = []
    total = 0
    while total < characters:
        paragraphs.append(story(rng))
        total += len(paragraphs[-1]) + 1
    return "\n".join(paragraphs)
