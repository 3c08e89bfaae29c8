"""The GPUs of this machine, by the names that CUDA_VISIBLE_DEVICES takes; no library is loaded to find them."""

import os
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")


def cards() -> list[str]:
    """Those that this process may use, in its order."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() and name.strip() != "-1"]
    return [str(i) for i in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []
