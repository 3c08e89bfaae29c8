"""Helpers that tests share: fit a text to a number of tokens, place a target, ask, and score by rule.

Everything here is plain text and counting; a token counter comes in as a function.
"""

import math
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from tasks.base import LM, Row, Tokenizer
from tasks.corpora.words import for_training
from tasks.failures import failure, with_plain_numbers
from tasks.token_counts import PromptCount, counts_of

TokenCount = Callable[[str], int]
Unit = TypeVar("Unit")
SPARE = 16  # tokens by which the parts of a prompt may miss the sum of the whole

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
    values: frozenset[str] = frozenset()  # more of `others`, too many to be looked for one by one


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
    found = list(islice(draws(rng, make, held_out, 1000 * count), count))
    if len(found) < count:
        raise ValueError(f"there are fewer than {count} different keys; ask for fewer")
    return found


def draws(rng: random.Random, make: Callable[[random.Random], str], held_out: bool, tries: int) -> Iterator[str]:
    """The keys of `draw` one by one, as far as so many tries lead."""
    seen: set[str] = set()
    for _ in range(tries):
        key = make(rng)
        if key not in seen and is_held_out(key) == held_out:
            seen.add(key)
            yield key


def number(digits: int) -> Callable[[random.Random], str]:
    """A maker of numbers with exactly that many digits, the first of them not 0."""
    return lambda rng: str(rng.randrange(10 ** (digits - 1), 10**digits))


def fit(build: Callable[[int], str], most: int, count: TokenCount, budget: int) -> int:
    """The largest number of units in 0 … `most` whose text has at most `budget` tokens.

    The text must grow with its units. A counter that estimates (`PromptCount`) is asked for estimates while the search
    goes on, and once for the text that it ends with; where the two differ, and with any other counter, every text of
    the search is counted as a whole. Raises ValueError when not even 0 units fit.
    """
    if isinstance(count, PromptCount):
        size = _largest(build, most, count.estimate, budget) if count.estimate(build(0)) <= budget else 0
        text = build(size)
        if count(text) == count.estimate(text) <= budget:
            return size
        count = count.whole
    return _largest(build, most, count, budget)


def _largest(build: Callable[[int], str], most: int, count: TokenCount, budget: int) -> int:
    """`fit` by interpolation: about five counts, each of the whole text."""
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


def counted(
    lm: Tokenizer, make: Callable[[int, TokenCount], Sample], samples: int, special: bool = False
) -> Iterator[Sample]:
    """Samples 0 … samples-1 of `make`(index, counter); `special` as in `Tokenizer.encode`.

    Tokens of long prompts are added up from their words. The first prompt is tokenised as a whole; if it has not as
    many tokens as were added up, so is every text that the samples of this run are searched with.
    """
    counts = counts_of(lm, special)
    count: TokenCount = PromptCount(counts)
    for i in range(samples):
        made = make(i, count)
        if i == 0 and counts.whole(made.prompt) != made.tokens:
            count = counts.whole
            made = make(0, count)
        yield made


def sentences(paragraphs: Iterable[str]) -> Iterator[str]:
    """Sentences of the paragraphs, each with the white space that stands before it."""
    for paragraph in paragraphs:
        for i, sentence in enumerate(_sentences(paragraph.strip())):
            yield ("\n" if i == 0 else " ") + sentence


def _sentences(text: str) -> list[str]:
    if text.isprintable() and "  " not in text:  # single spaces and no other white space: five times as fast
        return text.replace(". ", ".\0").replace("! ", "!\0").replace("? ", "?\0").split("\0")
    return re.split(r"(?<=[.!?])\s+(?=\S)", text)


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


def numbers(text: str) -> list[str]:
    """Every number of the text as its digits: 123,456 is 123456, whichever usual sign stands between thousands."""
    return runs_of_digits(with_plain_numbers(text))


def in_haystack(
    opening: str,
    inserts: Sequence[tuple[float, str]],
    ending: str,
    paragraphs: Iterable[str],
    budget: int,
    count: TokenCount,
) -> str:
    """Opening, a haystack of whole sentences with the inserts at their depths, ending; at most `budget` tokens.

    The haystack takes as many sentences of the endless `paragraphs` as fit. Raises ValueError when the rest alone is
    too long.
    """
    if not isinstance(count, PromptCount):
        count = lru_cache(maxsize=8)(count)  # the search below asks for some texts twice, and long ones cost a while
    units: list[str] = []

    def build(size: int) -> str:
        return f"{opening}\n{joined(units[:size], inserts)}\n{ending}"

    source = sentences(paragraphs)
    if isinstance(count, PromptCount):
        units += filling(source, count.added, budget - count.estimate(build(0)))
    while not units or count(build(len(units))) <= budget:
        more = collect(source, 4 * budget)
        if not more:
            raise ValueError("the haystack's text came to an end; give one that is long enough")
        units += more
    return build(fit(build, len(units), count, budget))


def filling(units: Iterator[Unit], tokens: Callable[[Unit], int], room: int) -> list[Unit]:
    """Units until they have more tokens than there is room for, with some to spare (or until they end)."""
    taken: list[Unit] = []
    room += SPARE
    while room >= 0 and (unit := next(units, None)) is not None:
        taken.append(unit)
        room -= tokens(unit)
    return taken


def paragraphs(rng: random.Random, folder: str = "") -> Iterator[str]:
    """Haystack without end: stories of the invented world, or a folder's .txt and .md files from a drawn place on."""
    own = random.Random(f"haystack {rng.getrandbits(64)}")
    return _of_folder(own, folder) if folder else _of_world(own)


def _of_world(rng: random.Random) -> Iterator[str]:
    from tasks.corpora.world import story

    while True:
        yield story(rng)


def _of_folder(rng: random.Random, folder: str) -> Iterator[str]:
    from tasks.documents import folder_paragraphs

    found = folder_paragraphs(folder)
    yield from found[rng.randrange(len(found)) :]
    while True:
        yield from found


def listed(values: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(values[:-1]), values[-1]]) if len(values) > 1 else values[0]


def in_order(references: Sequence[str], said: Sequence[str]) -> float:
    """The share of the references that were said in their order: the longest common subsequence over their number."""
    row = [0] * (len(said) + 1)
    for reference in references:
        before = row
        row = [0]
        for i, value in enumerate(said):
            row.append(before[i] + 1 if value == reference else max(row[i], before[i + 1]))
    return row[-1] / len(references)


def first_of(generation: str, values: Sequence[str]) -> str:
    """The value that stands first in the answer as a whole word, case ignored; "" for none."""
    found = re.search(rf"(?<!\w)({'|'.join(map(re.escape, values))})(?!\w)", generation, re.IGNORECASE)
    return next(value for value in values if value.lower() == found[1].lower()) if found else ""


def answer_rows(
    lm: LM,
    samples: Iterable[Sample],
    new_tokens: int,
    score: Callable[[str, Sample], float],
    length: int | None = None,
    longest: int | None = None,
    special: bool = False,
) -> Iterator[Row]:
    """Ask every sample and score what comes back. Prompts are made while earlier ones are answered.

    Nothing is ever cut: with a `length` (tokens, new ones included) a prompt beyond it is a ValueError, and so is a
    tokenizer that cannot give back the first right answer, because then no answer could be right. `longest` bounds the
    length of every plan, and `special` says that prompts hold a chat template's tokens (see `LM.generate`).
    """
    remaining = iter(samples)
    index = 0
    while chunk := list(islice(remaining, PROMPTS_AT_ONCE)):
        for i, sample in enumerate(chunk, start=index):
            _refuse_too_long(i, sample.tokens + lm.added_tokens, new_tokens, length)
        if index == 0:
            _refuse_lossy(lm, chunk[0].references)
        prompts = [sample.prompt for sample in chunk]
        answers = lm.generate(prompts, new_tokens, longest, **({"special": True} if special else {}))
        for sample, answer in zip(chunk, answers, strict=True):
            points = score(answer.text, sample)
            wrong = "" if points >= 1 else failure(answer.text, sample.references, sample.others, answer.finished)
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
                failure=wrong,
                seconds=answer.seconds,
                plan_hash=answer.plan_hash,
                extra=sample.extra,
            )
            index += 1


def _refuse_too_long(index: int, prompt_tokens: int, new_tokens: int, length: int | None) -> None:
    if length is not None and prompt_tokens + new_tokens > length:
        raise ValueError(
            f"sample {index} has {prompt_tokens} tokens of prompt and needs {new_tokens} new ones, beyond the length "
            f"of {length}; prompts are never cut, so use a larger length"
        )


def _refuse_lossy(lm: LM, references: Sequence[str]) -> None:
    for reference in references:
        back = lm.decode(lm.encode(f" {reference}"))
        if _composed(reference) not in _composed(back):
            raise ValueError(
                f"the tokenizer gives back {back.strip()!r} for {reference!r}, so that no answer could be right; use "
                "the tokenizer that the model was trained with"
            )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def joined(units: Sequence[str], inserts: Sequence[tuple[float, str]]) -> str:
    """The units as one text, with sentences inserted between them at depths 0 … 1; equal depths keep their order."""
    parts: list[str] = []
    done = 0
    for depth, sentence in sorted(inserts, key=lambda insert: insert[0]):
        place = round(depth * len(units))
        parts += [*units[done:place], " ", sentence]
        done = place
    return "".join([*parts, *units[done:]]).strip()
