"""One-line errors for parameters that come from an experiment file and may be of any type."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard


def text_of(path: Path) -> str:
    """The text of a file in UTF-8. Raises OSError for a pipe or a device, whose reading would never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(22, "it is no file", str(path))
    return path.read_text(encoding="utf-8")


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that a float holds: neither true, nor a text, nor a whole number of 400 digits."""
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def check_positive(name: str, value: object) -> None:
    """Raises ValueError unless `value` is a finite number above 0."""
    if not is_finite(value) or value <= 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")


def check_whole(name: str, value: object) -> None:
    """Raises ValueError unless `value` is a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raises ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def checked_factors(name: str, value: Any) -> tuple[float, ...]:
    """Numbers above 0 as floats. Raises ValueError for anything else."""
    if isinstance(value, str) or not hasattr(value, "__iter__") or not (values := list(value)):
        raise ValueError(f"{name} must be a list of numbers, one for each rotary pair, got {value!r}")
    for i, factor in enumerate(values):
        check_positive(f"{name}: factor {i}", factor)
    return tuple(float(factor) for factor in values)


def check_not_negative(name: str, value: object) -> None:
    """Raises ValueError unless `value` is a finite number, 0 or more."""
    if not is_finite(value) or value < 0:
        raise ValueError(f"{name} must be a number, 0 or more, got {value!r}")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
