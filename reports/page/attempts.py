"""A part of the report that cannot be made costs that part only: the report says so, and all else is written."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from harness.store import stop_if_asked

Made = TypeVar("Made")
STRICT = "ROPEBENCH_STRICT_REPORT"  # set by our tests: there a part that fails is an error


@dataclass
class Attempts:
    """Collects what could not be made, one line each."""

    problems: list[str] = field(default_factory=list)

    def make(self, what: str, function: Callable[[], Made], otherwise: Made) -> Made:
        """What the function gives, or `otherwise` where it fails."""
        try:
            return function()
        except Exception as error:
            stop_if_asked()
            if os.environ.get(STRICT):
                raise
            self.problems.append(f"{what}: {reason(error)}")
            return otherwise


def reason(error: Exception) -> str:
    """One line of at most some hundred signs."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:299]}…"
