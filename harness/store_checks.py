"""Checks that what a store holds is what its readers need: the fields of a record, and rows that can be averaged."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from harness.store_rows import Run, SearchRecord, TrainingRecord
from harness.store_shape import misfit

Fields = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)
LARGEST = sys.float_info.max  # NaN, infinity and an integer of 400 digits lie outside
ENDED: Fields = {"key": str, "status": str, "error": str}
SEARCHED: Fields = {
    "label": str,
    "identity": dict,
    "found": dict,
    "loss": (*NUMBER, type(None)),
    "held_out": dict,
    "held_out_samples": int,
    "cost": dict,
}
SEARCH_COST: Fields = {"seconds": NUMBER, "token_forwards": int, "candidates": int, "evaluations": int}
SEARCH_IDENTITY: Fields = {"extender": str, "target_length": int, "parameters": dict}
TRAINED: Fields = {"recipe": dict, "data": dict, "trainable": dict, "plans": dict, "curve": list, "weights": dict}
TRAINING_COST: Fields = {"seconds": NUMBER, "tokens": int, "flops": NUMBER, "peak_memory_bytes": int}


ROW: Fields = {
    "prompt": str,
    "generation": str,
    "references": (list, tuple),
    "prompt_tokens": int,
    "new_tokens": int,
    "depth": NUMBER,
    "finished": bool,
    "failure": str,
    "seconds": NUMBER,
    "plan_hash": str,
}
LISTED = {  # fields of the entries of run.json's lists that no reader can do without
    "methods": ("label",),
    "cells": ("label", "task", "category", "unit", "length", "seed", "samples", "key"),
    "searches": ("label", "key"),
    "trainings": ("method", "key"),
}
LACKING = "it lacks what such a record holds"


def wrong_cell(content: Mapping[str, Any]) -> str:
    """What shows that it is neither the record of a cell that failed nor of one whose rows can be averaged, or ''."""
    if not is_ended(content):
        return LACKING
    if not all(isinstance(content.get(name) or {}, dict) for name in ("identity", "cost", "proof", "provenance")):
        return "a part of it has another shape"
    if content["status"] == "failed":
        return ""
    return unfit(content.get("rows"), unit_of(content)) or _strange(content["rows"])


def _strange(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which field of a row has not the type that its readers expect, or ''. Fields may be absent."""
    for row in rows:
        for name, kind in ROW.items():
            value = row.get(name)
            if value is not None and not isinstance(value, kind):
                return f"{name} of sample {row['sample']} is a {type(value).__name__}"
    return ""


def wrong_search(content: Mapping[str, Any]) -> str:
    return (misfit(content, SearchRecord) if is_search(content) else LACKING) or ""


def wrong_training(content: Mapping[str, Any]) -> str:
    return (misfit(content, TrainingRecord) if is_training(content) else LACKING) or ""


def wrong_run(content: Mapping[str, Any]) -> str:
    """What of a run.json has another shape than its readers expect, or ''. What is absent is another question."""
    problem = misfit(content, Run)
    if problem:
        return problem
    for name, fields in LISTED.items():
        for i, entry in enumerate(content.get(name) or []):
            absent = next((field for field in fields if field not in entry), "")
            if absent:
                return f"{name}[{i}].{absent} is absent"
    return ""


def unit_of(content: Mapping[str, Any]) -> str:
    """The unit of a cell's scores; '' where its identity does not say it."""
    identity = content.get("identity")
    task = identity.get("task") if isinstance(identity, dict) else None
    return str(task.get("unit", "")) if isinstance(task, dict) else ""


def unfit(rows: object, unit: str) -> str:
    """What makes these rows unfit for a mean, or '' for good ones. Scores of the unit 'score' lie in 0 … 1."""
    if not isinstance(rows, list) or not rows:
        return "it has no samples"
    if not all(isinstance(row, dict) and type(row.get("sample")) is int for row in rows):
        return "a sample has no number"
    if len({row["sample"] for row in rows}) != len(rows):
        return "a sample stands in it twice"
    for row in rows:
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not -LARGEST <= score <= LARGEST:
            return f"the score of sample {row['sample']} is {score}"
        if unit == "score" and not 0 <= score <= 1:
            return f"the score of sample {row['sample']} is {score}, outside 0 … 1"
    return ""


def is_ended(content: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is the record of something that is done or has failed."""
    return _holds(content, ENDED) and content["status"] in ("done", "failed")


def is_search(content: object) -> TypeGuard[SearchRecord]:
    """Whether it is the record of a search, with all that its readers need."""
    return (
        is_ended(content)
        and _holds(content, SEARCHED)
        and _holds(content["cost"], SEARCH_COST)
        and _holds(content["identity"], SEARCH_IDENTITY)
    )


def is_training(content: object) -> TypeGuard[TrainingRecord]:
    """Whether it is the record of a training, with all that its readers need."""
    if not is_ended(content):
        return False
    return content["status"] == "failed" or (
        _holds(content, {**TRAINED, "cost": dict})
        and _holds(content["cost"], TRAINING_COST)
        and _holds(content["weights"], {"sha256": str})
        and _holds(content["data"], {"corpus": str, "order": str})
        and _holds(content["trainable"], {"parameters": int, "of": int})
    )


def holds_losses(line: Mapping[str, Any]) -> bool:
    """Whether a line of a file of losses has the shape of one: [length, plan, sample, loss] each, and slopes
    [length, plan, sample, loss, gradient, forwards]."""
    losses, slopes = line.get("losses"), line.get("slopes", [])
    if not (_is_number(line.get("seconds")) and isinstance(losses, list) and isinstance(slopes, list)):
        return False
    return all(_is_loss(loss, 4) for loss in losses) and all(
        _is_loss(slope, 6) and (slope[4] is None or _are_numbers(slope[4])) and type(slope[5]) is int
        for slope in slopes
    )


def _is_loss(line: object, parts: int) -> bool:
    return (
        isinstance(line, list)
        and len(line) == parts
        and [type(part) for part in line[:3]] == [int, str, int]
        and (line[3] is None or _is_number(line[3]))
    )


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST  # type: ignore[operator]


def _holds(content: object, fields: Fields) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict) and all(isinstance(content.get(name), kind) for name, kind in fields.items())
