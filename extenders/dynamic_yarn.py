"""Dynamic YaRN, Peng et al. 2023, arXiv:2309.00071, §3.3: YaRN with the factor that this prompt needs and no more.

s(n) = max(1, n/L) for a prompt of n tokens, new tokens included: frequencies and attention factor are those of `yarn`
for a target of just n, and a prompt within the trained length runs as trained. Deviation from the authors' code: n is
fixed before prefill and no prompt changes the plan of a later one.
"""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class DynamicYarn(Extender):
    """A plan for every length."""

    beta_fast: float = 32.0  # turns in the trained length
    beta_slow: float = 1.0
    attention_factor: float | None = None  # multiplies cos and sin; None: 0.1·ln s(n) + 1

    def __post_init__(self) -> None:
        self._yarn(self.target_length)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        return self._yarn(max(length, rope.trained_length)).plan(rope, length)

    def _yarn(self, target: int) -> Yarn:
        return Yarn(target_length=target, **self.parameters())
