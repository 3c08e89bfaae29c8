"""Prompts on disk, found by content: test, parameters, version, code, tokenizer, length and seed.

    $ROPEBENCH_CACHE/prompts/<key>-<samples>.jsonl     else ~/.cache/ropebench (or below $XDG_CACHE_HOME)

A file is streamed beside its place and moved there when it is whole, so any number of processes may read and write at
once: two that make the same file write the same bytes. Sample i does not depend on how many are asked for, so a file
also serves whoever wants fewer. Every line carries a hash of itself, so what a disk or a kill damaged is found out and
made again. Deleting the folder costs nothing but time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import tasks
from harness.experiment.cells import task_identity
from harness.files_on_disk import writing
from harness.records.provenance import version
from harness.store import canonical
from tasks.base import Task

FORMAT = 2  # raised when a line's fields change
PACKAGES = ("lm_eval", "wonderwords", "tokenizers", "transformers")  # whose words and tokens stand in prompts
BLOCK = 1 << 22  # bytes
START, CHECK = b'{"check":"', 16  # how a line begins, and the digits that follow


@cache
def code_hash() -> str:
    """Over every file of the tests' package and the versions of what they read from other packages."""
    root = Path(str(tasks.__file__)).parent
    files = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    lines = [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    lines += [f"{package} {version(package)}" for package in PACKAGES]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def prompts_key(task: Task, tokenizer: str, length: int, seed: int) -> str:
    """24 hex digits over all that changes a test's prompts. `tokenizer` is the hash of its files."""
    identity: dict[str, Any] = {
        "format": FORMAT,
        "task": task_identity(task),
        "code": code_hash(),
        "tokenizer": tokenizer,
        "length": length,
        "seed": seed,
    }
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:24]


class _TooFewLines(Exception):
    """Ends a copy without leaving a file."""


@dataclass(frozen=True)
class PromptCache:
    folder: Path

    def find(self, key: str, samples: int) -> Path | None:
        """The smallest file of that key with at least so many samples."""
        kept = {self._samples(path): path for path in (self.folder / "prompts").glob(f"{key}-*.jsonl")}
        enough = sorted(count for count in kept if count >= samples)
        return kept[enough[0]] if enough else None

    def fill(self, key: str, samples: int, lines: Iterable[str]) -> Path:
        """Write a file, line by line. What goes wrong on the way leaves nothing behind."""
        place = self.folder / "prompts" / f"{key}-{samples}.jsonl"
        with writing(place) as partial:
            with partial.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
                file.writelines(lines)
        for other in place.parent.glob(f"{key}-*.jsonl"):
            if self._samples(other) < samples:
                other.unlink(missing_ok=True)  # the longer file begins with it
        return place

    @staticmethod
    def _samples(path: Path) -> int:
        count = path.stem.rpartition("-")[2]
        return int(count) if count.isdigit() else -1


def sealed(content: str) -> str:
    """A line of a JSON object, which gets the hash of all its other fields as its first field, `check`."""
    rest = content[1:]
    return f'{START.decode()}{_check(rest.encode("utf-8", "surrogatepass"))}",{rest}\n'


def sound_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file up to the first that is damaged."""
    with path.open("rb", buffering=BLOCK) as file:
        for line in file:
            end = len(START) + CHECK
            whole = line.startswith(START) and line.endswith(b"\n")
            if not whole or line[len(START) : end].decode("latin-1") != _check(line[end + 2 : -1]):
                return
            yield line


def copy_lines(source: Path, target: Path, lines: int) -> bool:
    """Copy the first lines of a file, whole or not at all; False where it has fewer, because it is damaged."""
    try:
        with writing(target) as partial:
            with partial.open("wb", buffering=BLOCK) as file:
                copied = sum(1 for line in islice(sound_lines(source), lines) if file.write(line))
            if copied < lines:
                raise _TooFewLines
    except _TooFewLines:
        return False
    return True


def _check(rest: bytes) -> str:
    return hashlib.sha256(rest).hexdigest()[:CHECK]
