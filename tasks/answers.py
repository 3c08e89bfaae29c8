"""What the tests share that hide something at a chosen depth and ask for it: depths, controls, and the run itself.

A control is the same test with the answer taken away; what it still scores is what the test gives for nothing. Controls
belong beside the real score and never into an average.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, TypeVar

from tasks import text
from tasks.base import LM, Row, Task, Tokenizer, later
from tasks.scoring import named
from tasks.token_counts import PromptCount

Unit = TypeVar("Unit")
UNITS_AT_ONCE = 32  # that are counted in one go

CONTROLS = {
    "no-needle": "the same prompt without the sentence that holds the answer",
    "closed-book": "the question alone",
}
# how chat templates write their special tokens
CHAT_TOKEN = re.compile(r"<\|[^|<>\s]+\|>|<(?:start|end)_of_\w+>|\[/?(?:INST|SYSTEM_PROMPT)\]|</?s>|<｜[^｜<>\s]+｜>")


@dataclass(frozen=True, kw_only=True)
class PromptTask(Task):
    """A test that asks one question a sample: its prompts can be made, and kept, before any model is there."""

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        """Samples 0 … samples-1 for a total length of at most `length` tokens."""
        raise NotImplementedError

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        """Ask these samples and score what comes back."""
        raise NotImplementedError

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        return self.answers(lm, self.prompts(lm, length, seed, samples), length)


@dataclass(frozen=True, kw_only=True)
class SampleTask(PromptTask):
    """A test whose samples are drawn one by one: subclasses implement `sample`, their file has a `score`."""

    special: ClassVar[bool] = False  # whether prompts hold tokens of a chat template (see `Tokenizer.encode`)

    def sample(self, seed: int, index: int, budget: int, count: text.TokenCount) -> text.Sample:
        """Sample `index` with at most `budget` prompt tokens: the same for every method and number of samples."""
        raise NotImplementedError

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        budget = length - self.new_tokens - lm.added_tokens
        return text.counted(lm, lambda i, count: self.sample(seed, i, budget, count), samples, self.special)

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        score = named(self.scoring)
        return text.answer_rows(lm, prompts, self.new_tokens, score, length, special=self.special)


@dataclass(frozen=True, kw_only=True)
class AnswerTask(SampleTask):
    """A test that asks for something hidden and scores by rule: subclasses implement `make`, their file has a `score`.

    `depths` places evenly from 0 to 1 are visited in turn; `control` is one of `CONTROLS` or empty.
    """

    measures: ClassVar[str] = "retrieval"  # the category of the test itself
    edition: ClassVar[int] = 1  # of prompts and scoring, raised whenever they change

    depths: int = 11
    control: str = later("")

    def __post_init__(self) -> None:
        if self.depths < 1:
            raise ValueError(f"{self.name}: depths must be at least 1, got {self.depths}")
        if self.control and self.control not in CONTROLS:
            raise ValueError(f"{self.name}: control is one of {', '.join(CONTROLS)} or left out, got {self.control!r}")

    @property
    def version(self) -> int:  # type: ignore[override]
        """One more with texts of a user's, which were searched for special tokens before."""
        return self.edition + bool(getattr(self, "folder", ""))

    @property
    def special(self) -> bool:  # type: ignore[override]
        """Whether the test's own sentences hold tokens of a chat template. Then they are read as such, also in the
        haystack; otherwise all of a prompt is text."""
        given = [value for name, value in self.parameters().items() if name != "folder"]
        return any(isinstance(value, str) and CHAT_TOKEN.search(value) is not None for value in given)

    @property
    def category(self) -> str:  # type: ignore[override]
        return "control" if self.control else self.measures

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        """One question of at most `budget` prompt tokens with its target at `depth` (0 = start, 1 = end)."""
        raise NotImplementedError

    def sample(self, seed: int, index: int, budget: int, count: text.TokenCount) -> text.Sample:
        """Sample `index`, its target at the depth that is its turn."""
        rng = random.Random(f"{self.name} {seed} {index}")
        return self.make(rng, budget, count, text.depth_of(index, self.depths))


def closed_book(question: str, budget: int, count: text.TokenCount) -> str:
    """The question as a whole prompt. Raises ValueError when even that is too long."""
    text.fit(lambda _: question, 0, count, budget)
    return question


def placed(prompt: str, target: str) -> dict[str, float]:
    """Where the target stands in the prompt's characters, 0 … 1; nothing for a control, which has none."""
    return {"placed": round(prompt.index(target) / len(prompt), 4)} if target in prompt else {}


def enough_units(
    units: Iterator[Unit],
    said: Callable[[Sequence[Unit]], str],
    build: Callable[[Sequence[Unit]], str],
    least: int,
    budget: int,
    count: text.TokenCount,
) -> list[Unit]:
    """As many of the units as a prompt of at most `budget` tokens holds; `build` makes the prompt.

    `said` is how some units read in it, `least` the fewest tokens that one takes. Raises ValueError when the prompt is
    too long without any.
    """
    units = islice(units, max(0, budget) // least + 1)
    if isinstance(count, PromptCount):
        several = iter(lambda: list(islice(units, UNITS_AT_ONCE)), [])
        found = text.filling(several, lambda some: count.added(said(some)), budget)
        drawn = [unit for some in found for unit in some]
    else:
        drawn = list(units)
    return drawn[: text.fit(lambda size: build(drawn[:size]), len(drawn), count, budget)]
