"""Hard clipping, the ablation of CoPE (2026, arXiv:2602.05258, §4.2 and its code): the slowest pairs stand still.

20 of 64 pairs have frequency 0 and carry no position; other head sizes get the same share. `p_rope` counts the pairs
that stay. Deviation: only for targets above the trained length (the authors train with it from there on).
"""

import math
from dataclasses import dataclass

from extenders._check import check_whole
from extenders._formulas import slow_pairs
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class HardClip(Extender):
    """The same plan at every length."""

    clipped: int | None = None  # pairs; None: 20 of every 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clipped is not None:
            check_whole("clipped", self.clipped)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        pairs = len(rope.inv_freq)
        stopped = 0 if self.factor(rope) == 1 else slow_pairs(pairs, self.clipped)
        return RopePlan.rescaled(rope, [1.0] * (pairs - stopped) + [math.inf] * stopped)
