"""RULERv2's rows over MMLU: one question among many, to be copied or solved, by its number of seven digits.

The six rows are mk_niah and mv_niah, each easy, medium and hard. In mv_niah four questions have one number: all are to
be copied (easy), or the one of a rank, after all others (medium) or alone (hard).
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.rulerv2.data import Choice
from tasks.rulerv2.fitting import Drawn

RUN = 100  # samples; which questions a run asks depends on how many it has, so it is always NeMo-Skills' default
SHOTS = 5
SAME = 4  # questions with one number
COPY_ONE = (
    "Below are some questions. I will ask you to copy one of them. Please copy and paste the question you find.\n\n"
)
COPY_SOME = (
    "Below are some questions. I will ask you to copy some of them. Please copy and paste the questions you find.\n\n"
)
SOLVE = (
    "Below are some questions. I will ask you to solve one of them. Please solve the question you find and make sure "
    "to put the answer (and only answer) inside \\boxed\\{\\}.\n\n"
)
EXAMPLES = (
    "Here are some examples to help you understand the task:\n\n{examples}\n\n"
    "Here is the actual task you need to solve:\n\n"
)


@dataclass(frozen=True)
class Ask:
    """What a row says before the questions and after them."""

    opening: str
    problem: str
    same: int = 0  # questions with one number; 0: every number is drawn by itself
    example: str = ""  # of the five that are shown, after the problem
    solved: bool = False  # a letter is asked for, not the question
    every: bool = False  # all questions with the number are asked for


ASKS = {
    "mk_niah_easy": Ask(COPY_ONE, "Please copy the {order}Question {i} from the context."),
    "mk_niah_medium": Ask(
        SOLVE,
        "Please copy the Question {i} from the context and then solve it with an answer from A, B, C, D.",
        example="\nQuestion {i}: {question}\nSolution:{solution}",
        solved=True,
    ),
    "mk_niah_hard": Ask(
        SOLVE,
        "Please solve the Question {i} from the context with an answer from A, B, C, D.",
        example="\nSolution:{solution}",
        solved=True,
    ),
    "mv_niah_easy": Ask(COPY_SOME, "Please find and copy all the Question {i} from the context.", SAME, every=True),
    "mv_niah_medium": Ask(
        COPY_ONE,
        "Please first copy all the Question {i} from the context and then copy the {order}Question {i} at the end.",
        SAME,
    ),
    "mv_niah_hard": Ask(COPY_ONE, "Please copy the {order}Question {i} from the context.", SAME),
}


@dataclass
class Numbered:
    """A question in a prompt."""

    item: Choice
    number: str
    rank: int = 0  # among those with its number, from 1


class Choices:
    """All prompts of a run, drawn one after the other in the original's order."""

    step = 10  # questions

    def __init__(self, row: str, asked: tuple[Choice, ...], others: tuple[Choice, ...], rng: random.Random) -> None:
        self.ask, self.asked, self.others, self.rng = ASKS[row], asked, others, rng

    def order(self, samples: int) -> Iterable[int]:
        most = min(RUN, len(self.asked))
        if samples > most:
            raise ValueError(f"RULERv2's rows over MMLU have {most} samples here, got samples {samples}")
        return self.rng.sample(range(len(self.asked)), most)[:samples]

    def numbers(self, size: int) -> list[str]:
        """The numbers of that many questions, the one that is asked for last."""
        same = self.ask.same
        drawn = [number(self.rng) for _ in range(math.ceil(size / same) if same else size)] * max(1, same)
        self.rng.shuffle(drawn)
        return drawn[:size]

    def draw(self, size: int, index: int) -> Drawn:
        """A prompt that asks for question `index` among `size` others."""
        if self.ask.example and size < SHOTS:
            raise ValueError(f"{SHOTS} questions are shown as examples and {size} fit; use a larger length")
        repeats = max(1, math.ceil(size / len(self.others)))
        places = self.rng.sample(range(len(self.others) * repeats), size)
        *numbers, own = self.numbers(size + 1)
        context = [Numbered(self.others[place // repeats], drawn) for place, drawn in zip(places, numbers, strict=True)]
        self.rng.shuffle(context)
        shown = self.rng.sample(context, SHOTS) if self.ask.example else []
        wanted = Numbered(self.asked[index], own)
        context.insert(self.rng.randint(0, len(context)), wanted)
        counts: dict[str, int] = defaultdict(int)
        for one in context:
            counts[one.number] += 1
            one.rank = counts[one.number]
        lines = "\n\n".join(f"Question {one.number}: {one.item.question}" for one in context)
        examples = "\n\n".join(self.said(one, self.ask.problem + self.ask.example) for one in shown)
        prompt = f"{self.ask.opening}{lines}\n\n"
        if shown:
            prompt += EXAMPLES.format(examples=examples)
        prompt += self.said(wanted, self.ask.problem)
        answers = self.answers(wanted, context)
        return Drawn(prompt, answers, (f"Question {own}: {wanted.item.question}",))

    def said(self, one: Numbered, form: str) -> str:
        order = f"{ordinal(one.rank)} (1 indexed) " if self.ask.same else ""
        solution = f" \\boxed{{{one.item.answer}}}"
        return form.format(i=one.number, order=order, question=one.item.question, solution=solution)

    def answers(self, wanted: Numbered, context: list[Numbered]) -> tuple[str, ...]:
        if self.ask.solved:
            return (wanted.item.answer,)
        if self.ask.every:
            return tuple(one.item.question for one in context if one.number == wanted.number)
        return (wanted.item.question,)


def number(rng: random.Random) -> str:
    return str(rng.randint(10**6, 10**7 - 1))


def ordinal(rank: int) -> str:
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
