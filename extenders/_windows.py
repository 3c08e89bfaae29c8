"""Windows of methods that map positions: given in tokens, or a share of the trained length."""

from extenders._check import check_whole
from extenders.base import RopeSpec


def check_windows(**tokens: object) -> None:
    """Raises ValueError unless all are None or whole numbers above 0."""
    for name, value in tokens.items():
        if value is not None:
            check_whole(name, value)
        if value == 0:
            raise ValueError(f"{name} must be at least 1, got 0")


def window_of(name: str, value: int | None, rope: RopeSpec, share: float, below: int | None = None) -> int:
    """Tokens: `value`, else a share of the trained length L. Raises ValueError above L, and from `below` on."""
    tokens = max(1, int(share * rope.trained_length)) if value is None else value
    if tokens > rope.trained_length:
        raise ValueError(f"{name} must be within the trained length of {rope.trained_length} tokens, got {tokens}")
    if below is not None and tokens >= below:
        raise ValueError(f"{name} must be below {below} tokens, got {tokens}")
    return tokens
