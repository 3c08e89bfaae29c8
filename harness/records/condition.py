"""One condition of a comparison: what every method had, and among which methods it must be equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.store import Condition, canonical


@dataclass(frozen=True)
class Groups:
    """Methods within which equality is judged, by their labels; a method in no group has nothing to be equal in."""

    words: str  # what the groups are, for a reader
    labels: list[list[str]]


@dataclass(frozen=True)
class Observation:
    """The values of all methods, by label. None is a value that nobody knows, and equals nothing."""

    condition: str
    values: dict[str, Any]
    must_be_equal: bool
    groups: Groups | None = None  # None: all methods are one group

    def judged(self, labels: Sequence[str]) -> Condition:
        """The line of the ledger."""
        groups = [list(labels)] if self.groups is None else self.groups.labels
        line: Condition = {
            "condition": self.condition,
            "values": self.values,
            "equal": all(_equal([self.values[label] for label in group]) for group in groups),
            "must_be_equal": self.must_be_equal,
        }
        if self.groups is not None:
            line |= {"within": self.groups.words, "among": groups}
        return line


def required(condition: str, values: dict[str, Any], groups: Groups | None = None) -> Observation:
    """What must be equal for a controlled comparison."""
    return Observation(condition, values, True, groups)


def shown(condition: str, values: dict[str, Any]) -> Observation:
    """What may differ, and is shown so that nobody overlooks it."""
    return Observation(condition, values, False)


def together(words: Sequence[str]) -> str:
    """a, b and c"""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _equal(values: list[Any]) -> bool:
    return None not in values and len({canonical(value) for value in values}) < 2
