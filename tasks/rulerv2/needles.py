"""RULERv2's basic needle rows: needles among needles, with one or four values of ten digits each."""

import math
import random
from collections.abc import Iterable

from tasks.ruler.exact.keys import drawer
from tasks.ruler.wording import wording
from tasks.rulerv2.fitting import Drawn

DIGITS = 10


class BasicNeedles:
    """All prompts of a run, drawn one after the other in the original's order."""

    step = 5  # lines

    def __init__(self, values: int, rng: random.Random) -> None:
        self.values, self.rng = values, rng
        self.key = drawer("words", self.rng)
        said = wording()
        template, self.kind = said.niah_template + said.niah_prefix, "numbers"
        if values == 1:
            for old, new in said.singular:
                template = template.replace(old, new)
            self.kind = "number"
        else:
            template = template.replace("memorize it", "memorize them")
        self.template, self.needle = template, said.needle

    def value(self) -> str:
        return str(self.rng.randint(10 ** (DIGITS - 1), 10**DIGITS - 1))

    def line(self, key: str, value: str) -> str:
        return self.needle.format(type_needle_v="numbers", key=key, value=value)

    def order(self, samples: int) -> Iterable[int]:
        return range(samples)

    def draw(self, size: int, index: int) -> Drawn:
        """A prompt with `size` other lines, whatever the index."""
        key, answers = self.key(), []
        for _ in range(self.values):
            answers.append(self.value())
        needles = [self.line(key, value) for value in answers]
        self.rng.shuffle(needles)
        if self.values == 1:
            pairs = [(self.key(), self.value()) for _ in range(size)]
            lines = [self.line(*pair) for pair in pairs]
        else:
            others = [self.value() for _ in range(size)]
            keys = [self.key() for _ in range(math.ceil(size / self.values))] * self.values
            pairs = list(zip(keys, others, strict=False))
            lines = [self.line(*pair) for pair in pairs]
            self.rng.shuffle(lines)
        places = sorted(self.rng.sample(range(size), len(needles)), reverse=True)
        for place, needle in zip(places, needles, strict=True):
            lines.insert(place, needle)
        self.rng.sample(range(1), 1)  # which of the one key is asked for
        prompt = self.template.format(type_needle_v=self.kind, context="\n".join(lines), query=key)
        return Drawn(prompt, tuple(answers), tuple(answers), frozenset(value for _, value in pairs))
