"""What RULER's needle tasks hide: word pairs, numbers and uuids, drawn in the original's order.

The original joins every adjective with every noun and sorts the 6.2 million strings at every start (9 s, 1 GB). Only
the place in that order matters for a draw, and it can be computed: pairs of one adjective stand together, unless
another adjective begins with the first and a dash.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import overload

from tasks.corpora.words import words


class WordPairs(Sequence[str]):
    """The sorted set of all `adjective-noun` strings, without the strings."""

    def __init__(self, adjectives: Sequence[str], nouns: Sequence[str]) -> None:
        self._nouns = sorted(set(nouns))
        families: list[list[str]] = []
        for start in sorted({f"{adjective}-" for adjective in adjectives}):
            if families and start.startswith(families[-1][0]):
                families[-1].append(start)
            else:
                families.append([start])
        self._families = families
        self._merged: dict[int, list[str]] = {}  # families of several adjectives, whose pairs mix
        self._ends: list[int] = []
        for i, family in enumerate(families):
            if len(family) > 1:
                self._merged[i] = sorted({start + noun for start in family for noun in self._nouns})
            size = len(self._merged.get(i, self._nouns))
            self._ends.append(size + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.at(index)

    def at(self, index: int) -> str:
        """The pair at a place that is known to exist."""
        family = bisect_right(self._ends, index)
        place = index - (self._ends[family - 1] if family else 0)
        if family in self._merged:
            return self._merged[family][place]
        return self._families[family][0] + self._nouns[place]


@cache
def word_pairs() -> WordPairs:
    return WordPairs(words("adjective"), words("noun"))


LEAST, NUMBERS = 1_000_000, 9_000_000  # the first number of seven digits, and how many there are


@dataclass(frozen=True)
class Kind:
    """One of `numbers`, `words` or `uuids` (version 4): a number of `bits` bits below `count`, and its text.

    The original's `randint`, `choice` and `uuid4` ask for so many bits until the number is below the count.
    """

    bits: int
    count: int
    text: Callable[[int], str]


@cache
def kind_of(name: str) -> Kind:
    if name == "numbers":
        return Kind(NUMBERS.bit_length(), NUMBERS, lambda number: str(LEAST + number))
    if name == "words":
        return Kind(len(word_pairs()).bit_length(), len(word_pairs()), word_pairs().at)
    return Kind(128, 1 << 128, uuid4)


def drawer(name: str, rng: random.Random) -> Callable[[], str]:
    """What draws one key or value, with the original's use of the generator."""
    kind, getrandbits = kind_of(name), rng.getrandbits

    def draw() -> str:
        number = getrandbits(kind.bits)
        while number >= kind.count:
            number = getrandbits(kind.bits)
        return kind.text(number)

    return draw


def pairs(keys: str, values: str, rng: random.Random, count: int) -> tuple[list[str], list[str]]:
    """(keys, values) of so many lines, drawn in turn. One loop without calls: a long prompt has thousands of lines."""
    key, value, getrandbits = kind_of(keys), kind_of(values), rng.getrandbits
    key_bits, key_count, value_bits, value_count = key.bits, key.count, value.bits, value.count
    drawn, held = [], []
    for _ in range(count):
        number = getrandbits(key_bits)
        while number >= key_count:
            number = getrandbits(key_bits)
        drawn.append(number)
        number = getrandbits(value_bits)
        while number >= value_count:
            number = getrandbits(value_bits)
        held.append(number)
    return list(map(key.text, drawn)), list(map(value.text, held))


def uuid4(bits: int) -> str:
    """str(uuid.UUID(int=bits, version=4)), three times as fast."""
    bits = bits & ~(0xC000 << 48) | 0x8000 << 48  # the variant and version bits of RFC 9562
    digits = f"{bits & ~(0xF000 << 64) | 4 << 76:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
