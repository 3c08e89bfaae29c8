"""The pocket models: small RoPE models that ship with the package, and the recipe that made them."""

from pathlib import Path

NAMES = ("pocket-llama", "pocket-phi")


def folder(name: str) -> Path:
    """Where a pocket model lies in the package. Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"no pocket model is named {name!r}; there are {', '.join(NAMES)}")
    return Path(__file__).parent / name
