"""Attention under pieces: exact, and never with a matrix of length times length.

Reading (many queries): for each block of queries and each piece, the keys that every query of the block sees in that
piece are a rectangle without a mask; what is left at its two borders is at most some blocks wide and gets one. Parts
over disjoint keys are merged by their log-sum-exp. Decoding (one query): keys are turned back by the mapped distance
and the query stays as it is, so it is one call.

Tensor suffixes: B rows, H query heads, K key heads, S queries, N keys, D head dimension.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from extenders.pieces import LogitScale, Piece, Positions, Region
from harness.rope.attention_kernels import Part, attend, merged
from harness.rope.rotation import spread

QUERIES_AT_ONCE = {"cpu": 256, "cuda": 1024}


@dataclass(frozen=True)
class TurnedPairs:
    """How a model turns vectors: which dimensions make a pair, and in which dtype its cos and sin are."""

    neighbours: bool  # dimensions 2p and 2p+1; else p and p + d/2
    dtype: torch.dtype

    def table(self, phase: Tensor, factor: float | Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin (…, d) of phases (…, pairs)."""
        layout = "interleave" if self.neighbours else "half_cat"
        cos, sin = ((part * factor).to(self.dtype) for part in (phase.cos(), phase.sin()))
        return spread(layout, cos), spread(layout, sin)

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (…, D) with its first d dimensions turned."""
        d = cos.shape[-1]
        first, rest = x[..., :d], x[..., d:]
        if self.neighbours:
            other = torch.stack((-first[..., 1::2], first[..., 0::2]), -1).flatten(-2)
        else:
            other = torch.cat((-first[..., d // 2 :], first[..., : d // 2]), -1)
        turned = (first * cos + other * sin).to(x.dtype)
        return torch.cat((turned, rest), -1) if rest.shape[-1] else turned


@dataclass(frozen=True)
class LivePiece:
    """A piece with frequencies as the model's own float32 values."""

    piece: Piece
    inv_freq: Tensor  # [pairs], float32, on the CPU
    factor: float  # on cos and sin

    def query_phase(self, first: int, count: int, device: torch.device) -> Tensor:
        return phase_of(self.piece.query, first, count, self.inv_freq.to(device))

    def key_phase(self, first: int, count: int, device: torch.device) -> Tensor:
        return phase_of(self.piece.key, first, count, self.inv_freq.to(device))


def phase_of(positions: Positions, first: int, count: int, inv_freq: Tensor) -> Tensor:
    """Phases [count, pairs] of tokens first … first + count - 1, formed in float32 as the model itself forms them."""
    x = torch.arange(first, first + count, device=inv_freq.device)[:, None]
    if positions.modulo is not None:
        x = x % positions.modulo
    x = torch.div(x * positions.times + positions.plus, _tensor(positions.divide, x), rounding_mode="floor")
    place = x + _tensor(positions.shift, x.double())
    if positions.most is not None:
        place = place.clamp(max=positions.most)
    return place.float() * inv_freq


def _tensor(value: float | tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def scales_of(scale: LogitScale | None, first: int, count: int, device: torch.device) -> Tensor | None:
    """Multipliers [count] of the logits of queries, float32."""
    if scale is None:
        return None
    p = torch.arange(first, first + count, device=device)
    steps = torch.div(p + scale.offset, scale.step, rounding_mode="floor").double()
    return (scale.base + scale.slope * torch.log(scale.plus + steps)).clamp(min=scale.least).float()


class ManyQueries:
    """Queries at `first` … `first + count - 1` and all keys up to the last of them, under one plan.

    Tables are made once and serve every layer.
    """

    def __init__(
        self, pieces: Sequence[LivePiece], first: int, count: int, turn: TurnedPairs, device: torch.device
    ) -> None:
        self.pieces, self.first, self.count, self.turn = pieces, first, count, turn
        total = first + count
        self._keys = [turn.table(live.key_phase(0, total, device), live.factor) for live in pieces]
        self._queries = [turn.table(live.query_phase(first, count, device), live.factor) for live in pieces]
        self._scales = [scales_of(live.piece.logit_scale, first, count, device) for live in pieces]

    def __call__(self, query_BHSD: Tensor, key_BKND: Tensor, value_BKND: Tensor, scale: float) -> Tensor:
        """[B, S, H, D]."""
        B, H, S, D = query_BHSD.shape
        K = key_BKND.shape[1]
        out_BSHD = query_BHSD.new_empty(B, S, H, D)
        turned = [self.turn(key_BKND, cos, sin) for cos, sin in self._keys]
        step = QUERIES_AT_ONCE.get(query_BHSD.device.type, 256)
        for start, stop in self._blocks(step):
            parts: list[Part] = []
            for number, key in enumerate(turned):
                query = self._query(query_BHSD[:, :, start:stop], number, start, stop).reshape(B, K, -1, D)
                parts += self._parts(query, key, value_BKND, scale, number, start, stop)
            out = merged(parts)[0].reshape(B, H, stop - start, D)
            out_BSHD[:, start:stop] = out.transpose(1, 2).to(out_BSHD.dtype)
        return out_BSHD

    def _blocks(self, step: int) -> Iterator[tuple[int, int]]:
        """Queries start … stop - 1, never over the end of a chunk, so that what they see has few borders."""
        start = 0
        chunk = self.pieces[0].piece.region.chunk
        while start < self.count:
            rest = chunk - (self.first + start) % chunk if chunk > 1 else step
            stop = min(start + step, start + rest, self.count)
            yield start, stop
            start = stop

    def _query(self, query: Tensor, number: int, start: int, stop: int) -> Tensor:
        cos, sin = self._queries[number]
        query = self.turn(query, cos[start:stop], sin[start:stop])
        scales = self._scales[number]
        return query if scales is None else (query * scales[start:stop, None]).to(query.dtype)

    def _parts(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float, number: int, start: int, stop: int
    ) -> list[Part]:
        """Attention of a block of queries to the keys of one piece. Query heads that share a key head come as more
        queries [B, K, H/K · S, D]."""
        region = self.pieces[number].piece.region
        least, end = region.keys(self.first + start)  # of the block's first query
        begin, most = region.keys(self.first + stop - 1)  # of its last; both only grow from query to query
        end = end if end >= begin else begin - 1
        inner = slice(begin, end + 1)
        parts = [attend(query, key[:, :, inner], value[:, :, inner], scale, None)] if end >= begin else []
        border = torch.cat(
            [torch.arange(a, max(a, b), device=query.device) for a, b in ((least, begin), (end + 1, most + 1))]
        )
        if len(border):
            i = torch.arange(self.first + start, self.first + stop, device=query.device)[:, None]
            firsts, lasts = bounds(region, i)
            seen = ((firsts <= border) & (border <= lasts)).repeat(query.shape[2] // (stop - start), 1)
            parts.append(attend(query, key[:, :, border], value[:, :, border], scale, seen))
        return parts


def bounds(region: Region, i: Tensor) -> tuple[Tensor, Tensor]:
    """First and last key that a region owns for queries, as `Region.keys`."""
    place = torch.div(i, region.chunk, rounding_mode="floor")
    first = torch.zeros_like(i) if region.stop is None else ((place - region.stop + 1) * region.chunk).clamp(min=0)
    return first, torch.minimum(i, (place - region.start + 1) * region.chunk - 1)


class OneQuery:
    """One query in each row, at `places` (tokens before it). Keys of shorter rows stand at the end."""

    def __init__(
        self, rows: Sequence[Sequence[LivePiece]], places: Sequence[int], turn: TurnedPairs, device: torch.device
    ) -> None:
        self.turn, total = turn, max(places) + 1
        made = [_turned_back(pieces, place, total, device) for pieces, place in zip(rows, places, strict=True)]
        phase, factor, multiplier = (torch.stack(parts)[:, None] for parts in zip(*made, strict=True))
        self._cos, self._sin = turn.table(phase, factor)
        scaled = any(live.piece.logit_scale is not None for pieces in rows for live in pieces)
        self._multiplier = multiplier if scaled else None
        pads = torch.tensor([total - place - 1 for place in places], device=device)
        padded = min(places) + 1 < total
        self._seen = (torch.arange(total, device=device) >= pads[:, None])[:, None, None] if padded else None

    def __call__(self, query_BHSD: Tensor, key_BKND: Tensor, value_BKND: Tensor, scale: float) -> Tensor:
        """[B, 1, H, D]."""
        B, H, _, D = query_BHSD.shape
        key = self.turn(key_BKND, self._cos, self._sin)
        if self._multiplier is not None:
            key = (key * self._multiplier).to(key.dtype)
        query = query_BHSD.reshape(B, key.shape[1], -1, D)
        seen = None if self._seen is None else self._seen.expand(-1, -1, query.shape[2], -1)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value_BKND, attn_mask=seen, scale=scale)
        return out.reshape(B, H, 1, D).transpose(1, 2)


def _turned_back(
    pieces: Sequence[LivePiece], place: int, total: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """For the keys of one query: phases [N, pairs] of minus the mapped distance, factors of the logits by rotation
    [N, 1] and by the query's position [N, 1]. Padding before them has zeros."""
    parts = []
    for live in sorted(pieces, key=lambda live: -live.piece.region.start):  # the farthest keys come first
        first, last = live.piece.region.keys(place)
        if first <= last:
            count, scale = last - first + 1, live.piece.logit_scale
            phase = live.key_phase(first, count, device) - live.query_phase(place, 1, device)
            factor = torch.full((count, 1), live.factor**2, device=device)
            parts.append((phase, factor, torch.full_like(factor, 1.0 if scale is None else scale.at(place))))
    pad = (0, 0, total - place - 1, 0)
    phase, factor, multiplier = (torch.nn.functional.pad(torch.cat(same), pad) for same in zip(*parts, strict=True))
    return phase, factor, multiplier
