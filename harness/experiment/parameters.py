"""Do names, keys and parameters fit what takes them? A typo is one line that names the nearest right word.

Used wherever a user writes a word that must exist: keys of an experiment file, parameters of a method, names of
experiments.
"""

import dataclasses
import difflib
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

Made = TypeVar("Made")
Given = ParamSpec("Given")


def hint(word: object, allowed: Iterable[str]) -> str:
    """The end of an error line: the nearest right word, or all of them where none is near."""
    words = sorted(allowed)
    near = difflib.get_close_matches(str(word)[:80], words, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(words)}" if words else "there are none"


def shown(word: object) -> str:
    """A word as an error line writes it: as it is, or quoted where a sign of it would break the line."""
    text = str(word)
    return text if text.isprintable() else repr(text)


def check_keys(where: str, given: Mapping[Any, Any], allowed: Iterable[str], what: str = "key") -> None:
    """Raises ValueError at the first key that is not allowed."""
    allowed = list(allowed)
    for key in given:
        if key not in allowed:
            raise ValueError(f"{where}: unknown {what} {key!r}; {hint(key, allowed)}")


def strict(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The same function, for which a wrong keyword or a missing argument is a ValueError of one line, as all else."""
    signature = inspect.signature(function)
    named = [
        name for name, parameter in signature.parameters.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    open_ended = len(named) < len(signature.parameters)

    @functools.wraps(function)
    def strictly(*args: Given.args, **given: Given.kwargs) -> Made:
        where = function.__name__
        if not open_ended:
            check_keys(where, given, named, "keyword")
        try:
            signature.bind(*args, **given)
        except TypeError as error:
            meant = [f"; unknown is {key!r}, {hint(key, named)}" for key in given if key not in named]
            raise ValueError(f"{where}: {error}{''.join(meant)}") from None
        return function(*args, **given)

    return strictly


def make(where: str, cls: type[Made], given: Mapping[str, Any], fixed: Mapping[str, Any]) -> Made:
    """An instance of the dataclass from what a user wrote (`given`) and what the harness knows (`fixed`).

    Raises ValueError for unknown or missing parameters, wrong types, and whatever the class itself refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init and f.name not in fixed}  # type: ignore[arg-type]
    check_keys(where, given, fields, "parameter")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ValueError(f"{where}: parameter {name!r} is missing; {_described(cls, name)}")
    types_of = _hints(cls)
    values = {name: fit(f"{where}: {name}", value, types_of.get(name, Any)) for name, value in given.items()}
    try:
        return cls(**fixed, **values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    except Exception as error:  # of a user's class
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error


def fit(where: str, value: Any, kind: Any) -> Any:
    """The value as the type that a field asks for: whole numbers become floats and lists tuples, nothing else moves."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        for option in (k for k in inner if k is not type(None)):
            try:
                return fit(where, value, option)
            except ValueError:
                continue
        raise ValueError(f"{where} must be {_spelled(kind)}, got {value!r}")
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(f"{where} is {value!r}; {hint(value, map(str, inner))}")
        return value
    if origin is tuple or kind is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list, got {value!r}")
        return tuple(fit(where, item, inner[0] if inner else Any) for item in value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # NaN, infinity and whole numbers of 400 digits
            raise ValueError(f"{where} must be a finite number, got {str(value)[:60]}")
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (int, float, str, bool, Path) and (not isinstance(value, kind) or (kind is int and value is True)):
        raise ValueError(f"{where} must be {_spelled(kind)}, got {value!r}")
    if kind is int and isinstance(value, bool):
        raise ValueError(f"{where} must be {_spelled(kind)}, got {value!r}")
    return value


def described(cls: type[Any], hidden: Iterable[str] = ()) -> dict[str, str]:
    """Every parameter of a dataclass with its type and default, for lists that users read."""
    shown = [f for f in dataclasses.fields(cls) if f.init and f.name not in set(hidden)]
    return {f.name: _described(cls, f.name) for f in shown}


def summary(cls: type[Any]) -> str:
    """The first line of the file that defines a method or test, else of the class itself."""
    text = (sys.modules[cls.__module__].__doc__ or cls.__doc__ or "").strip()
    return text.splitlines()[0] if text else ""


def _described(cls: type[Any], name: str) -> str:
    field = next(f for f in dataclasses.fields(cls) if f.name == name)
    kind = _spelled(_hints(cls).get(name, Any))
    if field.default is not dataclasses.MISSING:
        return f"{kind}, {field.default!r} unless given"
    return kind if field.default_factory is dataclasses.MISSING else f"{kind}, optional"


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):  # a user's file may name types that only exist for a type checker
        return {}


def _spelled(kind: Any) -> str:
    plain = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
    if kind in plain:
        return plain[kind]
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join("nothing" if option is type(None) else _spelled(option) for option in inner)
    if typing.get_origin(kind) is tuple or kind is tuple:
        return "a list"
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    return "any value" if kind is Any else str(kind)
