"""One ramp from pairs as trained to slow pairs, with any transition curve: YaRN's, both of MrRoPE's, and between.

Without parameters this is YaRN (arXiv:2309.00071). Pairs up to `low` stay, those from `high` on are divided by `top`,
and `curve` is the way between them; extenders/_curves.py has the formulas, their sources and the one deviation.
"""

from dataclasses import dataclass

from extenders._check import check_not_negative, check_positive
from extenders._curves import Curve, check_curve, transition
from extenders._formulas import yarn_attention_factor
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class TransitionRamp(Extender):
    """The same plan at every length."""

    curve: Curve | float = "yarn"  # a number is the power mean: -1 YaRN's curve, 0 geometric
    low: float | None = None  # pair, also between two; None: YaRN's, whole, with 32 turns
    high: float | None = None  # pair, also beyond the last; None: YaRN's, with one turn
    top: float | None = None  # rescale factor; None: s
    attention_factor: float | None = None  # multiplies cos and sin; None: 0.1·ln s + 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_curve(self.curve)
        check_not_negative("low", self.low or 0.0)
        for name in ("high", "top", "attention_factor"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low} and {self.high}")

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        factor = self.factor(rope)
        if factor == 1:
            return RopePlan.as_trained(rope)
        low, high = Yarn(target_length=self.target_length).ramp(rope)
        low, high = low if self.low is None else self.low, high if self.high is None else self.high
        factors = transition(self.curve, len(rope.inv_freq), low, high, factor if self.top is None else self.top)
        given = self.attention_factor
        return RopePlan.rescaled(rope, factors, yarn_attention_factor(factor) if given is None else given)
