"""Where a number came from: versions, commit, hardware, date. Recorded in every cell, never part of its key."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.store import Provenance

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "lm_eval",
    "datasets",
    "wonderwords",
    "flash-attn",
)


def version(package: str) -> str | None:
    """The installed version, or None. Imports nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def versions() -> dict[str, str]:
    installed = {package: version(package) for package in PACKAGES}
    ours = {"ropebench": version("ropebench") or "not installed", "python": platform.python_version()}
    return ours | {package: number for package, number in installed.items() if number is not None}


@cache
def commit() -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of the checkout that this code runs from; (None, None) outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True
        )
        return answer.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


@cache
def cpu() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the speed of a recorded cell depends on most, of a `Provenance` or a part of one."""
    return tuple(record.get("gpus") or (record.get("cpu"), record.get("threads")))


def provenance() -> Provenance:
    """What is recorded with every cell. Reads torch only where it is loaded already."""
    sha, dirty = commit()
    torch = sys.modules.get("torch")
    gpus: list[str] = []
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        "commit": sha,
        "dirty": dirty,
        "cpu": cpu(),
        "cores": cores(),
        "threads": torch.get_num_threads() if torch is not None else None,
        "gpus": gpus,
        "system": platform.platform(),
        "date": now(),
    }
