"""Does a value of a file have the shape that its type says? What is absent is another question, which readers ask.

A store may come from somebody else, or from a version that wrote less. What is there must have the right type, so that
no reader meets a list where it expects a number.
"""

import math
import types
import typing
from functools import cache
from typing import Any

MOST = 2**63  # whole numbers beyond this are no lengths, counts or seeds


def misfit(value: Any, kind: Any, where: str = "") -> str:
    """The first place where a value is not of the kind that a TypedDict says, in words; '' where all of it fits."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return ""
    if origin is typing.NotRequired:
        return misfit(value, inner[0], where)
    if origin in (typing.Union, types.UnionType):
        return "" if any(not misfit(value, option, where) for option in inner) else _words(where, value)
    if origin is typing.Literal:
        return "" if value in inner else _words(where, value)
    if typing.is_typeddict(kind):
        if not isinstance(value, dict):
            return _words(where, value)
        hints = _hints(kind)
        problems = (misfit(value[name], hint, f"{where}.{name}") for name, hint in hints.items() if name in value)
        return next(filter(None, problems), "")
    if origin is list:
        if not isinstance(value, list):
            return _words(where, value)
        return next(filter(None, (misfit(item, inner[0], f"{where}[{i}]") for i, item in enumerate(value))), "")
    if origin is dict:
        if not isinstance(value, dict):
            return _words(where, value)
        return next(filter(None, (misfit(item, inner[1], f"{where}.{name}") for name, item in value.items())), "")
    return "" if _is_plain(value, kind) else _words(where, value)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is float:
        return not isinstance(value, bool) and isinstance(value, int | float) and _finite(value)
    if kind is int:
        return not isinstance(value, bool) and isinstance(value, int) and abs(value) < MOST
    if kind is None or kind is type(None):
        return value is None
    return isinstance(value, kind)


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _words(where: str, value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return f"{where.lstrip('.')[:80]} is {text[:60]}"
