"""Seconds for several pieces of work: what each will take, by what the ones before it took, and what is left."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.progress import Measured, pace


class TimeBudget:
    """`seconds` from now on; infinity is no limit. `say` is told of every piece before it begins."""

    def __init__(self, seconds: float = math.inf, say: Callable[[str], None] = lambda line: None) -> None:
        self.seconds, self._say = seconds, say
        self._ends = time.monotonic() + seconds
        self._measured: list[Measured] = []

    @property
    def left(self) -> float:
        return self._ends - time.monotonic()

    def needed(self, prompts: int, tokens: int) -> float:
        """Seconds that so many prompts will take; 0 while nothing is known."""
        if not self._measured:
            return 0.0
        first, growth = pace(self._measured)
        return prompts * tokens * (first + growth * tokens)

    def allows(self, *pieces: tuple[int, int]) -> bool:
        """Whether these (prompts, tokens of each) fit into what is left."""
        return sum(self.needed(*piece) for piece in pieces) <= self.left

    def short(self, *pieces: tuple[int, int]) -> str:
        """Why they do not, in words."""
        needed = sum(self.needed(*piece) for piece in pieces)
        return f"not judged: about {needed:.0f} s would be needed and {max(0.0, self.left):.0f} s are left"

    @contextmanager
    def reading(self, what: str, prompts: int, tokens: int) -> Iterator[None]:
        """The block is this piece of work; its time is measured."""
        about = f", about {needed:.0f} s" if (needed := self.needed(prompts, tokens)) >= 2 else ""
        self._say(f"{what} ({prompts * tokens:,} tokens{about})")
        started = time.monotonic()
        yield
        self._measured.append((prompts, tokens, time.monotonic() - started))
