"""A method with a temperature by the query's position (ours as a composite): a rule of the literature on any method.

Logits of the query at position p are multiplied once, not squared, by
- log_n: max(1, ln(p + 1) / ln L), Su, spaces.ac.cn/archives/8823; the option of Self-Extend and ReRoPE
- llama4: 1 + 0.1·ln(1 + ⌊(p + 1) / 8192⌋), transformers' Llama 4, which has it in layers without RoPE only
- ministral: 1 + 0.1·ln(1 + ⌊p / L⌋), transformers' Ministral 3
- ssmax: slope·ln(p + 1), Nakanishi 2025, arXiv:2501.19399, where it is trained for each head
in all layers that rotate. A factor that the method puts on cos and sin, which logits see squared, stays beside it.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from extenders._check import check_choice, check_positive
from extenders._named import named_method
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import LogitScale, Piece, log_n


@dataclass(frozen=True, kw_only=True)
class Temperature(Extender):
    """Frequencies and positions of `method`."""

    method: str  # a method and its parameters: "self_extend group=8"
    rule: str = "log_n"
    slope: float | None = None  # of the logarithm; None: the rule's own, for ssmax 0.43

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("rule", self.rule, ("log_n", "llama4", "ministral", "ssmax"))
        if self.slope is not None:
            check_positive("slope", self.slope)
        self.inside()

    def inside(self) -> tuple[Extender, ...]:
        return (named_method("method", self.method, self.target_length),)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        plan = self.inside()[0].plan(rope, length)
        if self.factor(rope) == 1:
            return plan
        if any(piece.logit_scale is not None for piece in plan.pieces):
            raise ValueError(f"{self.method!r} has a temperature of its own by position; turn it off (log_n=false)")
        pieces = tuple(dataclasses.replace(piece, logit_scale=self._scale(rope)) for piece in plan.pieces or (Piece(),))
        return dataclasses.replace(plan, pieces=pieces)

    def _scale(self, rope: RopeSpec) -> LogitScale:
        given, own = self.slope, 0.43 if self.rule == "ssmax" else 0.1
        slope = own if given is None else given
        if self.rule == "llama4":
            return LogitScale(slope=slope, offset=1, step=8192)
        if self.rule == "ministral":
            return LogitScale(slope=slope, step=rope.trained_length)
        if self.rule == "ssmax":  # at the first token, which sees itself alone, the rule has 0
            return LogitScale(0.0, slope, 0.0, 1, 1, 1e-6)
        scale = log_n(rope.trained_length)
        return scale if given is None else dataclasses.replace(scale, slope=given)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"method": "none"}
