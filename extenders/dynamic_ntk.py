"""Dynamic NTK, emozilla 2023 (YaRN, arXiv:2309.00071, §3.3 "dynamic scaling"), in transformers' form, per prompt.

θ' = θ · (1 + g·(n/L - 1))^(d/(d-2)) for a prompt of n tokens beyond the trained length L, and θ up to L. This is
transformers' `dynamic` with factor g, whose (g·n/L - (g-1)) is the same expression. With g = 1 the base is that of
`ntk` for a target of just n tokens, which is how the YaRN paper defines it. With transformers' usual g = s the
base grows faster than the prompt: at n = s·L the expression is s² - s + 1.

Deviations from transformers: n is prompt plus new tokens, fixed before prefill, where transformers counts the
tokens seen so far (so that keys cached before a step were rotated with another base). And no prompt changes the
base of a later one.
"""

from dataclasses import dataclass

from extenders._check import check_positive
from extenders._formulas import ntk_fill
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class DynamicNtk(Extender):
    """A new base for every prompt, from its length alone."""

    growth: float | None = None  # g, transformers' `factor`; None: target length / trained length, as users set it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.growth is not None:
            check_positive("growth", self.growth)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        factor = self.factor(rope)
        if factor == 1 or length <= rope.trained_length:
            return RopePlan.as_trained(rope)
        growth = factor if self.growth is None else self.growth
        scale = 1 + growth * (length / rope.trained_length - 1)
        pairs = len(rope.inv_freq)
        return RopePlan.rescaled(rope, ntk_fill(max(pairs - 1, 1), scale, pairs))
