"""Losses of one document by position: a curve of mean losses between bounds, and blocks of equal size."""

from collections.abc import Sequence
from itertools import count
from typing import Any

SMALLEST_BLOCK, MOST_BLOCKS = 32, 512  # tokens; blocks of a document


def edges(length: int) -> list[int]:
    """Bounds of position buckets, in tokens: 0, 16 and then half octaves, the same at every length but for the last."""
    bounds = [0]
    for half_octave in count():
        bound = round(16 * 2 ** (half_octave / 2))
        if bound >= length:
            return [*bounds, length]
        bounds.append(bound)
    raise AssertionError  # count() does not end


def curve(losses: Sequence[float], before: int = 0) -> dict[str, Any]:
    """Mean loss by position; `before` positions stand before the first loss and are not scored.

    With 0 the first loss is that of position 1; bucket k holds edges[k] < position ≤ edges[k+1].
    """
    ends = [edge for edge in edges(before + len(losses)) if edge > before]
    bounds = [before, *ends]
    means = [sum(losses[a - before : b - before]) / (b - a) for a, b in zip(bounds, ends, strict=False)]
    return {"edges": bounds, "loss": [round(mean, 6) for mean in means]}


def losses_by_position(scored: Sequence[float], window: tuple[int, int, int]) -> dict[str, Any]:
    """The curve of losses that begin with a window (begin, end, first scored). The loss of a document's first token,
    where it is scored, has no position in it."""
    begin, _, first = window
    return curve(scored[1:]) if first == begin else curve(scored, first - begin - 1)


def blocks(scored: Sequence[float], window: tuple[int, int, int]) -> dict[str, Any]:
    """Mean losses of blocks: block k holds the positions start + k·size < position ≤ start + (k+1)·size, the last one
    up to `end`. Positions, and the window (begin, end, first scored), as in `losses_by_position`.

    The size in tokens is a power of two from 32 up that makes at most 512 blocks, so blocks end where windows do.
    """
    begin, _, first = window
    losses, start = (scored[1:], 0) if first == begin else (scored, first - begin - 1)
    size = SMALLEST_BLOCK
    while len(losses) > MOST_BLOCKS * size:
        size *= 2
    parts = [losses[i : i + size] for i in range(0, len(losses), size)]
    means = [round(sum(part) / len(part), 5) for part in parts]
    return {"start": start, "end": start + len(losses), "size": size, "loss": means}
