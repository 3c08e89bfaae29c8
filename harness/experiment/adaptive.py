"""`adaptive` in an experiment file: cells stop where their comparison with one method is decided.

adaptive: yarn                              the label of that method
adaptive: {against: yarn, margin: 5}        points: a difference that is smaller for sure is not looked for
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.experiment.fields import Fields
from harness.experiment.parameters import check_keys, hint
from tasks.answers import PromptTask
from tasks.base import Task

MARGIN = 5.0  # points
KEYS = ("against", "margin")


@dataclass(frozen=True)
class Adaptive:
    """Every other method is compared with this one, test by test and length by length."""

    against: str  # its label
    margin: float = MARGIN  # points


def grows(task: Task) -> bool:
    """Whether samples of the test can be added to those that were answered, and compared as scores in [0, 1]."""
    return isinstance(task, PromptTask) and task.unit == "score"


def parse_adaptive(
    content: Mapping[str, Any], where: str, labels: Sequence[str], tests: Mapping[str, Task]
) -> Adaptive:
    """What the key `adaptive` of an experiment asks for. Raises ValueError, one line."""
    place, value = f"{where}: adaptive", content["adaptive"]
    if not isinstance(value, dict):
        value = {"against": value}
    check_keys(place, value, KEYS)
    if "against" not in value:
        raise ValueError(f"{place}: key 'against' is missing, the label of the method that all are compared with")
    against, margin = Fields(place, value).text("against"), value.get("margin", MARGIN)
    if against not in labels:
        raise ValueError(f"{place}: no method is labelled {against!r}; {hint(against, labels)}")
    if len(labels) < 2:
        raise ValueError(f"{place}: {against} is the only method; name another one to compare with it")
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < 100:
        raise ValueError(f"{place}: margin must be points above 0 and below 100, got {margin!r}")
    if content.get("training") is not None:
        raise ValueError(f"{place}: trained methods differ by their seeds, not by samples alone; leave training out")
    if not any(map(grows, tests.values())):
        raise ValueError(
            f"{place}: none of {', '.join(tests)} can be given more samples later; it takes a test that asks one "
            "question a sample, such as needle or ruler-pocket"
        )
    return Adaptive(against, float(margin))


def whole_note(tests: Mapping[str, Task]) -> tuple[str, ...]:
    """A note on the tests that are run with all their samples."""
    whole = [label for label, task in tests.items() if not grows(task)]
    return (f"adaptive: {', '.join(whole)} cannot grow and is run with all samples",) if whole else ()
