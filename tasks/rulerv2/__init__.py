"""The two rows of RULERv2 that need no data, as NVIDIA-NeMo/Skills makes them at 8779b75, to the byte.

RULERv2 (nemo_skills/dataset/ruler2) has twelve rows: several keys, several values and questions, each basic, easy,
medium and hard. The basic needle rows hide needles among needles: `mk_niah_basic` asks for one value of ten digits,
`mv_niah_basic` for the four values of a key, where every other key has four values too. The others wrap MMLU and
HotpotQA and are not here, so a mean over these two is no score of RULERv2's.

Same tokenizer, word lists and seed give the same prompts as theirs: all samples come from one random stream, whose
beginning the search for the size takes. Deviations: their length counts the prompt alone, ours the tokens that stand
before it and the new ones too, so that their length is ours less BOS and 128; 100 samples as there, 128 new tokens,
which they leave to whoever runs it. They ask chat models: `chat: model`. The wording is RULER's, read from lm_eval.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tasks import text
from tasks.answers import PromptTask
from tasks.base import LM, Row, Tokenizer, unknown
from tasks.ruler.exact.fitting import ATTEMPTS, head_size, too_long
from tasks.ruler.exact.keys import drawer
from tasks.ruler.scoring import match_all
from tasks.ruler.wording import wording
from tasks.token_counts import counts_of

SUITE = "rulerv2"
ROWS = {"mk_niah_basic": 1, "mv_niah_basic": 4}  # values of a key
FIRST_SEED = 42
DIGITS = 10
STEP = 5  # lines


@dataclass(frozen=True)
class Drawn:
    """One prompt with its right answers and the values of all other lines."""

    prompt: str
    answers: tuple[str, ...]
    others: frozenset[str]


class Stream:
    """All prompts of a run, drawn one after the other in the original's order."""

    def __init__(self, values: int, seed: int) -> None:
        self.values, self.rng = values, random.Random(seed)
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

    def draw(self, size: int) -> Drawn:
        """A prompt with `size` other lines."""
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
        return Drawn(prompt, tuple(answers), frozenset(value for _, value in pairs))


@dataclass(frozen=True, kw_only=True)
class RulerSecond(PromptTask):
    """One of the rows."""

    new_tokens: ClassVar[int] = 128
    default_samples: ClassVar[int] = 100

    row: str = "mk_niah_basic"

    @property
    def name(self) -> str:
        return f"{SUITE}/{self.row}"

    @property
    def scoring(self) -> str:
        return "tasks.ruler.scoring:match_all"

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        count, room = counts_of(lm).whole, length - self.new_tokens - lm.added_tokens
        stream = Stream(ROWS[self.row], FIRST_SEED + seed)
        size = head_size(lambda lines: count(stream.draw(lines).prompt), room, room, STEP)
        for _ in range(samples):
            yield fitting(stream, size, room, count)

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        def score(said: str, asked: text.Sample) -> float:
            return match_all(said, asked.references)

        return text.answer_rows(lm, prompts, self.new_tokens, score, length)


def fitting(stream: Stream, size: int, room: int, count: text.TokenCount) -> text.Sample:
    """The next sample: drawn again with a step less after each that is too long. Raises ValueError where none fits."""
    tokens = 0
    for _ in range(ATTEMPTS + size // STEP):
        drawn = stream.draw(size)
        tokens = count(drawn.prompt)
        if tokens <= room:
            depths = [round(drawn.prompt.index(answer) / len(drawn.prompt), 4) for answer in drawn.answers]
            extra: dict[str, Any] = {"depths": depths} if len(depths) > 1 else {}
            return text.Sample(drawn.prompt, drawn.answers, tokens, depths[0], extra=extra, values=drawn.others)
        if size <= STEP:
            break
        size -= STEP
    raise too_long(tokens, room)


def names() -> list[str]:
    return [f"{SUITE}/{row}" for row in ROWS]


def make(name: str, **parameters: Any) -> RulerSecond:
    """A row by its name. Raises ValueError for an unknown one, or a parameter: they have none."""
    if name not in names():
        raise ValueError(unknown("test", name, names()))
    if parameters:
        raise ValueError(f"{name} has no parameters, got {', '.join(sorted(parameters))}")
    return RulerSecond(row=name.partition("/")[2])
