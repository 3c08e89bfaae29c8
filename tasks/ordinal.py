"""Which of several equal things is meant by its number: the third reply to a request, the third code of a place.

In the manner of OpenAI's MRCR (after arXiv:2409.12640): in a conversation the same request comes several times and gets
another reply each time. One reply is asked for by its number, the answer has to begin with a random prefix, and the
score is difflib's ratio of what follows. Content alone finds all of them; only their order tells them apart. With
`form: record`, for small models, a text gives several codes to one place, one after the other, and the answer is a
number. Deviations from MRCR: own wording, short replies made of sentences of the invented world instead of a model's,
one text instead of a chat's turns, the number as a word, white space around prefix and reply ignored. In `record` there
is no prefix, and the first number of the answer counts.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from tasks import text
from tasks.answers import AnswerTask, closed_book, enough_units, placed
from tasks.needle import DIGITS, place_name

FORMS = ("conversation", "record")
NUMBERS = "first second third fourth fifth sixth seventh eighth".split()
SIGNS, SIGNS_OF_A_PREFIX = "abcdefghijkmnpqrstuvwxyz23456789", 6  # none that looks like another
KINDS = "poem letter riddle speech story note prayer song".split()
TOPICS = "rivers winter bread horses ships gold bees bridges rain friends clocks gardens".split()
WORDS_OF_A_SENTENCE = 5  # at least: shorter ones come again and again
TOKENS_OF_A_SENTENCE, TOKENS_OF_A_PREFIX, TOKENS_OF_A_CODE = 24, 16, 16  # budget of new tokens
TOKENS_OF_A_TURN = 12  # at least

OPENING = "This is a talk between a person and a writer. Some things are asked for more than once."
REQUEST = "Write a {kind} about {topic}."
TURN = "\n\nPerson: {request}\nWriter: {reply}"
QUESTION = (
    "Say again, word for word, the {number} {kind} about {topic} of this talk, and write {prefix} before it.\nAnswer:"
)
RECORD_OPENING = "Read the text. The secret code of a place may change."
RECORD = "The secret code of {place} is {code}."
RECORD_QUESTION = "What was the {number} secret code of {place}? The {number} secret code of {place} is"


def score(generation: str, sample: text.Sample) -> float:
    """MRCR's score: 0 without the prefix at the start, else difflib's ratio of the rest and the reply."""
    prefix, reply = sample.references
    said = generation.strip()
    if not said.startswith(prefix):
        return 0.0
    return SequenceMatcher(None, said.removeprefix(prefix).strip(), reply).ratio()


def score_record(generation: str, sample: text.Sample) -> float:
    """1 when the first number of the answer is the code, else 0."""
    return float(text.numbers(generation)[:1] == list(sample.references))


@dataclass(frozen=True)
class Turn:
    request: str
    reply: str

    def __str__(self) -> str:
        return TURN.format(request=self.request, reply=self.reply)


@dataclass(frozen=True, kw_only=True)
class Ordinal(AnswerTask):
    """`equal` things have the same name and one is asked for by its number; `form` is conversation or record.

    `sentences` is how long a reply of the conversation is. Whoever finds all equal things and takes any of them is
    right once in `equal` times; in a conversation a wrong reply earns a part of the score too, for letters that it
    shares with the right one.
    """

    form: str = "conversation"
    equal: int = 4
    sentences: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS or not 2 <= self.equal <= len(NUMBERS) or not 1 <= self.sentences <= 20:
            raise ValueError(
                f"ordinal wants form {' or '.join(FORMS)}, equal in 2 … {len(NUMBERS)} and sentences in 1 … 20, got "
                f"{self.form!r}, {self.equal} and {self.sentences}"
            )

    @property
    def new_tokens(self) -> int:  # type: ignore[override]
        if self.form == "record":
            return TOKENS_OF_A_CODE
        return TOKENS_OF_A_PREFIX + TOKENS_OF_A_SENTENCE * self.sentences

    @property
    def chance(self) -> float:  # type: ignore[override]
        return 1 / self.equal

    @property
    def scoring(self) -> str:
        return "tasks.ordinal:score_record" if self.form == "record" else "tasks.ordinal:score"

    def make(self, rng: random.Random, budget: int, count: text.TokenCount, depth: float) -> text.Sample:
        number = rng.randrange(self.equal)
        depths = sorted(rng.uniform(0, depth) for _ in range(number))
        depths += [depth, *sorted(rng.uniform(depth, 1) for _ in range(self.equal - number - 1))]
        make = self._record if self.form == "record" else self._conversation
        return make(rng, budget, count, depths, number)

    def _record(
        self, rng: random.Random, budget: int, count: text.TokenCount, depths: list[float], number: int
    ) -> text.Sample:
        place, other = text.draw(rng, place_name, 2, True)
        codes = text.draw(rng, text.number(DIGITS), self.equal + 1, True)
        told = [RECORD.format(place=place, code=code) for code in codes[:-1]]
        inserts = list(zip(depths, told, strict=True))
        if self.control:
            del inserts[number]
        inserts.append((rng.random(), RECORD.format(place=other, code=codes[-1])))
        ending = RECORD_QUESTION.format(number=NUMBERS[number], place=place)
        haystack = text.paragraphs(rng)
        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            prompt = text.in_haystack(RECORD_OPENING, inserts, ending, haystack, budget, count)
        return self._sample(prompt, (codes[number],), codes, told[number], depths, number, count)

    def _conversation(
        self, rng: random.Random, budget: int, count: text.TokenCount, depths: list[float], number: int
    ) -> text.Sample:
        kind, topic = rng.choice(KINDS), rng.choice(TOPICS)
        request = REQUEST.format(kind=kind, topic=topic)
        prefix = "".join(rng.choice(SIGNS) for _ in range(SIGNS_OF_A_PREFIX))
        replies: list[str] = []
        for reply in _replies(rng, self.sentences):
            if len(replies) == self.equal:
                break
            replies += [reply] if reply not in replies else []
        equal = list(zip(depths, [Turn(request, reply) for reply in replies], strict=True))
        if self.control:
            del equal[number]
        ending = QUESTION.format(number=NUMBERS[number], kind=kind, topic=topic, prefix=prefix)

        def build(others: Sequence[Turn]) -> str:
            turns = [*others]
            for at, turn in reversed(equal):
                turns.insert(round(at * len(others)), turn)
            return OPENING + "".join(map(str, turns)) + "\n\n" + ending

        if self.control == "closed-book":
            prompt = closed_book(ending, budget, count)
        else:
            others = _other_turns(random.Random(f"turns {rng.getrandbits(64)}"), request, {*replies}, self.sentences)
            said = enough_units(others, lambda some: "".join(map(str, some)), build, TOKENS_OF_A_TURN, budget, count)
            prompt = build(said)
        return self._sample(prompt, (prefix, replies[number]), replies, replies[number], depths, number, count)

    def _sample(
        self,
        prompt: str,
        references: tuple[str, ...],
        equal: list[str],
        target: str,
        depths: list[float],
        number: int,
        count: text.TokenCount,
    ) -> text.Sample:
        others = () if self.control == "closed-book" else tuple(one for one in equal if one != references[-1])
        extra = {"number": number + 1, **({} if self.control else placed(prompt, target))}
        return text.Sample(prompt, references, count(prompt), depths[number], others, extra)


def _replies(rng: random.Random, sentences: int) -> Iterator[str]:
    """Replies without end, each of so many sentences of the invented world."""
    told = (one.strip() for one in text.sentences(text.paragraphs(rng)))
    long = (one for one in told if len(one.split()) >= WORDS_OF_A_SENTENCE)
    while True:
        yield " ".join(next(long) for _ in range(sentences))


def _other_turns(rng: random.Random, request: str, taken: set[str], sentences: int) -> Iterator[Turn]:
    """Turns without end that ask for something else and are answered with none of the replies in `taken`."""
    replies = (reply for reply in _replies(rng, sentences) if reply not in taken)
    while True:
        other = REQUEST.format(kind=rng.choice(KINDS), topic=rng.choice(TOPICS))
        if other != request:
            yield Turn(other, next(replies))
