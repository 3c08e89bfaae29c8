"""Experiment → store: what is missing is computed, cell by cell, and written as it finishes.

An agenda says what is missing; the steps of a run do it: searches, trainings, cells. Short lengths come first, so that
an interrupted run has whole columns to compare. Stopping at any moment loses only the pass at work
(harness/records/passes.py), the step of a search or training; running again
computes only what is missing, which includes what failed.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.experiment.cells import Base, Cell
from harness.experiment.file import Experiment
from harness.experiment.repeatable import check_repeatable
from harness.files_on_disk import cache_folder, held, sweep
from harness.progress import Progress
from harness.prompts.cache import PromptCache
from harness.prompts.kept import KeptPrompts
from harness.records import damage
from harness.records.ledger import ledger
from harness.records.passes import Passes
from harness.records.passes import sweep as sweep_passes
from harness.records.provenance import machine, now, provenance
from harness.runner.agenda import Agenda, agenda_of
from harness.runner.engine_contract import Engine, Sessions
from harness.runner.forecast import StageForecast, calibrated, forecast
from harness.runner.growing import Judge
from harness.runner.measure import measure
from harness.runner.team import Team, Unit
from harness.search import stage as searching
from harness.signals import ShortPieces, stop_if_asked
from harness.store import Store
from harness.training import stage as training_stage
from tasks.base import Task

SAVED_SECONDS = 60.0  # between two writings of run.json


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
    only: frozenset[str] | None = None,
    judge: Judge | None = None,
) -> Outcome:
    """Compute what the store in `folder` misses. Raises ValueError for what the user can mend before anything runs.

    Prompts are read from the cache of prompts, and kept there, unless `keep_prompts` is False. `team` are the processes
    that share the work; this one alone unless given. `only`: labels of the methods whose cells are computed now; the
    others are planned and stay missing. `judge` says where cells of an adaptive experiment stop.
    """
    assert experiment.adaptive is None or judge is not None, "an adaptive experiment needs a judge"
    team = team or Team()
    base = engine.base()
    agenda = agenda_of(experiment, base, Store(Path(folder)), only, judge)
    texts = cache(lambda: training_stage.texts_of(experiment.tests))  # read when a search or a training asks
    searching.check_documents(agenda.searches, texts)
    if team.first:
        check_repeatable(agenda.cells, base.rope)
        _check_data(agenda.missing_cells, engine)
    kept = _kept_prompts(base, keep_prompts)
    if not team.first:
        return _done(Steps(engine, team, Store(Path(folder)).held(), kept, texts, "", progress, agenda))
    store = Store.create(folder)
    with held(store.folder / "run.lock", str(folder)):
        created = _previous(store, experiment, progress) or now()
        for note in base.rope.notes:
            progress.say(f"{experiment.model}: {note}")
        _mend(store, progress)
        team.clear(store.folder)
        agenda = agenda.again(store)  # what another run did while this one began, and what is damaged
        return _done(Steps(engine, team, store.held(), kept, texts, created, progress, agenda))


def plan_only(experiment: Experiment, folder: Path, engine: Engine, seconds: float) -> list[StageForecast]:
    """What `run` would do, with what it would take by a calibration of so many seconds. Nothing is written."""
    store, base = Store(Path(folder)), engine.base()
    agenda = agenda_of(experiment, base, store)
    check_repeatable(agenda.cells, base.rope)
    _check_data(agenda.missing_cells, engine)
    known = _measured_here(agenda.cells, store)
    if seconds and agenda.missing:
        with ModelInUse(engine) as model:
            known += calibrated(agenda, model.sessions(), store, seconds)
    return forecast(agenda, known)


def _check_data(cells: Sequence[Cell], engine: Engine) -> None:
    """Raises ValueError for data of a test that would break the run at one of its lengths, hours from now."""
    asked = {(cell.test.label, cell.length): cell for cell in cells if type(cell.test.task).check is not Task.check}
    tokenizer = engine.tokenizer() if asked else None
    if tokenizer is None:
        return
    for cell in asked.values():
        try:
            cell.test.task.check(tokenizer, cell.length, max(cell.samples, cell.most))
        except ValueError as error:
            raise ValueError(f"{cell.test.label} at {cell.length} tokens: {error}") from None


def _done(steps: "Steps") -> Outcome:
    """All that is missing computed, and how that ended."""
    steps.save()
    if steps.agenda.missing:
        steps.work()
    return steps.outcome()


def _mend(store: Store, progress: Progress) -> None:
    """Half files of the dead are swept, and what is damaged is said and set aside: then it is missing."""
    sweep(store.folder)
    sweep_passes(store)
    found = damage.look(store, weights=False).damaged
    if found:
        aside = damage.set_aside(store, found)
        progress.say(f"{damage.words(store.folder, found)}; set aside in {aside} and made again")


def _kept_prompts(base: Base, keep: bool) -> KeptPrompts | None:
    known = keep and base.tokenizer_hash
    return KeptPrompts(PromptCache(cache_folder()), base.tokenizer_hash) if known else None


@dataclass
class Steps:
    """The steps of one run on one store."""

    engine: Engine
    team: Team
    store: Store
    kept: KeptPrompts | None
    texts: Callable[[], Sequence[str]]  # of the tests, to be kept out of trainings
    created: str  # when the store was made
    progress: Progress
    agenda: Agenda  # what there is to do by now
    pieces: ShortPieces = field(default_factory=ShortPieces)  # passes of the model in cells
    tried: dict[str, Cell] = field(default_factory=dict)  # by key: the cells that were missing and were worked on

    def work(self) -> None:
        """Do all that is missing. Whatever ends it, run.json is up to date afterwards."""
        try:
            base = self.agenda.base
            words = f"{base.weights_hash}, {base.dtype}, {base.attention} attention"
            words += ", trainings in float32" if self.agenda.trainings and base.slow_in_half else ""
            with self.team.at_work(self.store.folder, self.agenda.missing, self.progress, words) as shared:
                self.progress = shared
                with ModelInUse(self.engine) as model:
                    self.search(model)
                    self.train(model)
                    self.measure(model)
        finally:
            self.progress.close()
            self.save()

    def search(self, model: "ModelInUse") -> None:
        """The missing searches; afterwards the agenda knows the plans of their methods."""
        missing = self.agenda.missing_searches
        if not missing:
            return
        session_of = model.sessions()
        taken = self._taken(missing, lambda search: search.key)
        experiment, base = self.agenda.experiment, self.agenda.base
        folder, say = self.store.searches, self.progress.say
        searching.run_all(experiment, taken, base, session_of, folder, say, self.kept)
        self.agenda = self.agenda.again(self.store)
        if self.team.first:
            check_repeatable(self.agenda.cells, base.rope)
        self.save()

    def train(self, model: "ModelInUse") -> None:
        """The missing trainings, which change neither plans nor keys: the agenda stays."""
        missing = self.agenda.missing_trainings
        if not missing:
            return
        model.free()  # what the model held is for the training now
        for number, job in self._taken(list(enumerate(missing, start=1)), lambda numbered: numbered[1].key):
            self.progress.say(f"training {number} of {len(missing)}: {job.budget_words}")
            record = self.engine.train(job, self.store, self.texts())
            self.progress.say(training_stage.outcome_words(job, record))
        self.save()

    def measure(self, model: "ModelInUse") -> None:
        """The missing cells; of an adaptive experiment look by look, until no cell has to grow."""
        while missing := [cell for cell in self.agenda.missing_cells if cell.key not in self.tried]:
            self.tried |= {cell.key: cell for cell in missing}
            self._measure(missing, model)
            if self.agenda.experiment.adaptive is None:
                return
            self.agenda = self.agenda.again(self.store)
            self.save()

    def _measure(self, missing: Sequence[Cell], model: "ModelInUse") -> None:
        saved_at, session_of = time.monotonic(), model.sessions()
        known = _measured_here(self.agenda.cells, self.store) if self.team.first else []
        self.progress.start(missing, self.agenda.total, self.team.size, known)
        self.team.expects(missing)
        for cell in self._taken(missing, lambda cell: cell.key):
            self._measured(cell, session_of)
            if time.monotonic() - saved_at > SAVED_SECONDS:  # the ledger, should the process be killed
                self.save()
                saved_at = time.monotonic()

    def _measured(self, cell: Cell, session_of: Sessions) -> None:
        self.progress.begin(cell)
        passes = Passes(self.store, cell.key, self.pieces)
        record, prompts = measure(cell, session_of, self.engine.name, self.store, self.kept, passes)
        for text in prompts:
            self.store.put_prompt(text)
        self.store.put_cell(cell.key, record)
        if record["status"] == "done":
            passes.done()
        self.progress.end(cell, record["cost"]["seconds"], record["error"])

    def _taken(self, units: Sequence[Unit], key: Callable[[Unit], str]) -> Iterator[Unit]:
        """Every unit that this process takes, as long as nobody asked to stop and the store is where it was."""
        for unit in self.team.take(units, key):
            stop_if_asked()
            self.store.check_place()
            yield unit

    def save(self) -> None:
        """Write run.json with its ledger; helpers leave that to the first process."""
        if not self.team.first:
            return
        content, store = self.agenda.description.copy(), self.store
        content["created"] = self.created
        trainings = training_stage.described(self.agenda.trainings, store)
        if trainings:
            content["trainings"] = trainings
        records = {line["key"]: store.training(line["key"]) for line in trainings}
        planned = [(cell.planned(), store.cell(cell.key)) for cell in self.agenda.cells]
        content["ledger"] = ledger(content, planned, records)
        store.write_run(content)

    def outcome(self) -> Outcome:
        self.store.check_place()
        lines = self.agenda.description.get("searches", [])
        unsearched = [(line["label"], line["error"]) for line in lines if line["status"] == "failed"]
        only = self.agenda.only
        asked = [cell for cell in self.agenda.cells if only is None or cell.method.label in only]
        worked = {cell.key: cell for cell in reversed(asked) if cell.key in self.tried}
        failed = _failed([self.tried[key] for key in self.tried if key in worked], self.store)
        return Outcome(self.store, self.agenda.total, len(worked), failed, tuple(unsearched))


class ModelInUse:
    """The model of a run, loaded when it is first asked for; to be used as a context, whose end restores it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened = ExitStack()
        self._sessions: Sessions | None = None

    def sessions(self) -> Sessions:
        if self._sessions is None:
            self._sessions = self._opened.enter_context(self._engine.open())
        return self._sessions

    def free(self) -> None:
        """Give its memory back; it is loaded anew when it is asked for again."""
        self._sessions = None
        self._opened.close()

    def __enter__(self) -> "ModelInUse":
        return self

    def __exit__(self, *error: object) -> None:
        self._sessions = None
        self._opened.__exit__(*error)  # type: ignore[arg-type]


def _measured_here(cells: Sequence[Cell], store: Store) -> list[tuple[Cell, float]]:
    """The finished ones of these cells with their seconds, where a machine like this one took them."""
    here, found = machine(provenance()), []
    for cell in {cell.key: cell for cell in cells}.values():
        record = store.cell(cell.key)
        if record is not None and record["status"] == "done" and machine(record.get("provenance") or {}) == here:
            seconds = (record.get("cost") or {}).get("seconds")
            if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0:
                found.append((cell, float(seconds)))
    return found


def _failed(cells: Sequence[Cell], store: Store) -> tuple[tuple[Cell, str], ...]:
    """Those of these cells that failed, with one line each."""
    stored = [(cell, store.cell(cell.key)) for cell in cells]
    reasons = [(cell, record["error"] if record else "its file is gone") for cell, record in stored]
    return tuple((cell, reason) for cell, reason in reasons if reason)


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
