"""Files that a kill cannot spoil: written whole or not at all, and lines of which a cut-off one is left out."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives the path of a new file to write to, which takes the place of `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part. Each writer has a file of its own, so threads, processes
    and machines may write the same one at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(6)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    with writing(path) as partial:
        partial.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where it is absent or cannot be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def read_lines(path: Path) -> list[Any]:
    """The objects and lists of a file of JSON lines, in its order; [] where it is absent.

    A line that a kill cut off, or that is damaged, is as good as never written and left out.
    """
    try:
        written = path.read_bytes()
    except OSError:
        return []
    return [content for _, content in _sound(written)]


def mend_lines(path: Path) -> list[Any]:
    """`read_lines`, and what it leaves out is cut away, so that more lines can be appended."""
    if not path.is_file():
        return []
    written = path.read_bytes()
    sound = list(_sound(written))
    mended = b"".join(line + b"\n" for line, _ in sound)
    if mended != written:
        write_whole(path, mended)
    return [content for _, content in sound]


def _sound(written: bytes) -> Iterator[tuple[bytes, Any]]:
    """The lines that hold an object or a list, with what they hold."""
    for line in written.split(b"\n"):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict | list):
            yield line, content


def cache_folder() -> Path:
    """Where prompts and converted models are kept: $ROPEBENCH_CACHE, else a folder below the user's cache folder."""
    named = os.environ.get("ROPEBENCH_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "ropebench"
