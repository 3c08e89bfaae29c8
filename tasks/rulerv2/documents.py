"""RULERv2's rows over HotpotQA: a question or a text, and many documents, each with a number of seven digits.

qa_basic asks for the number of a text, qa_easy for the number of a document that helps with a question, qa_medium for
the answer after the documents, qa_hard for the answer alone.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.rulerv2.choices import number
from tasks.rulerv2.data import Asked
from tasks.rulerv2.fitting import Drawn

INDEX_OF_TEXT = (
    "Below are some documents. I will give you a text at the end. Please find the document index of the text. Only "
    "give me the index without any document contents.\n\n"
)
INDEX_OF_HELP = (
    "Below are some documents. I will give you a question at the end. Please find the index of the most relevant "
    "document that can help answer the question. Only give me the index without any document contents.\n\n"
)
ANSWER = (
    "Below are some documents. I will ask you to answer a question based on the documents. Please answer the "
    "question.\n\n"
)
COPY_FIRST = (
    "Please first find and copy paste the documents relevant to the following question and then answer it based on the "
    "documents you find.\n\nQuestion: {question}"
)
HELP = "Question: {question}\nIndex of the most relevant document that can help answer the question:"


@dataclass(frozen=True)
class Question:
    """What a row says before the documents and after them."""

    opening: str
    problem: str


QUESTIONS = {
    "qa_basic": Question(INDEX_OF_TEXT, "Text: {text}\nMost relevant document index:"),
    "qa_easy": Question(INDEX_OF_HELP, HELP),
    "qa_medium": Question(ANSWER, COPY_FIRST),
    "qa_hard": Question(ANSWER, "Please answer the following question based on the documents.\n\nQuestion: {question}"),
}


class ManyDocuments:
    """All prompts of a run, drawn one after the other in the original's order."""

    step = 5  # documents

    def __init__(self, row: str, asked: tuple[Asked, ...], others: tuple[str, ...], rng: random.Random) -> None:
        self.row, self.asked, self.others, self.rng = row, asked, others, rng

    def order(self, samples: int) -> Iterable[int]:
        if samples > len(self.asked):
            raise ValueError(f"rulerv2/{self.row}: the file has {len(self.asked)} questions, got samples {samples}")
        return range(samples)

    def draw(self, size: int, index: int) -> Drawn:
        """A prompt that asks question `index` over `size` documents and its own."""
        asked, rng = self.asked[index], self.rng
        gold = [(text, number(rng)) for text in asked.gold]
        more = [(text, number(rng)) for text in asked.more]
        remaining = len(self.others) - len({*asked.gold, *asked.more})
        if remaining <= 0:
            raise ValueError(f"rulerv2/{self.row}: the training file has no more documents than a question brings")
        repeats = max(1, math.ceil(size / remaining))
        places = rng.sample(range(len(self.others) * repeats), size)
        context = [(self.others[place // repeats], number(rng)) for place in places] + gold + more
        rng.shuffle(context)
        lines = "\n\n".join(f"Document {drawn}:\n{text}" for text, drawn in context)
        said = QUESTIONS[self.row]
        prompt = f"{said.opening}{lines}\n\n" + said.problem.format(text=gold[0][0], question=asked.question)
        targets = tuple(f"Document {drawn}:\n{text}" for text, drawn in gold)
        if self.row == "qa_basic":
            return Drawn(prompt, (gold[0][1],), targets[:1])
        answers = tuple(drawn for _, drawn in gold) if self.row == "qa_easy" else (asked.answer,)
        return Drawn(prompt, answers, targets)
