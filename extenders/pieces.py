"""Position mapping: which rotary positions a query and a key have, as data. The contract that `RopePlan.pieces` holds.

A query at position i sees every key j ≤ i. A plan may cut this causal triangle into regions and give each its own
positions: near keys as trained, far keys at positions that the model knows. In a region

    logit(i, j) = scale · logit_scale(i) · ⟨R(query(i)) q_i, R(key(j)) k_j⟩

where R rotates pair p by position times inv_freq[p]. Positions and regions are numbers and no code, so that a plan has
a hash and can be printed.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from extenders._check import is_finite


def _each(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {abs(value):g}"


def _list(value: object) -> str:
    return f"({' '.join(f'{part:g}' for part in value)})" if isinstance(value, tuple) else f"{value:g}"


def _whole(name: str, value: object, least: int | None = None) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if isinstance(value, bool) or (least is not None and number < least) or abs(number) >= 2**53:
        raise ValueError(f"{name} must be a whole number{'' if least is None else f' from {least} on'}, got {value!r}")
    return number


def _finite(name: str, value: object) -> float:
    if not is_finite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


@dataclass(frozen=True)
class Region:
    """Queries i and keys j ≤ i with start ≤ ⌊i/chunk⌋ - ⌊j/chunk⌋ < stop.

    With chunk 1 that is a band of distances: near keys from 0 on, far keys up to `stop` None. With larger chunks it is
    the same chunk (0 to 1), the one before (1 to 2), and older ones (2 to None).
    """

    start: int = 0
    stop: int | None = None  # None: up to the first key
    chunk: int = 1  # tokens

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _whole("start of a region", self.start, 0))
        object.__setattr__(self, "chunk", _whole("chunk of a region", self.chunk, 1))
        if self.stop is not None:
            object.__setattr__(self, "stop", _whole("stop of a region", self.stop, self.start + 1))

    def owns(self, query: int, key: int) -> bool:
        apart = query // self.chunk - key // self.chunk
        return key <= query and self.start <= apart and (self.stop is None or apart < self.stop)

    def keys(self, query: int) -> tuple[int, int]:
        """(first, last) key that the region owns for a query; none where last < first."""
        place = query // self.chunk
        first = 0 if self.stop is None else max(0, (place - self.stop + 1) * self.chunk)
        return first, min(query, (place - self.start + 1) * self.chunk - 1)

    @property
    def words(self) -> str:
        end = "" if self.stop is None else f" < {self.stop}"
        if self.chunk == 1:
            return f"{self.start} ≤ distance{end}"
        return f"{self.start} ≤ chunks of {self.chunk} apart{end}"


@dataclass(frozen=True)
class Positions:
    """x → ⌊((x mod modulo) · times + plus) / divide⌋ + shift, at most `most`. A constant c is times 0, shift c.

    `divide` and `shift` may be tuples with one value for each rotary pair.
    """

    modulo: int | None = None  # tokens
    times: int = 1
    plus: int = 0
    divide: int | tuple[int, ...] = 1
    shift: float | tuple[float, ...] = 0.0
    most: float | None = None

    def __post_init__(self) -> None:
        if self.modulo is not None:
            object.__setattr__(self, "modulo", _whole("modulo", self.modulo, 1))
        object.__setattr__(self, "times", _whole("times", self.times, 0))
        object.__setattr__(self, "plus", _whole("plus", self.plus))
        divide, shift = self.divide, self.shift
        parts = [_whole("divide", value, 1) for value in _each(divide)]
        object.__setattr__(self, "divide", tuple(parts) if isinstance(divide, Sequence) else parts[0])
        shifts = [_finite("shift", value) for value in _each(shift)]
        object.__setattr__(self, "shift", tuple(shifts) if isinstance(shift, Sequence) else shifts[0])
        if self.most is not None:
            object.__setattr__(self, "most", _finite("most", self.most))

    def at(self, x: int, pair: int = 0) -> float:
        """The position of token x for a rotary pair."""
        divide = self.divide[pair] if isinstance(self.divide, tuple) else self.divide
        shift = self.shift[pair] if isinstance(self.shift, tuple) else self.shift
        within = x if self.modulo is None else x % self.modulo
        place = (within * self.times + self.plus) // divide + shift
        return place if self.most is None else min(place, self.most)

    @property
    def pairs(self) -> set[int]:
        """For how many rotary pairs values are listed; empty where one serves all."""
        return {len(value) for value in (self.divide, self.shift) if isinstance(value, tuple)}

    @property
    def words(self) -> str:
        within = "x" if self.modulo is None else f"(x mod {self.modulo})"
        if not self.times:
            within = ""
        elif self.times != 1 or self.plus:
            within = f"({within} · {self.times}{f' {_signed(self.plus)}' if self.plus else ''})"
        whole = f"⌊{within}/{_list(self.divide)}⌋" if within and self.divide != 1 else within
        if isinstance(self.shift, tuple):
            moved = f"{' + ' if whole else ''}{_list(self.shift)}"
        else:
            moved = ("" if self.shift == 0.0 else f" {_signed(self.shift)}") if whole else f"{self.shift:g}"
        return f"{whole}{moved}" + ("" if self.most is None else f", at most {self.most:g}")


@dataclass(frozen=True)
class LogitScale:
    """What logits of the query at position p are multiplied with, once: max(least, base + slope · ln(plus + x)), where
    x = ⌊(p + offset) / step⌋.

    log n (Su): base 0, slope 1/ln L, plus 0, offset 1, least 1. Llama 4: slope 0.1, offset 1, step 8192.
    """

    base: float = 1.0
    slope: float = 0.0
    plus: float = 1.0
    offset: int = 0
    step: int = 1
    least: float = 0.0

    def __post_init__(self) -> None:
        for name in ("base", "slope", "plus", "least"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))
        object.__setattr__(self, "offset", _whole("offset", self.offset, 0))
        object.__setattr__(self, "step", _whole("step", self.step, 1))
        if self.plus + self.offset // self.step <= 0 or self.least < 0 or self.at(0) <= 0:
            raise ValueError(f"a logit scale must be above 0 at every position, got {self}")

    def at(self, position: int) -> float:
        return max(self.least, self.base + self.slope * math.log(self.plus + (position + self.offset) // self.step))


def log_n(trained_length: int) -> LogitScale:
    """max(1, ln(p + 1) / ln L), applied once: Su, spaces.ac.cn/archives/8823, the option of Self-Extend and ReRoPE."""
    return LogitScale(0.0, 1 / math.log(trained_length), 0.0, 1, 1, 1.0)


@dataclass(frozen=True)
class Piece:
    """One region with its positions."""

    region: Region = Region()
    query: Positions = Positions()
    key: Positions = Positions()
    inv_freq: tuple[float, ...] | None = None  # radians per token, one a pair; None: the plan's
    logit_scale: LogitScale | None = None  # None: 1

    def __post_init__(self) -> None:
        if self.inv_freq is not None:
            object.__setattr__(self, "inv_freq", tuple(_finite("inv_freq", value) for value in self.inv_freq))

    @property
    def words(self) -> str:
        parts = [f"{self.region.words}: query at {self.query.words}, key at {self.key.words}"]
        if self.inv_freq is not None:
            parts.append("frequencies of its own")
        if self.logit_scale is not None:
            parts.append(f"logits times {self.logit_scale}")
        return "; ".join(parts)


def near_and_far(window: int, query: Positions, key: Positions, scale: LogitScale | None = None) -> tuple[Piece, ...]:
    """Keys less than `window` tokens before the query as trained, all others at mapped positions."""
    return Piece(Region(0, window), logit_scale=scale), Piece(Region(window), query, key, logit_scale=scale)


def check_pieces(pieces: Sequence[Piece], pairs: int) -> None:
    """Raises ValueError, one line, unless the regions own every key of every query exactly once and the lists fit."""
    if len({piece.region.chunk for piece in pieces}) > 1:
        raise ValueError("the regions of a plan must have one chunk size, or some keys have two owners or none")
    ordered = sorted((piece.region for piece in pieces), key=lambda region: region.start)
    reached: int | None = 0
    for region in ordered:
        if reached is None or region.start < reached:
            raise ValueError(f"two regions own the same keys: {region.words}, and one that starts before it; cut them")
        if region.start > reached:
            raise ValueError(f"no region owns the keys with {reached} ≤ distance < {region.start}; add one")
        reached = region.stop
    if reached is not None:
        raise ValueError(f"no region owns the keys from {reached} on; let the last one end with stop None")
    for piece in pieces:
        listed = piece.query.pairs | piece.key.pairs | ({len(piece.inv_freq)} if piece.inv_freq is not None else set())
        if listed - {pairs}:
            raise ValueError(f"a piece lists {max(listed - {pairs})} values, and the plan has {pairs} rotary pairs")


def relative_position(pieces: Sequence[Piece], query: int, key: int, pair: int = 0) -> float:
    """By how many positions the pair (query, key) is rotated: that of the query minus that of the key."""
    [owner] = [piece for piece in pieces if piece.region.owns(query, key)]
    return owner.query.at(query, pair) - owner.key.at(key, pair)
