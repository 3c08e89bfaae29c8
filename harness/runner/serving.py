"""Which server answers for which method, as a user says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Serving:
    """`addresses` by label of method. `words` say what serves: they stand where dtype and attention stand otherwise, in
    keys too, so that cells of different servers are different cells. `parity`: prompts of a length, 0 for no check."""

    addresses: Mapping[str, str]
    words: str = "as served"
    parity: int = 2


def serving_of(given: Sequence[str], words: str, parity: int) -> Serving | None:
    """From METHOD=URL; None where nothing is given. A label may hold "=", so the last one before an address counts."""
    addresses: dict[str, str] = {}
    for text in given:
        label, sign, rest = text.rpartition("=http")
        if not sign or not label:
            raise ValueError(f"--served wants METHOD=URL with a URL like http://localhost:8000/v1, got {text!r}")
        if label in addresses:
            raise ValueError(f"--served {label} is given twice")
        addresses[label] = "http" + rest
    if not words.strip():
        raise ValueError("--served-as wants words, like 'vllm 0.11, bfloat16'")
    return Serving(addresses, words.strip(), parity) if addresses else None
