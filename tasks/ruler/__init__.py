"""RULER's 13 tasks (arXiv:2404.06654): exactly as NVIDIA makes them (see `exact`), and in a profile of our own.

`ruler-pocket` is for models with a window of 512 tokens.
The wording is RULER's own (main, c3f5e3b), read from the installed lm_eval. What the profile changes, and nothing else:

| task | RULER | ruler-pocket |
|---|---|---|
| all | prompt fitted in steps, one size for all samples | every sample fitted as closely as whole units allow |
| niah | 128 new tokens | 16 for one number, 48 for a uuid or four numbers |
| niah essay | Paul Graham's essays | stories of the invented world |
| vt | worked example of 500 tokens | worked example without noise lines (about 130 tokens) |
| cwe | worked example; words 30 and 3 times | words 5 times and once, and more often where they run out |
| cwe | 120 new tokens | 64 new tokens; no worked example |
| fwe | 50 new tokens | 24 new tokens |
| qa | SQuAD and HotpotQA, 32 new tokens | one-hop and two-hop questions over the invented world, 12 new tokens |
| all | seed 42 | own seeds; keys and values from the half that training never sees |
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks import text
from tasks.answers import PromptTask
from tasks.base import LM, Row, Task, Tokenizer, unknown
from tasks.ruler import counting, exact, niah, qa, scoring, tracking

Make = Callable[..., text.Sample]


@dataclass(frozen=True)
class RulerRow:
    """One task of the suite: its generator, what it is made of, its category and its budget of new tokens."""

    make: Make
    parameters: Any
    category: str
    new_tokens: int
    score: Callable[[str, tuple[str, ...]], float] = scoring.match_all
    # tokens from which on its version is 2: words or documents ran out there, and prompts were shorter than named
    ran_out: int | None = None


ONE, MANY = 16, 48  # new tokens for one number, for four numbers or a uuid

ROWS: dict[str, RulerRow] = {
    "niah_single_1": RulerRow(niah.sample, niah.Niah("noise"), "retrieval", ONE),
    "niah_single_2": RulerRow(niah.sample, niah.Niah("essay"), "retrieval", ONE),
    "niah_single_3": RulerRow(niah.sample, niah.Niah("essay", values="uuids"), "retrieval", MANY),
    "niah_multikey_1": RulerRow(niah.sample, niah.Niah("essay", keys_hidden=4), "retrieval", ONE),
    "niah_multikey_2": RulerRow(niah.sample, niah.Niah("needle"), "retrieval", ONE),
    "niah_multikey_3": RulerRow(niah.sample, niah.Niah("needle", keys="uuids", values="uuids"), "retrieval", MANY),
    "niah_multivalue": RulerRow(niah.sample, niah.Niah("essay", values_per_key=4), "retrieval", MANY),
    "niah_multiquery": RulerRow(niah.sample, niah.Niah("essay", keys_asked=4), "retrieval", MANY),
    "vt": RulerRow(tracking.sample, tracking.Tracking(), "tracking", 30),
    "cwe": RulerRow(counting.common_words, counting.CommonWords(10, 5, 1), "counting", 64, ran_out=12_000),
    "fwe": RulerRow(counting.frequent_words, counting.FrequentWords(), "counting", 24),
    "qa_1": RulerRow(qa.sample, qa.DocumentQuestion(1), "qa", 12, scoring.match_part, 48_000),
    "qa_2": RulerRow(qa.sample, qa.DocumentQuestion(2), "qa", 12, scoring.match_part, 48_000),
}
PROFILE = "ruler-pocket"


@dataclass(frozen=True, kw_only=True)
class RulerPocket(PromptTask):
    """One row of the suite."""

    row: str

    @property
    def name(self) -> str:
        return f"{PROFILE}/{self.row}"

    def version_at(self, length: int) -> int:
        ran_out = ROWS[self.row].ran_out
        return 1 if ran_out is None or length < ran_out else 2

    @property
    def category(self) -> str:  # type: ignore[override]
        return ROWS[self.row].category

    @property
    def new_tokens(self) -> int:  # type: ignore[override]
        return ROWS[self.row].new_tokens

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        budget = length - self.new_tokens - lm.added_tokens
        return text.counted(lm, lambda i, count: sample(self.row, seed, i, budget, count), samples)

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        row = ROWS[self.row]
        return text.answer_rows(lm, prompts, row.new_tokens, lambda said, asked: row.score(said, asked.references))


def sample(name: str, seed: int, index: int, budget: int, count: text.TokenCount) -> text.Sample:
    """Sample `index` of a row: held-out keys and values, at most `budget` prompt tokens."""
    row = ROWS[name]
    rng = random.Random(f"{PROFILE}/{name}/{seed}/{index}")
    return row.make(row.parameters, rng, budget, count)


def names() -> list[str]:
    return [f"{PROFILE}/{row}" for row in ROWS] + exact.names()


def make(name: str, **parameters: Any) -> Task:
    """A test by its name, `<profile>/<row>`. Raises ValueError for an unknown one or an unknown parameter."""
    if name in exact.names():
        for wrong in sorted(set(parameters) - set(exact.PARAMETERS)):
            raise ValueError(unknown(f"parameter of {name}", wrong, exact.PARAMETERS))
        return exact.make(name, **parameters)
    profile, _, row = name.partition("/")
    if profile != PROFILE or row not in ROWS:
        raise ValueError(unknown("test", name, names()))
    if parameters:
        raise ValueError(f"{name} has no parameters, got {', '.join(sorted(parameters))}")
    return RulerPocket(row=row)
