"""A method after mixed-window training: the original RoPE for prompts inside the window, the method's beyond."""

from dataclasses import dataclass
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class OriginalInside(Extender):
    """LongRoPE2's choice by length (arXiv:2502.20082, §3.3 and Fig. 10) around any method.

    Deviation: the published models choose at every forward pass, by the highest position of the batch; here a prompt's
    length, new tokens included, decides before its prefill, so neither batching nor decoding can change it.
    """

    inner: Extender

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.as_trained(rope) if length <= rope.trained_length else self.inner.plan(rope, length)

    @property
    def name(self) -> str:
        return self.inner.name

    def parameters(self) -> dict[str, Any]:
        return self.inner.parameters()

    def plan_parameters(self) -> dict[str, Any]:
        return self.inner.plan_parameters()
