"""What of a store is not what was written there, and what can be done: set aside, so that a run makes it again.

Whatever has a seal or a hash is read: cells, searches with their losses and trajectories, trainings with their
weights, prompts, run.json. A damaged prompt takes the cells with it that name it, a damaged trajectory its search,
damaged weights their training: these are made again together. Damaged lines of losses are cut away,
which costs their measurements.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.files_on_disk import Sound, damaged_lines, mend_lines
from harness.store import Store, is_losses_line, is_pass_line, is_trajectory_line, search_reading

ASIDE = "damaged"  # folder of a store
OURS = {"run.json", "run.lock", "cells", "passes", "prompts", "searches", "trainings", "team", ASIDE, "report.html",
        "tables", "paper", "report-files.json"}  # fmt: skip
PLACES = {  # what may lie in a folder of a store
    "cells": r"[0-9a-z]+\.json",
    "prompts": r"[0-9a-f]{16}\.txt",
    "passes": r"[0-9a-z]+\.jsonl",
    "searches": r"[0-9a-z]+(\.json|\.lock|(\.tuned)?(\.losses)?\.jsonl)",
    "trainings": r"[0-9a-z]+(\.json|\.lock)?",
}
SHOWN = 3  # damaged files that a line names


@dataclass(frozen=True)
class Damage:
    """A damaged file: what is wrong, and which files have to go so that a run makes it again. `lines`: only damaged
    lines have to, and go when the search is continued."""

    file: str  # relative to the store
    reason: str
    goes: tuple[Path, ...]
    lines: bool = False


DAMAGED_RUN = Damage("run.json", "it does not say what was written", ())


@dataclass(frozen=True)
class Findings:
    """What a look at a store found."""

    read: int  # files
    damaged: tuple[Damage, ...]
    unsealed: int  # records of days before seals
    foreign: tuple[str, ...]  # what no ropebench wrote
    without_prompt: int  # cells that name a prompt whose file is gone


def look(store: Store, weights: bool = True) -> Findings:
    """Read all of a store. Trained weights can be large: without `weights` they are not read."""
    damaged: list[Damage] = [*_damage_of_run(store)]
    unsealed, read, named = 0, 1, dict[str, list[Path]]()
    for path in _files(store, "cells", ".json"):
        reading, read = store.cell_reading(path.stem), read + 1
        unsealed += reading.record is not None and not reading.sealed
        if reading.damage:
            damaged.append(Damage(_name(store, path), reading.damage, (path,)))
        for row in reading.record["rows"] if reading.record else ():
            if name := row.get("prompt"):
                named.setdefault(str(name), []).append(path)
    for path in _files(store, "prompts", ".txt"):
        read += 1
        if hashlib.sha256(path.read_bytes()).hexdigest()[:16] != path.stem:
            users = dict.fromkeys(named.get(path.stem, ()))
            damaged.append(Damage(_name(store, path), "it is not the text that its name stands for", (path, *users)))
    for path in [*_files(store, "searches", ".json"), *_files(store, "searches", ".jsonl")]:
        read += 1
        if path.suffix == ".json":
            found = search_reading(store.searches, path.stem)
            unsealed += found.record is not None and not found.sealed
            damaged += [Damage(_name(store, path), found.damage, (path,))] if found.damage else []
        else:
            damaged += _damage_of_lines(store, path)
    for path in _files(store, "trainings", ".json"):
        trained, read = store.training_reading(path.stem), read + 1
        unsealed += trained.record is not None and not trained.sealed
        if damage := trained.damage or (_damage_of_weights(store, path.stem) if weights else ""):
            damaged.append(Damage(_name(store, path), damage, (path,)))
    for path in _files(store, "passes", ".jsonl"):
        read += 1
        damaged += _damage_of_lines(store, path)
    there = {path.stem for path in _files(store, "prompts", ".txt")}
    without = {path for name, paths in named.items() if name not in there for path in paths}
    unsealed += not store.run_is_sealed and (store.folder / "run.json").is_file() and damaged[:1] != [DAMAGED_RUN]
    return Findings(read, tuple(damaged), unsealed, tuple(_foreign(store)), len(without))


def set_aside(store: Store, damaged: Sequence[Damage]) -> Path:
    """Move what is damaged into a folder of the store, where a run does not look; gives that folder."""
    aside = store.folder / ASIDE
    for damage in damaged:
        if damage.lines:
            mend_lines(store.folder / damage.file, _sound(Path(damage.file)))
            continue
        for path in damage.goes:
            if path.exists():
                place = aside / path.relative_to(store.folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
    return aside


def words(folder: Path, damaged: Sequence[Damage]) -> str:
    """What is damaged, in a line."""
    shown = "; ".join(f"{damage.file}: {damage.reason}" for damage in damaged[:SHOWN])
    more = f"; and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    return f"{len(damaged)} damaged file{'s' * (len(damaged) > 1)} in {folder}: {shown}{more}"


def _name(store: Store, path: Path) -> str:
    return path.relative_to(store.folder).as_posix()


def _files(store: Store, folder: str, suffix: str) -> list[Path]:
    return sorted(path for path in (store.folder / folder).glob(f"*{suffix}") if path.is_file())


def _damage_of_run(store: Store) -> Iterator[Damage]:
    """A run.json that cannot be believed is written anew by the next run, so it need not go."""
    path = store.folder / "run.json"
    if path.is_file():
        try:
            store.run()
        except ValueError:
            yield DAMAGED_RUN


def _damage_of_lines(store: Store, path: Path) -> Iterator[Damage]:
    """Of losses and passes the damaged lines go, which are measured again; a trajectory goes with its search."""
    key = path.name.removesuffix(".jsonl").removesuffix(".losses").removesuffix(".tuned")
    record, found = path.with_name(f"{key}.json"), store.search(key)
    if count := damaged_lines(path, _sound(path), finished=found is not None and found["status"] == "done"):
        reason = f"{count} of its lines {'is' if count == 1 else 'are'} not what was written"
        lines = path.parent.name == "passes" or path.name.endswith(".losses.jsonl")
        yield Damage(_name(store, path), reason, () if lines else (path, record), lines)


def _sound(path: Path) -> Sound:
    """What a line of this file has to be."""
    name = path.name.removesuffix(".jsonl")
    if path.parent.name == "passes":
        return partial(is_pass_line, name)
    losses = name.endswith(".losses")
    return partial(is_losses_line, name.removesuffix(".losses")) if losses else partial(is_trajectory_line, name)


def _damage_of_weights(store: Store, key: str) -> str:
    record = store.training(key)
    if record is None or record["status"] != "done":
        return ""
    path = store.training_folder(key) / "weights.safetensors"
    if not path.is_file():
        return "its trained weights are gone"
    with path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest() == record["weights"]["sha256"]
    return "" if whole else "its trained weights are not those that were written"


def _foreign(store: Store) -> Iterator[str]:
    """Files in the folder that no run and no report writes there."""
    for path in sorted(store.folder.iterdir()):
        if path.name not in OURS and path.suffix != ".partial":
            yield path.name
        elif path.name in PLACES and path.is_dir():
            inside = [file for file in sorted(path.iterdir()) if file.suffix != ".partial"]
            yield from (_name(store, file) for file in inside if not re.fullmatch(PLACES[path.name], file.name))
