"""Which samples does an adaptive run still need? Cells grow look by look until their comparison is decided.

A cell with its first samples is stored as what it is: the cell of an experiment with so many samples, under that key. A
larger one takes over the rows of the smaller and asks for the rest. So a store holds nothing but cells, all that reads
one reads these, and where a run stands follows from the rows alone: one that was stopped, or another machine's, goes
on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.experiment.adaptive import Adaptive, grows
from harness.experiment.cells import Cell
from harness.store import CellRecord, Store, key_of

Scores = NDArray[np.float64]


class Judged(Protocol):
    """How far a comparison got."""

    @property
    def samples(self) -> int: ...

    @property
    def stops(self) -> bool: ...


class Judge(Protocol):
    """What says where a comparison stops: reports/statistics/sequential.py, which the harness does not import."""

    def looks(self, samples: int) -> tuple[int, ...]:
        """After how many samples is looked, where so many are planned."""

    def comparison(self, label: str, against: str, test: str, length: int) -> str:
        """Its name, by which random numbers are drawn, for a run and its report alike."""

    def stopping(
        self, first: Sequence[Scores], second: Sequence[Scores], samples: int, margin: float, name: str
    ) -> Judged:
        """Look by look, from the scores of both on the first samples of each seed."""


Group = Mapping[str, Sequence[Cell]]  # one test at one length: the cells of each method, by seed


def grown(cells: Sequence[Cell], adaptive: Adaptive, judge: Judge, store: Store) -> tuple[Cell, ...]:
    """The cells with the samples that they need by now: those that are there where they are decided, else one look
    more. Cells of tests that cannot grow stay as they are."""
    groups: dict[tuple[str, int], dict[str, list[Cell]]] = {}
    for cell in cells:
        if grows(cell.test.task):
            groups.setdefault((cell.test.label, cell.length), {}).setdefault(cell.method.label, []).append(cell)
    sizes = {place: _sizes(group, adaptive, judge, store) for place, group in groups.items()}
    return tuple(
        _listed(cell, sizes[place][cell.method.label], judge, store)
        if (place := (cell.test.label, cell.length)) in sizes
        else cell
        for cell in cells
    )


def earlier(cell: Cell, store: Store) -> CellRecord | None:
    """The finished record with the most of a cell's first samples, or None."""
    for key in cell.smaller:
        record = store.cell(key)
        if record is not None and record["status"] == "done":
            return record
    return None


def sized(cell: Cell, samples: int, looks: Sequence[int]) -> Cell:
    """The cell with so many samples, one of `looks`."""

    def key(size: int) -> str:
        return key_of({**cell.identity, "samples": size})

    smaller = tuple(key(size) for size in reversed(looks) if size < samples)
    identity = {**cell.identity, "samples": samples}
    return replace(cell, samples=samples, identity=identity, key=key(samples), most=cell.test.samples, smaller=smaller)


def _sizes(group: Group, adaptive: Adaptive, judge: Judge, store: Store) -> dict[str, int]:
    """For each method the samples that its comparison needs. The one that all are compared with needs as many as any;
    where it has no plan yet, nothing can be decided."""
    first = judge.looks(next(iter(group.values()))[0].samples)[0]
    base = group.get(adaptive.against, ())
    same = [label for label, cells in group.items() if [cell.key for cell in cells] == [cell.key for cell in base]]
    if not base:
        return dict.fromkeys(group, first)
    there = {label: [_scores(cell, judge, store) for cell in cells] for label, cells in group.items()}
    wanted = {
        label: _wanted(cells[0], there[label], there[adaptive.against], adaptive, judge)
        for label, cells in group.items()
        if label not in same
    }
    return {**wanted, **dict.fromkeys(same, max(wanted.values(), default=first))}  # with its plan, and so its answers


def _wanted(cell: Cell, own: Sequence[Scores], base: Sequence[Scores], adaptive: Adaptive, judge: Judge) -> int:
    looks, both = judge.looks(cell.samples), min(len(scores) for scores in (*own, *base))
    if both < looks[0]:
        return looks[0]
    name = judge.comparison(cell.method.label, adaptive.against, cell.test.label, cell.length)
    state = judge.stopping(own, base, cell.samples, adaptive.margin / 100, name)
    if state.stops:
        return state.samples
    return next((look for look in looks if look > both), looks[-1])


def _scores(cell: Cell, judge: Judge, store: Store) -> Scores:
    """Scores of the first samples of a cell, as many as are there in one record."""
    looks = judge.looks(cell.samples)
    whole = sized(cell, looks[-1], looks)
    record = earlier(replace(whole, smaller=(whole.key, *whole.smaller)), store)
    scores = {row["sample"]: row["score"] for row in record["rows"]} if record is not None else {}
    return np.array([scores[i] for i in range(len(scores))]) if set(scores) == set(range(len(scores))) else np.zeros(0)


def _listed(cell: Cell, needed: int, judge: Judge, store: Store) -> Cell:
    """The smallest finished cell with so many samples, or else the one that is missing."""
    looks = judge.looks(cell.samples)
    enough = [sized(cell, size, looks) for size in looks if size >= needed]
    return next((one for one in enough if store.done(one.key)), enough[0])
