"""Resonance RoPE, Wang et al. 2024, arXiv:2403.00071: every pair turns once in a whole number of tokens.

The wavelength 2π/ω of each pair is rounded, of YaRN's frequencies (the paper's Resonance YaRN) or of the trained ones
(`extend: none`, its Resonance RoPE, which reaches no further by itself). Equal to the authors' code.

Known trap: the fastest pair goes from 6.28 to 6 tokens, 4.7 %, so after 100 tokens it is 4.7 radians off what the
model was trained with. The paper trains with it.
"""

import math
from dataclasses import dataclass
from typing import Literal

from extenders._check import check_choice
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class Resonance(Extender):
    """The same plan at every length."""

    extend: Literal["yarn", "none"] = "yarn"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("extend", self.extend, ("yarn", "none"))

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        trained = RopePlan.as_trained(rope)
        if self.factor(rope) == 1:
            return trained
        under = Yarn(target_length=self.target_length).plan(rope, length) if self.extend == "yarn" else trained
        pairs = zip(rope.base_inv_freq, under.rescale_factors(rope), strict=True)
        factors = [round(2 * math.pi * factor / base) * base / (2 * math.pi) for base, factor in pairs]
        return RopePlan.rescaled(rope, factors, under.attention_factor / rope.attention_factor)
