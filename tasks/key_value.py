"""Key-value retrieval: a JSON object of random uuids; what is the value of this key?

After InfiniteBench's Retrieve.KV (arXiv:2402.13718, section 3.1; github.com/OpenBMB/InfiniteBench). Nothing in it can
be guessed and all lines look alike, so it needs exact matching over the whole length. Deviations: our own wording, the
asked pair at stratified depths, as many pairs as fit the length instead of a fixed number, and the first uuid of the
answer counts instead of a substring anywhere. With `shots: 2` it has the form of HELMET's recall (arXiv:2410.02694):
two other pairs of the same object are asked and answered before the question.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, enough_units, placed
from tasks.base import later
from tasks.failures import KINDS
from tasks.ruler.exact.keys import uuid4

OPENING = "Every key of this JSON object has one value."
QUESTION = 'What is the value of the key "{key}"? The value is'
# At least: two uuids have 64 hex digits, and tokenizers hardly pack more than four of them into one token.
TOKENS_OF_A_PAIR = 16


def identifier(rng: random.Random) -> str:
    return uuid4(rng.getrandbits(128))


def as_lines(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f' "{key}": "{value}",' for key, value in pairs)


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first uuid of the answer is the value, else 0."""
    found = KINDS["uuid"].search(generation)
    return float(found is not None and found[0].lower() == sample.references[0])


@dataclass(frozen=True, kw_only=True)
class KeyValue(AnswerTask):
    """One pair is asked for; the other pairs fill the length. `shots` others are asked and answered before it."""

    new_tokens: ClassVar[int] = 48  # a uuid costs 20 to 36

    shots: int = later(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.shots <= 10:
            raise ValueError(f"key_value: shots must be in 0 … 10, got {self.shots}")

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        key, value, *more = text.draw(rng, identifier, 2 + 2 * self.shots, True)
        # One more generator, so that the asked pair does not depend on how many others there are.
        filling = random.Random(f"pairs {rng.getrandbits(64)}")
        most = max(0, budget) // TOKENS_OF_A_PAIR + 1
        drawn = text.draws(filling, identifier, True, 1000 * most)
        shown = list(zip(more[::2], more[1::2], strict=True))
        places = [filling.random() for _ in shown]
        asked = [f"{QUESTION.format(key=one)} {other}" for one, other in shown]
        question = "\n".join([*asked, QUESTION.format(key=key)])

        def build(others: Sequence[tuple[str, str]]) -> str:
            pairs = [*others]
            if not self.control:
                pairs.insert(round(depth * len(others)), (key, value))
            for place, pair in zip(places, shown, strict=True):
                pairs.insert(round(place * len(pairs)), pair)
            return f"{OPENING}\n{json.dumps(dict(pairs))}\n{question}"

        others: list[tuple[str, str]] = []
        if self.control == "closed-book":
            prompt = closed_book(question, budget, count)
        else:
            units = zip(drawn, drawn, strict=False)
            others = enough_units(units, as_lines, build, TOKENS_OF_A_PAIR, budget, count)
            prompt = build(others)
        wrong = (*(one for _, one in others), *(one for one, _ in others))
        extra = {} if self.control else placed(prompt, value)
        return text.Sample(prompt, (value,), count(prompt), depth, wrong, extra)
