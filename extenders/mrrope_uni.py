"""MrRoPE-Uni, 2026 (ICLR), arXiv:2601.22181, eqs. 13-16: YaRN's band, in which neighbours have one ratio.

λ_i = s^(q/N) with q = i - low and N = high - low; ends and attention factor are YaRN's. In the authors' code this is
`yarn_radix`. Deviation: a band of no width is a step, where the code divides by 0.
"""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.ramp import TransitionRamp


@dataclass(frozen=True, kw_only=True)
class MrRopeUni(Extender):
    """The same plan at every length."""

    attention_factor: float | None = None  # multiplies cos and sin; None: 0.1·ln s + 1

    def __post_init__(self) -> None:
        self._ramp()

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return self._ramp().plan(rope, length)

    def _ramp(self) -> TransitionRamp:
        return TransitionRamp(
            target_length=self.target_length, curve="geometric", attention_factor=self.attention_factor
        )
