"""Facts in text: people walk about and carry things, told one sentence at a time all over a long text; where is it now?

After BABILong (arXiv:2406.10149), which spreads the tasks of bAbI (arXiv:1502.05698) over books. `hops` is its qa1 to
qa3: 1 where a person is (one supporting sentence), 2 where a thing is (who took it, where they went), 3 where a thing
was before. Deviations: our own small simulator, rooms, things and wording; distractor text from the invented world,
whose words for places and things are others; names from the half that training never sees; no worked example; the last
supporting sentence stands at stratified depths, all facts keep their order.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from tasks import text
from tasks.answers import AnswerTask, closed_book
from tasks.base import later
from tasks.corpora import world

OPENING = "Some sentences of this text tell, in order, where people go and what they carry."
PLACES = "kitchen cellar attic pantry chapel stable workshop nursery".split()
THINGS = "lantern compass ribbon goblet scroll medal".split()
SAID = {
    "move": ("{who} went to the {what}.", "{who} moved to the {what}.", "{who} returned to the {what}."),
    "take": ("{who} took the {what}.", "{who} picked up the {what}."),
    "drop": ("{who} put down the {what}.", "{who} left the {what} behind."),
}
QUESTIONS = {
    1: "Where is {asked} now? {asked} is in the",
    2: "Where is the {asked} now? The {asked} is in the",
    3: "Where was the {asked} before it was in the {now}? Before that, the {asked} was in the",
}


@dataclass(frozen=True)
class Event:
    who: str
    did: str  # move, take or drop
    what: str  # a place or a thing


@dataclass(frozen=True)
class Question:
    """What can be asked about a course of events; `supports` are the numbers of the events that the answer needs."""

    asked: str
    answer: str
    supports: tuple[int, ...]
    now: str = ""  # where the thing is at the end


def simulate(rng: random.Random, people: list[str], things: list[str], count: int) -> list[Event]:
    """`count` events: first everybody's place is known, nobody takes what is elsewhere, nobody goes where they are."""
    at: dict[str, str] = {}
    holder: dict[str, str] = {}
    lies: dict[str, str] = {}
    events: list[Event] = []
    while len(events) < count:
        who = rng.choice(people)
        here = at.get(who)
        held = [thing for thing in things if holder.get(thing) == who]
        free = [thing for thing in things if thing not in holder and lies.get(thing, here) == here]
        kind = rng.random()
        if here is not None and free and kind < 0.35:
            thing = rng.choice(free)
            holder[thing] = who
            events.append(Event(who, "take", thing))
        elif here is not None and held and kind < 0.5:
            thing = rng.choice(held)
            del holder[thing]
            lies[thing] = here
            events.append(Event(who, "drop", thing))
        else:
            at[who] = rng.choice([place for place in PLACES if place != here])
            events.append(Event(who, "move", at[who]))
    return events


def questions(events: list[Event], hops: int) -> list[Question]:
    """Every question that these events answer with exactly that many supporting events."""
    last_move: dict[str, int] = {}
    holder: dict[str, str] = {}
    stays: dict[str, list[tuple[str, frozenset[int]]]] = {}  # thing: places it was known to be in, with their supports
    taken: dict[str, int] = {}
    for i, event in enumerate(events):
        if event.did == "move":
            last_move[event.who] = i
            for thing in (thing for thing, who in holder.items() if who == event.who):
                stays[thing].append((event.what, frozenset({taken[thing], i})))
        elif event.did == "take":
            holder[event.what], taken[event.what] = event.who, i
            place = events[last_move[event.who]].what
            if not stays.setdefault(event.what, []):
                stays[event.what].append((place, frozenset({i, last_move[event.who]})))
        else:
            del holder[event.what]
    if hops == 1:
        return [Question(who, events[i].what, (i,)) for who, i in last_move.items()]
    found = []
    for thing, known in stays.items():
        place, supports = known[-1]
        if hops == 2:
            found.append(Question(thing, place, tuple(sorted(supports))))
        elif len(known) > 1 and [other for other, _ in known].count(place) == 1:
            before, more = known[-2]
            found.append(Question(thing, before, tuple(sorted(supports | more)), place))
    return [question for question in found if len(question.supports) == hops]


def score(generation: str, sample: text.Sample) -> float:
    """1 when the first place that the answer names is the right one, else 0."""
    return float(text.first_of(generation, PLACES) == sample.references[0])


@dataclass(frozen=True, kw_only=True)
class FactsInText(AnswerTask):
    """`facts` sentences about `people` persons stand in the text; `hops` of them are needed for the answer."""

    new_tokens: ClassVar[int] = 8
    measures: ClassVar[str] = "tracking"

    hops: int = 1
    facts: int = 8
    people: int = 3
    folder: str = later("")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hops not in QUESTIONS or not 6 <= self.facts <= 1000 or not 2 <= self.people <= 20:
            raise ValueError(
                "facts_in_text wants hops in 1 … 3, facts in 6 … 1000 and people in 2 … 20, got "
                f"{self.hops}, {self.facts} and {self.people}"
            )

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        events, asked = self._drawn(rng)
        told = [rng.choice(SAID[event.did]).format(who=event.who, what=event.what) for event in events]
        last = asked.supports[-1]
        depths = sorted(rng.uniform(0, depth) for _ in range(last))
        depths += [depth, *sorted(rng.uniform(depth, 1) for _ in range(len(events) - last - 1))]
        ending = QUESTIONS[self.hops].format(asked=asked.asked, now=asked.now)
        inserts = list(zip(depths, told, strict=True))
        if self.control == "no-needle":  # whoever the answer hangs on is in no sentence
            gone = {events[i].who for i in asked.supports} | {asked.asked}
            inserts = [one for one, event in zip(inserts, events, strict=True) if not {event.who, event.what} & gone]
        haystack = text.paragraphs(rng, self.folder)
        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            prompt = text.in_haystack(OPENING, inserts, ending, haystack, budget, count)
        extra = {} if self.control else {"depths": [round(depths[i], 4) for i in asked.supports]}
        others = tuple(place for place in PLACES if place != asked.answer)
        return text.Sample(prompt, (asked.answer,), count(prompt), depth, others, extra)

    def _drawn(self, rng: random.Random) -> tuple[list[Event], Question]:
        names = world.strangers(rng, self.people)
        for _ in range(1000):
            events = simulate(rng, names, THINGS, self.facts)
            found = questions(events, self.hops)
            if found:
                return events, rng.choice(found)
        raise ValueError(f"facts_in_text: {self.facts} facts hold no question with {self.hops} hops; use more facts")
