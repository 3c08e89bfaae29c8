"""RULERv2's twelve rows, as NVIDIA-NeMo/Skills makes them (nemo_skills/dataset/ruler2), to the byte.

Several keys (mk_niah), several values (mv_niah) and questions (qa), each basic, easy, medium and hard. The basic
needle rows hide needles among needles: `mk_niah_basic` asks for one value of ten digits, `mv_niah_basic` for the four
values of a key, where every other key has four values too. The other needle rows hide questions of MMLU, the qa rows
documents of HotpotQA; both are read from files (see `tasks.rulerv2.data`). A mean over a part of the rows is no score
of RULERv2's.

Same tokenizer, word lists, files and seed give the same prompts as theirs: all samples come from one random stream,
whose beginning the search for the size takes. Deviations: their length counts the prompt alone, ours the tokens that
stand before it and the new ones too; 100 samples as there, and never more of MMLU; the new tokens are ours, as they
leave them to whoever runs it; HotpotQA's documents stand in file order before they are drawn, theirs in the order of a
Python set, which changes from run to run. They ask chat models: `chat: model`. The wording of the basic rows is
RULER's, read from lm_eval.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tasks import text
from tasks.answers import PromptTask
from tasks.base import LM, Row, Tokenizer, later, unknown
from tasks.rulerv2 import data
from tasks.rulerv2.choices import Choices
from tasks.rulerv2.documents import ManyDocuments
from tasks.rulerv2.fitting import Stream, fitted
from tasks.rulerv2.needles import BasicNeedles
from tasks.scoring import named
from tasks.token_counts import counts_of

SUITE = "rulerv2"
FIRST_SEED = 42
VALUES = {"mk_niah_basic": 1, "mv_niah_basic": 4}  # of a key


@dataclass(frozen=True)
class SecondRow:
    """What a row scores by, its budget of new tokens, and the data that it reads."""

    scoring: str
    new_tokens: int
    data: str = ""
    category: str = "retrieval"


# New tokens are our choice: room to copy one question (512) or several, or documents (1,024), a letter or a number.
ROWS = {
    "mk_niah_basic": SecondRow("tasks.ruler.scoring:match_all", 128),
    "mk_niah_easy": SecondRow("tasks.rulerv2.scoring:copied", 512, "mmlu"),
    "mk_niah_medium": SecondRow("tasks.rulerv2.scoring:chosen", 512, "mmlu"),
    "mk_niah_hard": SecondRow("tasks.rulerv2.scoring:chosen", 128, "mmlu"),
    "mv_niah_basic": SecondRow("tasks.ruler.scoring:match_all", 128),
    "mv_niah_easy": SecondRow("tasks.rulerv2.scoring:copied", 1024, "mmlu"),
    "mv_niah_medium": SecondRow("tasks.rulerv2.scoring:copied_last", 1024, "mmlu"),
    "mv_niah_hard": SecondRow("tasks.rulerv2.scoring:copied", 512, "mmlu"),
    "qa_basic": SecondRow("tasks.rulerv2.scoring:answered", 32, "hotpotqa", "qa"),
    "qa_easy": SecondRow("tasks.rulerv2.scoring:answered", 32, "hotpotqa", "qa"),
    "qa_medium": SecondRow("tasks.rulerv2.scoring:answered", 1024, "hotpotqa", "qa"),
    "qa_hard": SecondRow("tasks.rulerv2.scoring:answered", 128, "hotpotqa", "qa"),
}


@dataclass(frozen=True, kw_only=True)
class RulerSecond(PromptTask):
    """One of the rows. `folder` is that of its own data, as `make` finds it."""

    default_samples: ClassVar[int] = 100

    row: str = "mk_niah_basic"
    folder: str = later("")

    @property
    def name(self) -> str:
        return f"{SUITE}/{self.row}"

    @property
    def kind(self) -> SecondRow:
        return ROWS[self.row]

    @property
    def new_tokens(self) -> int:  # type: ignore[override]
        return self.kind.new_tokens

    @property
    def category(self) -> str:  # type: ignore[override]
        return self.kind.category

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """Whether another seed asks other questions: those about documents stay the same."""
        return self.kind.data != "hotpotqa"

    @property
    def scoring(self) -> str:
        return self.kind.scoring

    @property
    def missing(self) -> str:  # type: ignore[override]
        """What the row lacks on this machine, with the remedy; "" when it can run."""
        return "" if self.folder or not self.kind.data else data.missing(self.name, self.kind.data)

    def stream(self, seed: int) -> Stream:
        """All prompts of a run. Raises ValueError where the data are not here or not of their shape."""
        if self.missing:
            raise ValueError(self.missing)
        rng = random.Random(FIRST_SEED + seed)
        if self.kind.data == "mmlu":
            return Choices(self.row, *data.mmlu(self.folder), rng)
        if self.kind.data == "hotpotqa":
            return ManyDocuments(self.row, *data.hotpot(self.folder), rng)
        return BasicNeedles(VALUES[self.row], rng)

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        room = length - self.new_tokens - lm.added_tokens
        yield from fitted(self.stream(seed), room, counts_of(lm).whole, samples)

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        rule = named(self.scoring)

        def score(said: str, asked: text.Sample) -> float:
            return float(rule(said, asked.references))

        return text.answer_rows(lm, prompts, self.new_tokens, score, length)


def names() -> list[str]:
    return [f"{SUITE}/{row}" for row in ROWS]


def make(name: str, *, folder: str = "", **parameters: Any) -> RulerSecond:
    """A row by its name. `folder` has the folders mmlu and hotpotqa, and is for the rows that read them.

    Raises ValueError for an unknown name or parameter, and for a folder without the row's files.
    """
    if name not in names():
        raise ValueError(unknown("test", name, names()))
    if parameters:
        raise ValueError(f"{name} has no parameters but folder, got {', '.join(sorted(parameters))}")
    if not isinstance(folder, str):
        raise ValueError(f"{name}: folder must be a text, got {folder!r}")
    row = name.partition("/")[2]
    kind = ROWS[row].data
    return RulerSecond(row=row, folder=data.found(name, kind, folder) if kind and folder else "")
