"""Hunyuan's alpha (Tencent, its released configurations, where it is called dynamic but never changes).

θ' = θ · α^(d/(d-2)): NTK's base change (`ntk`) with a fixed α in place of s, which divides the slowest pair by just α.
Hunyuan has α = 1,000 with θ = 10,000, so far more than its window grows. Equal to transformers' `ntk_alpha`.
"""

from dataclasses import dataclass

from extenders._check import check_positive
from extenders._formulas import ntk_fill
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class HunyuanNtk(Extender):
    """The same plan at every length and for every target above the trained length."""

    alpha: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("alpha", self.alpha)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        pairs = len(rope.inv_freq)
        return RopePlan.rescaled(rope, ntk_fill(max(pairs - 1, 1), self.alpha, pairs))
