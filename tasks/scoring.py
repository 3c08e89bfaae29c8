"""Score an answer by the name of its scoring function: the part of a test that other programs can call.

`ropebench generate` writes that name beside every prompt, as "module:function" of this package. With ropebench
installed anything that has an answer gets the score that `ropebench run` would give it:

    from tasks.scoring import score
    score("tasks.ruler.scoring:match_all", "It is 1234567.", ["1234567"])
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from tasks.base import Task
from tasks.text import Sample


def score(
    name: str,
    generation: str,
    references: Sequence[str],
    *,
    depth: float | None = None,
    extra: Mapping[str, Any] | None = None,
) -> float:
    """The score in [0, 1] of an answer. Raises ValueError where the name is not one of ours."""
    return float(applied(named(name), generation, references, depth, extra))


def applied(
    function: Callable[..., Any],
    generation: str,
    references: Sequence[str],
    depth: float | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Any:
    """What a scoring function says: of the references where its second parameter is called so, else of the sample."""
    second = list(inspect.signature(function).parameters.values())[1]
    if second.name == "references":
        return function(generation, tuple(references))
    return function(generation, Sample("", tuple(references), 0, depth, extra=dict(extra or {})))


def named(name: str) -> Callable[..., Any]:
    """The function of that name. Names come from files, so nothing outside this package is ever called."""
    module, _, function = name.partition(":")
    if not module.startswith("tasks.") or not function.isidentifier():
        raise ValueError(f"{name!r} names no scoring function; it reads 'tasks.MODULE:FUNCTION'")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError):
        raise ValueError(f"there is no scoring function {name!r} in this ropebench; update it") from None
    if not is_rule(found) or found.__module__ != module:
        raise ValueError(f"{name!r} is no scoring function; one takes an answer and what a right answer says")
    return found


def name_of(task: Task) -> str:
    """How answers to this test are scored. Raises ValueError where a test does not say it."""
    row = getattr(sys.modules[type(task).__module__], "ROWS", {}).get(getattr(task, "row", ""))
    function = getattr(row, "score", None)  # a suite that keeps the function of every row in a table
    name = f"{function.__module__}:{function.__name__}" if inspect.isfunction(function) else task.scoring
    if not name:
        raise ValueError(f"{task.name} does not say how an answer is scored; give its class a `scoring`")
    named(name)
    return name


def is_rule(function: object) -> TypeGuard[Callable[..., Any]]:
    """Whether it is a function of two things: an answer, and what a right answer says."""
    if not inspect.isfunction(function):
        return False
    kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    return kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
