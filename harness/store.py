"""The folder that a run writes and a report reads: one file per finished cell, written whole or not at all.

    DIR/run.json            what was planned: model, methods with their plans, the list of cells, the ledger
    DIR/cells/<key>.json    one finished (or failed) cell with its rows
    DIR/prompts/<hash>.txt  every prompt once, under the hash that rows name
    DIR/searches/<key>.json   one finished (or failed) search; <key>.jsonl beside it is its trajectory
    DIR/trainings/<key>.json  one finished (or failed) training, with its weights in the folder beside it

Nothing here needs torch or transformers, so a report opens a store anywhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.files_on_disk import read_json as read_json
from harness.files_on_disk import read_lines as read_lines
from harness.files_on_disk import write_whole as write_whole
from harness.store_rows import CellCost as CellCost
from harness.store_rows import CellRecord as CellRecord
from harness.store_rows import Condition as Condition
from harness.store_rows import CurvePoint as CurvePoint
from harness.store_rows import Ledger as Ledger
from harness.store_rows import MethodTraining as MethodTraining
from harness.store_rows import PlannedCell as PlannedCell
from harness.store_rows import Proof as Proof
from harness.store_rows import Provenance as Provenance
from harness.store_rows import Remark as Remark
from harness.store_rows import Run as Run
from harness.store_rows import SearchCost as SearchCost
from harness.store_rows import SearchLine as SearchLine
from harness.store_rows import SearchRecord as SearchRecord
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
from harness.store_rows import is_ended, is_training
from harness.store_rows import is_search as is_search
from harness.study_rows import Study as Study
from harness.study_rows import StudyRow as StudyRow
from harness.study_rows import StudyWinner as StudyWinner

FORMAT = 1  # raised when a reader of the old format would misread the new one


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN. What keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of a cell: 24 hex digits over all that changes its number and nothing else."""
    return hashlib.sha256(canonical({"format": FORMAT, **identity}).encode()).hexdigest()[:24]


def _damaged(marker: Path) -> bool:
    """True for a run.json that is no JSON at all: a run writes it anew, and the cells beside it still count."""
    try:
        return not isinstance(json.loads(marker.read_text(encoding="utf-8")), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return True


def read_search(folder: Path, key: str) -> SearchRecord | None:
    """The record of a search in a folder of searches, or None where it is missing or damaged: it has another key, or
    lacks something that a record holds."""
    content = read_json(folder / f"{key}.json")
    return content if is_search(content) and content["key"] == key else None


@dataclass(frozen=True)
class Store:
    """A result store. `create` makes or reopens one; `open` refuses what is not one."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Store":
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; name a folder for the results")
        if (folder / "run.json").exists() and not _damaged(folder / "run.json"):
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
        try:
            written = json.loads(marker.read_text(encoding="utf-8")).get("format")
        except (json.JSONDecodeError, AttributeError, UnicodeDecodeError) as error:
            raise ValueError(f"{marker} cannot be read ({error}); run the experiment again to rewrite it") from None
        if not isinstance(written, int) or isinstance(written, bool):
            raise ValueError(f"{folder} is not a result store (its run.json names no format)")
        if written > FORMAT:
            raise ValueError(
                f"{folder} was written by a newer ropebench (format {written}, this one reads up to {FORMAT}); "
                "update ropebench"
            )
        return cls(folder)

    def run(self) -> Run:
        """The content of run.json."""
        content: Run = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return content

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
        text = json.dumps({"format": FORMAT, **content}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self.folder / "run.json"
        if not path.is_file() or path.read_bytes() != (text + "\n").encode():
            write_whole(path, text + "\n")

    def cell_path(self, key: str) -> Path:
        return self.folder / "cells" / f"{key}.json"

    def cell(self, key: str) -> CellRecord | None:
        """One cell, or None where it is missing or unreadable (a foreign or damaged file counts as missing)."""
        content = read_json(self.cell_path(key))
        if not is_ended(content) or content["key"] != key:
            return None
        cell: CellRecord = content  # type: ignore[assignment]  # reports check its rows, and say what is wrong with them
        return cell

    def done(self, key: str) -> bool:
        """True when the cell is finished; a failed one is not, and runs again."""
        cell = self.cell(key)
        return cell is not None and cell["status"] == "done"

    def put_cell(self, key: str, content: Mapping[str, object]) -> None:
        """Write a finished or failed cell. Raises ValueError for a NaN or an infinity, which JSON cannot hold."""
        text = json.dumps({"key": key, **content}, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(self.cell_path(key), text + "\n")

    @property
    def searches(self) -> Path:
        return self.folder / "searches"

    def search(self, key: str) -> SearchRecord | None:
        """The record of a search, or None where it is missing or damaged."""
        return read_search(self.searches, key)

    def training_folder(self, key: str) -> Path:
        """Where a training keeps its weights, and its checkpoint while it is unfinished."""
        return self.folder / "trainings" / key

    def training(self, key: str) -> TrainingRecord | None:
        """The record of a training, or None where it is missing or damaged."""
        content = read_json(self.training_folder(key).with_suffix(".json"))
        return content if is_training(content) and content["key"] == key else None

    def put_training(self, key: str, content: Mapping[str, object]) -> None:
        """Write the record of a finished or failed training."""
        text = json.dumps({"key": key, **content}, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(self.training_folder(key).with_suffix(".json"), text + "\n")

    def put_prompt(self, text: str) -> str:
        """Store a prompt once; returns its name, 16 hex digits of its sha256."""
        name = self.prompt_name(text)
        path = self.prompt_path(name)
        if not path.exists():
            write_whole(path, text)
        return name

    @staticmethod
    def prompt_name(text: str) -> str:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def prompt_path(self, name: str) -> Path:
        return self.folder / "prompts" / f"{name}.txt"

    def prompt(self, name: str) -> str:
        """A stored prompt, or '' where its file is gone."""
        path = self.prompt_path(name)
        return path.read_bytes().decode("utf-8", "surrogatepass") if path.is_file() else ""

    def cells(self) -> Iterator[tuple[PlannedCell, CellRecord | None]]:
        """Every planned cell of run.json with its content (None where missing), in the order planned."""
        for planned in self.run()["cells"]:
            yield planned, self.cell(planned["key"])
