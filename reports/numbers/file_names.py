"""Which part of a file name stands for a test? Labels hold any sign; file names are safe and never the same."""

import hashlib
import re
from collections.abc import Iterable

LONGEST = 80  # signs; the whole name of a file may have 255 bytes


def file_names(labels: Iterable[str]) -> dict[str, str]:
    """Label → letters, digits and `._-`, different for each, also where capital letters do not count.

    A label with other signs than these and `/`, a long one, and one that would have the name of an earlier one carry a
    few digits of their hash.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        wanted = label.replace("/", "-")
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted)[:LONGEST]
        if name != wanted or _alike(name) in taken:
            name += "-" + hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        while _alike(name) in taken:  # a label may be made to look like the name of another
            name += "-2"
        taken.add(_alike(name))
        names[label] = name
    return names


def _alike(name: str) -> str:
    """Equal for names that a file system without capital letters, or a label in LaTeX, would take for one."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
