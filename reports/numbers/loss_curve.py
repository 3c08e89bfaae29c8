"""The loss by position that a perplexity row carries, read with care: a store may have been edited."""

import math


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


def mean_between(extra: object, low: float, high: float) -> float | None:
    """Mean loss of the tokens at positions in (low, high], in nats; None unless both are edges of the curve.

    The first edge counts as 0: positions before it are not scored.
    """
    curve = curve_of(extra)
    if curve is None:
        return None
    edges, loss = curve
    if low not in (0, *edges) or high not in edges or not low < high:
        return None
    inside = [(b - a, value) for a, b, value in zip(edges, edges[1:], loss, strict=False) if low <= a and b <= high]
    tokens = sum(size for size, _ in inside)
    return sum(size * value for size, value in inside) / tokens if tokens else None
