"""A result store as two tables: one line per planned cell, one line per sample.

A cell that has no result stays in the first table as 'missing' or 'failed' and gives no samples, so that nothing
downstream can take it for a zero. A cell whose content cannot be trusted counts as failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import pandas as pd

from harness.store import UNREADABLE, CellRecord, PlannedCell, Proof, Reading, Run, Store, StoredRow, unfit
from reports.numbers.file_names import file_names

Test = tuple[str, int]  # task and length in tokens
CONTROL = "control"  # the category of tests that show what luck gives: never averaged, never gated
PLANNED_COLUMNS = ("key", "label", "task", "category", "unit", "length", "seed", "samples")


class CellLine(TypedDict):
    """A planned cell with what became of it: the columns of `Frames.cells`."""

    key: str
    label: str  # of the method
    task: str
    category: str
    unit: str
    length: int
    seed: int
    samples: int  # planned
    seeded: bool  # False where every seed asks the same samples
    status: str  # done, failed, missing
    n: int  # samples found
    reason: str  # why there is no result
    traceback: str
    seconds: float  # NaN where it is not known, as the next two
    token_forwards: float
    peak_memory_bytes: float
    proof: Mapping[str, Proof] | None


class SampleLine(TypedDict):
    """An answer: the columns of `Frames.rows`."""

    key: str  # of the cell, as the next six
    label: str
    task: str
    category: str
    unit: str
    length: int
    seed: int
    sample: int
    score: float
    prompt: str
    generation: str
    references: Sequence[str]
    prompt_tokens: int
    new_tokens: int
    depth: float | None
    finished: bool
    failure: str
    seconds: float
    plan_hash: str
    extra: object


@dataclass(frozen=True)
class Frames:
    """What a report is made of: `cells` has the columns of CellLine, `rows` those of SampleLine."""

    run: Run
    cells: pd.DataFrame
    rows: pd.DataFrame
    unsealed: int = 0  # cells whose record carries no seal, as before there were seals

    @property
    def labels(self) -> list[str]:
        """The methods, in the order of the experiment."""
        return [method["label"] for method in self.run.get("methods", [])]

    @property
    def families(self) -> dict[str, str]:
        """Every method's label with the label that it has before any training."""
        named = [(method["label"], method.get("training")) for method in self.run.get("methods", [])]
        return {label: str(training.get("base_method", label)) if training else label for label, training in named}

    @property
    def original(self) -> str | None:
        """The label of the unextended model, or None where it was not run."""
        return next((m["label"] for m in self.run["methods"] if m.get("extender") == "none"), None)

    @property
    def last_window(self) -> str | None:
        """The label of the unextended model on the last window of the text alone, or None where it was not run."""
        return next((m["label"] for m in self.run["methods"] if m.get("extender") == "sliding_window"), None)

    @property
    def seeds(self) -> list[int]:
        return sorted({int(seed) for seed in self.cells["seed"]})

    @cached_property
    def file_names(self) -> Mapping[str, str]:
        """Test → the part of a file name that stands for it."""
        return file_names(str(task) for task in self.cells["task"])

    @property
    def model(self) -> Mapping[str, Any]:
        """A `StoredModel`, or a part of it in old stores."""
        return self.run.get("model") or {}

    @property
    def environment(self) -> Mapping[str, Any]:
        """Software and hardware of the run, as its ledger says; empty where it says nothing."""
        ledger: Mapping[str, Any] = self.run.get("ledger") or {}
        return ledger.get("environment") or {}

    @property
    def target_length(self) -> int:
        return int(self.run.get("target_length", 0))

    @property
    def trained_length(self) -> int:
        return int((self.model.get("rope") or {}).get("trained_length", 0))

    @property
    def pocket(self) -> bool:
        """True for the small models that ship with the package; their numbers are always labelled."""
        name = str(self.model.get("name", ""))
        return name.replace("\\", "/").rstrip("/").rpartition("/")[2].startswith("pocket-")


def read(store: Store) -> Frames:
    """Read a whole store. Raises ValueError when run.json does not describe a run."""
    run = store.run()
    try:
        for planned in run["cells"]:
            for name in PLANNED_COLUMNS:
                planned[name]  # type: ignore[literal-required]
        for method in run["methods"]:
            method["label"]
    except (KeyError, TypeError) as error:
        raise store.no_run(error) from None
    cells: list[CellLine] = []
    rows: list[SampleLine] = []
    unsealed = 0
    for planned in run["cells"]:
        reading = store.cell_reading(planned["key"])
        cell, samples = _read_cell(planned, reading)
        unsealed += reading.record is not None and not reading.sealed
        cells.append(cell)
        rows += samples
    return Frames(
        run,
        pd.DataFrame(cells, columns=list(CellLine.__annotations__)),
        pd.DataFrame(rows, columns=list(SampleLine.__annotations__)),
        unsealed,
    )


def _read_cell(planned: PlannedCell, reading: Reading[CellRecord]) -> tuple[CellLine, list[SampleLine]]:
    """The line of a cell and those of its samples; of a cell without a sound result, no samples."""
    cell, record = _without_result(planned), reading.record
    if record is None:
        if reading.damage:
            cell["status"] = "missing" if reading.damage == UNREADABLE else "failed"
            cell["reason"] = f"damaged cell file: {reading.damage}"
        return cell, []
    cost = record.get("cost") or {}
    for name in ("seconds", "token_forwards", "peak_memory_bytes"):
        value = cost.get(name)
        cell[name] = float(value) if isinstance(value, int | float) else math.nan  # type: ignore[literal-required]
    cell["status"] = "failed"
    if record["status"] == "failed":
        cell["reason"] = str(record.get("error") or "failed without a message")
        cell["traceback"] = str(record.get("traceback") or "")
        return cell, []
    if problem := unfit(record.get("rows"), planned["unit"]):
        cell["reason"] = f"damaged cell file: {problem}"
        return cell, []
    samples = [_sample(planned, row) for row in record["rows"]]
    cell |= {"status": "done", "n": len(samples), "reason": "", "proof": record.get("proof")}
    return cell, samples


def _without_result(planned: PlannedCell) -> CellLine:
    return {
        "key": planned["key"],
        "label": planned["label"],
        "task": planned["task"],
        "category": planned["category"],
        "unit": planned["unit"],
        "length": planned["length"],
        "seed": planned["seed"],
        "samples": planned["samples"],
        "seeded": bool(planned.get("seeded", True)),
        "status": "missing",
        "n": 0,
        "reason": "not run yet",
        "traceback": "",
        "seconds": math.nan,
        "token_forwards": math.nan,
        "peak_memory_bytes": math.nan,
        "proof": None,
    }


def _sample(planned: PlannedCell, row: StoredRow) -> SampleLine:
    return {
        "key": planned["key"],
        "label": planned["label"],
        "task": planned["task"],
        "category": planned["category"],
        "unit": planned["unit"],
        "length": planned["length"],
        "seed": planned["seed"],
        "sample": row["sample"],
        "score": float(row["score"]),
        "prompt": row.get("prompt", ""),
        "generation": row.get("generation", ""),
        "references": row.get("references", ()),
        "prompt_tokens": row.get("prompt_tokens", 0),
        "new_tokens": row.get("new_tokens", 0),
        "depth": row.get("depth"),
        "finished": row.get("finished", True),
        "failure": row.get("failure", ""),
        "seconds": row.get("seconds", 0.0),
        "plan_hash": row.get("plan_hash", ""),
        "extra": row.get("extra"),
    }
