"""Stored answers under another scoring rule, without the model: a new store, the old one stays as it is.

Rules are scoring functions: of a test ("tasks.needle:score_phrases") or of a file of the user's, which has a function
`score(generation, sample)` or `score(generation, references)`. A score under another rule is another score: its test
carries the rule in its name, its key holds the rule, and run.json and the report's remarks say where it came from.
"""

import hashlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tasks.base
from harness.store import CellRecord, PlannedCell, Run, Store, StoredRow, key_of
from tasks.failures import failure
from tasks.scoring import applied, is_rule, name_of, named

OF_THE_NAME = ("profile", "row", "task")  # parameters that a suite takes from the name of its row

LEFT_OUT = ("searches", "trainings", "adaptive")  # of run.json: what the new scores have not followed from


@dataclass(frozen=True)
class ScoringRule:
    """How answers are scored now. `label` is short and part of test names, `content` hashes a user's file."""

    name: str
    label: str
    function: Callable[..., Any]
    content: str = ""


@dataclass(frozen=True)
class Rescored:
    """One cell: its mean score before and after, in [0, 1], and how many of its answers changed."""

    method: str
    test: str
    length: int
    answers: int
    changed: int
    before: float
    after: float


def rule_of(name: str) -> ScoringRule:
    """The rule of that name, "module:function" of this package, or the path of a .py file, which is run.

    Raises ValueError where there is none.
    """
    if not name.endswith(".py"):
        return ScoringRule(name, name.partition(".")[2], named(name))
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"no rule is in {name}: there is no such file; name a .py file with a function score")
    content = path.read_bytes()
    spec = importlib.util.spec_from_file_location(f"rule_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"the rule {name} cannot be read: {type(error).__name__}: {error}") from error
    function = getattr(module, "score", None)
    if not is_rule(function):
        raise ValueError(f"{name} has no function score(generation, sample) or score(generation, references)")
    return ScoringRule(path.name, path.stem, function, hashlib.sha256(content).hexdigest()[:16])


def own_rule(cell: CellRecord) -> ScoringRule:
    """How this ropebench scores the cell's test today. Raises ValueError where the test is gone or has no rule."""
    task = cell["identity"]["task"]
    parameters = {
        name: value
        for name, value in task["parameters"].items()
        if name not in OF_THE_NAME and not str(value).startswith("content-")
    }
    name = name_of(tasks.base.make(task["name"], **parameters))
    return ScoringRule(name, "today", named(name))


def _own(cell: CellRecord, asked: bool) -> ScoringRule | None:
    """`own_rule`; None for a test that has none, unless it was asked for by its name."""
    try:
        return own_rule(cell)
    except ValueError:
        if asked:
            raise
        return None


def rescore(store: Store, out: Path, rule: ScoringRule | None, tests: Sequence[str] = ()) -> list[Rescored]:
    """Write a store with the answers of `store` scored by `rule`, or as their tests score today where it is None.

    Tests of losses, cells that are not finished, and tests that do not say how they score are left out; `tests` names
    tests as the store's tables do, all with answers where it is empty. Raises ValueError for a test that the store
    lacks, for a folder that holds other results, and for a rule that gives no score in [0, 1].
    """
    run = store.described()
    known = list(dict.fromkeys(cell["task"] for cell in run["cells"] if cell["unit"] == "score"))
    for test in tests:
        if test not in known:
            raise ValueError(tasks.base.unknown("test with answers in this store", test, known))
    refuse_other_results(store, out)
    planned: list[PlannedCell] = []
    made: list[CellRecord] = []
    found: list[Rescored] = []
    for cell in run["cells"]:
        record = store.cell(cell["key"]) if cell["task"] in (tests or known) else None
        if record is None or record["status"] != "done" or not any(row["generation"] for row in record["rows"]):
            continue
        own = rule or _own(record, bool(tests))
        if own is None:
            continue
        new, line = _cell(cell, record, own)
        made.append(new)
        planned.append({**cell, "key": new["key"], "task": line.test})
        found.append(line)
    if not found:
        raise ValueError(f"{store.folder} has no finished cell with answers to score; see: ropebench status STORE")
    target = Store.create(out)
    for record in made:
        target.put_cell(record["key"], record)
    for name in {row["prompt"] for record in made for row in record["rows"]}:
        target.put_prompt(store.prompt(name))
    target.write_run(_run(run, planned, rule, store))
    return found


def refuse_other_results(store: Store, out: Path) -> None:
    """Raises ValueError where `out` is the store itself or holds results that no rescore of it has written."""
    if out.resolve() == store.folder.resolve():
        raise ValueError(f"{out} holds the original scores, which are never overwritten; name another folder")
    if (out / "run.json").exists() and "rescored" not in Store.open(out).run():
        raise ValueError(f"{out} holds results of a run; name a new folder")


def _cell(planned: PlannedCell, record: CellRecord, rule: ScoringRule) -> tuple[CellRecord, Rescored]:
    rows = [_row(row, rule) for row in record["rows"]]
    origin = {"rule": rule.name, "content": rule.content, "of": record["key"]}
    identity = {**record["identity"], "rescored": origin}
    new: CellRecord = {**record, "key": key_of(identity), "identity": identity, "rows": rows}
    pairs = [(before["score"], after["score"]) for before, after in zip(record["rows"], rows, strict=True)]
    before, after = (sum(scores) / len(rows) for scores in zip(*pairs, strict=True))
    changed = sum(one != other for one, other in pairs)
    test = f"{planned['task']} by {rule.label}"
    return new, Rescored(planned["label"], test, planned["length"], len(rows), changed, before, after)


def _row(row: StoredRow, rule: ScoringRule) -> StoredRow:
    """The row with its new score. The class of a wrong answer stays; one that is wrong now only gets one that is found
    without the wrong values of its prompt, which are not stored."""
    try:
        score = float(applied(rule.function, row["generation"], row["references"], row["depth"], row["extra"]))
    except Exception as error:
        raise ValueError(
            f"the rule {rule.name} fails on sample {row['sample']}: {type(error).__name__}: {error}; leave tests that "
            "it is not for out with --test"
        ) from error
    if not math.isfinite(score) or not 0 <= score <= 1:
        raise ValueError(f"the rule {rule.name} scores sample {row['sample']} {score}; a score lies in 0 … 1")
    wrong = "" if score >= 1 else row["failure"] or failure(row["generation"], row["references"], (), row["finished"])
    return {**row, "score": score, "failure": wrong}


def _run(run: Run, cells: list[PlannedCell], rule: ScoringRule | None, store: Store) -> dict[str, Any]:
    by = rule.name + (f" (sha256 {rule.content})" if rule.content else "") if rule else "the rules of this ropebench"
    text = (
        f"Stored answers of {run['name']}, scored again by {by}; no model ran. Costs and proofs are those of the run "
        "that gave the answers."
    )
    content: dict[str, Any] = {name: value for name, value in run.items() if name not in LEFT_OUT}
    ledger: dict[str, Any] = dict(content.get("ledger") or {"conditions": [], "environment": {}})
    ledger["remarks"] = [*ledger.get("remarks", []), {"tag": "rescored", "text": text}]
    if "adaptive" in run:
        stopped = "Its cells stopped where a sequential test of the scores that they had then decided, not of these."
        ledger["remarks"].append({"tag": "adaptive", "text": stopped})
    origin = {"rule": by, "of": store.folder.name}
    return {**content, "name": f"{run['name']} rescored", "cells": cells, "ledger": ledger, "rescored": origin}
