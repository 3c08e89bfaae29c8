"""What this machine has, and what each missing thing costs the user.

Imports no model library except torch, and asks the network only whether the hub answers, for at most two seconds.
"""

import importlib.util
import os
import platform
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from harness.records.provenance import PACKAGES, cores, cpu, version

try:
    import torch
except ImportError:  # what is missing is what this command is for
    torch = None  # type: ignore[assignment]

GIGABYTE = 1e9
NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "lm_eval", "datasets", "wonderwords")


@dataclass(frozen=True)
class Finding:
    """One thing looked for. `cost` says what its absence means, "" when nothing is lost."""

    what: str
    value: str
    cost: str = ""


def examine(folder: Path = Path(".")) -> list[Finding]:
    """Everything, in the order in which users ask. `folder` is where results would go."""
    return [*_machine(folder), *_gpu(), *_kernels(), *_packages(), *_hub()]


def _machine(folder: Path) -> list[Finding]:
    memory, free = memory_bytes(), shutil.disk_usage(folder).free
    return [
        Finding("python", platform.python_version()),
        Finding(
            "processor", f"{cpu()}, {cores()} cores", "" if cores() >= 2 else "everything takes about twice as long"
        ),
        Finding(
            "memory",
            f"{memory / GIGABYTE:.1f} GB" if memory else "unknown",
            "" if not memory or memory >= 4e9 else "below 4 GB only the pocket models run",
        ),
        Finding(
            "free disk",
            f"{free / GIGABYTE:.1f} GB",
            "" if free >= 1e9 else "below 1 GB a run may stop when the disk is full; finished cells are kept",
        ),
    ]


def memory_bytes() -> int:
    """Physical memory, or the container's limit where that is lower; 0 where the system does not say."""
    sizes = []
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        sizes += [int(limit)] if limit.isdigit() else []
    except OSError:
        pass
    return min(sizes, default=0)


def _gpu() -> list[Finding]:
    if torch is None:
        return [Finding("gpu", "unknown without torch", "nothing runs before torch is installed")]
    if not torch.cuda.is_available():
        lost = "the pocket models run; models of 1B and more, and the 128k experiments, are out of reach in practice"
        return [Finding("gpu", "none that torch can use", lost)]
    gpus = []
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        capability = ".".join(map(str, torch.cuda.get_device_capability(i)))
        sizes = f"{total / GIGABYTE:.0f} GB, {free / GIGABYTE:.0f} GB free, capability {capability}"
        small = "" if total >= 75e9 else "an 8B model at 128k tokens wants about 80 GB; lower the lengths"
        gpus.append(Finding(f"gpu {i}", f"{torch.cuda.get_device_name(i)}, {sizes}", small))
    return gpus


def _kernels() -> list[Finding]:
    if torch is None:
        return []
    flash = version("flash-attn")
    here = torch.cuda.is_available()
    lost = "nothing: sdpa is the default" + (", and has flash kernels of its own on this GPU" if here else "")
    flex = importlib.util.find_spec("torch.nn.attention.flex_attention") is not None
    return [
        Finding("attention: sdpa", "yes", "" if here else "on the CPU; memory stays linear in the length"),
        Finding(
            "attention: flex", "yes" if flex else "no", "" if flex else "gemma2 and gpt_oss run with eager, short only"
        ),
        Finding("attention: flash-attn", flash or "not installed", "" if flash else lost),
    ]


def _packages() -> list[Finding]:
    needed = []
    for package in PACKAGES:
        number = version(package)
        if package in NEEDED:
            lost = "" if number else "ropebench is not fully installed; run: pip install -c constraints.txt -e ."
            needed.append(Finding(package, number or "not installed", lost))
    return needed


def _hub() -> list[Finding]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    models = sorted(cache.glob("models--*")) if cache.is_dir() else []
    cached = Finding("hub cache", f"{len(models)} models in {cache}" if models else f"empty ({cache})")
    lost = "shipped and cached models and local folders work; others cannot be fetched"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return [cached, Finding("hub", "switched off by HF_HUB_OFFLINE", lost)]
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or "huggingface.co"
    answers = reachable(host)
    return [cached, Finding("hub", f"{host} {'answers' if answers else 'does not answer'}", "" if answers else lost)]


def reachable(host: str, seconds: float = 2.0) -> bool:
    """Whether the host takes a connection in time."""
    try:
        with socket.create_connection((host, 443), timeout=seconds):
            return True
    except OSError:
        return False
