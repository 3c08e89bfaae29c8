"""A method with its temperature on the whole attention logit (ours), as DeepSeek's own YaRN has it.

YaRN (arXiv:2309.00071, §3.4) divides logits by a temperature and gets there by multiplying cos and sin. Where a part of
the head rotates (DeepSeek's latent attention, Phi-2, Pythia, StableLM, GLM) that reaches the rotated part of a logit
alone. Here the queries are multiplied instead, by the square of what the method would multiply cos and sin with.

Where all dimensions rotate the logits are the same, to rounding, unless a norm after rotation (HunYuan, Llama 4,
NanoChat) undoes the factor on cos and sin: there only this form has an effect. Limits: only layers that rotate are
scaled; a cap on logits and an attention sink (GPT-OSS) are not scaled along.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from extenders._named import named_method
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class WholeLogit(Extender):
    """Frequencies of `method`; cos and sin keep their trained factor."""

    method: str  # a method and its parameters: "yarn beta_fast=32"

    def __post_init__(self) -> None:
        super().__post_init__()
        named_method("method", self.method, self.target_length)

    def inside(self) -> tuple[Extender, ...]:
        return (named_method("method", self.method, self.target_length),)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        [inner] = self.inside()
        plan = inner.plan(rope, length)
        temperature = (plan.attention_factor / rope.attention_factor) ** 2
        return dataclasses.replace(
            plan, attention_factor=rope.attention_factor, query_factor=plan.query_factor * temperature
        )

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"method": "yarn"}
