"""A helper: another process on the same run. What it reports is passed on, and when it dies that is said."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.signals import CHANNEL, PARENT

QUIET = 30.0  # seconds without a sign of life until a helper counts as frozen; it gives one every five
PATIENCE = 60.0  # further seconds until it is ended
# Seconds that a helper has to end when it is asked. A training finishes its step, which takes 7 to 13 s of a core and
# three times that where other programs share it. Who asks a second time does not wait.
ENDING = 120.0


def helper_command(arguments: Sequence[str]) -> list[str]:
    """The command line once more, as a helper. `-P` keeps the working folder off Python's path: a tasks.py or
    reports.py that lies there is the user's, and would be run instead of ours."""
    return [sys.executable, "-P", "-m", "harness.cli", *arguments]


class Helper:
    """Starts `command`. `report` is given every line of JSON that it writes to a descriptor of its own, `say` the line
    about its death. It ends with this process. What it prints, as a user's method may, goes where its errors go."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        report: Callable[[Mapping[str, Any]], None],
        say: Callable[[str], None],
    ) -> None:
        self._report, self._say = report, say
        self._ended, self._frozen, self._last = False, False, ""
        self._heard_at = time.monotonic()
        reading, writing = os.pipe()
        self._lines = open(reading, encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            list(command),
            env={**environment, CHANNEL: str(writing), PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the first process, which then ends its helpers
            pass_fds=[writing],
        )
        os.close(writing)
        self._errors = threading.Thread(target=self._hear_errors, daemon=True)
        self._reports = threading.Thread(target=self._hear_reports, daemon=True)
        self._errors.start()
        self._reports.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """Ask it to end; its end is no death from now on."""
        self._ended = True
        self._process.terminate()
        if hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)  # one that is frozen does not hear before it goes on

    def join(self) -> None:
        """Wait until it has ended, which it is made to after a while, and all that it wrote is passed on."""
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._say(f"a helper process (process {self._process.pid}) did not end when it was asked; it is made to")
            self.kill()
        self._reports.join()

    def kill(self) -> None:
        self._ended = True
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        """Name it when it gives no sign of life, and end it when it stays so: what it had at work is another's then."""
        named, looked_at = False, time.monotonic()
        while self._process.poll() is None and not self._ended:
            time.sleep(min(1.0, QUIET / 4))
            now = time.monotonic()
            if now - looked_at > QUIET / 2:  # it was this process that stood still
                self._heard_at = now
            looked_at, quiet = now, now - self._heard_at
            if quiet > QUIET and not named:
                self._say(
                    f"a helper process (process {self._process.pid}) has given no sign of life for {QUIET:.0f} s; if "
                    f"it stays frozen it is ended in {PATIENCE:.0f} s"
                )
            named = quiet > QUIET
            if quiet > QUIET + PATIENCE:
                self._frozen = True
                self._process.kill()
                return

    def _hear_errors(self) -> None:
        """Its standard error is ours, but not on a terminal, where bars of two processes would overwrite each other."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._last = line.strip() or self._last
                if not sys.stderr.isatty():
                    print(line, end="", file=sys.stderr, flush=True)

    def _hear_reports(self) -> None:
        with self._lines:
            for line in self._lines:
                self._heard_at = time.monotonic()
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # cut off by its death
                if isinstance(event, dict):
                    self._report(event)
        self._errors.join()
        code = self._process.wait()
        if code and not self._ended:
            last = f" ({self._last})" if self._last else ""
            how = "was ended because it was frozen" if self._frozen else f"{_words(code)}{last}"
            self._say(f"a helper process {how}; the run goes on without it")


def _words(code: int) -> str:
    """How a process died, from its exit code; a negative one is a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
