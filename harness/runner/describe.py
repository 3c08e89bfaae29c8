"""What run.json says of an experiment: the model, the methods with their plans, the cells that are planned."""

from collections.abc import Sequence
from pathlib import Path

from extenders.base import RopePlan, RopeSpec
from harness.experiment.cells import Base, Cell, plain, plan_of, rope_fields
from harness.experiment.file import Experiment, Method
from harness.experiment.parameters import summary
from harness.model.asking import template_hash
from harness.store import Run, StoredMethod, StoredPlan, StoredRope


def describe(experiment: Experiment, base: Base, cells: Sequence[Cell]) -> Run:
    """run.json but for its date and ledger: what was planned, with every plan at every length that is evaluated."""
    rope = base.rope
    lengths = sorted({cell.length for cell in cells} | {rope.trained_length, experiment.target_length})
    described: Run = {
        "name": experiment.name,
        "model": {
            "name": Path(experiment.model).name if Path(experiment.model_source).exists() else experiment.model,
            "weights_hash": base.weights_hash,
            "parameters": base.parameters,
            "dtype": base.dtype,
            "attention": base.attention,
            "rope": _stored(rope),
        },
        "target_length": experiment.target_length,
        "crossing": experiment.crossing,
        "seeds": list(experiment.seeds),
        "methods": [_method(method, rope, lengths) for method in experiment.methods],
        "cells": [cell.planned() for cell in cells],
    }
    if experiment.adaptive is not None:
        described["adaptive"] = {"against": experiment.adaptive.against, "margin": experiment.adaptive.margin}
    if base.origin:
        described["model"]["origin"] = base.origin
    if base.template is not None:
        described["chat"] = template_hash(base.template)
    return described


def _stored(rope: RopeSpec) -> StoredRope:
    stored: StoredRope = {**rope_fields(rope), "layer_type": rope.layer_type}
    if rope.notes:
        stored["notes"] = list(rope.notes)
    return stored


def _method(method: Method, rope: RopeSpec, lengths: Sequence[int]) -> StoredMethod:
    plans = {length: plan_of(method, rope, length) for length in lengths}
    described: StoredMethod = {
        "label": method.label,
        "extender": method.extender.name,
        "parameters": plain(method.extender.parameters()),
        "summary": summary(type(getattr(method.extender, "inner", method.extender))),
        "varies": len({plan.hash for plan in plans.values()}) > 1,
        "plans": {str(length): _plan(plan) for length, plan in plans.items()},
    }
    if method.training is not None:
        described["training"] = method.training.described(method.label)
    return described


def _plan(plan: RopePlan) -> StoredPlan:
    stored: StoredPlan = {
        "inv_freq": list(plan.inv_freq),
        "attention_factor": plan.attention_factor,
        "keep_first": plan.keep_first,
        "hash": plan.hash,
    }
    if plan.query_factor != 1:
        stored["query_factor"] = plan.query_factor
    if plan.pieces:
        stored["pieces"] = [piece.words for piece in plan.pieces]
    return stored
