"""Word lists of the wonderwords package, read from its files (RULER draws keys and common words from them),
and the rule that keeps training and evaluation apart.

Other lists would give other prompts under the same name, so a SHA-256 guard stops us where a version changed them.
"""

import hashlib
import zlib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

KNOWN = "3.0.1"  # the version of wonderwords whose lists these are
GUARDS = {  # sha256 of the words as `words` gives them, one a line
    "noun": "d2e7b4a3fe536cfbe2aeb4790ee6d4f64f52d5fffba73067526ac7f564b6f4aa",
    "adjective": "a1d78b64addb8621f7d82f2fde67b11e6a7bdfbfa3b455b0fc5779fc781d4bea",
    "verb": "0ee563820008ca422e0e222963b4efe2ec4acb8e7143029ff089e3ba6970e613",
}


@cache
def words(kind: str) -> tuple[str, ...]:
    """`noun`, `adjective` or `verb`, in file order, right-stripped (unstripped, two adjectives count twice).

    Raises ValueError where the package is not installed or has other words.
    """
    try:
        package = distribution("wonderwords")
    except PackageNotFoundError:
        raise ValueError(f"words are read from the package wonderwords: pip install wonderwords=={KNOWN}") from None
    path = Path(str(package.locate_file(f"wonderwords/assets/{kind}list.txt")))
    found = tuple(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if hashlib.sha256("\n".join(found).encode()).hexdigest() != GUARDS[kind]:
        raise ValueError(
            f"wonderwords {package.version} has other {kind}s than RULER's prompts are made of; "
            f"install wonderwords=={KNOWN}"
        )
    return found


@cache
def all_words() -> tuple[str, ...]:
    """The sorted set of nouns, adjectives and verbs: RULER's vocabulary of common words."""
    return tuple(sorted({*words("noun"), *words("adjective"), *words("verb")}))


def for_training(text: str) -> bool:
    """Which half a key, a value or a question is in: half of all texts are never seen in training."""
    return zlib.crc32(text.encode()) % 2 == 1
