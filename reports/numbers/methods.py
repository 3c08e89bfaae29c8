"""The methods of a run as run.json describes them: parameters, training, and the plan at the target length."""

from dataclasses import dataclass

from harness.store import StoredMethod, StoredPlan
from reports.numbers.frame import Frames


def critical_of(method: StoredMethod) -> float | None:
    """The critical pair that a method was given or has found; None where it uses none or the theory's."""
    value = (method.get("parameters") or {}).get("critical_pair")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def recipe_of(method: StoredMethod) -> str:
    """The training recipe, '' for an untrained method."""
    training = method.get("training")
    return str(training.get("recipe") or "") if isinstance(training, dict) else ""


def target_plan(method: StoredMethod, target: int) -> StoredPlan | None:
    """The plan of a method at the target length, or at the longest length below it."""
    plans = {int(length): plan for length, plan in (method.get("plans") or {}).items()}
    lengths = [length for length in plans if length <= target] or list(plans)
    return plans[max(lengths)] if lengths else None


@dataclass(frozen=True)
class MethodDescription:
    """A method and its plan at the target length; None and '' where no plan is recorded."""

    label: str
    extender: str
    summary: str
    parameters: str
    training: str
    attention_factor: float | None
    query_factor: float  # on the whole attention logit
    keep_first: int | None
    hash: str


def described(frames: Frames) -> list[MethodDescription]:
    return [_described(method, frames.target_length) for method in frames.run["methods"]]


def _described(method: StoredMethod, target: int) -> MethodDescription:
    plan = target_plan(method, target)
    given = sorted((method.get("parameters") or {}).items())
    return MethodDescription(
        method["label"],
        method.get("extender", ""),
        method.get("summary", ""),
        ", ".join(f"{name} = {_brief(value)}" for name, value in given if value is not None),
        recipe_of(method),
        plan.get("attention_factor") if plan else None,
        plan.get("query_factor", 1.0) if plan else 1.0,
        plan.get("keep_first") if plan else None,
        plan.get("hash", "") if plan else "",
    )


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
