"""What a run will take, said before it: units, token-forwards and seconds of every stage.

Counts are exact but for methods that are searched first: their trainings and cells are counted like those of the other
methods. Seconds come from a calibration of this machine: every test at its shortest length, then at longer ones as far
as the time goes, since a token costs more the further back it may look. Cells that a machine like this one has measured
before, for the same store, count too.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

from extenders.search.searched import SearchedExtender
from harness.experiment.cells import Cell
from harness.experiment.file import Method
from harness.progress import TimeLeft, pace
from harness.runner.agenda import Agenda
from harness.runner.engine_contract import Sessions
from harness.runner.measure import measure
from harness.store import Store
from harness.training import stage as training_stage

BACKWARD = 2  # forward passes that a backward pass counts
FEW, MORE = 2, 10  # samples of a cell in the calibration
WINDOWS = 0.5  # of the target: how long a training's sequences are in the mean, of a recipe with short ones among them


@dataclass(frozen=True)
class StageForecast:
    """One kind of work of a run; `seconds` are of one process, 0 where nothing was measured."""

    name: str
    units: int
    token_forwards: int
    seconds: float


def calibrated(agenda: Agenda, sessions: Sessions, store: Store, seconds: float) -> list[tuple[Cell, float]]:
    """Cells and the seconds that they would take, told by a few of their samples in about so many seconds; nothing is
    stored. A cell takes a time that its samples do not change (a suite is read, say) and one that they do."""
    until = time.monotonic() + seconds
    by_length: dict[int, dict[str, Cell]] = {}
    for cell in agenda.cells:
        if not cell.training:
            by_length.setdefault(cell.length, {}).setdefault(cell.test.label, cell)

    def timed(cell: Cell, samples: int) -> float:
        small = dataclasses.replace(cell, samples=samples, key=f"calibration {samples} {cell.key}")
        record, _ = measure(small, sessions, "calibration", store)
        if record["status"] != "done":
            raise ValueError(f"the calibration failed at {cell.words}: {record['error']}")
        return float(record["cost"]["seconds"])

    told: list[tuple[Cell, float]] = []
    begins: dict[str, float] = {}  # the seconds of a test's cell before its first sample
    took: dict[str, float] = {}  # the seconds of a test's samples at its last length
    last = 0
    for length in sorted(by_length):
        for label, cell in by_length[length].items():
            few, more = min(cell.samples, FEW), min(cell.samples, MORE)
            if told and time.monotonic() + took.get(label, 0.0) * (length / last if last else 1) ** 2 > until:
                continue
            if not told:
                timed(cell, few)  # the first one warms up
            whole = timed(cell, few)
            if label not in begins:
                begins[label] = 0.0
                if more > few and time.monotonic() + whole * more / few < until:
                    begins[label] = max(0.0, whole - few * (timed(cell, more) - whole) / (more - few))
            took[label] = max(whole - begins[label], 0.0)
            told.append((cell, begins[label] + took[label] * cell.samples / few))
        last = length
    return told


def forecast(agenda: Agenda, known: Sequence[tuple[Cell, float]]) -> list[StageForecast]:
    """The stages of what is missing."""
    experiment, target = agenda.experiment, agenda.experiment.target_length
    first, growth = pace([(cell.samples, cell.length, seconds) for cell, seconds in known]) if known else (0.0, 0.0)

    def read(tokens: int, length: float) -> float:
        """Seconds of so many tokens in prompts of that length."""
        return tokens * (first + growth * length)

    searched = sum(_budget(search.method) for search in agenda.missing_searches)
    every = training_stage.factored(experiment.methods, experiment.trainings)
    ready = {method["label"] for method in agenda.description["methods"]}
    waiting = [method for method in every if method.label not in ready]
    later = {_trained_once(method): method.training.settings.tokens for method in waiting if method.training}
    tokens = [job.training.settings.tokens for job in agenda.missing_trainings]
    tokens += [budget for budget in later.values() for _ in experiment.seeds]
    trained = sum(tokens) * (1 + BACKWARD)

    missing, unique = agenda.missing_cells, list({cell.key: cell for cell in agenda.cells}.values())
    share = len(waiting) / max(1, len(ready))  # of a method that is searched first, in the cells of all others
    units = len(missing) + round(share * len(unique))
    forwards = _forwards(missing) + round(share * _forwards(unique))
    seconds = (TimeLeft(missing, 1, known).seconds() or 0) + share * (TimeLeft(unique, 1, known).seconds() or 0)
    return [
        StageForecast("searches", len(agenda.missing_searches), searched, read(searched, target)),
        StageForecast("trainings", len(tokens), trained, read(trained, WINDOWS * target)),
        StageForecast("cells", units, forwards, seconds),
    ]


def _trained_once(method: Method) -> str:
    """Equal for methods whose weights are the same, though they run inside the window in another way."""
    assert method.training is not None
    recipe = dataclasses.replace(method.training.recipe, original_inside=False)
    settings = dataclasses.replace(method.training.settings, original_inside=None)
    return repr((method.training.untrained(method.label), recipe, settings))


def _budget(method: Method) -> int:
    """Token-forwards of its search."""
    return method.extender.token_forwards if isinstance(method.extender, SearchedExtender) else 0


def _forwards(cells: Sequence[Cell]) -> int:
    return sum(cell.samples * cell.length for cell in cells)
