"""How RULER fits its prompts to a length: one size for all samples, and less for a sample that is too long.

Both searches draw a prompt at every probe, so they decide the samples that follow: they are replayed probe by probe.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from tasks.token_counts import TokenCounts

Item = TypeVar("Item")


class MissingData(ValueError):
    """Not a prompt too long but data too short: no smaller size helps."""


class NotAdditive(Exception):
    """The tokens of a prompt are not the sum of its parts' with this tokenizer."""


ATTEMPTS = 200  # redraws of a sample at the smallest size; the original tries for ever


@dataclass(frozen=True)
class Draft:
    """One drawn prompt. Its text is built only when it is kept.

    `tokens` counts the prompt; `checked` is what the original holds against the length (the same, but for one row).
    """

    tokens: int
    checked: int
    build: Callable[[], str]
    references: tuple[str, ...]
    targets: tuple[str, ...] = ()  # what stands at the depths that are reported
    others: frozenset[str] = frozenset()  # values that also stand in the prompt and would be wrong


@dataclass(frozen=True)
class Setting:
    """What all rows need to know of one run."""

    version: str  # "head" or "paper"
    length: int  # tokens, the new ones included, BOS left out
    new_tokens: int
    random_seed: int
    template: str  # model template around the task's, with the answer prefix at the end, unfilled
    counts: TokenCounts
    additive: bool  # False: tokenise every prompt
    refused: list[int] = field(default_factory=list)  # tokens of the first prompt that was too long

    def tokens(self, short: str, left_out: int, build: Callable[[], str], ending: str = "") -> int:
        """Tokens of a prompt: of its short form plus what that leaves out, or of the whole.

        The first sum that is too long decides the size of all prompts, so it is compared with the whole. Raises
        NotAdditive when they differ.
        """
        if not self.additive:
            return self.counts.whole(build() + ending)
        total = self.counts.whole(short + ending) + left_out
        if total + self.new_tokens > self.length and not self.refused:
            self.refused.append(self.counts.whole(build() + ending))
            if self.refused[0] != total:
                raise NotAdditive
        return total


Drawn = Callable[[int], Draft]


def halving(tokens: Callable[[int], int], limit: int, step: int, upper: int) -> int:
    """The largest size that fits `limit` prompt tokens, by bisection between one step and `upper` (at HEAD)."""
    low, high, best = step, max(upper, 2 * step), step
    while low <= high:
        middle = (low + high) // 2
        if tokens(middle) <= limit:
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best


def head_size(tokens: Callable[[int], int], length: int, limit: int, step: int) -> int:
    """HEAD's size, its upper bound guessed from a first prompt of one step."""
    return halving(tokens, limit, step, int(length / (tokens(step) / step) * 3))


def paper_size(
    tokens: Callable[[int], int], limit: int, step: int, most: int | None = None, most_is_probed: bool = False
) -> int:
    """e40fae1's size, step by step; `tokens` counts the answers too.

    An exact hit ends the search one step above it, as in the original. `most` is the size of a haystack that ends;
    with `most_is_probed` the search goes one step beyond it before it turns back.
    """
    size, total = step, 0
    while total < limit:
        total = tokens(size)
        if total > limit:
            return size - step
        if most is not None and most_is_probed and size > most:
            return most
        size += step
        if most is not None and not most_is_probed and size > most:
            return most
    return size


def kept(drawn: Drawn, size: int, step: int, limit: int) -> Draft:
    """The first draft that fits `limit` prompt tokens: redrawn, one step smaller, after every one that does not.

    Raises ValueError where the original would try for ever.
    """
    used, shortest = size, math.inf
    for _ in range(ATTEMPTS + size // step):
        try:
            draft = drawn(used)
        except MissingData:
            raise
        except ValueError:  # a sample larger than its population: nothing to hide in
            draft = None
        if draft is not None and draft.checked <= limit:
            return draft
        shortest = min(shortest, draft.checked) if draft else shortest
        if used > step:
            used -= step
    raise too_long(shortest, limit)


def too_long(tokens: float, limit: int) -> ValueError:
    """For a length at which not even the smallest prompt fits."""
    need = f"the shortest prompt has {tokens} tokens" if math.isfinite(tokens) else "no prompt can be made"
    return ValueError(f"{need} and {max(0, limit)} are left for it; use a larger length")


def samples(drawn: Drawn, size: int, step: int, limit: int) -> Iterator[Draft]:
    """Samples without end."""
    while True:
        yield kept(drawn, size, step, limit)


@lru_cache(maxsize=64)
def order(size: int, random_seed: int) -> tuple[int, ...]:
    """How a fresh generator of that seed shuffles a list of that size."""
    places = list(range(size))
    random.Random(random_seed).shuffle(places)
    return tuple(places)


def shuffled(items: Sequence[Item], random_seed: int) -> list[Item]:
    return [items[i] for i in order(len(items), random_seed)]
