"""Reader of published_factors.json: rescale factors that authors released, with their source.

They are absolute: inv_freq_i = 1 / (λ_i · θ^(2i/d)), whatever scaling a checkpoint carries already.
"""

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from extenders.base import RopeSpec


@dataclass(frozen=True)
class PublishedFactors:
    """One published set; lists have `rotary_dims / 2` factors, lengths are in tokens."""

    name: str
    model: str
    method: str
    head_dim: int
    rotary_dims: int
    rope_theta: float
    original_length: int
    target_length: int
    source: str
    long: tuple[float, ...]
    short: tuple[float, ...] | None = None  # None: only one list was published
    attention_factor: float | None = None  # multiplies cos and sin; None: the source gives none
    fine_tuned_length: int | None = None  # of the model that the factors are for, where they are for a tuned one
    note: str = ""

    def fit(self, rope: RopeSpec) -> None:
        """Raises ValueError when the model rotates another number of dimensions."""
        if rope.rotary_dims != self.rotary_dims:
            raise ValueError(
                f"published:{self.name} is for models that rotate {self.rotary_dims} dimensions ({self.model}); "
                f"this model rotates {rope.rotary_dims}"
            )


@cache
def _all() -> dict[str, PublishedFactors]:
    text = resources.files("extenders").joinpath("published_factors.json").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = json.loads(text)["entries"]
    for entry in entries:
        entry["long"] = tuple(entry["long"])
        entry["short"] = tuple(entry["short"]) if entry["short"] else None
    return {entry["name"]: PublishedFactors(**entry) for entry in entries}


def published_names() -> list[str]:
    """The names of all published sets."""
    return sorted(_all())


def published(name: str) -> PublishedFactors:
    """One published set. Raises ValueError for an unknown name."""
    if name not in _all():
        near = difflib.get_close_matches(name, _all(), n=3, cutoff=0.3)
        nearest = f"the nearest are {', '.join(near)}; " if near else ""
        raise ValueError(f"no published factors are named {name!r}; {nearest}ropebench list factors shows all")
    return _all()[name]
