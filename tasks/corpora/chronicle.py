"""Chronicles of the invented world: long documents in which what was told early is needed again much later.

The stories of `world` are one paragraph each and have nothing to do with each other, so text that is made of them has
no use for far context: a model that sees the last 512 tokens has the lower loss. A chronicle is one story of any
length. People come into it one after the other, each with facts of their own, and facts are told again at distances
spread evenly over all scales, from the paragraph before to the beginning of the document. The value of a fact that is
told again can only be known from where it was told before: names are strangers and values are drawn.

Half of all names are never seen in training and searches, and the other half never in evaluation (`for_training`), so
no chronicle of one shares a fact with one of the other.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.corpora import world
from tasks.corpora.words import for_training

NEWCOMERS, DEEDS, AGAIN = 1, 1, 5  # in one paragraph: people with their facts, other sentences, facts told again
FACTS_EACH = 3
NEAREST = 150  # characters: about the shortest distance at which a fact is told again
SAME_WORDS = 0.7  # share of facts told again in the words that told them first
NUMBER = ("the number for {name} is: {value}", "the number {value} belongs to {name}")


@dataclass(frozen=True)
class Mention:
    """Where a paragraph says the value of a fact, in characters of the paragraph."""

    begin: int
    end: int
    fact: int  # numbered as the document first tells them


@dataclass(frozen=True)
class Paragraph:
    text: str  # without the line break that ends it
    mentions: tuple[Mention, ...]


@dataclass
class Fact:
    """Something about a person: ways to say it, with places for name and value, and where it was said last."""

    name: str
    what: str
    value: str
    ways: tuple[str, ...]
    way: int
    said: int  # characters from the document's beginning


def chronicle(rng: random.Random, held_out: bool) -> Iterator[Paragraph]:
    """Paragraphs without end; `held_out` chooses which half of all names they are about."""
    name = _names(rng, held_out)
    people = [name() for _ in range(3)]
    facts: list[Fact] = []
    length = 0
    while True:
        sentences = [f"{rng.choice(world.TIMES)} {rng.choice(world.WEATHER)}."]
        kinds = ["new"] * (NEWCOMERS * FACTS_EACH) + ["deed"] * DEEDS
        kinds += ["again"] * (AGAIN if facts else 0)
        rng.shuffle(kinds)
        people += [name() for _ in range(NEWCOMERS)]
        mentions = []
        for kind in kinds:
            before = sum(map(len, sentences)) + len(sentences)
            if kind == "deed":
                who, friend = rng.sample(people[-8:], 2)
                sentences.append(_deed(rng, who, friend))
                continue
            number = len(facts) if kind == "new" else _told_before(rng, facts, length + before)
            if kind == "new":
                facts.append(_fact(rng, facts, people))
            fact = facts[number]
            other = kind == "again" and rng.random() >= SAME_WORDS
            sentence, at = _said(fact, rng.randrange(len(fact.ways)) if other else fact.way)
            mentions.append(Mention(before + at, before + at + len(fact.value), number))
            fact.said = length + before
            sentences.append(sentence)
        paragraph = " ".join(sentences)
        length += len(paragraph) + 1
        yield Paragraph(paragraph, tuple(mentions))


def _names(rng: random.Random, held_out: bool) -> Callable[[], str]:
    """Draws people who appear nowhere else, each once."""
    seen = {person.name for person in world.people()} | set(world.TOWNS)

    def name() -> str:
        while (drawn := world.new_name(rng)) in seen or for_training(drawn) == held_out:
            if len(seen) > 15_000:  # of some twenty thousand in a half: a document of two million tokens
                seen.clear()
        seen.add(drawn)
        return drawn

    return name


def _fact(rng: random.Random, facts: list[Fact], people: list[str]) -> Fact:
    """Something new about one who came lately: whose relative they are, a number, or one of the world's facts."""
    known = {(fact.name, fact.what) for fact in facts[-100:]}
    while True:
        name, kind = rng.choice(people[-3:]), rng.random()
        ways: tuple[str, ...] = NUMBER
        if kind < 0.35:
            what = rng.choice(world.RELATIONS)
            ways = (f"the {what} of {{name}} is {{value}}",)
            value = rng.choice([other for other in people if other != name])
        elif kind < 0.6:
            what, value = "number", str(rng.randrange(1000, 10_000))
        else:
            what = rng.choice(list(world.FACTS))
            values, ways, _ = world.FACTS[what]
            value = rng.choice(values)
        if (name, what) not in known:
            return Fact(name, what, value, ways, rng.randrange(len(ways)), 0)


def _told_before(rng: random.Random, facts: list[Fact], here: int) -> int:
    """The number of the fact that was said nearest to a distance, drawn evenly over all scales up to the beginning."""
    wanted = math.exp(rng.uniform(math.log(NEAREST), math.log(max(here, NEAREST + 1))))
    return min(
        range(len(facts)), key=lambda number: (abs(math.log(max(here - facts[number].said, 1) / wanted)), number)
    )


def _said(fact: Fact, way: int) -> tuple[str, int]:
    """The fact as a sentence, and where in it the value begins."""
    before, _, after = fact.ways[way].partition("{value}")
    start = before.format(name=fact.name)
    return world.capital(start) + fact.value + after.format(name=fact.name) + ".", len(start)


def _deed(rng: random.Random, who: str, friend: str) -> str:
    fill = {what: rng.choice(values) for what, values, _, _ in world.FILL}
    return f"{who} {rng.choice(world.DEEDS).format(friend=friend, **fill)}."


@dataclass(frozen=True)
class Needed:
    """Tokens of a value that was said before: their places in the document, and how many tokens back it was."""

    begin: int
    end: int
    distance: int


def document(
    encode: Callable[[str], list[int]], name: str, tokens: int, held_out: bool
) -> tuple[str, list[int], list[Needed]]:
    """(text, its first `tokens` ids, what of them is said again) of the chronicle of that name.

    The ids are those of the paragraphs one after the other, so a longer document begins with every shorter one.
    """
    rng = random.Random(f"chronicle {name}")
    ids: list[int] = []
    told: list[str] = []
    needed: list[Needed] = []
    said: dict[int, int] = {}  # where a fact's value was said last, in tokens
    for paragraph in chronicle(rng, held_out):
        for mention in paragraph.mentions:
            begin = len(ids) + len(encode(paragraph.text[: mention.begin].rstrip()))
            end = len(ids) + len(encode(paragraph.text[: mention.end]))
            if mention.fact in said and begin < end <= tokens:
                needed.append(Needed(begin, end, begin - said[mention.fact]))
            said[mention.fact] = begin
        told.append(paragraph.text)
        ids += encode(paragraph.text + "\n")
        if len(ids) >= tokens:
            return "\n".join(told) + "\n", ids[:tokens], needed
    raise AssertionError  # a chronicle does not end
