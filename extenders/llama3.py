"""Llama 3.1's three bands (Meta 2024, reference code of llama-models, `apply_scaling`; no equation in a paper).

By the number of turns r_i of a pair in the trained length: r_i > `high_freq_factor` stays as trained, r_i <
`low_freq_factor` is divided by s, and between the two the frequency is blended linearly in r_i. No attention
factor. Equal to transformers' `llama3`.

Deviation: Llama 3.1 itself divides by 8 although its window grew 16 times (8,192 to 131,072). Here s is target
length / trained length unless `divisor` says otherwise.
"""

import math
from dataclasses import dataclass

from extenders._check import check_positive
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Llama3(Extender):
    """The same plan at every length."""

    low_freq_factor: float = 1.0  # turns in the trained length; both as in Llama 3.1
    high_freq_factor: float = 4.0
    divisor: float | None = None  # of the slow pairs; None: target length / trained length

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("low_freq_factor", self.low_freq_factor)
        check_positive("high_freq_factor", self.high_freq_factor)
        low, high = self.low_freq_factor, self.high_freq_factor
        if high <= low:
            raise ValueError(f"high_freq_factor must be above low_freq_factor, got {high} and {low}")
        if self.divisor is not None:
            check_positive("divisor", self.divisor)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        factor = self.factor(rope)
        if factor == 1:
            return RopePlan.as_trained(rope)
        divisor = factor if self.divisor is None else self.divisor
        band = self.high_freq_factor - self.low_freq_factor
        factors = []
        for inv_freq in rope.base_inv_freq:
            turns = rope.trained_length * inv_freq / (2 * math.pi)
            fastness = min(max((turns - self.low_freq_factor) / band, 0.0), 1.0)  # 0 slow, 1 fast
            factors.append(1 / (fastness + (1 - fastness) / divisor))
        return RopePlan.rescaled(rope, factors)
