"""Documents → sequences of one size, with document masks or without, or with skipped positions.

A sequence holds size tokens and the targets that follow them. A document's first token is never scored: it is given, as
at evaluation, and in a masked sequence the token before it belongs to another document.
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from extenders.training.batch import Batch


@dataclass(frozen=True)
class Document:
    """Token ids with the weight of predicting each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.weights)

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, tokens: int) -> "Document":
        """Its beginning of at most so many tokens."""
        return Document(self.ids[:tokens], self.weights[:tokens])


@dataclass(frozen=True)
class Packed:
    """One row of training: everything has one value for each position but `starts`."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...]
    weights: tuple[float, ...]
    starts: tuple[int, ...]

    @property
    def digest(self) -> str:
        """16 hex digits over all that the model is given."""
        text = repr((self.ids, self.positions, self.targets, self.weights, self.starts))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def pack(documents: Iterable[Document], size: int, masked: bool) -> Packed:
    """One after the other until the sequence is full, the last one cut. `masked`: attention stays inside each, and
    positions begin anew. Raises ValueError when the documents do not fill it."""
    ids, weights, starts = _joined(documents, size + 1)
    if len(ids) <= size:
        raise ValueError(f"the documents have {len(ids)} tokens, a sequence of {size} needs {size + 1}")
    starts = [start for start in starts if start < size]
    if not masked:
        return Packed(ids[:-1], tuple(range(size)), ids[1:], weights[1:], (0,))
    positions: list[int] = []
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        positions += range(end - start)
    return Packed(ids[:-1], tuple(positions), ids[1:], weights[1:], tuple(starts))


def skip(documents: Iterable[Document], size: int, target: int, rng: random.Random, most: int | None = None) -> Packed:
    """PoSE: two chunks of a text side by side, the second one's positions moved to anywhere before `target`.

    As in dwzhu-pku/PoSE src/train_pose.py: the first chunk begins at text and position 0 and has at most half of the
    sequence; the second ends anywhere in the text. All tokens of all documents count as the text, up to `most`.
    """
    total = size + 1  # the last target, too
    ids, weights, _ = _joined(documents, most)
    if len(ids) < total or target < size:
        raise ValueError(f"a text of {len(ids)} tokens and a target of {target} cannot give a sequence of {size}")
    first = rng.randint(1, (total + 1) // 2)
    end = rng.randint(total, len(ids))
    begin = end - (total - first)
    shift = rng.randint(0, target - size)  # the last target has no position
    ids, weights = ids[:first] + ids[begin:end], weights[:first] + weights[begin:end]
    positions = tuple(i if i < first else i + shift for i in range(size))
    return Packed(ids[:-1], positions, ids[1:], weights[1:], (0,))


def batch(kind: str, rope: str, rows: Sequence[Packed]) -> Batch:
    """Rows of one class and one plan as tensors."""
    return Batch(
        kind,
        rope,
        torch.tensor([row.ids for row in rows]),
        torch.tensor([row.positions for row in rows]),
        torch.tensor([row.targets for row in rows]),
        torch.tensor([row.weights for row in rows], dtype=torch.float32),
        tuple(row.starts for row in rows),
    )


def _joined(documents: Iterable[Document], enough: int | None) -> tuple[tuple[int, ...], tuple[float, ...], list[int]]:
    """Ids, weights and where documents start, up to `enough` tokens."""
    ids: list[int] = []
    weights: list[float] = []
    starts: list[int] = []
    for document in documents:
        if not len(document):
            continue
        starts.append(len(ids))
        ids += document.ids
        weights += [0.0, *document.weights[1:]]
        if enough is not None and len(ids) >= enough:
            break
    return tuple(ids[:enough]), tuple(weights[:enough]), starts
