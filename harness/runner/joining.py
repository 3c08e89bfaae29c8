"""A run that others may join: from another terminal, another card, or a machine that sees the same folder.

The first process writes into the store's folder `team` what it runs, and holds a lock there while it lives. Whoever
joins runs the same command in the same working folder as a member of the same session, and takes units like any helper:
a unit at work is locked by a file, which the system unlocks when its process dies, so a worker may die or leave at any
time and loses of its unit what was not written down yet. The locks are the file system's own (flock), which network
file systems have between machines where they are mounted with locks; a worker that sees no lock of the first process is
refused. When the first process ends early, workers go on, and a run that is started then belongs to their session.

    DIR/team/run.json    session, command, working folder, and what a worker must be equal in
    DIR/team/head.lock   held by the first process
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.files_on_disk import read_json, write_whole
from harness.records import provenance

OFFER, HEAD = "run.json", "head.lock"
OWN = ("--workers", "--device", "--date")  # options that each process has for itself, with a value
OWN_ALONE = ("--report", "--no-report")


@dataclass(frozen=True)
class Offer:
    """What a run tells those who want to join it."""

    session: str
    arguments: tuple[str, ...]  # the words of its command but for those that each process has for itself
    folder: str  # its working folder
    python: str
    code: str  # version and commit
    model: str  # weights, dtype and attention, on which every key depends


def code() -> str:
    """The version of this code, with its commit where it runs from a checkout."""
    commit, changed = provenance.commit()
    return " ".join(filter(None, [provenance.versions()["ropebench"], commit, "changed" if changed else ""]))


def offer_of(session: str, command: Sequence[str], model: str) -> Offer:
    words = list(command)
    return Offer(session, tuple(shared(words)), str(Path.cwd()), sys.version.split()[0], code(), model)


def shared(words: Sequence[str]) -> list[str]:
    """The words of a command that are the same for all its processes."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in OWN:
            next(rest, None)
        elif word not in OWN_ALONE and not word.startswith(tuple(f"{name}=" for name in OWN)):
            kept.append(word)
    return kept


def write(team: Path, offer: Offer) -> None:
    write_whole(team / OFFER, json.dumps(asdict(offer)))


def read(team: Path) -> Offer | None:
    """What is offered in that folder, or None."""
    content: Any = read_json(team / OFFER)
    with suppress(TypeError, ValueError, KeyError):
        return Offer(**{**content, "arguments": tuple(map(str, content["arguments"]))})
    return None


def held(team: Path, name: str = HEAD) -> bool:
    """Whether some process holds that lock."""
    if not (team / name).exists():
        return False
    try:
        with FileLock(team / name, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def head_lock(team: Path) -> Iterator[None]:
    """Held by the first process. A file system without locks has none, so nobody can join there."""
    lock = FileLock(team / HEAD)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        (team / OFFER).unlink(missing_ok=True)
    try:
        yield
    finally:
        lock.release()


def at_work(team: Path) -> bool:
    """Whether somebody has a unit of this session at work."""
    return any(held(team, path.name) for path in team.glob("*.lock"))


def refusal(offer: Offer | None, store: Path) -> str:
    """Why this process can't join, or ''."""
    begin = f"start one with ropebench run … --out {store}, or wait for it with --wait SECONDS"
    if offer is None:
        return f"no run is at work in {store} that could be joined; {begin}"
    if not held(store / "team"):
        return (
            f"the run in {store} is over or was killed, or its lock is not seen from here (the folder is mounted "
            f"without locks); {begin}"
        )
    if offer.code != code():
        return f"the run in {store} is of ropebench {offer.code}, this is {code()}; all workers need the same code"
    if not Path(offer.folder).is_dir():
        return (
            f"the run's working folder {offer.folder} is not here; workers need the same folders under the same names"
        )
    return ""
