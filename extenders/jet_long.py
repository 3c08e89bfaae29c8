"""Jet-Long, NVIDIA 2026, arXiv:2607.07740: near keys as trained, far keys in as few groups as the prompt needs.

Distances up to w0 as trained; beyond, ⌊i/G⌋ - ⌊j/G⌋ with G = ⌈n/w⌉; off up to w tokens. There is no offset, so w0 + 1
falls back to about (w0 + 1)/G, a position that near keys have too; `offset: true` adds Self-Extend's w0 - ⌊w0/G⌋.
Defaults: w = L, w0 = L/16, their 2,048 of 32,768. Their merge subtracts two nearly equal sums, and their G follows the
tokens read so far, so answers depend on how a prompt is cut; our n is the whole prompt with its new tokens.
"""

import math
from dataclasses import dataclass

from extenders._check import check_flag
from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Positions, near_and_far


@dataclass(frozen=True, kw_only=True)
class JetLong(Extender):
    """A plan for every length."""

    reach: int | None = None  # tokens, w: positions that far keys may have; None: L
    window: int | None = None  # tokens, w0; None: L/16
    offset: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(reach=self.reach, window=self.window)
        check_flag("offset", self.offset)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        reach, window = window_of("reach", self.reach, rope, 1), window_of("window", self.window, rope, 1 / 16)
        if self.factor(rope) == 1 or length <= reach:
            return RopePlan.as_trained(rope)
        group = math.ceil(length / reach)
        query = Positions(divide=group, shift=window - window // group if self.offset else 0)
        pieces = near_and_far(window + 1, query, Positions(divide=group))
        return RopePlan(rope.inv_freq, rope.attention_factor, pieces=pieces)
