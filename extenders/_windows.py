"""Windows of methods that map positions: given in tokens, or a share of the trained length."""

from extenders._check import check_whole
from extenders.base import RopeSpec


def check_window(name: str, value: object, least: int = 1) -> None:
    """Raises ValueError unless `value` is None or a whole number of tokens."""
    if value is None:
        return
    check_whole(name, value)
    if isinstance(value, int) and value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def window_of(name: str, value: int | None, rope: RopeSpec, share: float) -> int:
    """Tokens: `value`, else a share of the trained length L. Raises ValueError for more than L."""
    tokens = max(1, int(share * rope.trained_length)) if value is None else value
    if tokens > rope.trained_length:
        raise ValueError(f"{name} must be within the trained length of {rope.trained_length} tokens, got {tokens}")
    return tokens
