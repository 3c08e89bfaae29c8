"""NTK-rcd (LongRoPE2, arXiv:2502.20082, Table 5): the base change that divides the real critical pair by just s.

λ_i = s^(i/c): with c one pair later than needed, pairs beyond the window are divided by too little. c is searched
between the pair that turns ten times in the trained length and the theoretical critical pair. `abf` searches the same
family of base changes without these bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._check import check_positive
from extenders._formulas import ntk_fill
from extenders.base import RopePlan, RopeSpec
from extenders.search.family import Axis
from extenders.search.shapes import lower_critical_pair, upper_critical_pair
from extenders.search.tuning import TunedExtender


@dataclass(frozen=True, kw_only=True)
class NtkRcd(TunedExtender):
    """The same plan at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("critical_pair",)

    critical_pair: float | None = None  # the pair that is divided by s; None: searched

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.critical_pair is not None:
            check_positive("critical_pair", self.critical_pair)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.critical_pair is not None
        return RopePlan.rescaled(rope, ntk_fill(self.critical_pair, self.factor(rope), len(rope.inv_freq)))

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        return (Axis("critical_pair", float(lower_critical_pair(rope)), float(upper_critical_pair(rope))),)

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        return {"theory": {"critical_pair": float(upper_critical_pair(rope))}}

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"critical_pair": float(lower_critical_pair(rope))}
