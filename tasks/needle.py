"""Needle in a haystack: one sentence with a code stands at a chosen depth of a long text; what is the code?

Our own wording and rule scoring: results are comparable among themselves, not with those of the original test
(github.com/gkamradt/LLMTest_NeedleInAHaystack), which asks a judge model.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.base import LM, Row, Task

OPENING = "Read the text and keep the secret codes in mind."
NEEDLE = "The secret code of {place} is {code}."
QUESTION = "What is the secret code of {place}?"
ANSWER = "The secret code of {place} is"  # no space at the end: the digits' token brings it

FIRST = (
    "Amber Ashen Birch Bitter Black Bright Broken Cedar Clear Cold Copper Coral Crystal Dark Deep Eastern Empty Fallen "
    "Far Frozen Golden Green Grey Hidden High Hollow Iron Ivory Little Lonely Lower Marble New Northern Old Olive Pale "
    "Quiet Red Silent Silver Southern Stone Summer Upper Western White Winter"
).split()
SECOND = (
    "Abbey Bay Bridge Brook Camp Castle Cave Cliff Corner Court Creek Cross Dale Farm Ferry Field Ford Forest Garden "
    "Gate Grove Hall Harbour Haven Heath Hill House Island Lake Market Meadow Mill Mountain Orchard Park Pass Point "
    "Pond Port Ridge River Road Shore Spring Square Station Tower Valley Village Well"
).split()
DIGITS = 6

Story = Callable[[random.Random], str]  # gives one paragraph of haystack


def place_name(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(SECOND)}"


def needle_prompt(
    rng: random.Random,
    budget: int,
    count: text.TokenCount,
    *,
    depth: float,
    needles: int = 1,
    story: Story | None = None,
    held_out: bool = True,
) -> text.Sample:
    """One prompt of at most `budget` tokens, as near to it as whole sentences allow.

    Of `needles` codes of different places one is asked for; it stands at `depth` (0 = start, 1 = end), the others
    anywhere. `held_out=False` takes places and codes from the half that evaluation never uses. Raises ValueError when
    the budget is too small.
    """
    if not 0 <= depth <= 1:
        raise ValueError(f"depth must be in 0 … 1, got {depth}")
    places = text.draw(rng, place_name, needles, held_out)
    codes = text.draw(rng, text.number(DIGITS), needles, held_out)
    depths = [depth] + [rng.random() for _ in range(needles - 1)]
    inserts = [
        (at, NEEDLE.format(place=place, code=code)) for at, place, code in zip(depths, places, codes, strict=True)
    ]
    ending = f"{QUESTION.format(place=places[0])} {ANSWER.format(place=places[0])}"
    haystack = _paragraphs(random.Random(f"haystack {rng.getrandbits(64)}"), story or _world_story())
    units: list[str] = []

    def build(size: int) -> str:
        return f"{OPENING}\n{text.joined(units[:size], inserts)}\n{ending}"

    source = text.sentences(haystack)
    while not units or count(build(len(units))) <= budget:
        units += text.collect(source, 4 * budget)
    prompt = build(text.fit(build, len(units), count, budget))
    placed = prompt.index(inserts[0][1]) / len(prompt)
    return text.Sample(
        prompt, (codes[0],), count(prompt), depth, others=tuple(codes[1:]), extra={"placed": round(placed, 4)}
    )


def _paragraphs(rng: random.Random, story: Story) -> Iterator[str]:
    while True:
        yield story(rng)


def _world_story() -> Story:
    from tasks.corpora.world import story

    return story


def score(generation: str, sample: text.Sample) -> float:
    """1 when one of the runs of digits in the answer is exactly the code, else 0."""
    return float(sample.references[0] in text.runs_of_digits(generation))


@dataclass(frozen=True, kw_only=True)
class Needle(Task):
    """`depths` places evenly from 0 to 1, visited in turn; `needles` codes stand in the text, one is asked for."""

    new_tokens: ClassVar[int] = 16

    depths: int = 11
    needles: int = 1

    def __post_init__(self) -> None:
        if self.depths < 1 or not 1 <= self.needles <= 100:
            raise ValueError(
                f"needle wants depths of at least 1 and needles in 1 … 100, got {self.depths} and {self.needles}"
            )

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        budget = length - self.new_tokens - lm.added_tokens
        made = (
            needle_prompt(
                random.Random(f"needle {seed} {i}"),
                budget,
                lambda string: len(lm.encode(string)),
                depth=text.depth_of(i, self.depths),
                needles=self.needles,
            )
            for i in range(samples)
        )
        return text.answer_rows(lm, made, self.new_tokens, score)
