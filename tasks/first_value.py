"""The first of several values: one key gets several numbers, told far apart in a long text; all are asked for in their
order, and the first number of the answer counts.

Content alone finds every value of the key; only their order tells them apart. The sentences are those of RULER's
`niah_multivalue`, with "in the order of the text" in the question, because small models that were trained on that
test say the values in their order and cannot say which one was first when they are asked for it alone. Deviations from
RULER: that question, one answer instead of all, and places by depth (the first value at the test's depth, the others
anywhere behind it).
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, placed
from tasks.ruler import niah

IN_ORDER = " in the order of the text?"


@dataclass(frozen=True, kw_only=True)
class FirstValue(AnswerTask):
    """`values` numbers of one key; whoever finds them all and takes any of them is right once in `values` times."""

    new_tokens: ClassVar[int] = 16

    values: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.values <= 20:
            raise ValueError(f"first_value: values must be in 2 … 20, got {self.values}")

    @property
    def chance(self) -> float:  # type: ignore[override]
        return 1 / self.values

    @property
    def scoring(self) -> str:
        return "tasks.ordinal:score_record"

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        task = niah.Niah("essay", values_per_key=self.values)
        key = text.draw(rng, niah.word_pair, 1, True)[0]
        values = text.draw(rng, niah.number, self.values, True)
        template, prefix = niah.questions(task, [key])
        opening, question = (part.strip() for part in template.split("{context}"))
        ending = question.removesuffix("?") + IN_ORDER + prefix
        told = [niah.needle(task, key, value) for value in values]
        inserts = list(zip([depth, *sorted(rng.uniform(depth, 1) for _ in values[1:])], told, strict=True))
        if self.control:
            del inserts[0]
        haystack = text.paragraphs(rng)
        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            prompt = text.in_haystack(opening, inserts, ending, haystack, budget, count)
        others = () if self.control == "closed-book" else tuple(values[1:])
        extra = {} if self.control else placed(prompt, told[0])
        return text.Sample(prompt, (values[0],), count(prompt), depth, others, extra)
