"""Why a wrong answer is wrong: one word or two, from the texts alone.

The classes are tried in the order of `CLASSES`; the first that fits is the answer's. They are told apart by rule, so
they say what an answer looks like and not what went on in the model.
"""

import re
from collections import Counter
from collections.abc import Sequence

CLASSES: dict[str, str] = {
    "empty": "nothing, or only white space",
    "gibberish": "mostly no letters, digits or usual marks",
    "wrong order": "all the right values in another order, or the right digits of a value in another order",
    "other needle": "a value that stands elsewhere in the prompt",
    "incomplete": "some of several right values",
    "truncated": "ended by the budget of new tokens inside the right value",
    "repetition": "mostly the same words again and again",
    "format": "no value of the asked kind (a number, a uuid)",
    "wrong value": "a value of the asked kind that stands nowhere in the prompt's needles",
    "other": "none of these",
}
KINDS = {  # what values look like, the narrowest first
    "uuid": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE),
    "number": re.compile(r"[0-9]+"),
}
SIGNS = ",'’\u00a0\u2009\u202f"  # between thousands: comma, apostrophes, no-break and thin spaces
GROUPED = re.compile(rf"(?<!\d)(?<!\d[{SIGNS}])[0-9]{{1,3}}([{SIGNS}])[0-9]{{3}}(?:\1[0-9]{{3}})*(?![{SIGNS}]?\d)")
READ = 2000  # characters; an answer that goes on for longer is judged by its beginning


def failure(generation: str, references: Sequence[str], others: Sequence[str] = (), finished: bool = True) -> str:
    """The class of an answer that did not get its full score. Not meant for right answers.

    `references` are the right values, in the order asked for; `others` are values that also stand in the prompt and
    would be wrong; `finished` is False when the budget of new tokens ended the answer.
    """
    text = with_plain_numbers(generation.strip()[:READ])
    if not text:
        return "empty"
    if _gibberish(text):
        return "gibberish"
    found = [reference for reference in references if _stands(reference, text)]
    if len(references) > 1 and len(found) == len(references) or any(_shuffled(text, one) for one in references):
        return "wrong order"
    if any(_stands(other, text) for other in others):
        return "other needle"
    if len(references) > 1 and found:
        return "incomplete"
    if not finished and any(_ends_inside(text, reference) for reference in references):
        return "truncated"
    if _repeats(text):
        return "repetition"
    kind = next((one for one in KINDS.values() if references and all(map(one.fullmatch, references))), None)
    if kind is None:
        return "other"
    return "wrong value" if kind.search(text) else "format"


def with_plain_numbers(text: str) -> str:
    """The text with every number written without signs between its thousands: 123456 for 123,456."""
    return GROUPED.sub(lambda number: number[0].replace(number[1], ""), text)


def _gibberish(text: str) -> bool:
    usual = sum(character.isascii() and character.isprintable() or character.isalnum() for character in text)
    return usual < 0.7 * len(re.sub(r"\s", "", text)) or "\ufffd\ufffd" in text


def _stands(value: str, text: str) -> bool:
    """Whether the value stands in the text as whole words, case ignored."""
    if value.lower() not in text.lower():  # the pattern is slow, and prompts hold thousands of other values
        return False
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


def _shuffled(text: str, reference: str) -> bool:
    """Whether a number in the text has the digits of the reference in another order."""
    if not reference.isdigit() or len(reference) < 4:
        return False
    return any(
        run != reference and sorted(run) == sorted(reference) for run in KINDS["number"].findall(text)
    ) and not _stands(reference, text)


def _ends_inside(text: str, reference: str) -> bool:
    return any(text.endswith(reference[:size]) for size in range(2, len(reference)))


def _repeats(text: str) -> bool:
    """Whether one word is more than half of the text, or a short stretch follows itself for more than half of it."""
    words = text.split()
    if len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) / 2:
        return True
    found = re.finditer(r"(.{1,40}?)\1{3,}", f"{text} ", re.DOTALL)  # the space completes the last round
    again = max((match.end() - match.start() for match in found), default=0)
    return again >= 12 and again > len(text) / 2
