"""Files that a kill cannot spoil: written whole or not at all, and lines of which a cut-off one is left out."""

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has none; what is held there is not protected
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DAY = 86_400.0  # seconds; no file is written for so long
PARTIAL = re.compile(r".*\.([0-9a-f]{4})-(\d+)-[0-9a-f]{8}\.partial")  # machine and process of the writer


class CannotWrite(OSError):
    """A file cannot be written: the disk is full, or went away. It says nothing about what was computed."""


ENDS_A_RUN = (CannotWrite, BrokenPipeError)  # whatever unit is at work, which has not failed


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """What cannot be written in this block is said with the folder's name, as CannotWrite."""
    try:
        yield
    except CannotWrite:
        raise
    except Exception as error:
        if is_full(error):
            raise CannotWrite(
                f"no room is left on the disk of {folder} (No space left on device); what is finished is kept: make "
                "room and run again"
            ) from error
        if isinstance(error, OSError):
            raise CannotWrite(f"cannot write into {folder}: {error.strerror or error}") from error
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether a disk without room is the cause. safetensors says the system's number in words; PyTorch's writer, closed
    where it could not write, raises another error on the way."""
    while error is not None:
        if getattr(error, "errno", None) in FULL or any(f"(os error {number})" in str(error) for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def need_room(folder: Path, size: int) -> None:
    """Raises CannotWrite when the disk of a folder, which need not exist yet, has less room than `size` bytes."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    left = shutil.disk_usage(there).free
    if left < size:
        raise CannotWrite(
            f"no room on the disk of {folder}: {size / 1e6:,.0f} MB are needed and {left / 1e6:,.0f} MB are left; what "
            "is finished is kept: make room and run again"
        )


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives the path of a new file to write to, which takes the place of `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part, and after a power cut too. Each writer has a file of its
    own, so threads, processes and machines may write the same one at once. Raises CannotWrite where that fails.
    """
    partial = path.with_name(f"{path.name[:60]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.partial")
    with room_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync_folder(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    """The folder's list of names to the disk, else a power cut could take away a name that was just given."""
    if os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not do it for folders
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Delete the half files of writers that are dead, and what they held, here and in the folders below. A half file of
    another machine, whose processes are not seen from here, is left for a day."""
    for path in folder.rglob("*.partial"):
        match = PARTIAL.fullmatch(path.name)
        try:
            old = time.time() - path.stat().st_mtime > DAY
            if old or (match and match[1] == _machine() and not _alive(int(match[2]))):
                path.unlink()
        except OSError:
            continue  # swept by another, or not ours
    for path in folder.rglob("*.lock"):
        with suppress(ValueError, OSError), held(path, path.name):
            pass  # its end deletes it


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # asking would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def held(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold a file for the length of the block, which names this process in it and deletes it at the end. The system
    lets go of it when the process dies. Raises ValueError when another process holds it for `patience` seconds longer:
    `what` is in use."""
    if fcntl is None:
        yield
        return
    descriptor = _locked(path, what, time.monotonic() + patience)
    try:
        with suppress(OSError):  # a full disk: held all the same
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:  # not another one, where the folder was moved
                path.unlink()
        os.close(descriptor)


def _locked(path: Path, what: str, deadline: float) -> int:
    """The descriptor of the file, locked, which is the one that has that name."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise ValueError(f"{what} is in use by {holder}; wait until it has ended, or name another folder") from None
        except OSError:  # a file system without locks
            return descriptor
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        os.close(descriptor)  # its holder deleted it while we waited


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    with writing(path) as partial:
        partial.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where it is absent or cannot be read as JSON."""
    try:
        return json.loads(read_file(path).decode("utf-8", "surrogatepass"))
    except (OSError, ValueError, RecursionError):
        return None


def read_file(path: Path) -> bytes:
    """The content of a file. Raises OSError for what is no file: reading a pipe or a device would never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return path.read_bytes()


Sound = Callable[[Any], bool]


def read_lines(path: Path, sound: Sound = lambda _: True) -> list[Any]:
    """The objects and lists of a file of JSON lines that are `sound`, in their order; [] where it is absent.

    A line that a kill cut off, or that is damaged, is as good as never written and left out.
    """
    try:
        written = read_file(path)
    except OSError:
        return []
    return [content for _, content in _sound(written, sound)]


def mend_lines(path: Path, sound: Sound = lambda _: True) -> list[Any]:
    """`read_lines`, and what it leaves out is cut away, so that more lines can be appended."""
    if not path.is_file():
        return []
    written = path.read_bytes()
    lines = list(_sound(written, sound))
    mended = b"".join(line + b"\n" for line, _ in lines)
    if mended != written:
        write_whole(path, mended)
    return [content for _, content in lines]


def damaged_lines(path: Path, sound: Sound, finished: bool = False) -> int:
    """How many lines are not `sound`. A last one without its end was cut off by a kill, and is no damage, unless the
    file is `finished`."""
    try:
        written = read_file(path)
    except OSError:
        return 0
    lines = written.split(b"\n")
    whole = [line for line in (lines if finished else lines[:-1]) if line.strip()]
    return len(whole) - sum(1 for _ in _sound(b"\n".join(whole), sound))


def _sound(written: bytes, sound: Sound) -> Iterator[tuple[bytes, Any]]:
    """The lines that hold a sound object or list, with what they hold."""
    for line in written.split(b"\n"):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict | list) and sound(content):
            yield line, content


def cache_folder() -> Path:
    """Where prompts and converted models are kept: $ROPEBENCH_CACHE, else a folder below the user's cache folder."""
    named = os.environ.get("ROPEBENCH_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "ropebench"
