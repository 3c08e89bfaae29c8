"""Work that runs a user's method in a process of its own, so that nothing which the method does can answer for us.

A method may end its process with exit code 0 in ways that no exception shows: the C library's `_exit`, a thread,
another program in its place, a function for the end of the program. So another process does the work, and this one,
where no user's code ever ran, believes it only when it says that it is done and how; it then ends with that exit code.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import signals
from harness.signals import PARENT

STANDARD_ERROR = 2  # its number: the gate's standard output is for its answer
CHANNEL = "ROPEBENCH_APART"  # in the environment of that process: the number of the descriptor that it answers on
MOST = 10_000  # signs of an error


def run_apart(command: Sequence[str], output: int | None = STANDARD_ERROR) -> int:
    """Run the command, which calls `answer_apart`, to its end; gives its exit code. What it prints goes to `output`
    (None: where our own does). Raises ValueError where it fails, or ends before it was done."""
    signals.hear()
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as answers:  # no pipe: a process that the method left behind would hold it open
        channel = answers.fileno()
        process = subprocess.Popen(
            list(command),
            env={**os.environ, CHANNEL: str(channel), PARENT: str(os.getpid()), "PYTHONPATH": paths},
            stdout=output,
            pass_fds=[channel],
            start_new_session=True,  # Ctrl-C is for this process, which passes it on once
        )
        code = _waited(process)
        answers.seek(0)
        answer = answers.read(10 * MOST)
    if code == signals.STOPPED:
        raise KeyboardInterrupt
    try:
        content = json.loads(answer)
        done, error = content["done"] is True and content["code"] == code, str(content["error"])
    except (ValueError, KeyError, TypeError):
        done, error = False, ""
    if error:
        raise ValueError(error)
    if not done:
        raise ValueError(f"the process that ran the methods ended with exit code {code} before it was done")
    return code


def _waited(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code. Whoever asks us to stop asks it, and the third time ends it."""
    asked = 0
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            asked += 1
            process.terminate() if asked < 3 else process.kill()


def apart() -> bool:
    """Whether this is a process that `run_apart` started."""
    return CHANNEL in os.environ


def answer_apart(work: Callable[[], int]) -> int:
    """Do the work, which gives an exit code, and say how it ended to the process that asked for it."""
    channel = int(os.environ.pop(CHANNEL))  # helpers of this process have no such descriptor
    os.set_inheritable(channel, False)
    error, code = "", 0
    try:
        code = work()
    except (ValueError, OSError) as problem:
        signals.stop_if_asked()
        error = (str(problem) or type(problem).__name__)[:MOST]
    os.write(channel, json.dumps({"done": not error, "code": code, "error": error}).encode())
    return code
