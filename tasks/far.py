"""Which tokens of a text need what stands far back.

LongPPL (arXiv:2410.23771) scores the tokens alone whose loss changes when the far part is cut, because most tokens of a
long text never need it and drown those that do. There an evaluator model chooses the tokens. Here the text does, so
that every method and model is scored on the same ones: in a chronicle they are the values that were said before, in
any other text the tokens that follow their left neighbour for the first time in a long while (`repeats`). Whether a cut
changes the loss of these tokens is then measured and not assumed.
"""

from collections.abc import Sequence
from typing import Any

from tasks.corpora.chronicle import Needed


def repeats(ids: Sequence[int], far: int) -> list[int]:
    """Places p where the pair (ids[p-1], ids[p]) stood at least `far` tokens back, and never since."""
    last: dict[tuple[int, int], int] = {}
    found = []
    for place in range(1, len(ids)):
        pair = ids[place - 1], ids[place]
        if pair in last and place - last[pair] >= far:
            found.append(place)
        last[pair] = place
    return found


def by_distance(losses: Sequence[tuple[int, Sequence[float]]]) -> dict[str, Any]:
    """Mean loss of the tokens by how far back they were said: (distance in tokens, losses) in octaves.

    Bucket k holds edges[k] <= distance < edges[k+1]; None where it holds no token.
    """
    buckets: dict[int, list[float]] = {}
    for distance, values in losses:
        buckets.setdefault(max(distance, 1).bit_length() - 1, []).extend(values)
    octaves = range(min(buckets), max(buckets) + 1) if buckets else range(0)
    held = [buckets.get(octave, []) for octave in octaves]
    means = [round(sum(values) / len(values), 5) if values else None for values in held]
    edges = [2**octave for octave in (*octaves, octaves.stop)] if buckets else []
    return {"edges": edges, "loss": means, "tokens": [len(values) for values in held]}


def places_of(ids: Sequence[int], needed: Sequence[Needed], far: int) -> list[int]:
    """Places whose tokens need what stands at least `far` tokens back; `needed` is what a chronicle says again."""
    if not needed:
        return repeats(ids, far)
    return [place for value in needed if value.distance >= far for place in range(value.begin, value.end)]


def far_loss(
    name: str, ids: Sequence[int], needed: Sequence[Needed], scored: Sequence[float], far: int
) -> dict[str, Any]:
    """The loss (nats per token) of the tokens that need what stands `far` tokens back, and how many they are.

    `scored` are the losses from place 1 on. Raises ValueError for a document without such tokens.
    """
    places = places_of(ids, needed, far)
    if not places:
        raise ValueError(
            f"perplexity: none of the {len(ids)} tokens of {name} needs what stands {far} tokens back; choose greater "
            "lengths for this test, a smaller far or other texts"
        )
    distances = by_distance([(value.distance, scored[value.begin - 1 : value.end - 1]) for value in needed])
    loss = sum(scored[place - 1] for place in places) / len(places)
    return {"tokens": len(places), "loss": loss, **({"by_distance": distances} if needed else {})}
