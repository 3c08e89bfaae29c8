"""Does a user's method give the same plans in another process? A run that is continued is one, and so are its helpers.

A plan may follow from the clock, from a random number that is drawn when the file is imported, or from the order in
which Python's sets are walked. Within one process that stays hidden; then a run never finds its finished cells again,
and one table mixes plans.
"""

import inspect
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from extenders._user_code import contained
from extenders.base import RopeSpec, load
from harness.experiment.cells import Cell, changes, classes_of, plan_of, probes
from harness.experiment.file import Method
from harness.experiment.method_code import is_shipped

HASH_SEED = "20261126"  # of Python's hashes of texts in the other process
SECONDS = 120.0


@dataclass(frozen=True)
class Question:
    """A method whose plans another process is to compute."""

    files: tuple[str, ...]  # of the users' classes in it
    method: bytes  # pickled
    rope: RopeSpec
    lengths: tuple[int, ...]  # tokens


def check_repeatable(cells: Iterable[Cell], rope: RopeSpec) -> None:
    """Raises ValueError for a method of these cells whose plan in a fresh process is another one.

    Left out are shipped methods, and those that cannot be sent to another process.
    """
    reach: dict[Method, int] = {}
    for cell in cells:
        reach[cell.method] = max(cell.length, reach.get(cell.method, 0))
    questions = {method: question for method, length in reach.items() if (question := _question(method, rope, length))}
    if not questions:
        return
    for (method, question), hashes in zip(questions.items(), _answers(list(questions.values())), strict=False):
        for length, there in zip(question.lengths, hashes or (), strict=False):
            if there != plan_of(method, rope, length).hash:
                raise changes(method, length)


def _question(method: Method, rope: RopeSpec, length: int) -> Question | None:
    classes = [cls for cls in classes_of(method.extender) if not is_shipped(cls)]
    if not classes or not all(cls.__module__.startswith("user_method_") for cls in classes):
        return None
    try:
        pickled = pickle.dumps(method)
    except (pickle.PicklingError, TypeError, AttributeError):
        return None
    files = tuple(str(inspect.getsourcefile(cls)) for cls in classes)
    return Question(files, pickled, rope, tuple(probes(length, rope.trained_length)))


def _answers(questions: Sequence[Question]) -> list[list[str] | None]:
    """The plans' hashes of each method, from another process; None where it could not load the method."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as answers:  # a pipe would be full after some fifty methods
        try:
            subprocess.run(
                [sys.executable, "-P", "-m", "harness.experiment.repeatable", str(answers.fileno())],
                input=pickle.dumps(questions),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": HASH_SEED},
                pass_fds=[answers.fileno()],
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return []
        try:
            answers.seek(0)
            content: list[list[str] | None] = json.loads(answers.read())
        except ValueError:
            return []
    return content


def _hashes(question: Question) -> list[str] | None:
    """From the longest to the shortest, as a method that remembers what it was asked first was asked the other way."""
    try:
        with contained("the method"):
            for file in question.files:
                load(Path(file).stem, [Path(file).parent])
            method: Method = pickle.loads(question.method)
            hashes = [method.extender.plan(question.rope, length).hash for length in reversed(question.lengths)]
    except Exception:
        return None
    return hashes[::-1]


if __name__ == "__main__":
    asked: list[Question] = pickle.loads(sys.stdin.buffer.read())
    os.write(int(sys.argv[1]), json.dumps([_hashes(question) for question in asked]).encode())
