"""Position Interpolation (arXiv:2306.15595) with its factor tuned: positions are divided by less or more than s.

Without training, dividing every pair by s destroys short distances; a smaller factor trades reach for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._check import check_positive
from extenders.base import RopePlan, RopeSpec
from extenders.search.family import Axis
from extenders.search.tuning import TunedExtender


@dataclass(frozen=True, kw_only=True)
class TunedInterpolation(TunedExtender):
    """λ_i = `divisor` for every pair, at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("divisor",)

    divisor: float | None = None  # None: searched in 1 … 2s

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divisor is not None:
            check_positive("divisor", self.divisor)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.divisor is not None
        return RopePlan.rescaled(rope, [self.divisor] * len(rope.inv_freq))

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        return (Axis("divisor", 1.0, 2 * self.factor(rope), log=True),)

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        return {"pi": {"divisor": self.factor(rope)}}

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"divisor": 3.0}
