"""LaMPE, 2025 (Findings of ACL 2026), arXiv:2508.02308: distances between a head and a tail shrink, by a sigmoid of n.

D ≤ s1 as trained, D ≥ n - s2 is D - n + m; between, s1 … m - s2 are shared evenly. m = M / (1 + e^-(a·n + b)), fitted
for Llama-3-8B, in units of L; 0.1875·L below L tokens. cos and sin times 1 + 0.1·ln 2. Off up to 2·s1 or m tokens.
Floors are of positions, as in their code, not of distances. Their reading counts both borders twice; ours once.
"""

import math
from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Piece, Positions, Region


@dataclass(frozen=True, kw_only=True)
class Lampe(Extender):
    """A plan for every length."""

    head: int | None = None  # tokens, s1; None: L/16, their 512
    tail: int | None = None  # tokens, s2; None: 0.0244·L, their 200
    rise: float = 0.8596  # a·L
    start: float = -2.466638  # b
    most: float = 0.757374  # M/L

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(head=self.head, tail=self.tail)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        head, tail = window_of("head", self.head, rope, 1 / 16), window_of("tail", self.tail, rope, 200 / 8192)
        share = self.most / (1 + math.exp(-self.rise * length / rope.trained_length - self.start))
        size = round(rope.trained_length * (0.1875 if length < rope.trained_length else share))
        if self.factor(rope) == 1 or length <= max(2 * head, size):
            return RopePlan.as_trained(rope)
        kept, shared = max(size - head - tail, 1), length - head - tail
        middle = Positions(times=kept, plus=-head * kept, divide=shared, shift=head)
        between = Piece(Region(head + 1, length - tail), middle, Positions(times=kept, divide=shared))
        pieces = Piece(Region(0, head + 1)), between, Piece(Region(length - tail), Positions(shift=size - length))
        return RopePlan(rope.inv_freq, rope.attention_factor * (1 + 0.1 * math.log(2)), pieces=pieces)
