"""A small invented world: people, places, facts, stories, dialogues and questions about them.

It stands in for essays, encyclopaedias and quizzes where nothing may be downloaded. The facts are fixed (100 people
with six facts each) and told in several wordings; stories are drawn without end from a generator. Names in document
questions are drawn anew for every sample, so that an answer can only come from the documents.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from tasks.corpora.words import for_training

TOWNS = (
    "Tolvik Brenna Marrow Oskel Quillan Dunmere Halvard Ferrin Solace Wexham Pellow Ravensford Lindell Kestrel "
    "Ombra Tarn Vellin Yarrow Zennor Cobble"
).split()
JOBS = (
    "baker teacher sailor farmer doctor painter smith hunter weaver gardener judge miller cook tailor potter guard "
    "writer carpenter shepherd fisher"
).split()
PETS = "cat dog horse goat parrot rabbit fox owl duck turtle pony raven".split()
FOODS = "bread soup cheese apples fish rice honey beans cake plums eggs mushrooms".split()
INSTRUMENTS = "flute drum violin harp guitar horn piano fiddle whistle lute".split()
RELATIONS = "sister brother teacher neighbour".split()
COLOURS = "red blue green yellow white black grey purple orange brown".split()
FILL = tuple(  # what the sentences of a story are filled with: (name, values, how many, bits of that number)
    (what, values, len(values), len(values).bit_length())
    for what, values in (
        ("town", TOWNS), ("food", FOODS), ("colour", COLOURS), ("pet", PETS), ("instrument", INSTRUMENTS), ("job", JOBS)
    )
)  # fmt: skip
ONSETS = "B D F G H J K L M N P R S T V W Z Br Dr Gr Kr Tr St".split()
VOWELS = "a e i o u".split()
MIDDLES = "l r n m s d v b k t".split()
ENDS = "a o n r s l i e k m".split()

# attribute: (values, ways to say it, question). The first way to say it is the one that completes an answer.
FACTS: dict[str, tuple[list[str], tuple[str, ...], str]] = {
    "town": (
        TOWNS,
        (
            "{name} lives in {value}",
            "the home of {name} is {value}",
            "{name} has a house in {value}",
            "the town where {name} lives is {value}",
        ),
        "Where does {name} live?",
    ),
    "job": (
        JOBS,
        (
            "{name} works as a {value}",
            "the work of {name} is that of a {value}",
            "{name} earns money as a {value}",
            "everybody knows {name} the {value}",
        ),
        "What does {name} work as?",
    ),
    "pet": (
        PETS,
        (
            "{name} has a {value}",
            "the pet of {name} is a {value}",
            "{name} feeds a {value} every day",
            "at the side of {name} walks a {value}",
        ),
        "What pet does {name} have?",
    ),
    "food": (
        FOODS,
        (
            "{name} likes to eat {value}",
            "the best food for {name} is {value}",
            "{name} often asks for {value}",
            "on the table of {name} there is always {value}",
        ),
        "What does {name} like to eat?",
    ),
    "instrument": (
        INSTRUMENTS,
        (
            "{name} plays the {value}",
            "the instrument of {name} is the {value}",
            "in the evening {name} takes the {value}",
            "{name} learned to play the {value}",
        ),
        "Which instrument does {name} play?",
    ),
    "colour": (
        COLOURS,
        (
            "the favourite colour of {name} is {value}",
            "{name} likes the colour {value}",
            "{name} paints every door {value}",
            "the coat of {name} is {value}",
        ),
        "What is the favourite colour of {name}?",
    ),
}

# what follows from what: a beginning and the only ending that fits. Told by anybody, in several frames.
ENDINGS: tuple[tuple[str, str], ...] = (
    ("cut the loaf with a", "knife"),
    ("opened the lock with a", "key"),
    ("rowed over the lake in a", "boat"),
    ("wrote a letter with a", "pen"),
    ("hit the nail with a", "hammer"),
    ("swept the floor with a", "broom"),
    ("ate the soup with a", "spoon"),
    ("climbed up the wall on a", "ladder"),
    ("lit the dark room with a", "lamp"),
    ("caught the fish in a", "net"),
    ("carried the water in a", "bucket"),
    ("dug a hole with a", "spade"),
    ("read a tale in a", "book"),
    ("slept all night in a", "bed"),
    ("drank hot tea from a", "cup"),
    ("saw her own face in a", "mirror"),
    ("told the hour from a", "clock"),
    ("sewed the shirt with a", "needle"),
    ("cut the wood with an", "axe"),
    ("stood dry in the rain under an", "umbrella"),
    ("shot the arrow with a", "bow"),
    ("baked the pie in an", "oven"),
    ("paid the bill with a", "coin"),
    ("rang at noon the big", "bell"),
    ("crossed the river on the", "bridge"),
    ("bought fresh plums at the", "market"),
    ("prayed quietly in the", "temple"),
    ("ground the corn in the", "mill"),
    ("took the train at the", "station"),
    ("watched the play in the", "theatre"),
    ("milked the cow in the", "barn"),
    ("picked ripe apples in the", "orchard"),
    ("looked for shells on the", "beach"),
    ("skied down the snowy", "mountain"),
    ("borrowed a novel from the", "library"),
    ("fed the bees at the", "hive"),
    ("combed her hair with a", "comb"),
    ("weighed the flour on a", "scale"),
    ("dried her hands on a", "towel"),
    ("tied the sack with a", "rope"),
)
TIMES = (
    "One morning|Late in the day|On a cold night|In the spring|After the storm|At noon|Before sunrise|That winter|"
    "On market day|Many years ago|The next day|When the bells rang|In the first week of autumn|On the last day of May"
).split("|")
WEATHER = (
    "rain fell on the roofs|the wind came from the sea|snow lay on the road|the sun was warm|fog hid the hills|"
    "the river was high|the sky was full of stars|dry leaves blew along the street|the air smelled of smoke"
).split("|")
DEEDS = (
    "walked to {town} with {friend}|met {friend} at the gate|asked {friend} for help|sold a basket of {food} to "
    "{friend}|lost a {colour} hat near the well|heard the {instrument} from far away|waited for {friend} in {town}|"
    "found a {colour} stone by the road|told {friend} an old tale|looked for the {pet} behind the house|"
    "shared some {food} with {friend}|went home without a word|laughed and sang with {friend}|"
    "sent a letter to {friend} in {town}|dreamed of a ship with {colour} sails|carried a heavy box to {town}|"
    "saw a {colour} light in the tower|gave the {pet} some {food}|promised to come back soon|"
    "counted the boats in the harbour|repaired the old {instrument}|slept under a tree near {town}"
).split("|")
THOUGHTS = (
    "Nobody in {town} believed it.|It was a long way.|The children listened.|That was enough for one day.|"
    "Soon all of {town} knew.|The {pet} followed slowly.|There was still some {food} left.|They never spoke of it "
    "again.|In {town} such things happen often.|The old people nodded.|A {colour} flag hung over the door.|"
    "Someone played the {instrument}.|Then the lamps went out.|The road to {town} was empty."
).split("|")
SAYINGS = (
    "Have you seen my {pet}?|Come to {town} with me.|I would like some {food}.|Who plays the {instrument} there?|"
    "I painted the door {colour}.|It is late, let us go.|You are right.|I do not think so.|Ask the {job}.|"
    "We need a good {job} in {town}.|The {pet} is asleep.|Is there any {food} left?|That is a fine {instrument}."
).split("|")
FRAMES = ("{name} {start} {end}.", "{time} {name} {start} {end}.", "{time}, in {town}, {name} {start} {end}.")


def new_name(rng: random.Random) -> str:
    """A name of two or three syllables; there are some forty thousand."""
    middle = "".join(rng.choice(MIDDLES) + rng.choice(VOWELS) for _ in range(rng.choice((1, 1, 2))))
    return rng.choice(ONSETS) + rng.choice(VOWELS) + middle + rng.choice(ENDS)


def strangers(rng: random.Random, count: int, held_out: bool = True) -> list[str]:
    """Different names that no inhabitant has, from the half that training never sees (or from the other)."""
    residents = {person.name for person in people()}
    names: dict[str, None] = {}
    while len(names) < count:
        name = new_name(rng)
        if name not in residents and for_training(name) != held_out:
            names[name] = None
    return list(names)


@dataclass(frozen=True)
class Person:
    name: str
    facts: tuple[tuple[str, str], ...]  # (attribute, value)


@cache
def people() -> tuple[Person, ...]:
    """The 100 inhabitants; the same on every machine."""
    rng = random.Random("ropebench world")
    names: dict[str, None] = {}
    while len(names) < 100:
        name = new_name(rng)
        if name not in TOWNS:
            names[name] = None
    return tuple(
        Person(name, tuple((attribute, rng.choice(values)) for attribute, (values, _, _) in FACTS.items()))
        for name in names
    )


def fact(rng: random.Random, person: Person) -> str:
    """One fact of one person in one of its wordings, as a sentence."""
    attribute, value = rng.choice(person.facts)
    return told(rng, person.name, attribute, value)


def told(rng: random.Random, name: str, attribute: str, value: str) -> str:
    """A fact in one of its wordings, as a sentence."""
    return capital(rng.choice(FACTS[attribute][1]).format(name=name, value=value)) + "."


def capital(words: str) -> str:
    return words[0].upper() + words[1:]


def portrait(rng: random.Random) -> str:
    """All facts of one person, in random order and wording."""
    person = rng.choice(people())
    facts = rng.sample(person.facts, len(person.facts))
    return " ".join(told(rng, person.name, attribute, value) for attribute, value in facts)


def story(rng: random.Random) -> str:
    """One paragraph of 60 to 120 words: two or three people, what they did, what they said, a fact or two."""
    cast = rng.sample(people(), 3)
    sentences = [f"{rng.choice(TIMES)} {rng.choice(WEATHER)}."]
    for _ in range(rng.randrange(6, 10)):
        who, friend = _two_of_three(rng, cast)
        fill = {"name": who.name, "friend": friend.name}
        for what, values, size, bits in FILL:  # rng.choice(values) without its two calls, which were half the time
            drawn = rng.getrandbits(bits)
            while drawn >= size:
                drawn = rng.getrandbits(bits)
            fill[what] = values[drawn]
        kind = rng.random()
        if kind < 0.45:
            sentences.append(f"{who.name} " + rng.choice(DEEDS).format(**fill) + ".")
        elif kind < 0.6:
            sentences.append(rng.choice(THOUGHTS).format(**fill))
        elif kind < 0.75:
            sentences.append(f"'{rng.choice(SAYINGS).format(**fill)}' said {who.name}.")
        elif kind < 0.9:
            sentences.append(fact(rng, who))
        else:
            sentences.append(ending(rng, who.name))
    return " ".join(sentences)


def _two_of_three(rng: random.Random, three: list[Person]) -> tuple[Person, Person]:
    """rng.sample(three, 2), draw by draw: a place among three, then one among the two that are left."""
    first = rng.getrandbits(2)
    while first == 3:
        first = rng.getrandbits(2)
    second = rng.getrandbits(2)
    while second >= 2:
        second = rng.getrandbits(2)
    return three[first], three[2 if second == first else second]


def ending(rng: random.Random, name: str) -> str:
    """A sentence whose last word follows from its beginning."""
    start, end = rng.choice(ENDINGS)
    return rng.choice(FRAMES).format(name=name, start=start, end=end, time=rng.choice(TIMES), town=rng.choice(TOWNS))


def documents(seed: str) -> Iterator[str]:
    """Paragraphs without end; a seed that begins with another word gives another text."""
    rng = random.Random(seed)
    while True:
        yield story(rng)


# Questions. Every question is on one side of the split by its own text; evaluation asks only held-out ones.


def fact_questions(count: int, held_out: bool = True, seed: str = "facts") -> list[dict[str, object]]:
    """Closed-book questions with four choices; what completes the sentence after 'Answer:' is the choice."""
    rng = random.Random(seed)
    return _some(rng, [choices(rng, *asked) for asked in fact_prompts(held_out)], count)


@cache
def fact_prompts(held_out: bool) -> list[tuple[str, str, list[str]]]:
    """(question with the beginning of its answer, right choice, wrong choices) for every fact of one half."""
    found = []
    for person in people():
        for attribute, value in person.facts:
            values, ways, question = FACTS[attribute]
            asked = question.format(name=person.name)
            if for_training(asked) != held_out:
                lead = ways[0].split("{value}")[0].format(name=person.name).strip()
                prompt = f"Question: {asked}\nAnswer: {capital(lead)}"
                found.append((prompt, value, [other for other in values if other != value]))
    return found


def cloze_questions(count: int, held_out: bool = True, seed: str = "cloze") -> list[dict[str, object]]:
    """A sentence without its last word and four endings; people, times and towns are new combinations."""
    rng = random.Random(seed)
    ends = [end for _, end in ENDINGS]
    found: dict[str, dict[str, object]] = {}
    while len(found) < count:
        start, end = rng.choice(ENDINGS)
        prompt = rng.choice(FRAMES[1:]).format(
            name=rng.choice(people()).name, start=start, end="", time=rng.choice(TIMES), town=rng.choice(TOWNS)
        )
        prompt = prompt.rstrip(" .")
        if for_training(prompt) != held_out:
            found[prompt] = choices(rng, prompt, end, [other for other in ends if other != end])
    return list(found.values())


def arithmetic_question(rng: random.Random) -> tuple[str, str]:
    """(question, answer): sums and differences up to 99, products of one digit."""
    kind = rng.choice(("plus", "plus", "minus", "minus", "times"))
    if kind == "times":
        a, b = rng.randrange(2, 10), rng.randrange(2, 10)
        return f"What is {a} times {b}?", str(a * b)
    a, b = rng.randrange(1, 100), rng.randrange(1, 100)
    if kind == "plus":
        return f"What is {a} plus {b}?", str(a + b)
    return f"What is {max(a, b)} minus {min(a, b)}?", str(max(a, b) - min(a, b))


def arithmetic_questions(count: int, held_out: bool = True, seed: str = "arithmetic") -> list[dict[str, str]]:
    """Generated answers, matched exactly; the pairs of numbers are never seen in training."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    for _ in range(200 * count):
        question, answer = arithmetic_question(rng)
        if for_training(question) != held_out:
            found[question] = answer
        if len(found) == count:
            break
    return [{"question": f"Question: {question}\nAnswer:", "answer": answer} for question, answer in found.items()]


def choices(rng: random.Random, question: str, right: str, wrong: list[str]) -> dict[str, object]:
    """The right answer among three wrong ones, in random order."""
    shown = [right, *rng.sample(wrong, 3)]
    rng.shuffle(shown)
    return {"question": question, "choices": shown, "answer": shown.index(right)}


def _some(rng: random.Random, found: list[dict[str, object]], count: int) -> list[dict[str, object]]:
    if count > len(found):
        raise ValueError(f"the world holds {len(found)} such questions, {count} were asked for; ask for fewer")
    return rng.sample(found, count)


# Document questions: facts about people who exist in one sample only.


@dataclass(frozen=True)
class Dossier:
    """One document question: documents with the answer, more without, the question and its answer."""

    gold: tuple[str, ...]
    question: str
    answer: str


def dossier(rng: random.Random, hops: int, name: Callable[[random.Random], str]) -> Dossier:
    """A question over one document (`hops` 1) or two (2: a relative is named first, then asked about)."""
    who = name(rng)
    if hops == 1:
        attribute = rng.choice(list(FACTS))
        values, ways, question = FACTS[attribute]
        value = rng.choice(values)
        return Dossier((_document(rng, who, attribute, value),), question.format(name=who), value)
    relative, relation = name(rng), rng.choice(RELATIONS)
    attribute = rng.choice(("town", "job", "pet"))
    value = rng.choice(FACTS[attribute][0])
    question = {
        "town": f"Where does the {relation} of {who} live?",
        "job": f"What does the {relation} of {who} work as?",
        "pet": f"What pet does the {relation} of {who} have?",
    }[attribute]
    return Dossier(
        (f"The {relation} of {who} is {relative}.", _document(rng, relative, attribute, value)), question, value
    )


def filler_document(rng: random.Random, hops: int, name: Callable[[random.Random], str]) -> str:
    """A document of the same kinds about somebody else."""
    if hops == 2 and rng.random() < 0.4:
        relation = rng.choice(RELATIONS)
        return f"The {relation} of {name(rng)} is {name(rng)}."
    attribute = rng.choice(list(FACTS) if hops == 1 else ["town", "job", "pet"])
    return _document(rng, name(rng), attribute, rng.choice(FACTS[attribute][0]))


def _document(rng: random.Random, name: str, attribute: str, value: str) -> str:
    sentence = told(rng, name, attribute, value)
    aside = rng.choice(THOUGHTS).format(
        town=rng.choice(TOWNS), food=rng.choice(FOODS), colour=rng.choice(COLOURS), pet=rng.choice(PETS),
        instrument=rng.choice(INSTRUMENTS),
    )  # fmt: skip
    return f"{sentence} {aside}" if rng.random() < 0.5 else f"{aside} {sentence}"
