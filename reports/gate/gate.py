"""The regression gate: is the candidate's store as good as the base's, up to a margin, under the same conditions?

Three answers, which the command line turns into exit codes: passed (0), failed (1), cannot compare (2). A gate that
lets something through because it could not look is worse than none, so everything that prevents a look (other
conditions, missing or failed cells, methods without a partner) is the third answer and is said in words.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.gate.conditions import CONDITIONS, Difference, Opened, Side, check_allowed, differences, in_words, opened
from reports.statistics.intervals import Array
from reports.statistics.noninferiority import NO_SIGNAL, Decision, Group, decide
from reports.statistics.seeds import TwoLevel, side_by_side, two_level

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
class Result:
    """An answer. `notes` is what a reader should know beside it."""

    base: str
    candidate: str
    margin: float  # points
    pairs: tuple[tuple[str, str], ...]  # labels compared, base's first
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.decisions)

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
) -> Result:
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
    found = [one for pair in sides for one in differences(*pair)]
    refused = [one for one in found if one.condition not in allow]
    absent = [f"{side.label} in {words}" for pair in sides for side in pair for words in side.absent]
    if refused or absent:
        raise CannotCompare(list(dict.fromkeys(in_words(refused) + absent)), "" if absent else _hint(refused))
    groups = [group for pair in sides for group in _groups(*pair)]
    decisions = decide(groups, margin)
    if all(one.word == NO_SIGNAL for one in decisions):
        raise CannotCompare(["both sides score 0 on every test, so no drop could show; choose tests the model can do"])
    notes = _notes(first, second, labels, found, sides)
    return Result(str(base), str(candidate), margin, tuple(labels), tuple(decisions), tuple(notes))


def _pairs(first: Opened, second: Opened, base_label: str | None, candidate_label: str | None) -> list[tuple[str, str]]:
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


def _hint(refused: Sequence[Difference]) -> str:
    """What to type to compare nevertheless; '' where nothing helps."""
    if any(one.condition not in CONDITIONS for one in refused):
        return ""
    names = [name for name in CONDITIONS if any(one.condition == name for one in refused)]
    return "to compare nevertheless: " + " ".join(f"--allow {name}" for name in names)


def _groups(base: Side, candidate: Side) -> list[Group]:
    """One group for each category, unit and length; inside it one test for each task, seeds together."""
    tests: dict[tuple[str, str, int], dict[str, list[_Paired]]] = {}
    for place, cell in base.cells.items():
        if place not in candidate.cells:
            continue
        task, length, seed = place
        ours, theirs = base.rows[place]["score"], candidate.rows[place]["score"]
        shared = ours.index.intersection(theirs.index)
        pair = (theirs.loc[shared].to_numpy(dtype=np.float64), ours.loc[shared].to_numpy(dtype=np.float64))
        key = (str(cell["category"]), str(cell["unit"]), length)
        paired = _Paired(seed, bool(cell.get("seeded", True)), tuple(shared), *pair)
        tests.setdefault(key, {}).setdefault(task, []).append(paired)
    label = base.label if base.label == candidate.label else f"{candidate.label} against {base.label}"
    trained = base.trained or candidate.trained
    return [
        Group(
            label,
            category,
            length,
            unit,
            [_pooled(seeds) for seeds in named.values()],
            tuple(named),
            _of_seeds(list(named.values())) if trained else None,
        )
        for (category, unit, length), named in tests.items()
    ]


@dataclass(frozen=True)
class _Paired:
    """One test under one seed."""

    seed: int
    seeded: bool  # False where every seed asks the same samples
    samples: tuple[int, ...]
    candidate: Array
    base: Array


def _same_samples(seeds: Sequence[_Paired]) -> bool:
    return all(not one.seeded and one.samples == seeds[0].samples for one in seeds)


def _pooled(seeds: Sequence[_Paired]) -> tuple[Array, Array]:
    """Scores of all seeds; where they answer the same samples, each sample once with its mean."""
    both = [[one.candidate for one in seeds], [one.base for one in seeds]]
    join = (lambda of: np.mean(of, axis=0)) if _same_samples(seeds) else np.concatenate
    return join(both[0]), join(both[1])


def _of_seeds(tests: Sequence[Sequence[_Paired]]) -> TwoLevel | None:
    """Candidate minus base over the seeds of a training, tests with equal weight; None for a single seed."""
    seeds = sorted(set.intersection(*({one.seed for one in of_test} for of_test in tests)))
    if len(seeds) < 2:
        return None
    kept = [sorted((one for one in of_test if one.seed in seeds), key=lambda one: one.seed) for of_test in tests]
    if all(map(_same_samples, kept)):
        table_SN = side_by_side([np.stack([one.candidate - one.base for one in of_test]) for of_test in kept])
        return two_level(table_SN, "gate", bounded=False)
    means_TS = [[float(np.mean(one.candidate - one.base)) for one in of_test] for of_test in kept]
    return two_level(np.mean(means_TS, axis=0)[:, None], "gate", same_samples=False, bounded=False)


def _notes(
    first: Opened,
    second: Opened,
    labels: list[tuple[str, str]],
    found: list[Difference],
    sides: list[tuple[Side, Side]],
) -> list[str]:
    notes = [f"allowed to differ: {words}" for words in in_words(found)]
    new = [label for label in second.labels if label not in {other for _, other in labels}]
    if new and second is not first and len(labels) == len(first.labels):
        notes.append(f"not compared, for the base has no such method: {', '.join(new)}")
    for base, candidate in sides:
        changed = same = 0
        for place, cell in base.cells.items():
            if place in candidate.cells and cell["key"] == candidate.cells[place]["key"]:
                same += 1
                changed += not base.rows[place]["score"].equals(candidate.rows[place]["score"])
        if changed:
            notes.append(
                f"{base.label}: {changed} of {same} cells have the same key and other scores, so what makes them "
                "changed without a new version, or the machine computes otherwise"
            )
    versions = [(side.frames.run.get("ledger") or {}).get("environment") or {} for side in (first, second)]
    for name in ("torch", "transformers", "tokenizers", "cpu", "gpus"):
        old, new_ = versions[0].get(name), versions[1].get(name)
        if old != new_ and old is not None and new_ is not None:
            notes.append(f"{name} differs: {old} against {new_}")
    return notes
