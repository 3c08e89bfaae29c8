"""Work that runs a user's method in a process of its own, so that nothing which the method does can answer for us.

A method may end its process with exit code 0 in ways that no exception shows. The gate therefore lets another process
run the two methods and believes it only when it says that it is done; the numbers are then read from the store here,
where no user's code ever ran.
"""

import json
import os
import subprocess
from collections.abc import Callable, Sequence

from harness.signals import PARENT

STANDARD_ERROR = 2  # its number: standard output is for the answer of the gate
CHANNEL = "ROPEBENCH_APART"  # in the environment of that process: the number of the descriptor that it answers on


def run_apart(command: Sequence[str]) -> None:
    """Run the command, which calls `answer_apart`, to its end. Raises ValueError where it fails, or ends unasked."""
    reading, writing = os.pipe()
    environment = {**os.environ, CHANNEL: str(writing), PARENT: str(os.getpid())}
    with open(reading, encoding="utf-8") as answers:
        process = subprocess.Popen(list(command), env=environment, stdout=STANDARD_ERROR, pass_fds=[writing])
        os.close(writing)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        answer = answers.read()
    if code == 130:
        raise KeyboardInterrupt
    try:
        content = json.loads(answer)
        done, error = content["done"] is True and code == 0, str(content["error"])
    except (ValueError, KeyError, TypeError):
        done, error = False, ""
    if error:
        raise ValueError(error)
    if not done:
        raise ValueError(f"the process that ran the methods ended with exit code {code} before it was done")


def apart() -> bool:
    """Whether this is a process that `run_apart` started."""
    return CHANNEL in os.environ


def answer_apart(work: Callable[[], None]) -> None:
    """Do the work and say how it ended to the process that asked for it."""
    channel = int(os.environ.pop(CHANNEL))  # helpers of this process have no such descriptor
    os.set_inheritable(channel, False)
    error = ""
    try:
        work()
    except (ValueError, OSError) as problem:
        error = str(problem) or type(problem).__name__
    os.write(channel, json.dumps({"done": not error, "error": error}).encode())
