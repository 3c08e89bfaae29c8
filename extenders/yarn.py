"""YaRN, Peng et al. 2023, arXiv:2309.00071: NTK-by-parts (§3.2) and an attention temperature (§3.4).

Pairs that turn more than `beta_fast` times in the trained length stay as trained, those that turn less than
`beta_slow` times are divided by s, and between the two the frequencies (not the factors) are blended linearly in
the pair index: λ_i = 1 / ((1-γ_i) + γ_i/s). cos and sin are multiplied by 0.1·ln s + 1, so logits see its square.

Deviation from the paper: its ramp is linear in the number of turns (eq. 18). The authors' code and transformers
use one that is linear in the pair index, with ends rounded outwards and clipped to [0, d-1]; so does this file,
and every published YaRN model.
"""

import math
from dataclasses import dataclass

from extenders._check import check_flag, check_positive
from extenders._formulas import yarn_attention_factor
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Yarn(Extender):
    """The same plan at every length."""

    beta_fast: float = 32.0  # turns in the trained length; §3.2 recommends 32 and 1 for LLaMA models
    beta_slow: float = 1.0
    attention_factor: float | None = None  # multiplies cos and sin; None: 0.1·ln s + 1. 1 switches it off
    truncate: bool = True  # round the ends of the ramp to whole pairs

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta_slow", self.beta_slow)
        check_positive("beta_fast", self.beta_fast)
        if self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast must be above beta_slow, got {self.beta_fast} and {self.beta_slow}")
        if self.attention_factor is not None:
            check_positive("attention_factor", self.attention_factor)
        check_flag("truncate", self.truncate)

    def ramp(self, rope: RopeSpec) -> tuple[float, float]:
        """The pairs (low, high) between which the frequencies are blended."""
        low = rope.pair_of_period(rope.trained_length / self.beta_fast)
        high = rope.pair_of_period(rope.trained_length / self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        # d-1, not d/2-1, as the authors have it: with a long trained window the ramp ends beyond the last pair
        return max(low, 0), min(high, rope.rotary_dims - 1)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        factor = self.factor(rope)
        if factor == 1:
            return RopePlan.as_trained(rope)
        low, high = self.ramp(rope)
        width = high - low or 0.001  # the authors' guard for a ramp of no width
        slowness = [min(max((i - low) / width, 0.0), 1.0) for i in range(len(rope.inv_freq))]  # γ: 0 fast, 1 slow
        factors = [1 / ((1 - gamma) + gamma / factor) for gamma in slowness]
        default = yarn_attention_factor(factor)
        return RopePlan.rescaled(rope, factors, default if self.attention_factor is None else self.attention_factor)
