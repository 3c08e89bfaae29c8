"""One ramp, wholly tuned (`ramp`, ours): where it begins and ends, how high, on which curve, and the temperature.

The strong baseline beside a search of all factors: YaRN, late ramps and everything between are points of it, and the
pairs beyond the ramp may be divided by more than s, which no other tuned baseline has. It starts from YaRN, from YaRN
with a slow end of 1.25 · s, and from `late_ramp`. Numbers that are given are not searched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._formulas import yarn_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.ramp import TransitionRamp
from extenders.search.family import Axis
from extenders.search.shapes import lower_critical_pair, upper_critical_pair
from extenders.search.tuning import TunedExtender
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class CurveTuned(TunedExtender):
    """The same plan at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("low", "high", "top", "curve", "attention_factor")

    low: float | None = None  # pair where the ramp begins; a ramp that would end before it is a step
    high: float | None = None  # pair where it ends
    top: float | None = None  # rescale factor from there on; None: searched in 0.75·s … 3·s
    curve: float | None = None  # power mean of 1 and `top`: -1 YaRN's curve, 0 geometric; None: searched in -2 … 1
    attention_factor: float | None = None  # of cos and sin; None: searched between 1 and twice YaRN's excess over 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for low_or_others in (("low",), self.FINDS[1:]):  # apart, as candidates of a search may have low above high
            given = {name: getattr(self, name) for name in low_or_others if getattr(self, name) is not None}
            TransitionRamp(target_length=self.target_length, **given)  # checks each number

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        numbers = {name: getattr(self, name) for name in self.FINDS}
        numbers["low"] = min(numbers["low"], numbers["high"])
        return TransitionRamp(target_length=self.target_length, **numbers).plan(rope, length)

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        factor, last = self.factor(rope), float(max(len(rope.inv_freq), self._yarn(rope)[1]))
        return (
            Axis("low", 0.0, float(upper_critical_pair(rope))),
            Axis("high", float(lower_critical_pair(rope)), last),
            Axis("top", max(0.75 * factor, 1.0), 3 * factor, log=True),
            Axis("curve", -2.0, 1.0),
            Axis("attention_factor", 1.0, 2 * yarn_attention_factor(factor) - 1),
        )

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        factor, (low, high) = self.factor(rope), self._yarn(rope)
        critical, attention = max(rope.critical_pair, 1), {"attention_factor": yarn_attention_factor(factor)}
        band = {"low": low, "high": high, "curve": -1.0, **attention}
        late = {"low": max(critical - 6.0, 0.0), "high": float(critical), "curve": 0.0, **attention}
        return {
            "yarn": {**band, "top": factor},
            "yarn to 1.25 s": {**band, "top": 1.25 * factor},
            "late ramp": {**late, "top": 1.25 * factor},
        }

    def _yarn(self, rope: RopeSpec) -> tuple[float, float]:
        return Yarn(target_length=self.target_length).ramp(rope)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        last = float(len(rope.inv_freq))
        return {"low": 0.4 * last, "high": 0.6 * last, "top": 20.0, "curve": -0.5, "attention_factor": 1.1}
