"""Prompts are made once: a run takes them from the cache, and what it lacks is made and kept for the next."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from harness.prompts.cache import PromptCache, prompts_key, sound_lines
from harness.prompts.record import as_line, recorded, sample_of
from harness.store import canonical
from tasks.answers import PromptTask
from tasks.base import LM, Row, Task, Tokenizer
from tasks.text import Sample


@dataclass(frozen=True)
class KeptPrompts:
    """Runs tests with the prompts of the cache; what it lacks is made and kept for the next method, run or machine."""

    cache: PromptCache
    tokenizer: str  # hash of its files

    def asked(self, how: Mapping[str, Any]) -> "KeptPrompts":
        """Of prompts that are put to the model in this way, which leaves them less room."""
        return replace(self, tokenizer=f"{self.tokenizer} {canonical(how)}")

    def keeps(self, task: Task) -> bool:
        """A test that is no part of this package may change unseen and is never kept."""
        return isinstance(task, PromptTask) and type(task).__module__.startswith("tasks.")

    def rows(self, task: Task, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """What `task.run` gives."""
        if not isinstance(task, PromptTask) or not self.keeps(task):
            return task.run(lm, length, seed, samples)
        return task.answers(lm, self.prompts(task, lm, length, seed, samples), length)

    def prompts(self, task: PromptTask, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[Sample]:
        key = prompts_key(task, self.tokenizer, length, seed)
        given = 0
        for _ in range(2):  # a second time where the file turns out to be damaged
            try:
                path = self.cache.find(key, samples)
                if path is None:
                    lines = map(as_line, recorded(task, lm, length, seed, samples))
                    path = self.cache.fill(key, samples, lines)
                for line in islice(sound_lines(path), given, samples):
                    yield sample_of(line)
                    given += 1
                if given == samples:
                    return
                path.unlink(missing_ok=True)
            except OSError:  # a home without room or rights: prompts are made as if there were no cache
                break
        yield from islice(task.prompts(lm, length, seed, samples), given, None)
