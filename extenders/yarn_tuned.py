"""YaRN (arXiv:2309.00071) with its own numbers tuned: both ends of its ramp, how high it is, and its temperature.

The paper recommends 32 and 1 for LLaMA models and a temperature by a formula, and says that other models want others
(§3.2, §3.4). Each number that is not given is searched, around the recommended ones. Ours: the slow pairs may be
divided by more than s (`top`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._check import check_positive
from extenders._curves import transition
from extenders._formulas import yarn_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.search.family import Axis
from extenders.search.ramp_family import SLOW_END
from extenders.search.tuning import TunedExtender
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class YarnTuned(TunedExtender):
    """The same plan at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("beta_fast", "beta_slow", "attention_factor")

    beta_fast: float | None = None  # turns in the trained length; None: searched in 12 … 128
    beta_slow: float | None = None  # turns in the trained length; None: searched in 0.25 … 10
    top: float | None = (
        None  # rescale factor of the slow pairs; None: searched in s … 2s, and s where nothing is searched
    )
    attention_factor: float | None = None  # of cos and sin; None: searched between 1 and twice YaRN's excess over 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*self.FINDS, "top"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.beta_fast is not None and self.beta_slow is not None and self.attention_factor is not None
        method = Yarn(
            target_length=self.target_length,
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            attention_factor=self.attention_factor,
            truncate=False,
        )
        if self.top is None:
            return method.plan(rope, length)
        low, high = method.ramp(rope)
        factors = transition("yarn", len(rope.inv_freq), low, max(low, high), self.top)
        return RopePlan.rescaled(rope, factors, self.attention_factor)

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        factor = self.factor(rope)
        excess = yarn_attention_factor(factor) - 1
        # a number that is given narrows the other's range, so that the ramp never ends before it begins
        fastest_slow = 10.0 if self.beta_fast is None else min(10.0, 0.9 * self.beta_fast)
        slowest_fast = 12.0 if self.beta_slow is None else max(12.0, self.beta_slow / 0.9)
        return (
            Axis("beta_fast", slowest_fast, max(128.0, 2 * slowest_fast), log=True),
            Axis("beta_slow", min(0.25, fastest_slow / 2), fastest_slow, log=True),
            Axis("top", factor, 2 * factor, log=True),
            Axis("attention_factor", 1.0, 1 + 2 * excess),
        )

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        factor = self.factor(rope)
        yarn = {"beta_fast": 32.0, "beta_slow": 1.0, "top": factor, "attention_factor": yarn_attention_factor(factor)}
        return {
            "yarn": yarn,
            "earlier": {**yarn, "beta_fast": 64.0, "beta_slow": 4.0},
            "higher": {**yarn, "top": SLOW_END * factor},
        }

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"beta_fast": 24.0, "beta_slow": 2.0, "attention_factor": 1.1}
