"""A helper: another process on the same run. What it reports is passed on, and when it dies that is said."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CHANNEL = "ROPEBENCH_TEAM_CHANNEL"  # in the environment of a helper: the number of the descriptor that it reports on


def helper_command(arguments: Sequence[str]) -> list[str]:
    """The command line once more, as a helper. `-P` keeps the working folder off Python's path: a tasks.py or
    reports.py that lies there is the user's, and would be run instead of ours."""
    return [sys.executable, "-P", "-m", "harness.cli", *arguments]


class Helper:
    """Starts `command`. `report` is given every line of JSON that it writes to a descriptor of its own, `say` the line
    about its death. What it prints, as a user's method may, goes where its errors go."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        report: Callable[[Mapping[str, Any]], None],
        say: Callable[[str], None],
    ) -> None:
        self._report, self._say = report, say
        self._ended, self._last = False, ""
        reading, writing = os.pipe()
        self._lines = open(reading, encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            list(command),
            env={**environment, CHANNEL: str(writing)},
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

    def end(self) -> None:
        """Ask it to end; its end is no death from now on."""
        self._ended = True
        self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended and all that it wrote is passed on."""
        self._process.wait()
        self._reports.join()

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
            self._say(f"a helper process {_words(code)}{last}; the run goes on without it")


def _words(code: int) -> str:
    """How a process died, from its exit code; a negative one is a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
