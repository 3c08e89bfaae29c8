"""One method on top of another (ours): how many published rows are made, "a larger base, trained, then YaRN by 4".

Prompts of at most `length` tokens run under `first` with `length` as its target, and a training goes that far and no
further. Longer prompts run under `then`, for which the model is one that was trained at `length` tokens with the
frequencies of `first`; where those are of one base, that base is its θ. CoPE's rows at 128k and 256k are of this kind
(arXiv:2602.05258: a base of 10,000,000, 64k trained, YaRN 4), and ProLong's (arXiv:2410.02660).

Each of the two is written as one text, a name and its parameters: "abf base_factor=20".
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from extenders._check import check_whole
from extenders._formulas import base_of
from extenders._named import named_method
from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Composite(Extender):
    """`first` up to `length`, `then` on top of it beyond."""

    first: str  # a method and its parameters: what the model was, or will be, trained with
    then: str  # likewise: what it is tested with beyond `length`
    length: int  # tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("length", self.length)
        named_method("first", self.first, 1), named_method("then", self.then, 1)

    @property
    def training_length(self) -> int:
        return min(self.length, self.target_length)

    def inside(self) -> tuple[Extender, ...]:
        return (
            named_method("first", self.first, self.training_length),
            named_method("then", self.then, self.target_length),
        )

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        if self.length < rope.trained_length:
            raise ValueError(f"length must be at least the trained length {rope.trained_length}, got {self.length}")
        first = named_method("first", self.first, self.training_length)
        if length <= self.length:
            return first.plan(rope, length)
        under = first.plan(rope, self.training_length)
        then, theta = named_method("then", self.then, self.target_length), base_of(under.inv_freq)
        if theta is None or math.isclose(theta, rope.rope_theta, rel_tol=1e-9):
            theta = rope.rope_theta
        trained = dataclasses.replace(
            rope,
            rope_theta=theta,
            trained_length=self.length,
            inv_freq=under.inv_freq,
            attention_factor=under.attention_factor,
        )
        if under.pieces:
            raise ValueError(f"first must be a method of frequencies; {self.first!r} maps positions, so put it in then")
        plan = then.plan(trained, length)
        if under.keep_first or plan.keep_first:
            raise ValueError("a composite keeps no first tokens; use keep_first 0 in both of its methods")
        return dataclasses.replace(plan, query_factor=plan.query_factor * under.query_factor)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        return {"first": "abf base_factor=8", "then": "yarn", "length": 2 * rope.trained_length}
