"""p-RoPE, Barbero et al. 2024, arXiv:2410.06205: the fastest share p of the pairs rotates, the rest stands still.

⌊p · d/2⌋ pairs stay as trained, as transformers' `proportional` counts them; p = 0 removes all rotation (DroPE's first
step, arXiv:2512.12167). Deviation: the paper trains with it from the start; here it is put on a trained model, for
targets above the trained length.
"""

import math
from dataclasses import dataclass

from extenders._check import check_not_negative
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class PRope(Extender):
    """The same plan at every length."""

    p: float = 0.75  # share of the pairs that rotate, 0 … 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("p", self.p)
        if self.p > 1:
            raise ValueError(f"p must be in 0 … 1, got {self.p}")

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        pairs = len(rope.inv_freq)
        kept = pairs if self.factor(rope) == 1 else int(self.p * pairs)
        return RopePlan.rescaled(rope, [1.0] * kept + [math.inf] * (pairs - kept))
