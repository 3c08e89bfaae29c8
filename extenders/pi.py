"""Position Interpolation, Chen et al. 2023, arXiv:2306.15595, eq. 4: position m becomes m/s.

Dividing every frequency by s gives the same angles as dividing every position. No deviation; equal to
transformers' `linear`.
"""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class PositionInterpolation(Extender):
    """λ_i = s for every pair, at every length."""

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.rescaled(rope, [self.factor(rope)] * len(rope.inv_freq))
