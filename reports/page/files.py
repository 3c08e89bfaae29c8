"""The files of a report: what an earlier report wrote and this one does not is deleted, and nothing else is touched.

A folder may have held the report of another experiment, with other tests and methods. Its tables would look like this
one's. So every report leaves a list of its files with their hashes, and the next one deletes what is on the list, lies
in the report's own places and is unchanged. A file that somebody has edited is theirs and stays.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.store import write_whole

LIST = "report-files.json"
PLACES = ("report.html", "tables", "paper")  # where reports write; a list that names anything else is not believed


def replace(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Make these the report's files in `folder`, by path with forward slashes; returns the stale ones it deleted.

    Unchanged files are not written again. Stopped anywhere, the next call finishes the work: the list names old and new
    files before the first is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_places(folder, files)
    before = _read(folder)
    now = {path: [_hash(content)] for path, content in files.items()}
    _write_list(folder, {path: [*before.get(path, []), *now.get(path, [])] for path in {**before, **now}})
    deleted = [path for path in before if path not in now and _delete(folder, path, before[path])]
    for path, content in files.items():
        _write(folder / path, content)
    _write_list(folder, now)
    return deleted


def _check_places(folder: Path, files: Mapping[str, bytes]) -> None:
    """Raises ValueError where a folder of the report is a link, which would lead its files somewhere else.

    A file that is a link is replaced, and what it leads to stays.
    """
    for place in sorted({folder / parent for path in files for parent in PurePosixPath(path).parents}):
        if place != folder and place.is_symlink():
            raise ValueError(
                f"{place} is a link, and a report is not written through one; remove it, or name another --out"
            )


def _read(folder: Path) -> dict[str, list[str]]:
    """Path → hashes of what was written there; nothing where there is no list or it is not one of ours."""
    try:
        if (folder / LIST).is_symlink():
            return {}
        content = json.loads((folder / LIST).read_text(encoding="utf-8"))
        listed = content["files"]
        return {
            path: [str(written) for written in hashes]
            for path, hashes in listed.items()
            if isinstance(path, str) and isinstance(hashes, list) and _ours(path)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _ours(path: str) -> bool:
    pure = PurePosixPath(path)
    inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and ":" not in path
    return inside and bool(pure.parts) and pure.parts[0] in PLACES


def _delete(folder: Path, path: str, hashes: list[str]) -> bool:
    place = folder / path
    root = folder.resolve()
    if place.is_symlink() or not place.is_file() or not place.resolve().is_relative_to(root):
        return False
    if _hash(place.read_bytes()) not in hashes:
        return False
    place.unlink()
    return True


def _write(path: Path, content: bytes) -> None:
    """Write a file unless it says the same already."""
    if path.is_symlink() or not (path.is_file() and path.read_bytes() == content):
        write_whole(path, content)


def _write_list(folder: Path, files: Mapping[str, list[str]]) -> None:
    about = "Files that ropebench report wrote here; the next report deletes those that it does not write again."
    text = json.dumps({"about": about, "files": dict(sorted(files.items()))}, indent=1) + "\n"
    _write(folder / LIST, text.encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
