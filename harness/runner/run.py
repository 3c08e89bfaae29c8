"""Experiment → store: what is missing is computed, cell by cell, and written as it finishes.

Short lengths come first, so that an interrupted run has whole columns to compare. Stopping at any moment loses only
the cell at work; running again computes only what is missing, which includes what failed.
"""

import dataclasses
import math
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from extenders.base import RopeSpec
from harness.experiment.cells import VARIES, Base, Cell, cells_of, check, plain, plan_of, rope_fields
from harness.experiment.file import Experiment, Method
from harness.experiment.parameters import summary
from harness.files_on_disk import cache_folder
from harness.progress import Progress
from harness.prompts.cache import PromptCache
from harness.prompts.kept import KeptPrompts
from harness.records.ledger import ledger
from harness.records.memory import PeakMemory
from harness.records.provenance import now, provenance
from harness.runner.team import Team
from harness.search import stage as searching
from harness.search.work import Measures
from harness.store import Run, Store
from harness.training import stage as training_stage
from harness.training.job import Job
from tasks.base import LM, Row

SAVED_SECONDS = 60.0  # between two writings of run.json


class Session(Measures, Protocol):
    """One method on the loaded model."""

    @property
    def lm(self) -> LM: ...

    @property
    def token_forwards(self) -> int:
        """Tokens that went through the model so far."""

    def prove(self, length: int) -> tuple[str, float]:
        """(plan's hash, greatest difference between the live cos/sin and the plan at this length).

        Raises when they differ by more than rounding.
        """


class Sessions(Protocol):
    def __call__(self, method: Method, trained: Path | None = None) -> Session:
        """`trained`: folder of the training whose weights the method runs with; None: the model's own."""


class Engine(Protocol):
    """Where the model runs."""

    name: str

    def base(self) -> Base:
        """What the model is, as cheaply as can be: its weights are not loaded for this."""

    def open(self) -> AbstractContextManager[Sessions]:
        """Loads the model; leaving the block restores it."""

    def train(self, job: Job, store: Store, tests: Sequence[str]) -> dict[str, Any]:
        """Run a training and store it; gives its record. `tests` are texts to keep out of it."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    store: Store
    total: int  # cells planned
    computed: int  # cells run just now, failed ones included
    failed: tuple[tuple[Cell, str], ...]  # with one line each
    unsearched: tuple[tuple[str, str], ...] = ()  # methods whose search failed, with one line each


def run(
    experiment: Experiment,
    folder: Path,
    engine: Engine,
    progress: Progress,
    keep_prompts: bool = True,
    team: Team | None = None,
) -> Outcome:
    """Compute what the store in `folder` misses. Raises ValueError for what the user can mend before anything runs.

    Prompts are read from the cache of prompts, and kept there, unless `keep_prompts` is False. `team` are the processes
    that share the work; this one alone unless given.
    """
    team = team or Team()
    base = engine.base()
    known = keep_prompts and base.tokenizer_hash
    kept = KeptPrompts(PromptCache(cache_folder()), base.tokenizer_hash) if known else None
    check(experiment, base.rope)
    stages = training_stage.stages(experiment.methods, experiment.trainings, base.rope)
    earlier = {one.method.label: one.method for one in stages}
    searches = searching.planned((*experiment.methods, *earlier.values()), base)
    texts = cache(lambda: training_stage.texts_of(experiment.tests))  # read when a search or a training asks
    searching.check_documents(searches, texts)
    store = Store(Path(folder))

    def stage() -> tuple[list[Cell], dict[str, Any], training_stage.Jobs]:
        """Cells, description and trainings of the methods that can plan by now."""
        complete = searching.completed(experiment.methods, searches, store.searches)
        found_stages, waiting = [], set()
        for one in stages:
            done = searching.completed([one.method], searches, store.searches)
            found_stages += [dataclasses.replace(one, method=method) for method in done]
            waiting |= set() if done else {(one.base, one.training.label)}
        methods = training_stage.factored(complete, experiment.trainings, waiting)
        ready = dataclasses.replace(experiment, methods=methods)
        jobs = training_stage.jobs_of(ready.methods, base, ready, found_stages)
        cells = cells_of(ready, base, {place: job.key for place, job in jobs.items()})
        rows = searching.described(searches, store.searches)
        found = {"searches": [row | training_stage.of_search(row["label"], stages) for row in rows]} if rows else {}
        return cells, describe(ready, base, cells) | found, jobs

    cells, description, jobs = stage()
    created = ""
    if team.first:
        store = Store.create(folder)
        created = _previous(store, experiment, progress) or now()

    def save() -> None:
        if not team.first:
            return
        content = {**description, "created": created}
        trained = training_stage.described(jobs, store)
        content |= {"trainings": trained} if trained else {}
        records = {one["key"]: store.training(one["key"]) for one in trained}
        planned = [(cell.planned(), store.cell(cell.key)) for cell in cells]
        store.write_run({**content, "ledger": ledger(cast(Run, content), planned, records)})

    def missing_cells() -> tuple[list[Cell], int]:
        """What is to be computed, short lengths first, out of how many."""
        unique = {cell.key: cell for cell in reversed(cells)}  # methods with equal plans share cells; the first runs it
        order = {id(cell): i for i, cell in enumerate(cells)}
        missing = [cell for cell in unique.values() if not store.done(cell.key)]
        weights = {key: i for i, key in enumerate(dict.fromkeys(cell.training for cell in cells))}  # few changes
        return sorted(missing, key=lambda c: (c.length, weights[c.training], order[id(c)])), len(unique)

    save()
    saved_at = time.monotonic()
    unfinished = [one for one in searches if not searching.finished(store.searches, one.key)]
    missing, total = missing_cells()
    untrained = training_stage.missing(jobs, store)
    if missing or unfinished or untrained:
        try:
            most = max(len(missing), len(unfinished), len(untrained))
            with team.at_work(store.folder, most, progress) as progress, ExitStack() as opened:
                session_of = opened.enter_context(engine.open()) if unfinished else None
                if session_of is not None:
                    taken = team.take(unfinished, lambda search: search.key)
                    searching.run_all(experiment, taken, base, session_of, store.searches, progress.say)
                    cells, description, jobs = stage()
                    save()
                    missing, total = missing_cells()
                if todo := training_stage.missing(jobs, store):
                    session_of = None
                    opened.close()  # what the model held is for the training now
                    for number, job in team.take(list(enumerate(todo, start=1)), lambda numbered: numbered[1].key):
                        progress.say(f"training {number} of {len(todo)}: {job.budget_words}")
                        progress.say(training_stage.outcome_words(job, engine.train(job, store, texts())))
                    save()
                if missing and session_of is None:
                    session_of = opened.enter_context(engine.open())
                progress.start(missing, total, team.size)
                team.expects(missing)
                for cell in team.take(missing, lambda cell: cell.key):
                    assert session_of is not None
                    progress.begin(cell)
                    content, prompts = measure(cell, session_of, engine.name, store, kept)
                    for text in prompts:
                        store.put_prompt(text)
                    store.put_cell(cell.key, content)
                    progress.end(cell, content["cost"]["seconds"], content["error"])
                    if time.monotonic() - saved_at > SAVED_SECONDS:  # the ledger, should the process be killed
                        save()
                        saved_at = time.monotonic()
        finally:
            progress.close()
            save()
    unsearched = [(row["label"], row["error"]) for row in description.get("searches", []) if row["status"] == "failed"]
    stored_now = [(cell, store.cell(cell.key)) for cell in missing]
    failed = [(cell, one["error"]) for cell, one in stored_now if one is not None and one["error"]]
    return Outcome(store, total, len(missing), tuple(failed), tuple(unsearched))


def measure(
    cell: Cell, session_of: Sessions, engine: str, store: Store | None = None, kept: KeptPrompts | None = None
) -> tuple[dict[str, Any], list[str]]:
    """One cell: (what is stored, the prompts that its rows name). Whatever goes wrong in it is a failed cell."""
    memory = PeakMemory()
    started = time.perf_counter()
    rows: list[Row] = []
    proof: dict[str, Any] = {}
    error = trace = ""
    session = None
    before = 0
    try:
        if cell.training:
            assert store is not None
            session = session_of(cell.method, store.training_folder(cell.training))
        else:
            session = session_of(cell.method)
        before = session.token_forwards
        plan_hash, difference = session.prove(cell.length)
        proof = {str(cell.length): {"plan_hash": plan_hash, "max_difference": difference}}
        asked = (session.lm, cell.length, cell.seed, cell.samples)
        for row in kept.rows(cell.test.task, *asked) if kept else cell.test.task.run(*asked):
            rows.append(checked(row, cell))
        if not rows:
            raise ValueError("the test gave no samples")
        if len({row.sample for row in rows}) != len(rows):
            raise ValueError("the test gave a sample twice")
    except Exception as problem:
        error, trace, rows = one_line(problem), traceback.format_exc(), []
    forwards = session.token_forwards - before if session is not None else 0
    content = {
        "identity": cell.identity,
        "status": "failed" if error else "done",
        "error": error,
        "traceback": trace,
        "rows": [stored(row) for row in rows],
        "cost": {
            "seconds": round(time.perf_counter() - started, 3),
            "token_forwards": forwards,
            "peak_memory_bytes": memory.peak(),
        },
        "proof": proof,
        "provenance": {**provenance(), "engine": engine},
    }
    return content, [row.prompt for row in rows]


def checked(row: Row, cell: Cell) -> Row:
    """The row, if its score can be averaged (NaN logits end here) and it ran as planned."""
    if not math.isfinite(row.score):
        raise ValueError(f"sample {row.sample} scored {row.score}: the model gives NaN or infinite values here")
    if cell.test.task.unit == "score" and not 0 <= row.score <= 1:
        raise ValueError(f"sample {row.sample} scored {row.score}, outside 0 … 1")
    if not cell.in_window and row.prompt_tokens > cell.length + cell.test.task.overhang:
        raise ValueError(
            f"sample {row.sample} is a prompt of {row.prompt_tokens} tokens, beyond the {cell.length} asked for"
        )
    planned = cell.identity["plan"]
    if not planned.startswith(VARIES) and row.plan_hash not in ("", planned):
        raise ValueError(f"sample {row.sample} ran under the plan {row.plan_hash}, planned was {planned}")
    return row


def stored(row: Row) -> dict[str, Any]:
    """A row as JSON, with the hash of its prompt."""
    content = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    return {**plain(content), "prompt": Store.prompt_name(row.prompt)}


def one_line(error: BaseException) -> str:
    """An error as one line for tables. A ValueError speaks for itself, others carry their type."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 400 else text[:399] + "…"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def describe(experiment: Experiment, base: Base, cells: Sequence[Cell]) -> dict[str, Any]:
    """run.json but for its date and ledger: what was planned, with every plan at every length that is evaluated."""
    rope = base.rope
    lengths = sorted({cell.length for cell in cells} | {rope.trained_length, experiment.target_length})
    return {
        "name": experiment.name,
        "model": {
            "name": Path(experiment.model).name if Path(experiment.model_source).exists() else experiment.model,
            "weights_hash": base.weights_hash,
            "parameters": base.parameters,
            "dtype": base.dtype,
            "attention": base.attention,
            "rope": {**rope_fields(rope), "layer_type": rope.layer_type},
        },
        "target_length": experiment.target_length,
        "crossing": experiment.crossing,
        "seeds": list(experiment.seeds),
        "methods": [_method(method, rope, lengths) for method in experiment.methods],
        "cells": [cell.planned() for cell in cells],
    }


def _method(method: Method, rope: RopeSpec, lengths: Sequence[int]) -> dict[str, Any]:
    plans = {length: plan_of(method, rope, length) for length in lengths}
    return {
        "label": method.label,
        "extender": method.extender.name,
        "parameters": plain(method.extender.parameters()),
        "summary": summary(type(getattr(method.extender, "inner", method.extender))),
        "varies": len({plan.hash for plan in plans.values()}) > 1,
        "plans": {
            str(length): {
                "inv_freq": list(plan.inv_freq),
                "attention_factor": plan.attention_factor,
                "keep_first": plan.keep_first,
                "hash": plan.hash,
            }
            for length, plan in plans.items()
        },
    } | training_stage.of_method(method)


def _previous(store: Store, experiment: Experiment, progress: Progress) -> str | None:
    """When the store was made, or None for a new one."""
    if not (store.folder / "run.json").is_file():
        return None
    try:
        before = store.run()
    except ValueError:
        return None  # a damaged run.json is written anew
    if before.get("name") != experiment.name:
        progress.say(f"{store.folder} held the experiment {before.get('name')!r}; its cells stay in the folder")
    created = before.get("created")
    return created if isinstance(created, str) else None
