"""RULER's document questions as NVIDIA/RULER scripts/data/synthetic/qa.py makes them, draw by draw.

Questions are asked in the file's order. HEAD repeats the documents when there are too few; e40fae1 then takes all and
shuffles its own list of them, so that every later question finds other documents under its numbers.
"""

import random
from collections.abc import Iterator

from tasks.ruler.exact.data import Library, Question
from tasks.ruler.exact.fitting import Draft, MissingData, Setting, head_size, kept, paper_size, shuffled
from tasks.ruler.wording import wording

STEP = 10  # documents


class Documents:
    def __init__(self, setting: Setting, library: Library) -> None:
        self.setting, self.questions = setting, library.questions
        self.said = wording(setting.version)
        self.rng = random.Random(setting.random_seed)
        self.documents = list(library.documents)
        self.known = library.tokens.setdefault(setting.counts, {})

    def chosen(self, question: Question, size: int) -> list[str]:
        """The documents of one prompt, in their order."""
        gold, more, documents = list(question.context), list(question.more), self.documents
        if size < len(documents):
            if size - len(gold) > len(more):
                others = list(range(len(documents)))
                for place in sorted({*gold, *more}, reverse=True):
                    del others[place]
                places = gold + more + self.rng.sample(others, max(0, size - len(gold) - len(more)))
            else:
                places = gold + self.rng.sample(more, size - len(gold))
            taken = [documents[place] for place in places]
        elif self.setting.version == "head":
            taken = (documents * -(-size // len(documents)))[:size]
        else:
            taken = self.documents = shuffled(documents, self.setting.random_seed)
            return taken
        return shuffled(taken, self.setting.random_seed)

    def draft(self, index: int, size: int, with_answers: bool = False) -> Draft:
        if index >= len(self.questions):
            raise MissingData(f"the file holds {len(self.questions)} questions; ask for no more samples than that")
        question, template, said = self.questions[index], self.setting.template, self.said
        named = [self.documents[place] for place in question.gold]
        documents = self.chosen(question, size)

        def filled(documents: list[str]) -> str:
            context = "\n\n".join([said.qa_document.format(i=i, document=d) for i, d in enumerate(documents, start=1)])
            return template.format(context=context, query=question.query)

        left_out = 0
        if self.setting.additive:
            left_out = sum(self._tokens(document) for document in documents[1:])
            left_out += sum(self._number_tokens(i) for i in range(2, len(documents) + 1))
        ending = f" {list(question.outputs)}" if with_answers else ""
        tokens = self.setting.tokens(filled(documents[:1]), left_out, lambda: filled(documents), ending)
        return Draft(tokens, tokens, lambda: filled(documents), question.outputs, tuple(named))

    def _tokens(self, document: str) -> int:
        """Tokens of a document with its line and the empty line behind it, as number 0."""
        if document not in self.known:
            text = self.said.qa_document.format(i=0, document=document) + "\n\n"
            self.known[document] = self.setting.counts.after("x\n\n", text)
        return self.known[document]

    def _number_tokens(self, number: int) -> int:
        """How many tokens more the line of a document has than as number 0."""
        counts = self.setting.counts
        shown = "0" * len(str(number)) if counts.digits_alike else str(number)
        lines = [self.said.qa_document.format(i=i, document="") for i in (shown, 0)]
        return counts.line(lines[0]) - counts.line(lines[1])


def stream(setting: Setting, library: Library) -> Iterator[Draft]:
    """The samples in the order of the questions."""
    limit = setting.length - setting.new_tokens
    documents = Documents(setting, library)
    if setting.version == "head":
        size = head_size(lambda n: documents.draft(0, n).tokens, setting.length, limit, STEP)
    else:
        most = len(documents.documents)
        size = paper_size(lambda n: documents.draft(0, n, True).tokens, limit, STEP, most)
    for index in range(len(documents.questions)):
        yield kept(lambda n, index=index: documents.draft(index, n), size, STEP, limit)  # type: ignore[misc]
    documents.draft(len(documents.questions), size)
