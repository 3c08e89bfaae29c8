"""What there is to do for an experiment, given what its store holds: searches, trainings, cells, and what is missing.

A run makes an agenda, does the searches that are missing, and makes it anew: only then are the plans of these methods
known, and with them their trainings and cells. Making one reads the store and computes nothing that needs the model.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from harness.experiment.cells import Base, Cell, cells_of, check
from harness.experiment.file import Experiment
from harness.runner.describe import describe
from harness.runner.growing import Judge, grown
from harness.search import stage as searching
from harness.search.stage import Search
from harness.store import Run, SearchLine, Store
from harness.training import stage as training_stage
from harness.training.job import TrainingJob
from harness.training.stage import EarlierSearch, TrainingJobs


@dataclass(frozen=True)
class Agenda:
    """`searches` and `earlier` are all that the experiment needs; the rest is of the methods that can plan by now."""

    experiment: Experiment
    base: Base
    searches: tuple[Search, ...]
    earlier: tuple[EarlierSearch, ...]
    trainings: TrainingJobs
    cells: tuple[Cell, ...]  # in the order of the experiment
    description: Run  # run.json but for date, trainings and ledger
    missing_searches: tuple[Search, ...]
    missing_trainings: tuple[TrainingJob, ...]
    missing_cells: tuple[Cell, ...]  # in the order of work
    total: int  # different cells
    only: frozenset[str] | None = None  # labels of the methods whose cells are to be done; None: of all
    judge: Judge | None = None  # says where cells stop; None: all take all their samples

    @property
    def missing(self) -> int:
        """The most units of one kind that are missing: so many processes can be at work together."""
        return max(len(self.missing_searches), len(self.missing_trainings), len(self.missing_cells))

    def again(self, store: Store) -> "Agenda":
        """The agenda after some of it has been done."""
        return _agenda(self.experiment, self.base, self.searches, self.earlier, store, self.only, self.judge)


def agenda_of(
    experiment: Experiment,
    base: Base,
    store: Store,
    only: frozenset[str] | None = None,
    judge: Judge | None = None,
) -> Agenda:
    """Raises ValueError for what the user can mend: nothing to extend, a method without a plan, a corpus unread."""
    check(experiment, base.rope)
    earlier = training_stage.earlier_searches(experiment.methods, experiment.trainings, base.rope)
    for_trainings = {search.method.label: search.method for search in earlier}
    searches = searching.planned((*experiment.methods, *for_trainings.values()), base)
    return _agenda(experiment, base, tuple(searches), tuple(earlier), store, only, judge)


def _agenda(
    experiment: Experiment,
    base: Base,
    searches: tuple[Search, ...],
    earlier: tuple[EarlierSearch, ...],
    store: Store,
    only: frozenset[str] | None,
    judge: Judge | None,
) -> Agenda:
    complete = searching.completed(experiment.methods, searches, store.searches)
    ready_earlier: list[EarlierSearch] = []
    waiting: set[tuple[str, str]] = set()  # methods with trainings one of whose earlier stages has no plan yet
    for search in earlier:
        methods = searching.completed([search.method], searches, store.searches)
        ready_earlier += [dataclasses.replace(search, method=method) for method in methods]
        waiting |= set() if methods else {(search.base, search.training.label)}
    factored = training_stage.factored(complete, experiment.trainings, waiting)
    ready = dataclasses.replace(experiment, methods=factored)
    jobs = training_stage.jobs_of(factored, base, ready, ready_earlier)
    cells = tuple(cells_of(ready, base, {place: job.key for place, job in jobs.items()}))
    if experiment.adaptive is not None and judge is not None:
        cells = grown(cells, experiment.adaptive, judge, store)
    description = describe(ready, base, cells)
    if lines := _search_lines(searches, earlier, store):
        description["searches"] = lines
    asked = [cell for cell in cells if only is None or cell.method.label in only]
    unique = {cell.key: cell for cell in reversed(asked)}  # methods with equal plans share cells; the first runs it
    return Agenda(
        experiment,
        base,
        searches,
        earlier,
        jobs,
        cells,
        description,
        tuple(search for search in searches if not searching.finished(store.searches, search.key)),
        tuple(training_stage.missing(jobs, store)),
        in_order([cell for cell in unique.values() if not store.done(cell.key)], cells),
        len(unique),
        only,
        judge,
    )


def in_order(missing: Sequence[Cell], cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Short lengths first, within a length by their weights, so that these change seldom."""
    place = {id(cell): i for i, cell in enumerate(cells)}
    weights = {key: i for i, key in enumerate(dict.fromkeys(cell.training for cell in cells))}
    return tuple(sorted(missing, key=lambda cell: (cell.length, weights[cell.training], place[id(cell)])))


def _search_lines(searches: Sequence[Search], earlier: Sequence[EarlierSearch], store: Store) -> list[SearchLine]:
    lines = searching.described(searches, store.searches)
    for line in lines:
        if users := training_stage.users_of(line["label"], earlier):
            line["stage_of"] = users
    return lines
