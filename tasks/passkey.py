"""Passkey: a number stands in repeated filler; say it.

The structure is that of the landmark attention paper (arXiv:2305.16300; github.com/epfml/landmark-attention,
llama/run_test.py). Two profiles:

`ropebench` is our own wording: lengths in tokens instead of characters, depths stratified instead of random, keys of
exactly five digits. Its scores must not carry the other test's name.

`landmark` has that test's layout: five lines (announcement, filler, key, filler, question), filler cut by characters
at a place drawn evenly, the second part beginning the filler anew, keys from 1 to 50,000 and so of one to five digits,
the first number of the answer counts. Announcement and filler are read from the installed lm_eval. Deviations: the
length is fitted in tokens (theirs is given in characters); keys come from the half that training never sees; the
sentence with the key and the question are ours unless `key_line` and `question` give others.
"""

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, placed
from tasks.base import later

OPENING = "A passkey stands somewhere in these notes. Look for it and keep it in mind."
FILLER = ("The rain is soft.", "The road is long.", "A door stands open.", "Nobody comes and nobody goes.")
KEY = "The passkey is {key}. Keep it in mind: {key} is the passkey."
QUESTION = "Which passkey stands in these notes? The passkey is"  # no space at the end: the digits' token brings it
DIGITS = 5
PROFILES = ("ropebench", "landmark")
LARGEST_KEY = 50_000  # landmark's
ANNOUNCEMENT = "c229a68a"  # first digits of the SHA-256 of the announcement that lm_eval carries


def passkey_prompt(
    rng: random.Random,
    budget: int,
    count: text.TokenCount,
    *,
    depth: float,
    held_out: bool = True,
    control: str = "",
    key_line: str = KEY,
    question: str = QUESTION,
) -> text.Sample:
    """One prompt of at most `budget` tokens, as near to it as whole words allow.

    The key stands at `depth` (0 = start, 1 = end), after a whole sentence of filler. `held_out=False` takes a key from
    the half that evaluation never uses. Raises ValueError when the budget is too small.
    """
    if not 0 <= depth <= 1:
        raise ValueError(f"depth must be in 0 … 1, got {depth}")
    key = text.draw(rng, text.number(DIGITS), 1, held_out)[0]
    words = [word for sentence in FILLER for word in sentence.split()]
    ends = [i for i, word in enumerate(words, start=1) if word.endswith(".")]

    def parts(size: int) -> tuple[str, str]:
        filler = (words * (size // len(words) + 1))[:size]
        start = int(depth * size) // len(words) * len(words)  # of the round that the depth falls into
        near = [start, *(start + end for end in ends)]
        split = min((end for end in near if end <= size), key=lambda end: abs(end - depth * size))
        return " ".join(filler[:split]), " ".join(filler[split:])

    def build(size: int) -> str:
        before, after = parts(size)
        said = "" if control else key_line.replace("{key}", key)
        return "\n".join(line for line in (OPENING, before, said, after, question) if line)

    # A word costs at least one token with every tokenizer that keeps words apart; where it does not, the prompt is
    # shorter than it could be and its true length is in the row.
    return _sample(build, max(0, budget), key, budget, count, depth, control, key_line, question)


def landmark_prompt(
    rng: random.Random,
    budget: int,
    count: text.TokenCount,
    *,
    control: str = "",
    key_line: str = KEY,
    question: str = QUESTION,
) -> text.Sample:
    """One prompt in the layout of the landmark paper's test; its depth is drawn, not asked for."""
    key = text.draw(rng, lambda drawing: str(drawing.randint(1, LARGEST_KEY)), 1, True)[0]
    depth = rng.random()
    opening, sentence = landmark_wording()

    def build(size: int) -> str:  # characters of filler
        filler = f"{sentence} " * (size // len(sentence) + 1)
        before = int(depth * size)
        said = "" if control else key_line.replace("{key}", key)
        return "\n".join([opening, filler[:before], said, filler[: size - before], question])

    return _sample(build, 12 * max(0, budget), key, budget, count, depth, control, key_line, question)


def _sample(
    build: Callable[[int], str],
    most: int,
    key: str,
    budget: int,
    count: text.TokenCount,
    depth: float,
    control: str,
    key_line: str,
    question: str,
) -> text.Sample:
    if control == "closed-book":
        prompt = closed_book(question, budget, count)
    else:
        prompt = build(text.fit(build, most, count, budget))
    extra = {} if control else placed(prompt, key_line.replace("{key}", key))
    return text.Sample(prompt, (key,), count(prompt), depth, extra=extra)


@cache
def landmark_wording() -> tuple[str, str]:
    """(announcement, one round of filler), read from lm_eval; raises ValueError when its text is not the known one."""
    from tasks.ruler.wording import wording

    try:
        path = Path(str(distribution("lm_eval").locate_file("lm_eval/tasks/infinitebench/infinitebench_passkey.yaml")))
        found = re.search(r'^description: "(.*?)(?:\\n)*"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    except (PackageNotFoundError, OSError):
        found = None
    if found is None or hashlib.sha256(found[1].encode()).hexdigest()[:8] != ANNOUNCEMENT:
        raise ValueError(
            "passkey: the announcement of the landmark profile is read from lm_eval's InfiniteBench task, which is "
            "absent or has changed; install the lm_eval version of constraints.txt"
        )
    return found[1], wording().noise


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first number is the key, else 0; its thousands may be set apart."""
    return float(text.numbers(generation)[:1] == [sample.references[0]])


def score_landmark(generation: str, sample: text.Sample) -> float:
    """1 when the first run of digits has the value of the key, else 0: 00123 is 123, as in LongRoPE's script."""
    found = re.search(r"\d+", generation)
    return float(found is not None and len(found[0]) < 1000 and int(found[0]) == int(sample.references[0]))


@dataclass(frozen=True, kw_only=True)
class Passkey(AnswerTask):
    """`profile` is ropebench or landmark (which draws its depths, whatever `depths` says)."""

    new_tokens: ClassVar[int] = 10
    edition: ClassVar[int] = 2  # 12,345 is a number; with landmark, 00123 is 123

    profile: str = later("ropebench")
    key_line: str = later(KEY)
    question: str = later(QUESTION)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile not in PROFILES:
            raise ValueError(f"passkey: profile is one of {', '.join(PROFILES)}, got {self.profile!r}")
        if "{key}" not in self.key_line:
            raise ValueError(f"passkey: key_line must hold {{key}}, got {self.key_line!r}")

    @property
    def scoring(self) -> str:
        return "tasks.passkey:score_landmark" if self.profile == "landmark" else "tasks.passkey:score"

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        control, key_line, question = self.control, self.key_line, self.question
        if self.profile == "landmark":
            return landmark_prompt(rng, budget, count, control=control, key_line=key_line, question=question)
        return passkey_prompt(rng, budget, count, depth=depth, control=control, key_line=key_line, question=question)
