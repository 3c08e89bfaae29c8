"""A smooth family that holds PI, NTK, YaRN and the start of LongRoPE's released search: a ramp from 1 to a top factor.

Four numbers: the pair where the ramp begins, its width in pairs, its top, and how factors are blended along it
(`shapes.power_ramp`). Further moves stretch a few neighbouring factors.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from extenders._formulas import yarn_attention_factor
from extenders.base import RopeSpec
from extenders.search.family import Axis
from extenders.search.free_factors import Start
from extenders.search.shapes import monotone, power_ramp, stretch, upper_critical_pair

SLOW_END, LATE = 1.25, 6.0  # of `late_ramp`: its top in s, and how many pairs before the critical one it begins


@dataclass(frozen=True)
class Ramp:
    """Factors from 1 to at most `most`, never falling with the pair."""

    rope: RopeSpec
    most: float

    @property
    def pairs(self) -> int:
        return len(self.rope.inv_freq)

    def axes(self) -> tuple[Axis, ...]:
        return (
            Axis("low", 0.0, float(upper_critical_pair(self.rope))),
            Axis("width", 0.0, float(max(self.pairs - 1, 1))),
            Axis("top", 1.0, self.most),
            Axis("power", -1.0, 1.0),
        )

    def factors(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """The factors at these values of the axes."""
        ramp = power_ramp(self.pairs, values["low"], values["width"], values["top"], values["power"])
        return monotone(ramp, 1.0, self.most)

    def stretched(self, factors: tuple[float, ...], rng: random.Random, step: float) -> tuple[float, ...]:
        return stretch(factors, 0, 1.0, self.most, rng, step)

    def free_starts(self, top: float, own: float, any_attention: bool) -> dict[str, Start]:
        """YaRN, late ramps and NTK for a search by gradient.

        They have the method's `own` attention factor, or that of their source where any may be taken.
        """
        starts = {}
        for name in ("yarn", "late", "yarn, higher", "ntk-theoretical"):
            values = self.starts(top)[name]
            attention = values.get("attention_factor", own) if any_attention else own
            starts[name] = Start(self.factors(values), attention)
        return starts

    def starts(self, top: float) -> dict[str, dict[str, float]]:
        """Known methods that reach the factor `top`, as values of the axes."""
        rope = self.rope
        critical = max(rope.pair_of_period(rope.trained_length), 1.0)
        fastest = min(max(rope.pair_of_period(rope.trained_length / 32), 0.0), critical)
        slow = {"low": fastest, "width": critical - fastest, "top": top}  # YaRN's ramp
        whole = {"low": 0.0, "top": top}
        end, last = min(SLOW_END * top, self.most), float(max(rope.critical_pair, 1))
        late = {"low": max(last - LATE, 0.0), "width": min(LATE, last), "top": end, "power": 0.0}
        yarn = {"attention_factor": yarn_attention_factor(top)}  # where it is an axis
        return {
            "yarn": {**slow, **yarn, "power": -1.0},
            "late": {**late, **yarn},
            "yarn, higher": {**slow, **yarn, "top": end, "power": -1.0},
            "ntk": {**whole, "width": float(max(self.pairs - 1, 1)), "power": 0.0},
            "ntk-theoretical": {**whole, "width": critical, "power": 0.0},
            "pi": {**whole, "width": 0.0, "power": 0.0},
            "released": {**slow, "power": 1.0},
        }
