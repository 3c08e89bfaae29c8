"""The folder that a run writes and a report reads: one file per finished cell, written whole or not at all.

    DIR/run.json            what was planned: model, methods with their plans, the list of cells, the ledger
    DIR/cells/<key>.json    one finished (or failed) cell with its rows
    DIR/passes/<key>.jsonl  what a cell that was stopped has answered so far
    DIR/prompts/<hash>.txt  every prompt once, under the hash that rows name
    DIR/searches/<key>.json   one finished (or failed) search; <key>.jsonl beside it is its trajectory
    DIR/trainings/<key>.json  one finished (or failed) training, with its weights in the folder beside it
    DIR/damaged/            what was set aside because it did not say what was written

Every record carries a seal (harness/seals.py); one whose seal does not fit counts as missing. Nothing here needs torch
or transformers, so a report opens a store anywhere.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.files_on_disk import damaged_lines, read_file
from harness.files_on_disk import read_json as read_json
from harness.files_on_disk import read_lines as read_lines
from harness.files_on_disk import write_whole as write_whole
from harness.seals import FORMAT as FORMAT
from harness.seals import SEAL, broken_seal, sealed, wrong_key
from harness.seals import canonical as canonical
from harness.seals import key_of as key_of
from harness.signals import stop_if_asked as stop_if_asked
from harness.store_checks import holds_losses, wrong_cell, wrong_run, wrong_search, wrong_training
from harness.store_checks import is_search as is_search
from harness.store_checks import unfit as unfit
from harness.store_rows import CellCost as CellCost
from harness.store_rows import CellRecord as CellRecord
from harness.store_rows import Condition as Condition
from harness.store_rows import CurvePoint as CurvePoint
from harness.store_rows import FarUse as FarUse
from harness.store_rows import Ledger as Ledger
from harness.store_rows import MethodTraining as MethodTraining
from harness.store_rows import Parity as Parity
from harness.store_rows import PassLine as PassLine
from harness.store_rows import PlannedCell as PlannedCell
from harness.store_rows import Proof as Proof
from harness.store_rows import Provenance as Provenance
from harness.store_rows import Remark as Remark
from harness.store_rows import Run as Run
from harness.store_rows import SearchCost as SearchCost
from harness.store_rows import SearchLine as SearchLine
from harness.store_rows import SearchRecord as SearchRecord
from harness.store_rows import StoredAdaptive as StoredAdaptive
from harness.store_rows import StoredMethod as StoredMethod
from harness.store_rows import StoredModel as StoredModel
from harness.store_rows import StoredPlan as StoredPlan
from harness.store_rows import StoredRope as StoredRope
from harness.store_rows import StoredRow as StoredRow
from harness.store_rows import Trainable as Trainable
from harness.store_rows import Trained as Trained
from harness.store_rows import TrainedFile as TrainedFile
from harness.store_rows import TrainingCost as TrainingCost
from harness.store_rows import TrainingData as TrainingData
from harness.store_rows import TrainingLine as TrainingLine
from harness.store_rows import TrainingProof as TrainingProof
from harness.store_rows import TrainingRecord as TrainingRecord
from harness.store_shape import misfit
from harness.study_rows import Study as Study
from harness.study_rows import StudyRow as StudyRow
from harness.study_rows import StudyWinner as StudyWinner

UNREADABLE = "it cannot be read as JSON"
Record = TypeVar("Record", bound=Mapping[str, Any])
# Fields of a trajectory's lines of earlier days.
UNSEALED_CANDIDATE = frozenset(
    "candidate parent operator stage loss samples parameters factors plan spent length held_out iterate sample "
    "gradient attention_factor".split()
)


@dataclass(frozen=True)
class Reading(Generic[Record]):
    """A file of the store as it was read."""

    record: Record | None  # without its seal; None where the file is absent or damaged
    damage: str  # what is wrong with it, '' where it is sound or absent
    sealed: bool = False


def read_record(
    path: Path, kind: str, wrong: Callable[[Mapping[str, Any]], str], unsealed: Mapping[str, Any]
) -> Reading[Record]:
    """The record in a file whose name is its key. `wrong` says what its readers cannot use, `unsealed` are the fields
    of records of earlier days."""
    content = read_json(path)
    if not isinstance(content, dict):
        return Reading(None, UNREADABLE if path.is_file() else "")
    damage = wrong(content) or broken_seal(kind, content, unsealed) or wrong_key(path.stem, content)
    has_seal = content.pop(SEAL, None) is not None
    return Reading(None if damage else content, damage, has_seal)  # type: ignore[arg-type]  # `wrong` has seen it


def write_record(path: Path, kind: str, content: Mapping[str, Any], indent: int | None = None) -> None:
    """Write a record with its seal. Raises ValueError for a NaN or an infinity, which JSON cannot hold."""
    text = json.dumps(sealed(kind, content), indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def read_search(folder: Path, key: str) -> SearchRecord | None:
    """The record of a search in a folder of searches, or None where it is missing or damaged."""
    return search_reading(folder, key).record


def search_reading(folder: Path, key: str) -> Reading[SearchRecord]:
    """The same with what is wrong with it."""
    return read_record(folder / f"{key}.json", "search", wrong_search, SearchRecord.__annotations__)


def is_losses_line(name: str, line: Any) -> bool:
    """Whether it is a sound line of the file of losses of that search (`name` is its key, or KEY.tuned)."""
    if not isinstance(line, dict) or broken_seal(f"losses {name}", line, ("losses", "seconds", "slopes")):
        return False
    return holds_losses(line)


def pass_kind(key: str) -> str:
    """What the seal of a line of a cell's passes is bound to."""
    return f"pass {key}"


def is_pass_line(key: str, line: Any) -> bool:
    """Whether it is a sound line of the passes of that cell."""
    return isinstance(line, dict) and not broken_seal(pass_kind(key), line, ()) and not misfit(line, PassLine)


def is_trajectory_line(key: str, line: Any) -> bool:
    """Whether it is a sound line of the trajectory of that search."""
    return isinstance(line, dict) and not broken_seal(f"trajectory {key}", line, UNSEALED_CANDIDATE)


def _damage_of_run(folder: Path) -> str:
    """What is wrong with a run.json that is there, or ''. One of a newer ropebench is not judged."""
    content = read_json(folder / "run.json")
    if not isinstance(content, dict):
        return "it is no JSON object"
    newer = isinstance(content.get("format"), int) and content["format"] > FORMAT
    return "" if newer else broken_seal("run", content, Run.__annotations__)


class Moved(ValueError):
    """The folder of a store is not where it was."""


def moved(folder: Path) -> Moved:
    return Moved(
        f"{folder} was moved or deleted while the run was at work; what was finished went with it: run again with its "
        "new place as --out"
    )


def place_of_folder(folder: Path) -> tuple[int, int]:
    """What tells a folder from another that has its name."""
    try:
        here = os.stat(folder)
    except OSError:
        raise moved(folder) from None
    return here.st_dev, here.st_ino


@dataclass(frozen=True)
class Store:
    """A result store. `create` makes or reopens one; `open` refuses what is not one. One that was `held` writes only
    while its folder is where it was."""

    folder: Path
    place: tuple[int, int] | None = field(default=None, compare=False)

    @classmethod
    def create(cls, folder: Path) -> "Store":
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; name a folder for the results")
        if (folder / "run.json").exists() and not _damage_of_run(folder):
            return cls.open(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / "cells").is_dir():
            raise ValueError(f"{folder} holds other files and is not a result store; name an empty or a new folder")
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Raises ValueError when the folder is no store or was written by a newer ropebench."""
        folder = Path(folder)
        marker = folder / "run.json"
        if not marker.is_file():
            raise ValueError(
                f"{folder} is not a result store (it has no run.json); make one with: ropebench run --out {folder}"
            )
        if damage := _damage_of_run(folder):
            raise ValueError(f"{marker} cannot be read ({damage}); run the experiment again to rewrite it")
        written = read_json(marker).get("format")
        if not isinstance(written, int) or isinstance(written, bool):
            raise ValueError(f"{folder} is not a result store (its run.json names no format)")
        if written > FORMAT:
            raise ValueError(
                f"{folder} was written by a newer ropebench (format {written}, this one reads up to {FORMAT}); "
                "update ropebench"
            )
        return cls(folder)

    def held(self) -> "Store":
        """The same, bound to the folder that has its name now."""
        return Store(self.folder, place_of_folder(self.folder))

    def check_place(self) -> None:
        """Raises Moved when the folder that was held is elsewhere by now."""
        if self.place is not None and place_of_folder(self.folder) != self.place:
            raise moved(self.folder)

    def run(self) -> Run:
        """The content of run.json. Raises ValueError where it is damaged."""
        if damage := _damage_of_run(self.folder):
            raise ValueError(f"{self.folder}/run.json cannot be read ({damage}); run the experiment again")
        content: Run = read_json(self.folder / "run.json")
        content.pop(SEAL, None)  # type: ignore[misc]
        if problem := wrong_run(content):
            raise ValueError(f"{self.folder}/run.json describes no run ({problem}); run the experiment again")
        return content

    @property
    def run_is_sealed(self) -> bool:
        """False for a store that was written before there were seals."""
        content = read_json(self.folder / "run.json")
        return isinstance(content, dict) and SEAL in content

    def described(self) -> Run:
        """The content of run.json. Raises ValueError where it describes no run."""
        content = self.run()
        for name in ("name", "model", "target_length", "methods", "cells"):
            if name not in content:
                raise self.no_run(repr(name))
        return content

    def no_run(self, absent: object) -> ValueError:
        """The error for a run.json that lacks something."""
        return ValueError(f"{self.folder}/run.json describes no run ({absent} is absent); run the experiment again")

    def write_run(self, content: Mapping[str, object]) -> None:
        """Replace run.json; nothing is written when it says the same already."""
        self.check_place()
        whole = sealed("run", {"format": FORMAT, **content})
        text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self.folder / "run.json"
        if not path.is_file() or path.read_bytes() != (text + "\n").encode():
            write_whole(path, text + "\n")

    def cell_path(self, key: str) -> Path:
        return self.folder / "cells" / f"{key}.json"

    def cell(self, key: str) -> CellRecord | None:
        """One cell, or None where it is missing or damaged (a foreign file counts as damaged)."""
        return self.cell_reading(key).record

    def cell_reading(self, key: str) -> Reading[CellRecord]:
        """The same with what is wrong with it."""
        return read_record(self.cell_path(key), "cell", wrong_cell, CellRecord.__annotations__)

    def done(self, key: str) -> bool:
        """True when the cell is finished; a failed one is not, and runs again."""
        cell = self.cell(key)
        return cell is not None and cell["status"] == "done"

    def put_cell(self, key: str, content: Mapping[str, object]) -> None:
        """Write a finished or failed cell. Raises ValueError for a NaN or an infinity, which JSON cannot hold."""
        self.check_place()
        write_record(self.cell_path(key), "cell", {"key": key, **content})

    @property
    def passes(self) -> Path:
        return self.folder / "passes"

    def passes_path(self, key: str) -> Path:
        """Where a cell that is at work writes what it has answered."""
        return self.passes / f"{key}.jsonl"

    @property
    def searches(self) -> Path:
        return self.folder / "searches"

    def search(self, key: str) -> SearchRecord | None:
        """The record of a search, or None where it is missing or damaged."""
        return read_search(self.searches, key)

    def trajectory(self, key: str) -> list[Any]:
        """The lines of a search's trajectory; a damaged one is left out."""
        return read_lines(self.searches / f"{key}.jsonl", lambda line: is_trajectory_line(key, line))

    def damaged_trajectory(self, key: str) -> int:
        """How many of its lines are damaged. A finished search left no line half written."""
        record = self.search(key)
        finished = record is not None and record["status"] == "done"
        return damaged_lines(self.searches / f"{key}.jsonl", lambda line: is_trajectory_line(key, line), finished)

    def training_folder(self, key: str) -> Path:
        """Where a training keeps its weights, and its checkpoint while it is unfinished."""
        return self.folder / "trainings" / key

    def training(self, key: str) -> TrainingRecord | None:
        """The record of a training, or None where it is missing or damaged."""
        return self.training_reading(key).record

    def training_reading(self, key: str) -> Reading[TrainingRecord]:
        """The same with what is wrong with it."""
        path = self.folder / "trainings" / f"{key}.json"
        return read_record(path, "training", wrong_training, TrainingRecord.__annotations__)

    def put_training(self, key: str, content: Mapping[str, object]) -> None:
        """Write the record of a finished or failed training."""
        self.check_place()
        write_record(self.folder / "trainings" / f"{key}.json", "training", {"key": key, **content})

    def put_prompt(self, text: str) -> str:
        """Store a prompt once; returns its name, 16 hex digits of its sha256."""
        name = self.prompt_name(text)
        path = self.prompt_path(name)
        if self.prompt(name) != text or not path.exists():
            self.check_place()
            write_whole(path, text)
        return name

    @staticmethod
    def prompt_name(text: str) -> str:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def prompt_path(self, name: str) -> Path:
        return self.folder / "prompts" / f"{name}.txt"

    def prompt(self, name: str) -> str:
        """A stored prompt, or '' where its file is gone or is not what its name says."""
        try:
            content = read_file(self.prompt_path(name))
        except OSError:
            return ""
        whole = hashlib.sha256(content).hexdigest()[:16] == name
        return content.decode("utf-8", "surrogatepass") if whole else ""

    def cells(self) -> Iterator[tuple[PlannedCell, CellRecord | None]]:
        """Every planned cell of run.json with its content (None where missing), in the order planned."""
        for planned in self.run()["cells"]:
            yield planned, self.cell(planned["key"])
