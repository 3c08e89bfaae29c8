"""RULER's two scores (NVIDIA/RULER scripts/eval/synthetic/constants.py), in [0, 1]."""

import re


def clean(generation: str) -> str:
    """Strip, and turn each control character into a newline."""
    return re.sub(r"[\x00-\x1f]", "\n", generation.strip()).strip()


def match_all(generation: str, references: tuple[str, ...]) -> float:
    """The share of references that are substrings of the answer, case ignored."""
    said = clean(generation).lower()
    return sum(reference.lower() in said for reference in references) / len(references)


def match_part(generation: str, references: tuple[str, ...]) -> float:
    """1 when any reference is a substring of the answer, case ignored."""
    said = clean(generation).lower()
    return float(any(reference.lower() in said for reference in references))
