"""Stand-ins from the invented world for what RULER takes from elsewhere, for machines without a network.

They have the form of the originals and not their content, so their rows are named `+standin` and their scores are not
RULER's: fact names and stories of the pocket world instead of essays, articles and Wikipedia.
"""

import random
from collections.abc import Callable
from functools import cache

from tasks import text
from tasks.corpora import world
from tasks.ruler.exact.data import Library, Question
from tasks.ruler.exact.essays import Essay

ESSAY_WORDS = 130_000
ARTICLES, PARAGRAPHS = 500, 5  # of the stand-in for SQuAD
QUESTIONS, CONTEXT = 500, 10  # of the stand-in for HotpotQA
WORDS = 60_000


@cache
def essay(repeats: bool) -> Essay:
    """Stories, split at full stops."""
    rng = random.Random("ruler standin essay")
    words: list[str] = []
    while len(words) < ESSAY_WORDS:
        words += world.story(rng).split()
    return Essay(words, lambda string: [sentence[1:] for sentence in text.sentences([string])], repeats)


@cache
def library(kind: str) -> Library:
    """Dossiers of the world among stories: one hop for `qa_1`, two for `qa_2`."""
    return _one_hop() if kind == "qa_1" else _two_hops()


def _names(rng: random.Random) -> Callable[[random.Random], str]:
    taken: set[str] = set()

    def name(_: random.Random) -> str:
        while True:
            drawn = text.draw(rng, world.new_name, 1, held_out=True)[0]
            if drawn not in taken:
                taken.add(drawn)
                return drawn

    return name


def _one_hop() -> Library:
    rng = random.Random("ruler standin one hop")
    name = _names(rng)
    documents: list[str] = []
    questions: list[Question] = []
    for article in range(ARTICLES):
        first = article * PARAGRAPHS
        for i in range(PARAGRAPHS):
            asked = world.dossier(rng, 1, name)
            documents.append(f"{asked.gold[0]} {world.story(rng)}")
            if i == 0:
                more = tuple(range(first + 1, first + PARAGRAPHS))
                questions.append(Question(asked.question, (asked.answer,), (first,), more, (first,)))
    return Library(tuple(questions), tuple(documents))


def _two_hops() -> Library:
    rng = random.Random("ruler standin two hops")
    name = _names(rng)
    documents: list[str] = []
    questions: list[Question] = []
    for _ in range(QUESTIONS):
        asked = world.dossier(rng, 2, name)
        own = [*asked.gold, *(world.filler_document(rng, 2, name) for _ in range(CONTEXT - len(asked.gold)))]
        first = len(documents)
        documents += [f"{document} {world.ending(rng, rng.choice(world.people()).name)}" for document in own]
        places = tuple(range(first, first + CONTEXT))
        questions.append(Question(asked.question, (asked.answer,), places, (), places[: len(asked.gold)]))
    return Library(tuple(questions), tuple(documents))


@cache
def more_words() -> list[str]:
    """Invented words in place of the long English list."""
    rng = random.Random("ruler standin words")
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words[(world.new_name(rng) + world.new_name(rng)).lower()] = None
    return list(words)
