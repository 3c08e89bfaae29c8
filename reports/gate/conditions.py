"""Were two stores made under the same conditions? What differs, and where, before any of their numbers are compared.

What a gate compares is the plan (and what a method's own training made of the weights). Everything else has to be
equal: the base model and its trained length, the tests with their versions and parameters, lengths, seeds, samples,
budgets of new tokens, crossing, dtype, attention kernel, engine, and the prompts themselves.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store import CellRecord, Run, Store, canonical
from reports.numbers import frame
from reports.numbers.frame import CONTROL

UNRECORDED_CROSSING = "fixed"  # older stores do not say it; this is what runs where nothing is said
CellPlace = tuple[str, int, int]  # task, length, seed

# Name on the command line → what it means. Prompts are not among them: other prompts cannot be paired.
CONDITIONS = {
    "model": "the base model and its tokenizer",
    "window": "the trained length, which an experiment may set",
    "target": "the target length",
    "tests": "which tests ran, at which lengths, with which versions and parameters",
    "decoding": "the budget of new tokens",
    "crossing": "what happens where an answer crosses the trained window",
    "seeds": "the seeds of the samples",
    "samples": "how many samples",
    "dtype": "the number format of the weights",
    "attention": "the attention kernel",
    "engine": "what ran the model",
}


@dataclass(frozen=True)
class CellOrigin:
    """How a cell was made. `identity` is what its key was hashed from; empty where the cell does not say."""

    identity: Mapping[str, Any]
    engine: str | None


UNKNOWN_ORIGIN = CellOrigin({}, None)


@dataclass(frozen=True)
class ComparedCell:
    """A planned cell with what became of it, and how it was made."""

    key: str
    category: str
    unit: str
    samples: int
    seeded: bool  # False where every seed asks the same samples
    status: str  # done, failed, missing
    reason: str  # why there is no result
    origin: CellOrigin


@dataclass(frozen=True)
class Side:
    """One method in one store."""

    name: str  # of the folder, as the user wrote it
    label: str
    run: Run
    cells: Mapping[CellPlace, ComparedCell]
    rows: Mapping[CellPlace, pd.DataFrame]  # sample → score, prompt

    @property
    def trained(self) -> bool:
        """True for a method that was fine-tuned: every seed is then a model of its own."""
        return any(
            method["label"] == self.label and isinstance(method.get("training"), dict) for method in self.run["methods"]
        )

    @property
    def absent(self) -> list[str]:
        """Cells without a result."""
        return [
            f"{self.name}: {task} at {length} tokens, seed {seed} is {cell.status}"
            + (f" ({cell.reason})" if cell.status == "failed" else "")
            for (task, length, seed), cell in self.cells.items()
            if cell.status != "done"
        ]


@dataclass(frozen=True)
class UnequalCondition:
    condition: str  # a key of CONDITIONS; or kind, prompts or results, which may never differ
    what: str
    where: str = ""  # which cell; "" for the whole store


def in_words(unequal: Sequence[UnequalCondition]) -> list[str]:
    """One line for each thing that differs, with the first place and the number of others."""
    places: dict[tuple[str, str], list[str]] = {}
    for entry in unequal:
        places.setdefault((entry.condition, entry.what), []).append(entry.where)
    lines = []
    for (_, what), where in places.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        lines.append(f"{what} ({where[0]}{more})" if where[0] else what)
    return lines


@dataclass(frozen=True)
class OpenedStore:
    """A store, read once for all its methods."""

    name: str
    frames: frame.Frames
    origins: Mapping[str, CellOrigin]  # by cell key

    @property
    def labels(self) -> list[str]:
        return self.frames.labels

    def side(self, label: str) -> Side:
        cells, rows = self.frames.cells, self.frames.rows
        mine = cells[(cells["label"] == label) & (cells["category"] != CONTROL)]
        by_place = {
            (str(task), int(length), int(seed)): table.set_index("sample")[["score", "prompt"]].sort_index()
            for (task, length, seed), table in rows[rows["label"] == label].groupby(
                ["task", "length", "seed"], sort=False
            )
        }
        planned = {
            (str(cell.task), int(cell.length), int(cell.seed)): ComparedCell(
                str(cell.key), str(cell.category), str(cell.unit), int(cell.samples), bool(cell.seeded),
                str(cell.status), str(cell.reason), self.origins.get(str(cell.key), UNKNOWN_ORIGIN),
            )
            for cell in mine.itertuples()
        }  # fmt: skip
        return Side(self.name, label, self.frames.run, planned, by_place)


def opened(folder: Path) -> OpenedStore:
    """Raises ValueError when the folder holds no store, or one that describes no run."""
    store = Store.open(Path(folder))
    frames = frame.read(store)
    origins = {str(planned["key"]): _origin(record) for planned, record in store.cells() if record is not None}
    return OpenedStore(str(folder), frames, origins)


def _origin(record: CellRecord) -> CellOrigin:
    identity, where = record.get("identity"), record.get("provenance")
    return CellOrigin(
        identity if isinstance(identity, dict) else {}, where.get("engine") if isinstance(where, dict) else None
    )


def unequal_conditions(base: Side, candidate: Side) -> Iterator[UnequalCondition]:
    """Everything that differs between two methods' stores and should not."""
    models: list[Mapping[str, Any]] = [side.run.get("model") or {} for side in (base, candidate)]
    yield from _unequal("model", "base model", "", *(model.get("weights_hash") for model in models))
    windows = [(model.get("rope") or {}).get("trained_length") for model in models]
    yield from _unequal("window", "trained length", "", *windows)
    yield from _unequal(
        "target", "target length", "", base.run.get("target_length"), candidate.run.get("target_length")
    )
    crossings = [side.run.get("crossing", UNRECORDED_CROSSING) for side in (base, candidate)]
    yield from _unequal("crossing", "crossing", "", *crossings)
    for here, there in ((base, candidate), (candidate, base)):
        for place in here.cells:
            if place not in there.cells:
                yield _only(place, here, there)
    for place in base.cells:
        if place in candidate.cells:
            yield from _cell(place, base, candidate)


def _only(place: CellPlace, here: Side, there: Side) -> UnequalCondition:
    task, length, seed = place
    if any(other[:2] == place[:2] for other in there.cells):
        return UnequalCondition("seeds", f"seed {seed} is only in {here.name}", f"{task} at {length} tokens")
    return UnequalCondition("tests", f"only in {here.name}: {task}", f"at {length} tokens")


def _cell(place: CellPlace, base: Side, candidate: Side) -> Iterator[UnequalCondition]:
    first, second = base.cells[place], candidate.cells[place]
    where = f"{place[0]} at {place[1]} tokens"
    yield from _unequal("kind", "category of the test", where, first.category, second.category)
    yield from _unequal("kind", "unit of the test", where, first.unit, second.unit)
    yield from _unequal("samples", "samples", where, first.samples, second.samples)
    if first.status != "done" or second.status != "done":
        return  # said elsewhere
    mine, other = first.origin.identity, second.origin.identity
    if not mine or not other:
        yield UnequalCondition("results", "a cell does not say how it was made; run it again", where)
        return
    for name in ("dtype", "attention"):
        yield from _unequal(name, name, where, mine.get(name), other.get(name))
    task, other_task = dict(mine.get("task") or {}), dict(other.get("task") or {})
    decoding = task.pop("new_tokens", None), other_task.pop("new_tokens", None)
    yield from _unequal("decoding", "budget of new tokens", where, *decoding)
    for name in sorted((task.keys() | other_task.keys()) - {"unit"}):
        yield from _unequal("tests", f"{name} of the test", where, task.get(name), other_task.get(name))
    yield from _unequal("engine", "engine", where, first.origin.engine, second.origin.engine)
    yield from _prompts(where, base.rows[place], candidate.rows[place])


def _prompts(where: str, first: pd.DataFrame, second: pd.DataFrame) -> Iterator[UnequalCondition]:
    shared = first.index.intersection(second.index)
    if len(shared) == 0:
        yield UnequalCondition("prompts", "no sample is in both stores", where)
    elif (first.loc[shared, "prompt"] != second.loc[shared, "prompt"]).any():
        yield UnequalCondition("prompts", "the prompts differ, so samples cannot be paired", where)
    elif len(shared) < max(len(first), len(second)):
        yield UnequalCondition("samples", f"{len(first)} and {len(second)} samples found, {len(shared)} in both", where)


def _unequal(condition: str, what: str, where: str, first: Any, second: Any) -> Iterator[UnequalCondition]:
    if canonical(first) != canonical(second):
        yield UnequalCondition(condition, f"{what}: {_short(first)} against {_short(second)}", where)


def _short(value: Any) -> str:
    text = "not recorded" if value is None else value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_allowed(allowed: Collection[str]) -> None:
    unknown = [name for name in allowed if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"no condition is named {unknown[0]!r}; those that may differ are {', '.join(CONDITIONS)}")
