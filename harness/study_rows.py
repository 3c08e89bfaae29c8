"""What a search study measured, as it goes from the study to the report's table and figure: the report has no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.store_rows import SearchCost


@dataclass(frozen=True)
class StudyWinner:
    """What the search of one seed ended at."""

    seed: int
    plan: str  # its hash, at the target length
    critical_pair: float | None
    cost: SearchCost
    own_loss: float | None  # on the texts that it was searched on; None for plain perplexity, which is another loss


@dataclass(frozen=True)
class StudyRow:
    """One procedure with its budget, or a closed form, which has no winners."""

    name: str
    extender: str
    parameters: Mapping[str, Any]
    forwards: int  # its budget in prompts of the target length; 0 of a closed form
    winners: tuple[StudyWinner, ...]
    losses_SN: tuple[tuple[float, ...], ...]  # nats per answer token; a line for each search seed, a column a text


@dataclass(frozen=True)
class Study:
    """All rows, measured on the same held-out texts; closed forms last."""

    weights: str  # their hash
    dtype: str
    target_length: int  # tokens
    trained_length: int  # tokens
    critical_pair: int  # in theory
    texts: tuple[int, ...]  # numbers of the held-out texts
    wordings: tuple[str, ...]  # how the needle of each is worded
    rows: tuple[StudyRow, ...]
