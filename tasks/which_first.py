"""Which of two came first: two people did the same thing, told far apart in a long text; who was the first?

Both names stand in the question, in the text and in the same sentence, so nothing but the order of the two sentences
says the answer. Guessing one of the two is right half of the time: 50 % is the floor. Who is named first in the
question is balanced: of every two samples one names the right person first.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, placed
from tasks.corpora import world

OPENING = "Read the text and keep in mind who reached the lighthouse, in which order."
EVENT = "{name} reached the lighthouse."
QUESTION = "Who reached the lighthouse first, {one} or {other}? The first of the two was"


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first of the text's visitors that the answer names is the right one, else 0."""
    names = [*sample.references, *sample.extra["names"]]
    return float(text.first_of(generation, names) == sample.references[0])


@dataclass(frozen=True, kw_only=True)
class WhichFirst(AnswerTask):
    """`visitors` people reached the same place, two of them are asked about; the earlier one stands at the depth."""

    new_tokens: ClassVar[int] = 12
    chance: ClassVar[float] = 0.5

    visitors: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.visitors <= 20:
            raise ValueError(f"which_first: visitors must be in 2 … 20, got {self.visitors}")

    def sample(self, seed: int, index: int, budget: int, count: text.TokenCount) -> text.Sample:
        rng = random.Random(f"{self.name} {seed} {index}")
        turned = random.Random(f"{self.name} {seed} pair {index // 2}").random() < 0.5
        return self._made(rng, budget, count, text.depth_of(index, self.depths), turned == bool(index % 2))

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        return self._made(rng, budget, count, depth, rng.random() < 0.5)

    def _made(
        self, rng: random.Random, budget: int, count: text.TokenCount, depth: float, right_first: bool
    ) -> text.Sample:
        names = world.strangers(rng, self.visitors)
        first, second, *others = names
        later = rng.uniform(depth, 1)
        inserts = [(depth, EVENT.format(name=first)), (later, EVENT.format(name=second))]
        around = [(rng.random(), EVENT.format(name=name)) for name in others]
        ending = QUESTION.format(one=first if right_first else second, other=second if right_first else first)
        haystack = text.paragraphs(rng)
        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            hidden = [] if self.control else inserts
            prompt = text.in_haystack(OPENING, [*hidden, *around], ending, haystack, budget, count)
        extra = {"names": names[1:], "apart": round(later - depth, 4)}
        if not self.control:
            extra |= placed(prompt, inserts[0][1])
        return text.Sample(prompt, (first,), count(prompt), depth, (second,), extra)
