"""Result stores of known truth for the gate's tests: every cell says how it was made, as real ones do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import synthetic_store

from harness.store import Store, key_of

TASKS = {"needle": "retrieval", "passkey": "retrieval", "ruler-pocket/vt": "tracking"}
Score = Callable[[str, str, int, int], float]  # label, task, length, sample


def perfect(label: str, task: str, length: int, sample: int) -> float:
    return 1.0


def write(
    folder: Path,
    score: Score = perfect,
    labels: Sequence[str] = ("yarn",),
    tasks: Mapping[str, str] = TASKS,
    lengths: Sequence[int] = (512, 1024),
    samples: int = 400,
    seed: int = 0,
    units: Mapping[str, str] | None = None,
    plans: str = "",
    run: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    engine: str = "made up",
    prompt: str = "",
) -> Store:
    """A store whose scores come from a function. `run`, `identity` and `task` replace what is recorded, `plans` changes
    the plan of every method, `prompt` the text of every prompt."""
    store = Store.create(folder)
    cells, contents = [], []
    for label in labels:
        for name, category in tasks.items():
            for length in lengths:
                unit = (units or {}).get(name, "score")
                made = {"name": name, "version": 1, "unit": unit, "new_tokens": 10, "parameters": {}, **(task or {})}
                full = {
                    "weights": "w" * 16,
                    "dtype": "float32",
                    "attention": "sdpa",
                    "plan": f"{label}{plans}",
                    "task": made,
                    "length": length,
                    "seed": seed,
                    "samples": samples,
                    **(identity or {}),
                }
                key = key_of(full)
                place = {"label": label, "task": name, "category": category, "unit": unit, "length": length}
                cells.append({**place, "seed": seed, "samples": samples, "key": key})
                rows = [
                    synthetic_store.row(i, score(label, name, length, i), prompt=f"{name} {length} {seed} {i}{prompt}")
                    for i in range(samples)
                ]
                contents.append((key, full, rows))
    described = synthetic_store.run_content(cells, labels)
    store.write_run({**described, **(run or {})})
    for key, full, rows in contents:
        store.put_cell(key, {**synthetic_store.content(rows), "identity": full, "provenance": {"engine": engine}})
    return store
