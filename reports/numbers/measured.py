"""What may be damaged in a store: a number that is none, a list that lacks fields, a key that leads elsewhere."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

Entry = TypeVar("Entry", bound=Mapping[str, object])


def number(value: object) -> float:
    """A finite number, or NaN for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:  # a whole number of 400 digits
        return math.nan


def whole(value: object) -> int:
    """A whole number, or 0 for everything else."""
    return 0 if math.isnan(known := number(value)) else int(known)


def entries(listed: Sequence[Entry] | None, needed: str) -> list[Entry]:
    """The entries of a list in run.json that have a field; none where it is no list."""
    return [entry for entry in listed if _has(entry, needed)] if isinstance(listed, list) else []


def _has(entry: object, needed: str) -> bool:
    return isinstance(entry, dict) and needed in entry


def is_plain(key: str) -> bool:
    """A name from a damaged file must not lead out of its folder."""
    return re.fullmatch(r"[0-9a-zA-Z-]+", key) is not None
