"""Is a plan one of the types that every engine knows? Then its few numbers say more than two lists.

A candidate is taken only where the formula of the type gives the plan's own numbers to nine digits, so a method's name
counts for nothing and a plan on top of a scaled checkpoint is no native type by accident.
"""

from collections.abc import Iterator
from typing import Any

from extenders._formulas import base_of, yarn_attention_factor
from extenders.base import Extender, RopeSpec
from harness.forms.two_plans import TwoPlans, alike
from harness.rope.rope_types import trained_frequencies


def native(plans: TwoPlans, extender: Extender | None = None) -> dict[str, Any] | None:
    """The type's dictionary with θ and the original length, or None where only lists can say the plan.

    `extender` lends the parameters of its ramp (beta_fast and the like); without one the usual ones are tried.
    """
    if plans.switches or plans.factors_differ:
        return None
    rope = plans.rope
    for candidate in _candidates(plans, extender):
        try:
            inv_freq, factor = trained_frequencies(
                candidate["rope_type"], candidate, rope.rotary_dims, candidate["rope_theta"], plans.target
            )
        except (ValueError, ZeroDivisionError, OverflowError):
            continue
        if alike((*inv_freq, factor), (*plans.long.inv_freq, plans.long.attention_factor)):
            return candidate
    return None


def dynamic(extender: Extender, rope: RopeSpec) -> dict[str, Any] | None:
    """The `dynamic` type, where the method gives its frequencies at every length that is looked at; else None."""
    trained, target = rope.trained_length, extender.target_length
    growth = getattr(extender, "growth", None) or target / trained
    dims = rope.rotary_dims
    if dims < 4 or not alike(rope.inv_freq, rope.base_inv_freq):
        return None
    for length in (trained // 2 or 1, trained, trained + 1, (trained + target) // 2, target):
        scale = 1 + growth * max(length / trained - 1, 0)
        theta = rope.rope_theta * scale ** (dims / (dims - 2))
        expected = [theta ** (-2 * i / dims) for i in range(dims // 2)]
        plan = extender.plan(rope, length)
        if (
            plan.keep_first
            or plan.pieces
            or plan.query_factor != 1
            or not alike((*plan.inv_freq, plan.attention_factor), (*expected, 1.0))
        ):
            return None
    return {"rope_type": "dynamic", "rope_theta": rope.rope_theta, "factor": growth}


def _candidates(plans: TwoPlans, extender: Extender | None) -> Iterator[dict[str, Any]]:
    rope, plan = plans.rope, plans.long
    while extender is not None and extender.inside():
        extender = extender.inside()[-1]  # a method in a wrapper
    theta = base_of(plan.inv_freq)
    if theta is not None:
        yield {"rope_type": "default", "rope_theta": theta}
    if not plan.inv_freq[-1] or not plan.inv_freq[0]:
        return
    slowest = rope.base_inv_freq[-1] / plan.inv_freq[-1]
    shared = {"rope_theta": rope.rope_theta, "factor": slowest}
    yield {"rope_type": "linear", **shared}
    ramp = {
        "beta_fast": getattr(extender, "beta_fast", 32.0),
        "beta_slow": getattr(extender, "beta_slow", 1.0),
        "truncate": getattr(extender, "truncate", True),
    }
    shared["original_max_position_embeddings"] = plans.trained
    yield {"rope_type": "yarn", **shared, **ramp, "attention_factor": plan.attention_factor}
    bands = {
        "low_freq_factor": getattr(extender, "low_freq_factor", 1.0),
        "high_freq_factor": getattr(extender, "high_freq_factor", 4.0),
    }
    yield {"rope_type": "llama3", **shared, **bands}


def usual_temperature(parameters: dict[str, Any]) -> bool:
    """Whether a yarn dictionary has the factor that engines compute by themselves, 0.1·ln s + 1."""
    return alike([parameters["attention_factor"]], [yarn_attention_factor(parameters["factor"])])
