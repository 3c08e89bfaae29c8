"""A needle whose question shares no word with it: only what the words mean leads from one to the other.

The idea is NoLiMa's (arXiv:2502.05167): where question and needle share no word, matching letters does not help. Its
needles and code are under a non-commercial licence and not used; ours say that somebody photographed some things
(tulips) and ask who has pictures of their kind (flowers). With `link: stated` another sentence of the text says which
kind the things are, so that no knowledge is needed, but two hops are. Other people photographed things of other kinds.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book, placed
from tasks.corpora import world

OPENING = "Read the text and keep in mind what it says about people."
NEEDLE = "For years {name} photographed {things}."
LINK = "All {things} are {kind}."
QUESTION = "Who has pictures of {kind}? Their owner is"
LINKS = ("known", "stated")
KINDS = {
    "flowers": ("tulips", "daisies", "lilies", "violets"),
    "insects": ("beetles", "moths", "wasps", "crickets"),
    "trees": ("oaks", "willows", "elms", "maples"),
    "vehicles": ("tractors", "trucks", "buses", "bicycles"),
    "weapons": ("swords", "daggers", "spears", "cannons"),
    "furniture": ("sofas", "armchairs", "wardrobes", "cupboards"),
    "gems": ("rubies", "emeralds", "sapphires", "opals"),
    "toys": ("dolls", "marbles", "kites", "puppets"),
    "clothes": ("gloves", "scarves", "jackets", "trousers"),
}


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first of the text's photographers that the answer names is the right one, else 0."""
    names = [*sample.references, *sample.extra.get("names", ())]
    return float(text.first_of(generation, names) == sample.references[0])


@dataclass(frozen=True, kw_only=True)
class UnmatchedNeedle(AnswerTask):
    """`needles` people and their kinds of things stand in the text, one is asked for; `link` is known or stated."""

    new_tokens: ClassVar[int] = 12

    needles: int = 4
    link: str = "known"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.needles <= len(KINDS) or self.link not in LINKS:
            raise ValueError(
                f"unmatched_needle wants needles in 1 … {len(KINDS)} and link {' or '.join(LINKS)}, got {self.needles} "
                f"and {self.link!r}"
            )

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        names = world.strangers(rng, self.needles)
        kinds = rng.sample(list(KINDS), self.needles)
        things = [rng.choice(KINDS[kind]) for kind in kinds]
        depths = [depth] + [rng.random() for _ in range(self.needles - 1)]
        inserts = [
            (at, NEEDLE.format(name=name, things=one)) for at, name, one in zip(depths, names, things, strict=True)
        ]
        links = [(rng.random(), LINK.format(things=one, kind=kind)) for one, kind in zip(things, kinds, strict=True)]
        haystack = text.paragraphs(rng)
        ending = QUESTION.format(kind=kinds[0])
        others: tuple[str, ...] = ()
        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            hidden = inserts[1:] if self.control else inserts
            others = tuple(names[1:])
            stated = links if self.link == "stated" else []
            prompt = text.in_haystack(OPENING, [*hidden, *stated], ending, haystack, budget, count)
        extra = {"names": list(others), **({} if self.control else placed(prompt, inserts[0][1]))}
        return text.Sample(prompt, (names[0],), count(prompt), depth, others, extra)
