"""The regression gate: is the candidate's store as good as the base's, up to a margin, under the same conditions?

Three answers, which the command line turns into exit codes: passed (0), failed (1), cannot compare (2). A gate that
lets something through because it could not look is worse than none, so everything that prevents a look (other
conditions, missing or failed cells, methods without a partner) is the third answer and is said in words.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.gate import pairing
from reports.gate.conditions import (
    CONDITIONS,
    OpenedStore,
    Side,
    UnequalCondition,
    check_allowed,
    in_words,
    opened,
    unequal_conditions,
)
from reports.statistics.noninferiority import NO_SIGNAL, Decision, decide

MARGIN = 1.0  # points
PRESETS = {"ci": 2.5}  # name of a shipped experiment → the margin its size was made for (points); see docs/gate.md
SHOWN = 6  # reasons in one message


class CannotCompare(ValueError):
    """The two stores do not allow an answer. `reasons` holds all of it, the message the first few."""

    def __init__(self, reasons: Sequence[str], hint: str = "") -> None:
        self.reasons = (*reasons, *([hint] if hint else []))
        more = f" (and {len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
        super().__init__("; ".join(["cannot compare: " + "; ".join(reasons[:SHOWN]) + more] + [hint] * bool(hint)))


@dataclass(frozen=True)
class GateResult:
    """An answer. `notes` is what a reader should know beside it."""

    base: str
    candidate: str
    margin: float  # points
    pairs: tuple[tuple[str, str], ...]  # labels compared, base's first
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(decision.passed for decision in self.decisions)

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else 1


def compare(
    base: Path,
    candidate: Path,
    margin: float = MARGIN,
    base_label: str | None = None,
    candidate_label: str | None = None,
    allow: Collection[str] = (),
) -> GateResult:
    """Compare two stores, or two methods of one.

    Without labels every method of the base is compared with the one of the same label. `allow` names conditions that
    may differ (keys of `conditions.CONDITIONS`); then only what both have is compared, and the result says so. Raises
    CannotCompare with every reason, and ValueError for a folder that is no store or a name that is unknown.
    """
    check_allowed(allow)
    first = opened(base)
    second = first if Path(base).resolve() == Path(candidate).resolve() else opened(candidate)
    if not first.frames.labels:
        raise CannotCompare([f"{first.name} holds no method"])
    if second is first and (base_label or "") == (candidate_label or ""):
        raise CannotCompare(["base and candidate are the same store; name two different methods of it"])
    labels = _pairs(first, second, base_label, candidate_label)
    sides = [(first.side(mine), second.side(other)) for mine, other in labels]
    unequal = [condition for pair in sides for condition in unequal_conditions(*pair)]
    refused = [entry for entry in unequal if entry.condition not in allow]
    absent = [f"{side.label} in {words}" for pair in sides for side in pair for words in side.absent]
    if refused or absent:
        raise CannotCompare(list(dict.fromkeys(in_words(refused) + absent)), "" if absent else _hint(refused))
    groups = [group for pair in sides for group in pairing.groups(*pair)]
    decisions = decide(groups, margin)
    if all(decision.word == NO_SIGNAL for decision in decisions):
        raise CannotCompare(["both sides score 0 on every test, so no drop could show; choose tests the model can do"])
    notes = _notes(first, second, labels, unequal, sides)
    return GateResult(str(base), str(candidate), margin, tuple(labels), tuple(decisions), tuple(notes))


def _pairs(
    first: OpenedStore, second: OpenedStore, base_label: str | None, candidate_label: str | None
) -> list[tuple[str, str]]:
    """Labels to compare. Raises CannotCompare for a method without a partner."""
    if base_label or candidate_label:
        mine, other = base_label or candidate_label or "", candidate_label or base_label or ""
        for store, label in ((first, mine), (second, other)):
            if label not in store.labels:
                raise CannotCompare([f"{store.name} has no method {label!r}; it has {', '.join(store.labels)}"])
        return [(mine, other)]
    lost = [label for label in first.labels if label not in second.labels]
    if lost:
        raise CannotCompare(
            [
                f"{second.name} has no method {lost[0]!r}; it has {', '.join(second.labels) or 'none'}. Name a pair "
                "with --base-label and --candidate-label"
            ]
        )
    return [(label, label) for label in first.labels]


def _hint(refused: Sequence[UnequalCondition]) -> str:
    """What to type to compare nevertheless; '' where nothing helps."""
    if any(entry.condition not in CONDITIONS for entry in refused):
        return ""
    names = [name for name in CONDITIONS if any(entry.condition == name for entry in refused)]
    return "to compare nevertheless: " + " ".join(f"--allow {name}" for name in names)


def _notes(
    first: OpenedStore,
    second: OpenedStore,
    labels: list[tuple[str, str]],
    unequal: list[UnequalCondition],
    sides: list[tuple[Side, Side]],
) -> list[str]:
    notes = [f"allowed to differ: {words}" for words in in_words(unequal)]
    new = [label for label in second.labels if label not in {other for _, other in labels}]
    if new and second is not first and len(labels) == len(first.labels):
        notes.append(f"not compared, for the base has no such method: {', '.join(new)}")
    for base, candidate in sides:
        changed = same = 0
        for place, cell in base.cells.items():
            if place in candidate.cells and cell.key == candidate.cells[place].key:
                same += 1
                changed += not base.rows[place]["score"].equals(candidate.rows[place]["score"])
        if changed:
            notes.append(
                f"{base.label}: {changed} of {same} cells have the same key and other scores, so what makes them "
                "changed without a new version, or the machine computes otherwise"
            )
    versions = [side.frames.environment for side in (first, second)]
    for name in ("torch", "transformers", "tokenizers", "cpu", "gpus"):
        old, new_ = versions[0].get(name), versions[1].get(name)
        if old != new_ and old is not None and new_ is not None:
            notes.append(f"{name} differs: {old} against {new_}")
    return notes
