"""A plan.json as a method (ours): exactly the frequencies that it holds, at the lengths that it names.

`ropebench export --format plan` writes one of any method, `ropebench import` one of what an engine runs, so what is
deployed can be tested as it is. `policy` says how a deployment chooses among the plans of different lengths, with the
same numbers in each:

    prompt     each prompt by its own length, as the methods of this package do
    batch      by the longest prompt of a batch (transformers); here every batch holds one prompt of `served` tokens
    served     by the greatest length that the engine was started with (vLLM's --max-model-len)
    allocated  by the context that was allocated (llama.cpp's --ctx-size)
    long       the plan of the target length, always

The last four give one plan for all prompts; with `served` at the target length, as deployments have it, they are the
same, and what differs is the length that a user can set. None of them changes a number.
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from extenders._check import check_whole
from extenders._plan_file import SCHEMA, Piece, pieces, read_plan_file
from extenders.base import Extender, RopePlan, RopeSpec

POLICIES = ("prompt", "batch", "served", "allocated", "long")


@dataclass(frozen=True, kw_only=True)
class Pinned(Extender):
    """The file is read when the method is made, and its numbers take its place: of names nothing is kept."""

    file: str | Mapping[str, Any]  # a plan.json, or its content (also as text)
    policy: Literal["prompt", "batch", "served", "allocated", "long"] = "prompt"
    served: int | None = None  # tokens: longest of the batch, --max-model-len or --ctx-size; None: the target length

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.file, str) and not self.file.lstrip().startswith("{"):
            content = read_plan_file(Path(self.file).expanduser())
        else:
            content = dict(self.file) if isinstance(self.file, Mapping) else json.loads(self.file)
            pieces(content, "file")
        numbers = {key: content[key] for key in ("schema", "exact", "rope", "plans")}
        object.__setattr__(self, "file", json.dumps(numbers, sort_keys=True))
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.served is not None:
            check_whole("served", self.served)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        assert isinstance(self.file, str)
        theirs, plans = _parsed(self.file)
        _check_fits(theirs, rope)
        if self.target_length > plans[-1][1]:
            raise ValueError(f"the file holds plans of up to {plans[-1][1]} tokens, and {self.target_length} are asked")
        chosen_by = max(length, self.served or self.target_length) if self.policy != "prompt" else length
        if self.policy == "long":
            chosen_by = self.target_length
        for first, last, inv_freq, attention_factor, keep_first, query_factor in plans:
            if first <= chosen_by <= last:
                return RopePlan(inv_freq, attention_factor, keep_first, query_factor)
        raise ValueError(f"the file holds no plan for {chosen_by} tokens")

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        reach = 1 << 40
        slower = [value / 4 for value in rope.inv_freq]
        trained = {"inv_freq": list(rope.inv_freq), "attention_factor": rope.attention_factor, "keep_first": 0}
        return {
            "file": {
                "schema": SCHEMA,
                "exact": True,
                "rope": {
                    "rotary_dims": rope.rotary_dims,
                    "trained_length": rope.trained_length,
                    "inv_freq": list(rope.inv_freq),
                },
                "plans": [
                    {"lengths": [1, rope.trained_length], **trained},
                    {"lengths": [rope.trained_length + 1, reach], **trained, "inv_freq": slower},
                ],
            }
        }


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> tuple[dict[str, Any], tuple[Piece, ...]]:
    content = json.loads(text)
    return content["rope"], pieces(content, "file")


def _check_fits(theirs: Mapping[str, Any], rope: RopeSpec) -> None:
    for name, value in (("rotary_dims", rope.rotary_dims), ("trained_length", rope.trained_length)):
        if theirs.get(name) != value:
            raise ValueError(f"the file was made for a model with {name} {theirs.get(name)}, this one has {value}")
    trained = theirs.get("inv_freq") or []
    if len(trained) != len(rope.inv_freq) or not all(
        math.isclose(a, b, rel_tol=1e-6) for a, b in zip(trained, rope.inv_freq, strict=True)
    ):
        raise ValueError("the file was made for a model that was trained with other frequencies than this one")
