"""Needle in a haystack: a sentence with a code stands at a chosen depth of a long text; what is the code?

Our own wording and rule scoring: results are comparable among themselves, not with those of the original test
(github.com/gkamradt/LLMTest_NeedleInAHaystack), which asks a judge model.
"""

import random
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, placed
from tasks.base import later

OPENING = "Read the text and keep the secret codes in mind."
NEEDLE = "The secret code of {place} is {code}."
QUESTION = "What is the secret code of {place}?"
ANSWER = "The secret code of {place} is"  # no space at the end: the digits' token brings it
QUESTION_OF_SEVERAL = "What are the secret codes of {place}, in this order?"
ANSWER_OF_SEVERAL = "The secret codes of {place} are"

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
TOKENS_OF_A_CODE, TOKENS_OF_PHRASES = 16, 64  # budget of new tokens


@dataclass(frozen=True)
class Wording:
    """The sentences of the test; {place} and {code} stand for what is drawn."""

    opening: str = OPENING
    needle: str = NEEDLE
    question: str = QUESTION
    answer: str = ANSWER


def place_name(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(SECOND)}"


def needle_prompt(
    rng: random.Random,
    budget: int,
    count: text.TokenCount,
    *,
    depth: float,
    needles: int = 1,
    asked: int = 1,
    folder: str = "",
    held_out: bool = True,
    control: str = "",
    wording: Wording = Wording(),
) -> text.Sample:
    """One prompt of at most `budget` tokens, as near to it as whole sentences allow.

    Of `needles` codes of different places `asked` are asked for; the first of them stands at `depth` (0 = start,
    1 = end), the others anywhere. `held_out=False` takes places and codes from the half that evaluation never uses.
    Raises ValueError when the budget is too small.
    """
    if not 0 <= depth <= 1:
        raise ValueError(f"depth must be in 0 … 1, got {depth}")
    places = text.draw(rng, place_name, needles, held_out)
    codes = text.draw(rng, text.number(DIGITS), needles, held_out)
    depths = [depth] + [rng.random() for _ in range(needles - 1)]
    inserts = [
        (at, _filled(wording.needle, place, code)) for at, place, code in zip(depths, places, codes, strict=True)
    ]
    ending = f"{wording.question} {wording.answer}".strip().replace("{place}", text.listed(places[:asked]))
    haystack = text.paragraphs(rng, folder)
    if control == "closed-book":
        prompt = closed_book(ending, budget, count)
    else:
        hidden = inserts[asked:] if control == "no-needle" else inserts
        prompt = text.in_haystack(wording.opening, hidden, ending, haystack, budget, count)
    extra = {} if control else placed(prompt, inserts[0][1])
    others = () if control == "closed-book" else tuple(codes[asked:])
    return text.Sample(prompt, tuple(codes[:asked]), count(prompt), depth, others, extra)


def _filled(template: str, place: str, code: str) -> str:
    return template.replace("{place}", place).replace("{code}", code)


def score(generation: str, sample: text.Sample) -> float:
    """The share of the codes that the answer holds in the order asked for; a number must be a code exactly, and may
    have its thousands set apart."""
    return text.in_order(sample.references, text.numbers(generation))


def score_phrases(generation: str, sample: text.Sample) -> float:
    """The share of the phrases that stand in the answer in any order; case, white space and the way in which letters
    and their accents are composed are ignored."""
    said = _plain(generation)
    return sum(_plain(phrase) in said for phrase in sample.references) / len(sample.references)


def _plain(string: str) -> str:
    return " ".join(unicodedata.normalize("NFC", string).lower().split())


@dataclass(frozen=True, kw_only=True)
class Needle(AnswerTask):
    """`needles` codes stand in the text and `asked` of them are asked for, in an order.

    The score is the share of the asked codes that the answer holds in that order. With your own sentences, `phrases`
    are what a right answer says, and the score is the share of them that it holds, in any order, case and white space
    ignored. `folder` takes the haystack from your .txt and .md files instead of the invented world.
    """

    edition: ClassVar[int] = 2  # phrases are compared in NFC, and 123,456 is a number

    needles: int = 1
    asked: int = later(1)
    opening: str = later(OPENING)
    needle: str = later(NEEDLE)
    question: str = later("")
    answer: str = later("")
    phrases: tuple[str, ...] = later(())
    folder: str = later("")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.needles <= 100 or not 1 <= self.asked <= self.needles:
            raise ValueError(
                f"needle wants needles in 1 … 100 and asked in 1 … needles, got {self.needles} and {self.asked}"
            )
        if not isinstance(self.phrases, list | tuple) or not all(isinstance(p, str) and p for p in self.phrases):
            raise ValueError(f"needle: phrases is a list of texts, got {self.phrases!r}")
        object.__setattr__(self, "phrases", tuple(self.phrases))
        if self.phrases:
            absent = [phrase for phrase in self.phrases if _plain(phrase) not in _plain(self.needle)]
            if absent or self.needles > 1:
                wrong = f"{absent[0]!r} does not stand in it" if absent else f"needles is {self.needles}"
                raise ValueError(f"needle: phrases are parts of one needle sentence, and {wrong}")
            if not self.question:
                raise ValueError("needle: phrases need a question of your own that asks for them")
        elif "{code}" not in self.needle or self.needles > 1 and "{place}" not in self.needle:
            raise ValueError(
                f"needle: a needle sentence holds {{code}}, several also {{place}}, or phrases say what is scored; got "
                f"{self.needle!r}"
            )

    @property
    def new_tokens(self) -> int:  # type: ignore[override]
        return TOKENS_OF_PHRASES if self.phrases else TOKENS_OF_A_CODE * self.asked

    def wording(self) -> Wording:
        """The sentences; an own question without an own lead-in has none."""
        several = self.asked > 1
        question = self.question or (QUESTION_OF_SEVERAL if several else QUESTION)
        answer = self.answer or ("" if self.question else ANSWER_OF_SEVERAL if several else ANSWER)
        return Wording(self.opening, self.needle, question, answer)

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        made = needle_prompt(
            rng,
            budget,
            count,
            depth=depth,
            needles=self.needles,
            asked=self.asked,
            folder=self.folder,
            control=self.control,
            wording=self.wording(),
        )
        if not self.phrases:
            return made
        return text.Sample(made.prompt, self.phrases, made.tokens, depth, extra=made.extra)

    @property
    def scoring(self) -> str:
        return "tasks.needle:score_phrases" if self.phrases else "tasks.needle:score"
