"""Helpers that tests share: fit a text to a number of tokens, place a target, score by rule, name a failure.

Everything here is plain text and counting; a token counter comes in as a function.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tasks.base import LM, Row
from tasks.corpora.words import for_training

TokenCount = Callable[[str], int]

# More would hold too many long prompts in memory at once, fewer would leave nothing to batch.
PROMPTS_AT_ONCE = 32


@dataclass(frozen=True)
class Sample:
    """One question: a prompt, what a right answer says, and where its target stands."""

    prompt: str
    references: tuple[str, ...]
    tokens: int  # length of the prompt, without BOS
    depth: float | None = None  # as asked for: 0 = start, 1 = end
    others: tuple[str, ...] = ()  # values that also stand in the prompt and would be wrong
    extra: dict[str, Any] = field(default_factory=dict)


def depth_of(sample: int, depths: int) -> float:
    """The depth of a sample: `depths` places evenly from 0 to 1, all visited once in every `depths` samples.

    Neighbouring samples take far places (steps near the golden section), so that few samples are spread too.
    """
    if depths == 1:
        return 0.5
    step = next(s for s in range(max(1, round(0.618 * depths)), depths + 2) if math.gcd(s, depths) == 1)
    return (sample * step % depths) / (depths - 1)


def is_held_out(key: str) -> bool:
    """True for the half of all keys and questions that only evaluation uses; training takes the other half."""
    return not for_training(key)


def draw(rng: random.Random, make: Callable[[random.Random], str], count: int, held_out: bool) -> list[str]:
    """`count` different keys from `make`, all of the asked half (see `is_held_out`)."""
    found: dict[str, None] = {}
    for _ in range(1000 * count):
        key = make(rng)
        if is_held_out(key) == held_out:
            found[key] = None
        if len(found) == count:
            return list(found)
    raise ValueError(f"there are fewer than {count} different keys; ask for fewer")


def number(digits: int) -> Callable[[random.Random], str]:
    """A maker of numbers with exactly that many digits, the first of them not 0."""
    return lambda rng: str(rng.randrange(10 ** (digits - 1), 10**digits))


def fit(build: Callable[[int], str], most: int, count: TokenCount, budget: int) -> int:
    """The largest number of units in 0 … `most` whose text has at most `budget` tokens.

    The text must grow with its units. Search by interpolation: about five counts, each of the whole text, because
    parts counted alone do not add up for every tokenizer. Raises ValueError when not even 0 units fit.
    """
    low, low_tokens = 0, count(build(0))
    if low_tokens > budget:
        raise ValueError(f"the test needs {low_tokens} tokens of prompt and has {budget}; use a larger length")
    high, high_tokens = most, count(build(most))
    if high_tokens <= budget:
        return most
    while high - low > 1:
        middle = low + (budget - low_tokens) * (high - low) // max(1, high_tokens - low_tokens)
        middle = min(max(middle, low + 1), high - 1)
        tokens = count(build(middle))
        if tokens <= budget:
            low, low_tokens = middle, tokens
        else:
            high, high_tokens = middle, tokens
    return low


def sentences(paragraphs: Iterable[str]) -> Iterator[str]:
    """Sentences of the paragraphs, each with the white space that stands before it."""
    for paragraph in paragraphs:
        for i, sentence in enumerate(re.split(r"(?<=[.!?])\s+(?=\S)", paragraph.strip())):
            yield ("\n" if i == 0 else " ") + sentence


def collect(units: Iterator[str], characters: int) -> list[str]:
    """Units until they hold that many characters (or end)."""
    taken, total = [], 0
    while total < characters:
        unit = next(units, None)
        if unit is None:
            break
        taken.append(unit)
        total += len(unit)
    return taken


def runs_of_digits(text: str) -> list[str]:
    """Every maximal run of ASCII digits, so that 12345 is not found inside 9123456."""
    return re.findall(r"[0-9]+", text)


def failure(generation: str, sample: Sample, finished: bool = True) -> str:
    """Why a wrong answer is wrong, as one word or two. Not meant for right answers.

    empty, gibberish (mostly not letters, digits or usual marks), other needle (a value that stands elsewhere in the
    prompt), truncated (the budget of new tokens ended it inside the answer), repetition, format (no digits where
    digits are asked for), wrong value.
    """
    text = generation.strip()
    if not text:
        return "empty"
    usual = sum(character.isascii() and character.isprintable() or character.isalnum() for character in text)
    if usual < 0.7 * len(text.replace("\n", "")) or "\ufffd\ufffd" in text:
        return "gibberish"
    if any(re.search(rf"(?<!\w){re.escape(other)}(?!\w)", text) for other in sample.others):
        return "other needle"
    if not finished and any(_ends_inside(text, reference) for reference in sample.references):
        return "truncated"
    words = text.split()
    if len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) / 2:
        return "repetition"
    if all(reference.isdigit() for reference in sample.references) and not runs_of_digits(text):
        return "format"
    return "wrong value"


def _ends_inside(text: str, reference: str) -> bool:
    return any(text.endswith(reference[:size]) for size in range(2, len(reference)))


def answer_rows(
    lm: LM, samples: Iterable[Sample], new_tokens: int, score: Callable[[str, Sample], float]
) -> Iterator[Row]:
    """Ask every sample and score what comes back. Prompts are made while earlier ones are answered."""
    remaining = iter(samples)
    index = 0
    while chunk := list(islice(remaining, PROMPTS_AT_ONCE)):
        answers = lm.generate([sample.prompt for sample in chunk], new_tokens)
        for sample, answer in zip(chunk, answers, strict=True):
            points = score(answer.text, sample)
            yield Row(
                sample=index,
                score=points,
                prompt=sample.prompt,
                generation=answer.text,
                references=sample.references,
                prompt_tokens=sample.tokens + lm.added_tokens,
                new_tokens=answer.tokens,
                depth=sample.depth,
                finished=answer.finished,
                failure="" if points >= 1 else failure(answer.text, sample, answer.finished),
                seconds=answer.seconds,
                plan_hash=answer.plan_hash,
                extra=sample.extra,
            )
            index += 1


def joined(units: Sequence[str], inserts: Sequence[tuple[float, str]]) -> str:
    """The units as one text, with sentences inserted between them at depths 0 … 1."""
    parts: list[str] = []
    done = 0
    for depth, sentence in sorted(inserts):
        place = round(depth * len(units))
        parts += [*units[done:place], " ", sentence]
        done = place
    return "".join([*parts, *units[done:]]).strip()
