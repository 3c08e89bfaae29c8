"""A plan as a model's configuration: what config.json needs so that transformers, vLLM and others run it.

The form is transformers' `longrope` with both lists given, which can say any two vectors of frequencies: one for
prompts within the original length and one beyond it. What that form cannot say is an error or a note, never silent:
kept first tokens are refused, and so is a plan that changes at other lengths. A stopped pair (frequency 0) is written
as a factor of 1e18, with which a pair turns by 1e-13 radians in 131,072 tokens. Engines that choose a list once per
deployment, by the greatest length they are set to (vLLM, llama.cpp), serve short prompts with the long list.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extenders._factor_file import STOPPED
from extenders.base import Extender, RopePlan, RopeSpec
from harness.experiment.cells import probes
from harness.experiment.file import named_method
from harness.experiment.naming import load_method, user_folders
from harness.model.spec import load_config, spec_from_config
from harness.search import result

ALIKE = 1e-9  # greatest relative difference between plans that count as one


def exported(extender: Extender, rope: RopeSpec) -> tuple[dict[str, Any], list[str]]:
    """(keys of config.json, notes for the user). Raises ValueError for what the form cannot say."""
    trained, target = rope.trained_length, extender.target_length
    if target <= trained:
        raise ValueError(
            f"target length {target} must be above the trained length {trained}; there is nothing to export"
        )
    plans = {length: extender.plan(rope, length) for length in probes(target, trained)}
    long, short = plans[target], plans.get(trained) or extender.plan(rope, trained)
    for length, plan in plans.items():
        if plan.keep_first:
            raise ValueError(
                f"the plan keeps the first {plan.keep_first} tokens, which no configuration can say; use 0"
            )
        if not alike(plan, short if length <= trained else long):
            raise ValueError(
                f"the plan at {length} tokens differs from that at {trained if length <= trained else target}; a "
                "configuration holds one list up to the trained length and one beyond it"
            )
    notes = []
    if abs(short.attention_factor / long.attention_factor - 1) > ALIKE:
        notes.append(
            f"attention_factor {long.attention_factor:.6g} will be applied within the window too, where the plan has "
            f"{short.attention_factor:.6g}: the form has one for both"
        )
    if any(a != b for a, b in zip(short.inv_freq, long.inv_freq, strict=True)):
        notes.append(
            "transformers switches lists when a sequence passes the original length and computes its cache anew; vLLM "
            "and llama.cpp choose one list per deployment, by their greatest length"
        )
    stopped = sum(1 for value in long.inv_freq if not value)
    if stopped:
        notes.append(
            f"{stopped} of {len(long.inv_freq)} pairs are stopped, written as a factor of {STOPPED:g}; an engine that "
            "computes with float16 cannot hold that number"
        )
    content = {
        "max_position_embeddings": target,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": rope.rope_theta,
            "factor": target / trained,
            "original_max_position_embeddings": trained,
            "attention_factor": long.attention_factor,
            "short_factor": factors(rope, short),
            "long_factor": factors(rope, long),
        },
    }
    return content, notes


def factors(rope: RopeSpec, plan: RopePlan) -> list[float]:
    """What divides θ^(-2i/d) in the configuration, whatever scaling the checkpoint itself has."""
    pairs = zip(rope.base_inv_freq, plan.inv_freq, strict=True)
    return [base / planned if planned else STOPPED for base, planned in pairs]


def alike(plan: RopePlan, other: RopePlan) -> bool:
    pairs = zip((*plan.inv_freq, plan.attention_factor), (*other.inv_freq, other.attention_factor), strict=True)
    return all(abs(a - b) <= ALIKE * max(a, b) for a, b in pairs)


def export(
    extender: str,
    given: Mapping[str, Any],
    model: str,
    target_length: int,
    trained_length: int | None = None,
    search: Path | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """`exported` of a method by name on a model's configuration; weights are not needed.

    `search`: the result of a search, whose numbers the method has unless they are given.
    """
    load_method("export", extender, user_folders())  # a wrong name is said before a wrong file
    given = given if search is None else {**result.read(search, extender, target_length), **given}
    method = named_method("export", extender, given, target_length)
    rope = spec_from_config(load_config(model, local_files_only=False), trained_length=trained_length)
    return exported(method.extender, rope)
