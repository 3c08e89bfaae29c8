"""Were the methods compared under equal conditions? The run's ledger as a matrix of green, amber and red."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.store import Condition, Ledger, canonical


@dataclass(frozen=True)
class ConditionValue:
    """The value of one condition for one method, as the matrix shows it."""

    text: str
    colour: str  # green, amber, red; "" where this method has nothing to be equal in
    full: str  # the whole value, where `text` is cut


@dataclass(frozen=True)
class AuditedCondition:
    name: str
    colour: str
    word: str
    must_be_equal: bool
    values: tuple[ConditionValue, ...]  # in the order of the methods
    within: str = ""  # which methods are held equal to each other; "" for all

    @property
    def one_value(self) -> bool:
        """True where one text says it for all methods."""
        return self.colour == "green" and len({value.full for value in self.values}) == 1


@dataclass(frozen=True)
class Audit:
    conditions: tuple[AuditedCondition, ...]
    controlled: bool
    sentence: str
    remarks: tuple[str, ...] = ()  # what breaks no condition and has to be known all the same
    tag: str = ""  # the verdict in a few words, with what limits it


def audit(ledger: Ledger | None, labels: Sequence[str]) -> Audit:
    """'Controlled' has to be earned: two methods or more, and every condition that must be equal is recorded and is.

    Some conditions are judged within groups of methods, as the ledger says; the sentence and the tag then say so too.
    """
    conditions = tuple(_condition(entry, labels) for entry in (ledger.get("conditions") if ledger else None) or [])
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
        parts = Counter(condition.within for condition in must if condition.within)
        narrower = "".join(f", {count} of them {within}" for within, count in parts.items())
        sentence = f"Controlled: all {len(must)} conditions that must be equal are{narrower}."
    if differ:
        sentence += f" Different between methods, as may be: {', '.join(differ)}."
    remarks = [remark for remark in (ledger.get("remarks") if ledger else None) or [] if isinstance(remark, Mapping)]
    limits = [str(remark["tag"]) for remark in remarks if remark.get("tag")]
    words = "✓ controlled comparison" if controlled else "✗ not a controlled comparison"
    tag = f"{words} ({', '.join(limits)})" if controlled and limits else words
    return Audit(conditions, controlled, sentence, tuple(str(remark.get("text", "")) for remark in remarks), tag)


def _condition(entry: Condition, labels: Sequence[str]) -> AuditedCondition:
    values, must = entry.get("values") or {}, bool(entry.get("must_be_equal"))
    written = {label: canonical(values[label]) for label in labels if values.get(label) is not None}
    groups = _groups(entry, labels)
    judged = [label for group in groups for label in group]
    alike = all(len({written.get(label) for label in group}) == 1 and group[0] in written for group in groups)
    # The ledger's own word can only make it worse: it may know of a difference that the values do not show.
    equal = alike and entry.get("equal") is not False
    wrong = "red" if must else "amber"
    within = str(entry.get("within") or "some methods") if "among" in entry else ""
    if equal:
        word = f"equal {within}".strip()
    elif any(label not in written for label in judged):
        word = "not recorded for all"
    else:
        word = "differs, and must not" if must else "differs"
    colours = dict.fromkeys(labels, "")
    for group in groups:
        counts = Counter(written[label] for label in group if label in written)
        common, often = counts.most_common(1)[0] if counts else ("", 0)
        # Two values held by equally many methods: neither is the odd one out.
        apart = not equal and often * 2 <= len(group)
        for label in group:
            colours[label] = wrong if apart or written.get(label) != common else "green"
    shown = []
    for label in labels:
        value = values.get(label)
        full = "not recorded" if value is None else value if isinstance(value, str) else canonical(value)
        text = _rounded(value) or full
        shown.append(ConditionValue(text if len(text) <= 18 else f"{text[:12]}…", colours[label], full))
    name = str(entry.get("condition", ""))
    return AuditedCondition(name, "green" if equal else wrong, word, must, tuple(shown), within)


def _groups(entry: Condition, labels: Sequence[str]) -> list[list[str]]:
    """Groups of methods within which a condition is judged: those of the ledger, else all methods together."""
    among = entry.get("among")
    if among is None:
        return [list(labels)] if labels else []
    if not isinstance(among, list) or not all(isinstance(group, list) for group in among):
        return [list(labels)] if labels else []
    groups = [[label for label in group if label in labels] for group in among]
    return [group for group in groups if group]


def _rounded(value: Any) -> str:
    """A number as people read it, '' for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
