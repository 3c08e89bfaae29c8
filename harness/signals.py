"""Being asked to stop: SIGTERM and a closed terminal are Ctrl-C, and no process outlives the one that started it.

From its first moment a command answers with one line; once it works on something (`hear`), being asked is a
KeyboardInterrupt, which keeps what is finished. A training finishes its step first (`stop_asked`).
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

PARENT = "ROPEBENCH_PARENT"  # in the environment of a process that we started: the number of ours
CHANNEL = "ROPEBENCH_TEAM_CHANNEL"  # in the environment of a helper: the number of the descriptor that it reports on
ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
LOOK = 0.25  # seconds between two looks at the parent
GRACE = 1.0  # seconds that a process without a parent has to close its files
AGAIN = 0.05  # seconds until a signal that was lost is sent again
SHORT = 15.0  # seconds that somebody who asks to stop may wait
BEAT = 5.0  # seconds between two signs of life of a helper
STOPPED = 130  # exit code
_exit = os._exit
_asked = threading.Event()  # since `hear`


def one_line_from_now() -> None:
    """For a command that has only just begun: say that it stopped, and end. Nothing is lost yet."""
    for number in ASKING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    if PARENT not in os.environ:  # the first process says it
        os.write(2, b"ropebench: stopped\n")
    _exit(STOPPED)


def hear() -> None:
    """From now on being asked to stop is a KeyboardInterrupt. A signal that is ignored stays so (nohup)."""
    if threading.current_thread() is threading.main_thread():
        for number in ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        sys.unraisablehook = _ask_again
        _asked.clear()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt(number)


def asked() -> bool:
    """Whether somebody asked to stop. Who is about to call an error a failure looks here: a library that was
    interrupted may say something else, as matplotlib does (ValueError: Invalid affine transformation matrix)."""
    return _asked.is_set()


def stop_if_asked() -> None:
    """Raises KeyboardInterrupt where somebody asked to stop."""
    if asked():
        raise KeyboardInterrupt


def _ask_again(unraisable: Any) -> None:
    """A signal may come while a weak reference's callback or a C library's is at work. Nothing can be raised from
    there: Python says so, goes on, and the wish to stop is lost. So it is told a little later."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        [number] = unraisable.exc_value.args or [signal.SIGINT]
        threading.Timer(AGAIN, os.kill, (os.getpid(), number)).start()
    else:
        sys.__unraisablehook__(unraisable)


@contextmanager
def restored() -> Iterator[None]:
    """After the block signals are heard as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = {number: signal.getsignal(number) for number in ASKING}, sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        _asked.clear()
        for number, handler in before.items():
            if handler is not None:  # one of a C library
                signal.signal(number, handler)


@contextmanager
def stop_asked(patience: float = math.inf) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether somebody asked to stop, which is a KeyboardInterrupt at the end of the block
    at the latest, or after `patience` seconds; whoever asks twice gets it at once."""
    asked, second = threading.Event(), threading.Timer(0, int)

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal second
        if asked.is_set():
            raise KeyboardInterrupt(number)
        asked.set()
        if patience < math.inf and os.name != "nt":  # where a process that signals itself ends at once
            second = threading.Timer(patience, os.kill, (os.getpid(), number))
            second.daemon = True
            second.start()
        if PARENT not in os.environ:  # `print` cannot be used here, it may be what was interrupted
            os.write(2, b"stopping: what is at work is written down first (ask again to stop at once)\n")

    try:
        with restored():
            if threading.current_thread() is threading.main_thread():
                for number in ASKING:
                    if signal.getsignal(number) is not signal.SIG_IGN:
                        signal.signal(number, ask)
            yield asked.is_set
    finally:
        second.cancel()
    if asked.is_set():
        raise KeyboardInterrupt


class ShortPieces:
    """Of pieces of work of which many are alike the one at work is finished before a stop counts, as long as the last
    one took no longer than SHORT: nothing is done twice, and nobody waits long. Of the first one nobody knows, so it
    has that long from when somebody asks: a process that is stopped often would do it again and again."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # of the last one

    @contextmanager
    def piece(self) -> Iterator[None]:
        """One of them; what has to be written down belongs inside."""
        started = time.perf_counter()
        patience = SHORT if self.seconds is None else math.inf if self.seconds <= SHORT else 0.0
        with stop_asked(patience) if patience else nullcontext():
            yield
        self.seconds = time.perf_counter() - started


def end_with_parent() -> None:
    """In a process that another of ours started: end when that one is gone, and tell it now and then that we live."""
    parent, channel = os.environ.get(PARENT, ""), os.environ.get(CHANNEL, "")
    if parent and os.name != "nt":
        threading.Thread(target=_watch, args=(int(parent), int(channel or -1)), daemon=True).start()


def _watch(parent: int, channel: int) -> None:
    told = 0.0
    while os.getppid() == parent:
        if channel >= 0 and time.monotonic() - told > BEAT:
            told = time.monotonic()
            try:
                os.write(channel, b'{"alive": true}\n')
            except OSError:
                break
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    _exit(STOPPED)


def command_begins() -> bool:
    """Whether this process is our command line and no program that imports us; asked when the package is imported."""
    return os.path.basename(sys.argv[0] if sys.argv else "") in ("-m", "ropebench", "ropebench.exe")
