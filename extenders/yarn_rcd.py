"""YaRN-rcd (LongRoPE2, arXiv:2502.20082, Table 5): YaRN whose slow group begins at the real critical pair.

YaRN divides by s all pairs that turn less than `beta_slow` times in the trained length; here it does so from
`critical_pair` on, which is searched between the pair that turns ten times and the theoretical critical pair. The fast
group stays as YaRN has it. The paper does not say how its real critical dimension enters YaRN; this is the reading
that changes nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from extenders._check import check_positive
from extenders._formulas import yarn_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.search.family import Axis
from extenders.search.shapes import lower_critical_pair, power_ramp, upper_critical_pair
from extenders.search.tuning import TunedExtender
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class YarnRcd(TunedExtender):
    """The same plan at every length."""

    FINDS: ClassVar[tuple[str, ...]] = ("critical_pair",)

    critical_pair: float | None = None  # where the slow group begins; None: searched

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.critical_pair is not None:
            check_positive("critical_pair", self.critical_pair)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.critical_pair is not None
        low = min(float(Yarn(target_length=self.target_length).ramp(rope)[0]), self.critical_pair)
        factor = self.factor(rope)
        factors = power_ramp(len(rope.inv_freq), low, self.critical_pair - low, factor, -1.0)
        return RopePlan.rescaled(rope, factors, yarn_attention_factor(factor))

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        return (Axis("critical_pair", float(lower_critical_pair(rope)), float(upper_critical_pair(rope))),)

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        return {"theory": {"critical_pair": float(upper_critical_pair(rope))}}

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"critical_pair": float(lower_critical_pair(rope))}
