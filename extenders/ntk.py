"""NTK-aware base change with a fixed factor, bloc97 2023 (written down in YaRN, arXiv:2309.00071, §3.1).

θ' = θ · s^(d/(d-2)): the fastest pair keeps its frequency and the slowest, pair d/2-1, is divided by exactly s.
In rescale factors this is λ_i = s^(i/c) with c = d/2-1. LongRoPE2 (arXiv:2502.20082, §3.1) compares against the
same formula with c = (d/2)·log_θ(L/2π), the pair whose period is the trained length; `critical_pair` names c.

Deviation: none from the formula. transformers has no static type of it; it is the default type with θ'.
"""

from dataclasses import dataclass
from typing import Literal

from extenders._check import check_positive
from extenders._formulas import ntk_fill
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Ntk(Extender):
    """The same new base at every length.

    `critical_pair` is the pair that is divided by exactly s: None for the last one, "theoretical" for
    LongRoPE2's baseline, or a number of one's own (also between two pairs).
    """

    critical_pair: float | Literal["theoretical"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.critical_pair, str):
            if self.critical_pair != "theoretical":
                raise ValueError(f"critical_pair must be a number above 0 or 'theoretical', got {self.critical_pair!r}")
        elif self.critical_pair is not None:
            check_positive("critical_pair", self.critical_pair)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        pairs = len(rope.inv_freq)
        if self.critical_pair is None:
            critical = pairs - 1.0
        elif isinstance(self.critical_pair, str):
            critical = rope.pair_of_period(rope.trained_length)
        else:
            critical = self.critical_pair
        # a head with one pair, or a window below one turn of the fastest, has no such pair; the second stands in
        if critical <= 0:
            critical = 1.0
        return RopePlan.rescaled(rope, ntk_fill(critical, self.factor(rope), pairs))
