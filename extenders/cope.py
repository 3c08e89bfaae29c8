"""CoPE, soft clipping, 2026, arXiv:2602.05258, §4.2: the slowest pairs fade, the last one stands still.

Of n clipped pairs, number k = 0 … n-1 keeps the share ½(1 + cos(πk/(n-1))) of its frequency. This is the authors' code,
with n = 20 of 64 pairs; other head sizes get the same share, for which the paper has no rule. `taper: frequency` is the
paper's formula as far as it could be read: a cosine of the frequency in place of the index, which fades much earlier.

Deviations: only for targets above the trained length (the authors train with it from there on). Beyond the length that
they trained they put YaRN under it (`extend: yarn`, with s = target / trained length).
"""

from dataclasses import dataclass
from typing import Literal

from extenders._check import check_choice, check_whole
from extenders._formulas import fading, slow_pairs
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class Cope(Extender):
    """The same plan at every length."""

    clipped: int | None = None  # pairs; None: 20 of every 64
    taper: Literal["index", "frequency"] = "index"
    extend: Literal["none", "yarn"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("clipped", 0 if self.clipped is None else self.clipped)
        check_choice("taper", self.taper, ("index", "frequency"))
        check_choice("extend", self.extend, ("none", "yarn"))

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        yarn = Yarn(target_length=self.target_length).plan(rope, length)
        under, first = yarn if self.extend == "yarn" else RopePlan.as_trained(rope), len(rope.inv_freq)
        first -= slow_pairs(len(rope.inv_freq), self.clipped)
        kept = [1.0] * first + fading(rope.base_inv_freq[first:], self.taper == "frequency")
        return RopePlan(tuple(a * b for a, b in zip(under.inv_freq, kept, strict=True)), under.attention_factor)
