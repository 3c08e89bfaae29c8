"""A method as an engine runs it: the same numbers, chosen among by the engine's rule and not by each prompt's length.

A method with plans of its own for short prompts is chosen among otherwise in every program. `policy` names the rule:

    prompt         each prompt by its own length, as the methods of this package do
    transformers   by the longest row of the batch; one attention factor, that of the target length, for all prompts
    sglang         by the longest row of the batch
    vllm           by the greatest length that the server was started with (--max-model-len)
    llama.cpp      by the context that was allocated (--ctx-size); one attention factor, as above
    mlx            the plan of the target length, always

`tokens` is what a user can set: the longest other row of the batch (1: each prompt alone), --max-model-len, --ctx-size;
the target length unless given. One factor: transformers' configuration and a GGUF file hold one for both lists.

Deviation: an answer that crosses the window keeps the plan of prompt and new tokens; transformers and SGLang change it
in the middle and keep the old keys. Of a method with one plan for all lengths (yarn, pi, ntk) all policies are equal.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from extenders._check import check_choice, check_whole
from extenders._named import named_method
from extenders.base import Extender, RopePlan, RopeSpec

POLICIES = ("prompt", "transformers", "sglang", "vllm", "llama.cpp", "mlx")
ONE_FACTOR = ("transformers", "llama.cpp")


@dataclass(frozen=True, kw_only=True)
class Deployed(Extender):
    """The numbers of `method`, which are never changed."""

    method: str  # a method and its parameters: "longrope2 factors=[1,2,…]", "pinned file=plan.json"
    policy: Literal["prompt", "transformers", "sglang", "vllm", "llama.cpp", "mlx"] = "prompt"
    tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        named_method("method", self.method, self.target_length)
        check_choice("policy", self.policy, POLICIES)
        if self.tokens is not None:
            check_whole("tokens", self.tokens)
            if self.policy in ("prompt", "mlx"):
                raise ValueError(f"policy {self.policy!r} looks at nothing that could be set; leave tokens out")
            if not 1 <= self.tokens <= self.target_length:
                raise ValueError(f"tokens must be in 1 … {self.target_length}, the target length, got {self.tokens}")

    def inside(self) -> tuple[Extender, ...]:
        return (named_method("method", self.method, self.target_length),)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        [inner] = self.inside()
        if self.policy == "prompt":
            return inner.plan(rope, length)
        most = self.target_length if self.tokens is None or self.policy == "mlx" else self.tokens
        plan = inner.plan(rope, max(length, most))
        if self.policy in ONE_FACTOR:
            factor = inner.plan(rope, max(length, self.target_length)).attention_factor
            return dataclasses.replace(plan, attention_factor=factor)
        return plan

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"method": "dynamic_ntk", "policy": "vllm"}
