"""NTK-by-parts, bloc97 2023, written down in YaRN (arXiv:2309.00071, §3.2): YaRN without its attention factor.

Pairs that turn more than `beta_fast` times in the trained length stay, those below `beta_slow` turns are divided by s,
between the two frequencies are blended. The paper's blend is linear in turns (its eq. 18), that of all code, YaRN's
authors' too, in the pair index: `linear_in` names either. In turns this is Llama 3.1's form with other ends.
"""

from dataclasses import dataclass
from typing import Literal

from extenders._check import check_choice
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.llama3 import Llama3
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class NtkByParts(Extender):
    """The same plan at every length."""

    beta_fast: float = 32.0  # turns in the trained length
    beta_slow: float = 1.0
    linear_in: Literal["pairs", "turns"] = "pairs"

    def __post_init__(self) -> None:
        check_choice("linear_in", self.linear_in, ("pairs", "turns"))
        self._method()

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return self._method().plan(rope, length)

    def _method(self) -> Extender:
        target, fast, slow = self.target_length, self.beta_fast, self.beta_slow
        if self.linear_in == "turns":
            return Llama3(target_length=target, low_freq_factor=slow, high_freq_factor=fast)
        return Yarn(target_length=target, beta_fast=fast, beta_slow=slow, attention_factor=1.0)
