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
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1  # raised when a reader of the old format would misread the new one


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN. What keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of a cell: 24 hex digits over all that changes its number and nothing else."""
    return hashlib.sha256(canonical({"format": FORMAT, **identity}).encode()).hexdigest()[:24]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _damaged(marker: Path) -> bool:
    """True for a run.json that is no JSON at all: a run writes it anew, and the cells beside it still count."""
    try:
        return not isinstance(json.loads(marker.read_text(encoding="utf-8")), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return True


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

    def run(self) -> dict[str, Any]:
        """The content of run.json."""
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return content

    def described(self) -> dict[str, Any]:
        """The content of run.json. Raises ValueError where it describes no run."""
        content = self.run()
        for name in ("name", "model", "target_length", "methods", "cells"):
            if name not in content:
                raise self.no_run(repr(name))
        return content

    def no_run(self, absent: object) -> ValueError:
        """The error for a run.json that lacks something."""
        return ValueError(f"{self.folder}/run.json describes no run ({absent} is absent); run the experiment again")

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Replace run.json; nothing is written when it says the same already."""
        text = json.dumps({"format": FORMAT, **content}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self.folder / "run.json"
        if not path.is_file() or path.read_bytes() != (text + "\n").encode():
            write_whole(path, text + "\n")

    def cell_path(self, key: str) -> Path:
        return self.folder / "cells" / f"{key}.json"

    def cell(self, key: str) -> dict[str, Any] | None:
        """One cell, or None where it is missing or unreadable (a foreign or damaged file counts as missing)."""
        try:
            content = json.loads(self.cell_path(key).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None
        if (
            not isinstance(content, dict)
            or content.get("key") != key
            or content.get("status") not in ("done", "failed")
        ):
            return None
        return content

    def done(self, key: str) -> bool:
        """True when the cell is finished; a failed one is not, and runs again."""
        cell = self.cell(key)
        return cell is not None and cell["status"] == "done"

    def put_cell(self, key: str, content: Mapping[str, Any]) -> None:
        """Write a finished or failed cell. Raises ValueError for a NaN or an infinity, which JSON cannot hold."""
        text = json.dumps({"key": key, **content}, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(self.cell_path(key), text + "\n")

    @property
    def searches(self) -> Path:
        return self.folder / "searches"

    def search(self, key: str) -> dict[str, Any] | None:
        """The result of a search, or None where it is missing or unreadable."""
        try:
            content = json.loads((self.searches / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None
        return content if isinstance(content, dict) and content.get("key") == key else None

    def trajectory(self, key: str) -> list[dict[str, Any]]:
        """What a search tried, in order; what is unreadable (a line cut off by a kill) is left out."""
        path = self.searches / f"{key}.jsonl"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def training_folder(self, key: str) -> Path:
        """Where a training keeps its weights, and its checkpoint while it is unfinished."""
        return self.folder / "trainings" / key

    def training(self, key: str) -> dict[str, Any] | None:
        """The record of a training, or None where it is missing or unreadable."""
        try:
            content = json.loads(self.training_folder(key).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None
        return content if isinstance(content, dict) and content.get("key") == key else None

    def put_training(self, key: str, content: Mapping[str, Any]) -> None:
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

    def cells(self) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Every planned cell of run.json with its content (None where missing), in the order planned."""
        for planned in self.run()["cells"]:
            yield planned, self.cell(planned["key"])
