"""The loss by position that a perplexity row carries, read with care: a store may have been edited."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def curve_of(extra: object) -> tuple[list[float], list[float]] | None:
    """(edges in tokens, mean loss between them in nats) of a row's `extra`, or None when it has no usable curve."""
    curve = extra.get("curve") if isinstance(extra, dict) else None
    if not isinstance(curve, dict):
        return None
    edges, loss = curve.get("edges"), curve.get("loss")
    if not (isinstance(edges, list) and isinstance(loss, list) and len(edges) == len(loss) + 1 and loss):
        return None
    good = all(isinstance(v, int | float) and math.isfinite(v) for v in edges + loss)
    return (edges, loss) if good else None


@dataclass(frozen=True)
class Blocks:
    """Mean losses of blocks of neighbouring tokens: `edges` are positions in tokens, one more than there are blocks."""

    edges: tuple[int, ...]
    loss: tuple[float, ...]

    def between(self, low: float, high: float) -> "Blocks | None":
        """The blocks of positions in (low, high]; None unless both are edges."""
        if low not in self.edges or high not in self.edges or not low < high:
            return None
        first, last = self.edges.index(int(low)), self.edges.index(int(high))
        return Blocks(self.edges[first : last + 1], self.loss[first:last])

    @property
    def sizes(self) -> list[int]:
        """Tokens of each block."""
        return [b - a for a, b in zip(self.edges, self.edges[1:], strict=False)]


def blocks_of(extra: object) -> Blocks | None:
    """The blocks of a row's `extra`, or None when it has none that can be used."""
    found = extra.get("blocks") if isinstance(extra, dict) else None
    if not isinstance(found, dict):
        return None
    start, end, size, loss = _four(found)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (start, end, size))
    if not whole or not isinstance(loss, list) or not 0 <= start < end or size < 1:
        return None
    if len(loss) != -(-(end - start) // size) or not all(isinstance(v, int | float) and math.isfinite(v) for v in loss):
        return None
    return Blocks((*range(start, end, size), end), tuple(map(float, loss)))


def _four(found: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    return found.get("start"), found.get("end"), found.get("size"), found.get("loss")


def mean_between(extra: object, low: float, high: float) -> float | None:
    """Mean loss of the tokens at positions in (low, high], in nats; None unless both are edges of the curve, or of the
    blocks.

    The first edge counts as 0: positions before it are not scored.
    """
    curve = curve_of(extra)
    by_curve = None if curve is None else _mean_of_curve(*curve, low, high)
    blocks = blocks_of(extra) if by_curve is None else None
    part = blocks.between(low, high) if blocks is not None else None
    if part is None:
        return by_curve
    return sum(size * loss for size, loss in zip(part.sizes, part.loss, strict=True)) / sum(part.sizes)


def _mean_of_curve(edges: Sequence[float], loss: Sequence[float], low: float, high: float) -> float | None:
    if low not in (0, *edges) or high not in edges or not low < high:
        return None
    inside = [(b - a, value) for a, b, value in zip(edges, edges[1:], loss, strict=False) if low <= a and b <= high]
    tokens = sum(size for size, _ in inside)
    return sum(size * value for size, value in inside) / tokens if tokens else None
