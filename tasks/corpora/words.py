"""Word lists of the wonderwords package, read from its files (RULER draws keys and common words from them),
and the rule that keeps training and evaluation apart."""

import zlib
from functools import cache
from importlib.metadata import distribution
from pathlib import Path


@cache
def words(kind: str) -> tuple[str, ...]:
    """`noun`, `adjective` or `verb`, in file order, right-stripped (unstripped, two adjectives count twice)."""
    path = Path(str(distribution("wonderwords").locate_file(f"wonderwords/assets/{kind}list.txt")))
    return tuple(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


@cache
def all_words() -> tuple[str, ...]:
    """The sorted set of nouns, adjectives and verbs: RULER's vocabulary of common words."""
    return tuple(sorted({*words("noun"), *words("adjective"), *words("verb")}))


def for_training(text: str) -> bool:
    """Which half a key, a value or a question is in: half of all texts are never seen in training."""
    return zlib.crc32(text.encode()) % 2 == 1
