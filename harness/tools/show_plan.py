"""What a method would make of a model, from the model's configuration alone: `ropebench plan`."""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from extenders.base import Extender, RopeSpec
from harness.experiment.cells import plain, plan_of, rope_fields
from harness.experiment.file import named_method
from harness.model.load import LoadedModel
from harness.model.spec import load_config, spec_from_config
from harness.store import StoredRope


class PlannedModel(TypedDict):
    """What `ropebench plan --json` prints."""

    extender: str
    parameters: dict[str, Any]
    model: str
    target_length: int  # tokens, as the next
    length: int
    trained: StoredRope
    notes: list[str]  # what a reader has to know of this model's RoPE
    planned: "PlannedFrequencies"


class PlannedFrequencies(TypedDict):
    inv_freq: list[float]  # radians per token, one a pair
    attention_factor: float
    keep_first: int  # tokens
    query_factor: float  # on the whole attention logit
    rescale_factors: list[float | None]  # None: the plan stopped the pair
    pieces: list[str]  # regions of the causal triangle with mapped positions, in words
    hash: str


def planned(
    extender: str | type[Extender],
    given: Mapping[str, Any],
    model: str | LoadedModel,
    target_length: int,
    length: int | None = None,
    trained_length: int | None = None,
) -> PlannedModel:
    """Trained and planned frequencies (radians per token), attention factors and the plan's hash, as JSON types.

    Raises ValueError for an unknown method, parameter or model, or a target not above the trained length.
    """
    method = named_method("plan", extender, given, target_length)
    rope = model.spec if isinstance(model, LoadedModel) else spec_of(model, trained_length)
    source = model.source if isinstance(model, LoadedModel) else model
    if target_length <= rope.trained_length:
        raise ValueError(
            f"target length {target_length} must be above the trained length {rope.trained_length} of {source}"
        )
    length = target_length if length is None else length
    if not 1 <= length <= target_length:
        raise ValueError(f"length must be between 1 and the target length {target_length}, got {length}")
    plan = plan_of(method, rope, length)
    return {
        "extender": method.label,
        "parameters": plain(method.extender.parameters()),
        "model": source,
        "target_length": target_length,
        "length": length,
        "trained": rope_fields(rope),
        "notes": list(rope.notes),
        "planned": {
            "inv_freq": list(plan.inv_freq),
            "attention_factor": plan.attention_factor,
            "keep_first": plan.keep_first,
            "query_factor": plan.query_factor,
            "rescale_factors": [value if math.isfinite(value) else None for value in plan.rescale_factors(rope)],
            "pieces": [piece.words for piece in plan.pieces],
            "hash": plan.hash,
        },
    }


def spec_of(model: str, trained_length: int | None) -> RopeSpec:
    return spec_from_config(load_config(model, local_files_only=False), trained_length=trained_length)


def table(content: PlannedModel) -> tuple[str, list[list[str]]]:
    """(the lines above, one row per pair) for a terminal. Periods are in tokens."""
    trained, plan = content["trained"], content["planned"]
    whole = f", whole attention logits times {plan['query_factor']:.6g}" if plan["query_factor"] != 1 else ""
    head = (
        f"{content['extender']} on {content['model']} ({trained['trained_length']} tokens as trained) "
        f"to {content['target_length']}, a prompt of {content['length']}\n"
        f"attention factor {plan['attention_factor']:.6g} (trained {trained['attention_factor']:.6g}){whole}, "
        f"keep_first {plan['keep_first']}, critical pair {trained['critical_pair']}, plan {plan['hash']}"
        + "".join(f"\npositions: {piece}" for piece in plan["pieces"])
        + "".join(f"\nnote: {note}" for note in content["notes"])
    )
    rows = []
    for i, (before, after, factor) in enumerate(
        zip(trained["inv_freq"], plan["inv_freq"], plan["rescale_factors"], strict=True)
    ):
        rows.append([str(i), _period(before), _period(after), "stopped" if factor is None else f"{factor:.4f}"])
    return head, rows


def _period(inv_freq: float) -> str:
    return f"{2 * math.pi / inv_freq:.6g}" if inv_freq else "never"
