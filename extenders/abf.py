"""ABF, adjusted base frequency, Xiong et al. 2023, arXiv:2309.16039, §2.1: only the base grows, by as much as helps.

λ_i = (θ'/θ)^(2i/d). The paper sets θ' = 500,000 for LLaMA-2 (θ = 10,000) and trains; Code Llama did so with 1,000,000.
Here θ' is given, or searched between θ and the base that divides the pair of the tenth turn by 2s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._check import check_positive
from extenders.base import RopePlan, RopeSpec
from extenders.search.family import Axis
from extenders.search.shapes import lower_critical_pair, upper_critical_pair
from extenders.search.tuning import TunedExtender


@dataclass(frozen=True, kw_only=True)
class AdjustedBase(TunedExtender):
    """The same plan at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("base_factor",)

    base_factor: float | None = None  # θ'/θ; None: searched

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base_factor is not None:
            check_positive("base_factor", self.base_factor)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.base_factor is not None
        exponents = [2 * i / rope.rotary_dims for i in range(len(rope.inv_freq))]
        return RopePlan.rescaled(rope, [self.base_factor**exponent for exponent in exponents])

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        return (Axis("base_factor", 1.0, self._base(rope, 2 * self.factor(rope), lower_critical_pair(rope)), log=True),)

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        factor, last = self.factor(rope), max(len(rope.inv_freq) - 1, 1)
        return {
            "ntk": {"base_factor": self._base(rope, factor, last)},
            "ntk-theoretical": {"base_factor": self._base(rope, factor, upper_critical_pair(rope))},
        }

    @staticmethod
    def _base(rope: RopeSpec, factor: float, pair: int) -> float:
        """θ'/θ that divides this pair by the factor."""
        return factor ** (rope.rotary_dims / (2 * pair))

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"base_factor": 50.0}
