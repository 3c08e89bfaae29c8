"""A result store as two tables: one line per planned cell, one line per sample.

A cell that has no result stays in the first table as 'missing' or 'failed' and gives no samples, so that nothing
downstream can take it for a zero. A cell whose content cannot be trusted counts as failed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.store import Store

CELL_COLUMNS = ("key", "label", "task", "category", "unit", "length", "seed", "samples")
ROW_DEFAULTS: dict[str, Any] = {
    "prompt": "",
    "generation": "",
    "references": (),
    "prompt_tokens": 0,
    "new_tokens": 0,
    "depth": None,
    "finished": True,
    "failure": "",
    "seconds": 0.0,
    "plan_hash": "",
    "extra": None,
}
ROW_COLUMNS = (*CELL_COLUMNS[:-1], "sample", "score", *ROW_DEFAULTS)


@dataclass(frozen=True)
class Frames:
    """What a report is made of.

    `cells` has the columns of CELL_COLUMNS and: seeded (False where every seed asks the same samples), status (done,
    failed, missing), n (samples found), reason, traceback, seconds, token_forwards, peak_memory_bytes, proof. `rows`
    has ROW_COLUMNS.
    """

    run: Mapping[str, Any]
    cells: pd.DataFrame
    rows: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The methods, in the order of the experiment."""
        return [method["label"] for method in self.run.get("methods", [])]

    @property
    def families(self) -> dict[str, str]:
        """Every method's label with the label that it has before any training."""
        named = [(one["label"], one.get("training")) for one in self.run.get("methods", [])]
        return {label: str((training or {}).get("base_method", label)) for label, training in named}

    @property
    def target_length(self) -> int:
        return int(self.run.get("target_length", 0))

    @property
    def trained_length(self) -> int:
        return int(self.run.get("model", {}).get("rope", {}).get("trained_length", 0))

    @property
    def pocket(self) -> bool:
        """True for the small models that ship with the package; their numbers are always labelled."""
        name = str(self.run.get("model", {}).get("name", ""))
        return name.replace("\\", "/").rstrip("/").rpartition("/")[2].startswith("pocket-")


def read(store: Store) -> Frames:
    """Read a whole store. Raises ValueError when run.json does not describe a run."""
    run: Mapping[str, Any] = store.run()
    try:
        planned_cells = [
            {**{name: planned[name] for name in CELL_COLUMNS}, "seeded": bool(planned.get("seeded", True))}
            for planned in run["cells"]
        ]
        for method in run["methods"]:
            method["label"]
    except (KeyError, TypeError) as error:
        raise store.no_run(error) from None
    cells, rows = [], []
    for planned in planned_cells:
        cell, found = _read_cell(planned, store.cell(planned["key"]))
        cells.append(cell)
        rows += found
    return Frames(run, pd.DataFrame(cells, columns=_cell_columns()), pd.DataFrame(rows, columns=list(ROW_COLUMNS)))


def _cell_columns() -> list[str]:
    return [
        *CELL_COLUMNS,
        "seeded",
        "status",
        "n",
        "reason",
        "traceback",
        "seconds",
        "token_forwards",
        "peak_memory_bytes",
        "proof",
    ]


def _read_cell(
    planned: dict[str, Any], content: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    cell: dict[str, Any] = {**planned, "status": "missing", "n": 0, "reason": "not run yet", "traceback": ""}
    cell |= {"seconds": math.nan, "token_forwards": math.nan, "peak_memory_bytes": math.nan, "proof": None}
    if content is None:
        return cell, []
    cost = content.get("cost") or {}
    for name in ("seconds", "token_forwards", "peak_memory_bytes"):
        value = cost.get(name)
        cell[name] = float(value) if isinstance(value, int | float) else math.nan
    if content["status"] == "failed":
        reason = str(content.get("error") or "failed without a message")
        return {**cell, "status": "failed", "reason": reason, "traceback": str(content.get("traceback") or "")}, []
    found = content.get("rows")
    problem = _problem(found, planned["unit"])
    if problem:
        return {**cell, "status": "failed", "reason": f"damaged cell file: {problem}"}, []
    assert isinstance(found, list)
    same = {name: planned[name] for name in CELL_COLUMNS if name != "samples"}
    rows = [
        {**same, "sample": row["sample"], "score": float(row["score"])}
        | {name: row.get(name, default) for name, default in ROW_DEFAULTS.items()}
        for row in found
    ]
    return {**cell, "status": "done", "n": len(rows), "reason": "", "proof": content.get("proof")}, rows


def _problem(rows: object, unit: str) -> str:
    """What makes these rows unfit for a mean, or '' for good ones."""
    if not isinstance(rows, list) or not rows:
        return "it has no samples"
    if not all(isinstance(row, dict) and isinstance(row.get("sample"), int) for row in rows):
        return "a sample has no number"
    if len({row["sample"] for row in rows}) != len(rows):
        return "a sample stands in it twice"
    for row in rows:
        score = row.get("score")
        if not isinstance(score, int | float) or not math.isfinite(score):
            return f"the score of sample {row['sample']} is {score}"
        if unit == "score" and not 0 <= score <= 1:
            return f"the score of sample {row['sample']} is {score}, outside 0 … 1"
    return ""
