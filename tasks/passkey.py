"""Passkey: a five-digit key stands in repeated filler; say it.

The structure is that of the landmark attention paper (arXiv:2305.16300), the wording is our own, so scores must not
carry that test's name. Deviations: lengths in tokens instead of characters, depths stratified instead of random, keys
of exactly five digits.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import ClassVar

from tasks import text
from tasks.base import LM, Row, Task

OPENING = "A passkey stands somewhere in these notes. Look for it and keep it in mind."
FILLER = ("The rain is soft.", "The road is long.", "A door stands open.", "Nobody comes and nobody goes.")
KEY = "The passkey is {key}. Keep it in mind: {key} is the passkey."
QUESTION = "Which passkey stands in these notes? The passkey is"  # no space at the end: the digits' token brings it
DIGITS = 5


def passkey_prompt(
    rng: random.Random, budget: int, count: text.TokenCount, *, depth: float, held_out: bool = True
) -> text.Sample:
    """One prompt of at most `budget` tokens, as near to it as whole words allow.

    The key stands at `depth` (0 = start, 1 = end), after a whole sentence of filler. `held_out=False` takes a key from
    the half that evaluation never uses. Raises ValueError when the budget is too small.
    """
    if not 0 <= depth <= 1:
        raise ValueError(f"depth must be in 0 … 1, got {depth}")
    key = text.draw(rng, text.number(DIGITS), 1, held_out)[0]
    words = [word for sentence in FILLER for word in sentence.split()]

    def parts(size: int) -> tuple[str, str]:
        filler = list(islice(cycle(words), size))
        ends = [0] + [i for i, word in enumerate(filler, start=1) if word.endswith(".")]
        split = min(ends, key=lambda end: abs(end - depth * size))
        return " ".join(filler[:split]), " ".join(filler[split:])

    def build(size: int) -> str:
        before, after = parts(size)
        return "\n".join(line for line in (OPENING, before, KEY.format(key=key), after, QUESTION) if line)

    # A word costs at least one token with every tokenizer that keeps words apart; where it does not, the prompt is
    # shorter than it could be and its true length is in the row.
    prompt = build(text.fit(build, max(0, budget), count, budget))
    placed = prompt.index(KEY.format(key=key)) / len(prompt)
    return text.Sample(prompt, (key,), count(prompt), depth, extra={"placed": round(placed, 4)})


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first run of digits is the key, else 0."""
    return float(text.runs_of_digits(generation)[:1] == [sample.references[0]])


@dataclass(frozen=True, kw_only=True)
class Passkey(Task):
    """`depths` places evenly from 0 to 1, visited in turn."""

    new_tokens: ClassVar[int] = 10

    depths: int = 11

    def __post_init__(self) -> None:
        if self.depths < 1:
            raise ValueError(f"passkey: depths must be at least 1, got {self.depths}")

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        budget = length - self.new_tokens - lm.added_tokens
        made = (
            passkey_prompt(
                random.Random(f"passkey {seed} {i}"),
                budget,
                lambda string: len(lm.encode(string)),
                depth=text.depth_of(i, self.depths),
            )
            for i in range(samples)
        )
        return text.answer_rows(lm, made, self.new_tokens, score)
