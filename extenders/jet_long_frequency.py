"""Jet-Long's frequency form, NVIDIA 2026, arXiv:2607.07740: far keys turn slower, with the phase of near ones at w0.

Beyond w0 the phase of distance D is w0·ω + (D - w0)·ω·(1 - γ·(1 - 1/s)), γ YaRN's ramp and s = (n - w0)/(w - w0): the
slowest pair reaches w as D reaches n. Far logits times 1 + 0.1·ln s, once. Off up to w = L tokens; w0 = L/16.
"""

import math
from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import LogitScale, Piece, Positions, Region
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class JetLongFrequency(Extender):
    """A plan for every length."""

    reach: int | None = None  # tokens, w; None: L
    window: int | None = None  # tokens, w0; None: L/16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(reach=self.reach, window=self.window)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        reach = window_of("reach", self.reach, rope, 1)
        window = window_of("window", self.window, rope, 1 / 16, below=reach)
        if self.factor(rope) == 1 or length <= reach:
            return RopePlan.as_trained(rope)
        slower = (length - window) / (reach - window)
        low, high = Yarn(target_length=self.target_length).ramp(rope)
        width, pairs = max(min(high, len(rope.inv_freq) - 1) - low, 0.001), range(len(rope.inv_freq))
        kept = [1 - min(max((pair - low) / width, 0.0), 1.0) * (1 - 1 / slower) for pair in pairs]
        inv_freq = tuple(rope.inv_freq[pair] * kept[pair] for pair in pairs)
        query = Positions(shift=tuple(window * (1 / share - 1) for share in kept))
        scale = LogitScale(1 + 0.1 * math.log(slower))
        pieces = Piece(Region(0, window + 1)), Piece(Region(window + 1), query, Positions(), inv_freq, scale)
        return RopePlan(rope.inv_freq, rope.attention_factor, pieces=pieces)
