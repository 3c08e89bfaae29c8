"""Several stores into one: what others have finished is brought, and what two have is compared.

Keys say what a result is, so nothing has to be told: a cell of another machine under the same key is the same cell,
measured again. Where both have it ours stays, and how many answers differ is what the machines differ by. Damaged files
are not brought.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.files_on_disk import held
from harness.records import damage
from harness.records.ledger import ledger
from harness.search.stage import finished
from harness.store import CellRecord, Store


@dataclass
class CommonCells:
    """Cells of one test and length that two stores have both. Scores differ by at most `largest`."""

    cells: int = 0
    rows: int = 0
    answers: int = 0  # rows whose text differs
    scores: int = 0  # rows whose score differs
    largest: float = 0.0


@dataclass
class Merged:
    """What came of one other store."""

    folder: Path
    cells: int = 0
    searches: int = 0
    trainings: int = 0
    left: tuple[str, ...] = ()  # damaged files, as a path and its reason
    parity: dict[tuple[str, int], CommonCells] = field(default_factory=dict)  # by test and length in tokens


def merge(into: Store, others: list[Store]) -> list[Merged]:
    """Bring into a store what others have finished. Raises ValueError where one is the store itself, or at work."""
    for other in others:
        if other.folder.resolve() == into.folder.resolve():
            raise ValueError(f"{other.folder} is the store that the others are brought into; name others")
    with held(into.folder / "run.lock", str(into.folder)):
        merged = [_brought(into.held(), other) for other in others]
        content = into.run()
        records = {line["key"]: into.training(line["key"]) for line in content.get("trainings", [])}
        content["ledger"] = ledger(content, list(into.cells()), records)
        into.write_run(content)
    return merged


def _brought(into: Store, other: Store) -> Merged:
    found = damage.look(other)
    gone = {path.resolve() for one in found.damaged for path in one.goes}
    merged = Merged(other.folder, left=tuple(f"{one.file}: {one.reason}" for one in found.damaged))
    for key in _keys(other.folder / "trainings", gone):
        record, own = other.training(key), into.training(key)
        if record is not None and record["status"] == "done" and (own is None or own["status"] != "done"):
            _copied(other.training_folder(key), into.training_folder(key))
            into.put_training(key, record)
            merged.trainings += 1
    for key in _keys(other.searches, gone):
        if finished(other.searches, key) and not finished(into.searches, key):
            into.searches.mkdir(exist_ok=True)
            for path in sorted(other.searches.glob(f"{key}.*"), key=lambda path: path.suffix == ".json"):
                if path.suffix in (".json", ".jsonl"):  # the record last: with it the search is finished
                    shutil.copyfile(path, into.searches / path.name)
            merged.searches += 1
    for key in _keys(other.folder / "cells", gone):
        theirs, ours = other.cell(key), into.cell(key)
        if theirs is None or theirs["status"] != "done":
            continue
        if ours is not None and ours["status"] == "done":
            _compared(merged, ours, theirs)
            continue
        for name in {row["prompt"] for row in theirs["rows"]}:
            if text := other.prompt(name):
                into.put_prompt(text)
        into.put_cell(key, theirs)
        merged.cells += 1
    return merged


def _compared(merged: Merged, ours: CellRecord, theirs: CellRecord) -> None:
    """Count in what two records of one cell differ."""
    place = str(ours["identity"]["task"]["name"]), int(ours["identity"]["length"])
    parity = merged.parity.setdefault(place, CommonCells())
    parity.cells += 1
    others = {row["sample"]: row for row in theirs["rows"]}
    for row in ours["rows"]:
        other = others[row["sample"]]
        apart = abs(row["score"] - other["score"])
        parity.rows += 1
        parity.answers += row["generation"] != other["generation"]
        parity.scores += apart > 0
        parity.largest = max(parity.largest, apart)


def _keys(folder: Path, gone: set[Path]) -> Iterator[str]:
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path.resolve() not in gone:
            yield path.stem


def _copied(source: Path, target: Path) -> None:
    """A folder of weights, whole or not at all."""
    if target.exists():
        shutil.rmtree(target)
    half = target.with_name(f"{target.name}.partial")
    if half.exists():
        shutil.rmtree(half)
    shutil.copytree(source, half)
    half.rename(target)
