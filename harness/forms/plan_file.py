"""plan.json: a method's plans as numbers, with what they are for. It is what the other forms are made from and read to.

    {"schema": "ropebench-plan/1", "method": …, "parameters": {…}, "model": …, "target_length": …, "exact": true,
     "rope": {"rotary_dims", "rope_theta", "trained_length", "layer_type", "inv_freq", "attention_factor"},
     "plans": [{"lengths": [1, 512], "inv_freq": […], "rescale_factors": […], "attention_factor": …, "keep_first": …}]}

Where a plan multiplies queries, the schema is 2 and its plans have a "query_factor" (1 where it is missing).
Lengths are in tokens, prompt plus new ones, both ends included; frequencies in radians per token; a stopped pair has
frequency 0 and the rescale factor null. `exact` false: the method has a plan of its own for every length (dynamic NTK),
and `plans` holds those of some lengths; such a file says what was planned and cannot be run.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from extenders._plan_file import SCHEMA, WITH_QUERIES
from extenders.base import Extender, RopePlan, RopeSpec
from harness import __version__
from harness.experiment.cells import plain, probes
from harness.forms.two_plans import refuse_pieces, same_plan

MOST_PLANS = 8  # a method with more of them has one for every length


class LengthPlan(TypedDict):
    lengths: list[int]  # tokens, first and last
    inv_freq: list[float]
    rescale_factors: list[float | None]  # relative to the checkpoint as trained; None: stopped
    attention_factor: float
    keep_first: int
    query_factor: NotRequired[float]  # on the whole attention logit, where it is not 1


class PlanFile(TypedDict):
    schema: str
    method: str
    parameters: dict[str, Any]
    model: str
    target_length: int
    exact: bool
    rope: dict[str, Any]
    plans: list[LengthPlan]
    written_by: str


def plan_file(label: str, parameters: Mapping[str, Any], model: str, rope: RopeSpec, pieces: "Pieces") -> PlanFile:
    return {
        "schema": WITH_QUERIES if any(plan.query_factor != 1 for _, _, plan in pieces.plans) else SCHEMA,
        "method": label,
        "parameters": plain(dict(parameters)),
        "model": model,
        "target_length": pieces.target,
        "exact": pieces.exact,
        "rope": {
            "rotary_dims": rope.rotary_dims,
            "rope_theta": rope.rope_theta,
            "trained_length": rope.trained_length,
            "layer_type": rope.layer_type,
            "inv_freq": list(rope.inv_freq),
            "attention_factor": rope.attention_factor,
        },
        "plans": [_length_plan(first, last, plan, rope) for first, last, plan in pieces.plans],
        "written_by": f"ropebench {__version__}",
    }


class Pieces:
    """The plans of a method over all lengths up to its target: (first length, last length, plan), ascending."""

    def __init__(self, target: int, plans: list[tuple[int, int, RopePlan]], exact: bool) -> None:
        self.target, self.plans, self.exact = target, plans, exact

    @classmethod
    def of(cls, extender: Extender, rope: RopeSpec) -> "Pieces":
        """Found by probing about 65 lengths and halving the gap between two that differ."""
        target = extender.target_length
        looked = [(length, extender.plan(rope, length)) for length in probes(target, rope.trained_length)]
        refuse_pieces(plan for _, plan in looked)
        pieces = [(1, looked[0][0], looked[0][1])]
        for length, plan in looked[1:]:
            first, last, before = pieces[-1]
            if same_plan(before, plan):
                pieces[-1] = (first, length, before)
                continue
            if len(pieces) == MOST_PLANS:
                return cls(target, [(length, length, plan) for length, plan in looked], exact=False)
            edge = _edge(extender, rope, last, length, before)
            pieces[-1] = (first, edge, before)
            pieces.append((edge + 1, length, plan))
        if any(not same_plan(extender.plan(rope, first), plan) for first, _, plan in pieces):
            return cls(target, [(length, length, plan) for length, plan in looked], exact=False)
        return cls(target, pieces, exact=True)


def _edge(extender: Extender, rope: RopeSpec, low: int, high: int, before: RopePlan) -> int:
    """The last length from `low` on that still has the plan `before`; `high` has another."""
    while high - low > 1:
        middle = (low + high) // 2
        if same_plan(extender.plan(rope, middle), before):
            low = middle
        else:
            high = middle
    return low


def _length_plan(first: int, last: int, plan: RopePlan, rope: RopeSpec) -> LengthPlan:
    content: LengthPlan = {
        "lengths": [first, last],
        "inv_freq": list(plan.inv_freq),
        "rescale_factors": [value if math.isfinite(value) else None for value in plan.rescale_factors(rope)],
        "attention_factor": plan.attention_factor,
        "keep_first": plan.keep_first,
    }
    if plan.query_factor != 1:
        content["query_factor"] = plan.query_factor
    return content


def text_of(content: PlanFile) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def is_plan_file(content: Any) -> bool:
    return isinstance(content, Mapping) and str(content.get("schema", "")).startswith("ropebench-plan/")
