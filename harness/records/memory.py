"""Peak memory of one cell, in bytes: of the GPU where one is used, else of this process.

Linux keeps a high-water mark per process that can be set back; elsewhere the mark of the whole process so far is
reported, which is an upper bound.
"""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has none, and no /proc either: memory is unknown there
    resource = None  # type: ignore[assignment]


class PeakMemory:
    """Starts counting when made; `peak()` is the highest use since."""

    def __init__(self) -> None:
        torch = sys.modules.get("torch")
        self._cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats()
            return
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5: set the resident high-water mark back
        except OSError:
            pass

    def peak(self) -> int:
        """Bytes; 0 where the system does not say."""
        if self._cuda is not None:
            return int(self._cuda.max_memory_allocated())
        try:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        if resource is None:
            return 0
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(used if sys.platform == "darwin" else used * 1024)


def trim() -> None:
    """Give freed memory back to the system, where its library can (glibc): else a later peak would hold it, too."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
