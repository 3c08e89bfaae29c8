"""What a search writes down as it goes: one line for each candidate, step or held-out check."""

from typing import Any, TypedDict, final


@final
class CandidateLine(TypedDict):
    """A measured candidate, as the log has it."""

    candidate: int
    parent: int | None
    operator: str
    stage: str
    loss: float | None  # None where JSON has no number for it
    samples: int
    parameters: dict[str, Any]
    factors: list[float | None]
    plan: str
    spent: int


@final
class HeldOutLine(TypedDict):
    """A plan on held-out samples, as the log has it."""

    held_out: str
    loss: float | None
    samples: int
    plan: str


@final
class IterateLine(TypedDict):
    """A step of a search by gradient, as the log has it: a plan on one sample of its own."""

    iterate: int
    sample: int
    loss: float | None
    gradient: list[float] | None
    factors: list[float | None]
    attention_factor: float
    plan: str
    spent: int


Line = CandidateLine | HeldOutLine | IterateLine
