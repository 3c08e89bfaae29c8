"""Dual chunk attention, An et al. 2024, arXiv:2402.17463 (HKUNLP/ChunkLlama): positions start again in every chunk.

c = C - local tokens are a chunk; keys stand at j mod c. A query sees its own chunk from i mod c, the one before from
min(i mod c + c, C), older ones from min(2c - 1, C). Defaults C = ¾·L, local ⅛·L. cos and sin times 1 + 0.05·ln(n/L)
beyond the window. Their factor grows with the longest prompt so far and stays for later, shorter ones; ours follows
from the length of this prompt. Across the border of two chunks distances are exact up to local + 1 and then flat. Their
reading rounds the weights of its merge to bfloat16, so it differs from their decoding; ours does not.
"""

import math
from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Piece, Positions, Region


@dataclass(frozen=True, kw_only=True)
class DualChunkAttention(Extender):
    """One set of pieces; the temperature follows the length."""

    chunk: int | None = None  # tokens, C; None: ¾·L
    local: int | None = None  # tokens; None: ⅛·L

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(chunk=self.chunk, local=self.local)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        most = window_of("chunk", self.chunk, rope, 3 / 4)
        c = most - window_of("local", self.local, rope, 1 / 8, below=most)
        keys, last = Positions(modulo=c), Positions(times=0, shift=min(2 * c - 1, most))
        before = Positions(modulo=c, shift=c, most=most)
        places = ((0, 1, keys), (1, 2, before), (2, None, last))
        pieces = tuple(Piece(Region(start, stop, c), query, keys) for start, stop, query in places)
        factor = 1 + 0.05 * math.log(max(1.0, length / rope.trained_length))
        return RopePlan(rope.inv_freq, rope.attention_factor * factor, pieces=pieces)
