"""Late ramp (ours, not from a paper): as trained until shortly before the critical pair, then up to more than s at it.

Pairs up to `before` pairs in front of the theoretical critical pair stay as trained; from there λ rises geometrically
to `overshoot` · s at the critical pair and stays. YaRN slows pairs down earlier and by no more than s. Both numbers are
from the pocket models (32 pairs, 512 tokens as trained, 8 times extended: 0.03 nats on hidden needles where YaRN has
0.28) and nobody knows yet whether they are good for larger ones.
"""

from dataclasses import dataclass

from extenders._check import check_not_negative, check_positive
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.ramp import TransitionRamp


@dataclass(frozen=True, kw_only=True)
class LateRamp(Extender):
    """The same plan at every length."""

    before: float = 6.0  # pairs
    overshoot: float = 1.25  # of the slow pairs' factor over s
    attention_factor: float | None = None  # multiplies cos and sin; None: 0.1·ln s + 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("before", self.before)
        check_positive("overshoot", self.overshoot)
        if self.attention_factor is not None:
            check_positive("attention_factor", self.attention_factor)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        critical = max(rope.critical_pair, 1)
        low, top = max(critical - self.before, 0.0), self.overshoot * self.factor(rope)
        ramp = TransitionRamp(
            target_length=self.target_length,
            curve="geometric",
            low=low,
            high=critical,
            top=top,
            attention_factor=self.attention_factor,
        )
        return ramp.plan(rope, length)
