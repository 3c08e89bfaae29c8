"""Were the methods compared under equal conditions? The run's ledger as a matrix of green, amber and red."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.store import canonical


@dataclass(frozen=True)
class Place:
    text: str
    colour: str  # green, amber, red
    full: str  # the whole value, where `text` is cut


@dataclass(frozen=True)
class Condition:
    name: str
    colour: str
    word: str
    must_be_equal: bool
    places: tuple[Place, ...]  # in the order of the methods


@dataclass(frozen=True)
class Audit:
    conditions: tuple[Condition, ...]
    controlled: bool
    sentence: str


def audit(ledger: Mapping[str, Any], labels: Sequence[str]) -> Audit:
    """'Controlled' has to be earned: two methods or more, and every condition that must be equal is recorded and is."""
    conditions = tuple(_condition(entry, labels) for entry in ledger.get("conditions") or [])
    must = [condition for condition in conditions if condition.must_be_equal]
    broken = [condition.name for condition in must if condition.colour != "green"]
    differ = [condition.name for condition in conditions if condition.colour == "amber"]
    controlled = len(labels) > 1 and bool(must) and not broken
    if len(labels) < 2:
        sentence = "One method only: there is nothing to hold equal."
    elif not must:
        sentence = "Not controlled: the run recorded no conditions that must be equal."
    elif broken:
        sentence = f"Not controlled: {', '.join(broken)} should be equal and {'is' if len(broken) == 1 else 'are'} not."
    else:
        sentence = f"Controlled: all {len(must)} conditions that must be equal are."
    if differ:
        sentence += f" Different between methods, as may be: {', '.join(differ)}."
    return Audit(conditions, controlled, sentence)


def _condition(entry: Mapping[str, Any], labels: Sequence[str]) -> Condition:
    values, must = entry.get("values") or {}, bool(entry.get("must_be_equal"))
    written = {label: canonical(values[label]) for label in labels if values.get(label) is not None}
    common = Counter(written.values()).most_common(1)[0][0] if written else ""
    # The ledger's own word can only make it worse: it may know of a difference that the values do not show.
    equal = len(set(written.values())) == 1 and len(written) == len(labels) and entry.get("equal") is not False
    wrong = "red" if must else "amber"
    colour = "green" if equal else wrong
    word = (
        "equal"
        if equal
        else "not recorded for all"
        if len(written) < len(labels)
        else "differs, and must not"
        if must
        else "differs"
    )
    places = []
    for label in labels:
        own = "green" if written.get(label) == common else wrong
        # Two values held by equally many methods: neither is the odd one out.
        own = wrong if not equal and list(written.values()).count(common) * 2 <= len(labels) else own
        value = values.get(label)
        full = "not recorded" if value is None else value if isinstance(value, str) else canonical(value)
        text = _rounded(value) or full
        places.append(Place(text if len(text) <= 18 else f"{text[:12]}…", own, full))
    return Condition(str(entry.get("condition", "")), colour, word, must, tuple(places))


def _rounded(value: Any) -> str:
    """A number as people read it, '' for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
