"""Are the numbers of a RoPE configuration numbers? Files that were edited by hand hold "4" for 4."""

from collections.abc import Callable, Mapping
from typing import Any

from extenders._check import is_finite

# Of the configuration and of its RoPE dictionary. None is a missing value.
LENGTHS = ("max_position_embeddings", "original_max_position_embeddings")
POSITIVE = (
    *LENGTHS, "rope_theta", "factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor",
    "attention_factor", "partial_rotary_factor", "alpha", "short_mscale", "long_mscale",
)  # fmt: skip
ANY = ("mscale", "mscale_all_dim")
LISTS = ("short_factor", "long_factor")


def check_numbers(name: str, get: Callable[[str], Any], parameters: Mapping[str, Any]) -> None:
    """Raises ValueError, one line with the key, for a text, a truth value, or a number that no formula can take."""
    for key in ("rope_theta", "partial_rotary_factor", *LENGTHS):
        _check(name, key, get(key), positive=True)
    for key in (*POSITIVE, *ANY):
        _check(name, key, parameters.get(key), positive=key in POSITIVE)
    for key in LISTS:
        values = parameters.get(key)
        if values is None:
            continue
        if not isinstance(values, list | tuple):
            raise ValueError(f"{name}: {key} is {values!r} in the configuration; a list of numbers is needed")
        for i, value in enumerate(values):
            _check(name, f"{key}[{i}]", value, positive=True)


def _check(name: str, key: str, value: Any, positive: bool) -> None:
    if value is None:
        return
    if not is_finite(value):
        raise ValueError(f"{name}: {key} is {repr(value)[:60]} in the configuration; write a number, without quotes")
    if key == "rope_theta" and 0 < value <= 1:
        raise ValueError(f"{name}: rope_theta is {value!r} in the configuration; it must be above 1")
    if positive and value <= 0:
        raise ValueError(f"{name}: {key} is {value!r} in the configuration; it must be above 0")
    if key == "partial_rotary_factor" and value > 1:
        raise ValueError(f"{name}: {key} is {value!r} in the configuration; it is a part of a head, at most 1")
