"""A user's method at work: it may fail, but it does not end the program, and what it prints goes to standard error.

A method that calls `sys.exit(0)` would otherwise end a run, or the gate, as if all was well; and a line that it prints
would stand in the middle of what the command prints.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TextIO

CONTAINED = "_ropebench_contained"  # marks a function that is contained already
_exit = os._exit


class _AtWork(threading.local):
    process = 0  # whose contained call this thread is in; 0: in none


class _Printing:
    """Standard output leads to standard error from the first of several calls until the last has ended."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0
        self._output: TextIO = sys.stdout

    def redirect(self) -> None:
        with self._lock:
            if not self._count:
                self._output, sys.stdout = sys.stdout, sys.stderr
            self._count += 1

    def restore(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                sys.stdout = self._output


_at_work, _printing = _AtWork(), _Printing()


def _leave(code: int) -> None:
    """`os._exit`, which a user's method may only call in a process that it forked itself."""
    if _at_work.process == os.getpid():
        raise SystemExit(code)
    _exit(code)


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Raises ValueError, which begins with `what`, where the block tries to end the program. Ctrl-C still passes."""
    os._exit = _leave  # type: ignore[assignment]
    before, _at_work.process = _at_work.process, os.getpid()
    _printing.redirect()
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        words = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ValueError(f"{what} tried to end the program ({words}); a method gives plans and ends nothing") from error
    finally:
        _printing.restore()
        _at_work.process = before


def contain(cls: type, contract: type) -> None:
    """Let all functions of a user's method, and of users' other methods that it is made from, run contained. `contract`
    is the class that all methods are made from."""
    for owner in cls.__mro__:
        if issubclass(owner, contract) and not owner.__module__.startswith("extenders."):
            for name, value in list(vars(owner).items()):
                if not name.startswith("__") or name in ("__init__", "__post_init__"):
                    _contain(owner, name, value)


def _contain(owner: type, name: str, value: object) -> None:
    what = f"{owner.__module__.rpartition('.')[2]}.{name}"
    if isinstance(value, FunctionType):
        setattr(owner, name, _inside(what, value))
    elif isinstance(value, classmethod | staticmethod):
        setattr(owner, name, type(value)(_inside(what, value.__func__)))
    elif isinstance(value, property) and value.fget is not None:
        setattr(owner, name, property(_inside(what, value.fget), value.fset, value.fdel, value.__doc__))


def _inside(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(function, CONTAINED):
        return function

    @functools.wraps(function)
    def inside(*args: Any, **given: Any) -> Any:
        with contained(what):
            return function(*args, **given)

    setattr(inside, CONTAINED, True)
    return inside
