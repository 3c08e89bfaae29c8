"""Pre-training data of the pocket models: sequences of pieces, each with the weight of its loss.

Formats are those of the tests, keys and values are from the half that evaluation never uses. The answer of a prompt
is tokenised apart from it, which is how it is met at evaluation: prompt first, then new tokens. After the first
answer more questions about the same text follow, because from one question per sequence nothing is learned.
"""

import random
import re
import string
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tasks import needle, passkey, text
from tasks.corpora import words, world
from tasks.ruler import counting, niah, tracking
from tasks.ruler.wording import wording

Piece = tuple[str, float]  # text, weight of the loss on its tokens
Pieces = list[Piece]
END = "<|end|>"
ANSWER, TEXT, COPIED, CONTEXT = 1.0, 0.3, 0.2, 0.03  # TEXT also for a key that is asked for: it is a copy


@dataclass(frozen=True)
class Asked:
    """How to ask for what stands in a text: pairs of (question with its lead-in, answer)."""

    question: str
    answer: str


def answered(prompt: str, answer: str, more: list[Asked]) -> Pieces:
    pieces: Pieces = [(prompt, CONTEXT), (answer + END, ANSWER)]
    for asked in more:
        pieces += [(asked.question, CONTEXT), (asked.answer + END, ANSWER)]
    return pieces


def listed(values: list[str]) -> str:
    """How several values are answered: a, b, c, and d."""
    return " " + (", ".join(values[:-1]) + ", and " + values[-1] if len(values) > 1 else values[0])


def needle_questions(prompt: str, kind: str, rng: random.Random) -> list[Asked]:
    """One question for every key that stands in the prompt, in random order."""
    task = niah.Niah("needle", values=kind)
    pattern = re.escape(niah.needle(task, "@", "#")).replace("@", r"(\S+)").replace("\\#", "#").replace("#", r"(\S+)")
    values: dict[str, list[str]] = {}
    for key, value in re.findall(pattern, prompt):
        values.setdefault(key, []).append(value)
    asked = []
    for key in rng.sample(list(values), len(values)):
        template, prefix = niah.questions(niah.Niah("needle", values=kind, values_per_key=len(values[key])), [key])
        asked.append(Asked(template.split("{context}")[1] + prefix, listed(values[key])))
    return asked


PAIR_LINES = (
    "{key} {value}\n",
    "{key}: {value}\n",
    "{key} is {value}.\n",
    "{key} is: {value}.\n",
    "The number for {key} is: {value}.\n",
)
PAIR_QUESTIONS = ("{key}", "{key}:", "{key} is", "{key} is:", "The number for {key} is")


def pairs(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Keys with short numbers, then the keys again: the step before needle lines.

    Key and value stand next to each other at first and move apart from form to form, words and whole needle lines
    last. The first digit is what has to be looked up; the others follow from copying and weigh little.
    """
    form = rng.randrange(len(PAIR_LINES) + 1)
    asking = form if rng.random() < 0.5 else rng.randrange(form + 1)
    needle_line = niah.needle(niah.Niah("needle"), "{key}", "{value}") + "\n"
    line = (*PAIR_LINES, needle_line)[form]
    question = (*PAIR_QUESTIONS, niah.questions(niah.Niah("needle"), ["{key}"])[1].strip())[asking]
    simple, digits = rng.random() < 0.5, rng.choice((1, 1, 2, 3))
    size = 2 * ((2 if simple else 6) + digits + 2) + (2, 4, 4, 6, 8, 13)[form] + (0, 1, 1, 2, 4, 10)[asking]
    held: dict[str, str] = {}
    while len(held) < max(2, min(16, budget // size)):
        key = rng.choice(words.words("noun")) if simple else text.draw(rng, niah.word_pair, 1, False)[0]
        held[key] = text.number(digits)(rng)
    pieces: Pieces = [("".join(line.format(key=key, value=value) for key, value in held.items()), CONTEXT)]
    for key in rng.sample(list(held), len(held)):
        pieces += [(question.format(key=key), TEXT), (" ", CONTEXT), (held[key][0], ANSWER)]
        pieces.append((held[key][1:] + END, COPIED))
    return pieces


def lines(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Only needle lines and short questions: where key matching is learned."""
    kind = "uuids" if rng.random() < 0.15 else "numbers"
    keys = "uuids" if rng.random() < 0.1 else "words"
    task = niah.Niah("needle", keys=keys, values=kind)
    held: dict[str, str] = {}
    used = 0
    while used < budget:
        key = text.draw(rng, niah.MAKERS[keys], 1, False)[0]
        held[key] = text.draw(rng, niah.MAKERS[kind], 1, False)[0]
        # a line and its short question: 26 to 32 tokens of wording, and key and value twice
        used += 28 + 2 * ((7 if keys == "words" else 28) + (7 if kind == "numbers" else 28))
    if len(held) > 1:
        held.popitem()
    pieces: Pieces = [("\n".join(niah.needle(task, key, value) for key, value in held.items()) + "\n", CONTEXT)]
    for key in rng.sample(list(held), len(held)):
        _, prefix = niah.questions(niah.Niah("needle", values=kind), [key])
        value = held[key]
        if kind == "numbers":  # as in pairs
            pieces += [(prefix, TEXT), (" ", CONTEXT), (value[0], ANSWER), (value[1:] + END, COPIED)]
        else:
            pieces += [(prefix, TEXT), (f" {value}{END}", ANSWER)]
    return pieces


RETRIEVAL = {"single": 1, "noise": 1, "uuid": 2, "multikey": 2, "lines": 3, "uuid lines": 3, "multivalue": 3,
             "multiquery": 3}  # fmt: skip


def retrieval(
    rng: random.Random,
    budget: int,
    count: text.TokenCount,
    kinds: tuple[str, ...] = tuple(RETRIEVAL),
    fewest: int = 2,
) -> Pieces:
    """The eight needle tasks of RULER, usually with more needles than the tests have."""
    kind = rng.choices(kinds, [RETRIEVAL[kind] for kind in kinds])[0]
    some = rng.randrange(1, 6) if budget > 200 else rng.randrange(1, 3)
    most = max(fewest, 4 if budget > 300 else 2)
    task = {
        "single": niah.Niah("essay", keys_hidden=some),
        "noise": niah.Niah("noise", keys_hidden=some),
        "uuid": niah.Niah("essay", values="uuids", keys_hidden=min(some, 3)),
        "multikey": niah.Niah("essay", keys_hidden=max(2, some)),
        "lines": niah.Niah("needle"),
        "uuid lines": niah.Niah("needle", keys="uuids", values="uuids"),
        "multivalue": niah.Niah("essay", values_per_key=rng.randrange(fewest, most + 1)),
        "multiquery": niah.Niah("essay", keys_asked=rng.randrange(fewest, most + 1)),
    }[kind]
    # leave room for more questions: nearly half of the sequence where many needles stand, little elsewhere
    room = budget - (14 if kind in ("single", "noise") and some == 1 else min(60, budget // 4))
    if kind in ("lines", "uuid lines", "multikey"):
        room = int(budget * rng.choice((0.55, 0.7, 0.85)))
    made = niah.sample(task, rng, room, count, held_out=False)
    return answered(made.prompt, listed(list(made.references)), needle_questions(made.prompt, task.values, rng))


def tracked(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    task = tracking.Tracking(hops=4 if rng.random() < 0.8 else 2, example=budget > 400)
    made = tracking.sample(task, rng, budget - 32, count, held_out=False)
    if not task.example:
        return [(made.prompt, CONTEXT), (" ".join(made.references) + END, ANSWER)]
    cut = made.prompt.index("\n\n", made.prompt.index("they are"))  # the worked example teaches too
    start = cut - len(" ".join(made.others))
    return [
        (made.prompt[:start], CONTEXT),
        (made.prompt[start:cut], ANSWER),
        (made.prompt[cut:], CONTEXT),
        (" ".join(made.references) + END, ANSWER),
    ]


def chains(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Several chains of assignments among each other, and a question about each: tracking, densely.

    Half of them ask in a few words only, so that more chains fit; the others in the words of the test.
    """
    said = wording()
    brief = budget < 256 or rng.random() < 0.5
    held: list[tuple[str, list[str]]] = []
    rows: list[list[str]] = []
    room = budget - 24
    while room > 0 or not held:
        hops = rng.randrange(1, 5)
        named = tracking.names(rng, 5, hops + 1, False)
        value = text.draw(rng, text.number(5), 1, False)[0]
        held.append((value, named))
        rows.append(tracking.chain(named, value))
        room -= (14 if brief else 54) + 20 * (hops + 1)
    if len(held) > 1:
        held.pop(), rows.pop()
    lines = []
    while rows:  # in order within a chain, mixed between chains
        row = rng.choice(rows)
        lines.append(row.pop(0))
        rows = [row for row in rows if row]
    for _ in range(max(0, room // 30)):
        lines.insert(rng.randrange(len(lines) + 1), said.noise)
    rng.shuffle(held)
    context = "\n".join(lines)
    if brief:
        pieces: Pieces = [(context, CONTEXT)]
        for value, named in held:
            pieces += [(f"\n{value}, they are: ", CONTEXT), (" ".join(named) + END, ANSWER)]
        return pieces
    pieces = []
    for value, named in held:
        asked = tracking.question("" if pieces else context, value, len(named))
        asked = "\n" + asked[asked.index("Question:") :] if pieces else asked
        pieces += [(asked, CONTEXT), (" ".join(named) + END, ANSWER)]
    return pieces


def again(shown: list[str], word: str) -> int:
    """Where a word stands for the second time. Answers are given in this order: of all orders it is the one that can
    be read off the list, because at its first place nothing tells a word that it will come again."""
    return shown.index(word, shown.index(word) + 1)


def common(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    number, most = (10, 6) if budget > 400 else (5, 4)
    task = counting.CommonWords(number, rng.randrange(3, most + 1), 1)
    made = counting.common_words(task, rng, budget - 5 * number - 14, count, held_out=False)
    shown = re.findall(r"\d+\. (\S+)", made.prompt)
    ordered = sorted(made.references, key=lambda word: again(shown, word))
    return answered(made.prompt, " " + " ".join(f"{i}. {word}" for i, word in enumerate(ordered, start=1)), [])


def frequent(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    made = counting.frequent_words(counting.FrequentWords(), rng, budget - 24, count, held_out=False)
    return answered(made.prompt, " " + " ".join(made.references), [])


def new_names() -> Callable[[random.Random], str]:
    """Draws names of people, each once."""
    seen: set[str] = set()

    def name(rng: random.Random) -> str:
        while (drawn := text.draw(rng, world.new_name, 1, False)[0]) in seen:
            pass
        seen.add(drawn)
        return drawn

    return name


def documents(rng: random.Random, budget: int, count: text.TokenCount, hops: tuple[int, ...] = (1, 2, 2)) -> Pieces:
    """Several questions over the same documents, one hop and two."""
    said = wording()
    name = new_names()
    chosen = rng.choice(hops)
    dossiers: list[world.Dossier] = []
    gold: list[str] = []
    bare = budget < 256  # without the instructions, which would fill it
    room = int(0.6 * budget) - 10 if bare else int(0.7 * budget) - 75
    while room > 0 or not dossiers:
        asked = world.dossier(rng, chosen, name)
        dossiers.append(asked)
        gold += asked.gold
        room -= sum(count(said.qa_document.format(i=10, document=d)) + 2 for d in asked.gold)
    rng.shuffle(gold)
    context = "\n\n".join(said.qa_document.format(i=i, document=d) for i, d in enumerate(gold, start=1))
    rng.shuffle(dossiers)
    prompt = said.qa_template.format(context=context, query=dossiers[0].question) + said.qa_prefix
    if bare:
        prompt = f"{context}\n\nQuestion: {dossiers[0].question}{said.qa_prefix}"
    more = [Asked(f"\n\nQuestion: {d.question}{said.qa_prefix}", f" {d.answer}") for d in dossiers[1:]]
    return answered(prompt, f" {dossiers[0].answer}", more)


def counted(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Short lists without instructions: the step before common and frequent words."""
    pieces: Pieces = []
    used = 0
    said = wording()
    while used < budget:
        if rng.random() < 0.5:
            often, once = rng.randrange(2, 5), rng.randrange(1, 7)
            drawn = rng.sample([word for word in words.all_words() if words.for_training(word)], often + once)
            listed = drawn[:often] * rng.randrange(2, 5) + drawn[often:]
            rng.shuffle(listed)
            answer = sorted(drawn[:often], key=lambda word: again(listed, word))
            prompt = " ".join(f"{i}. {word}" for i, word in enumerate(listed, start=1)) + said.cwe_prefix
            answer = [f"{i}. {word}" for i, word in enumerate(answer, start=1)]
        else:
            number = rng.randrange(3, 6)
            answer = [text.draw(rng, lambda r: "".join(r.choices(string.ascii_lowercase, k=6)), 1, False)[0]
                      for _ in range(number)]  # fmt: skip
            counts = sorted(rng.sample(range(1, 9), number), reverse=True)
            listed = [word for word, often in zip(answer, counts, strict=True) for _ in range(often)]
            listed += ["...."] * rng.randrange(2 * len(listed))
            rng.shuffle(listed)
            prompt, answer = " ".join(listed) + said.fwe_prefix, answer[:3]
        pieces += [(prompt, CONTEXT), (" " + " ".join(answer) + END, ANSWER)]
        used += sum(count(piece) for piece, _ in pieces[-2:]) + 1
    return pieces


def told(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Words said about names: the step before documents, as `pairs` is before needle lines.

    From documents alone only the usual answers to a question are learned, and nothing is looked up. Here the same words
    that told a fact ask for it, or the name alone, or the question of the documents; a third has any words as values.
    """
    name = partial(new_names(), rng)
    form = rng.choice(("words", "facts", "facts", "one fact", "one fact", "relations"))
    attributes = [rng.choice(list(world.FACTS))] if form == "one fact" else list(world.FACTS)
    said: list[tuple[str, list[str], str]] = []  # a sentence, ways to ask, the answer
    room = int(0.5 * budget) - 4
    while room > 0 or len(said) < 2:
        who = name()
        if form == "words":
            value = rng.choice(words.words("noun"))
            way = rng.choice(PAIR_LINES[1:]).strip().removesuffix(".")
            start = way.format(key=who, value="").rstrip()
            said.append((f"{start} {value}.", [start], value))
        elif form == "relations":
            relation, value = rng.choice(world.RELATIONS), name()
            start = f"The {relation} of {who} is"
            said.append((f"{start} {value}.", [start, f"Who is the {relation} of {who}? Answer:"], value))
        else:
            values, ways, question = world.FACTS[rng.choice(attributes)]
            value = rng.choice(values)
            start = rng.choice(ways).format(name=who, value="").strip()
            start = world.capital(start)
            asked = f"Question: {question.format(name=who)} Answer:"
            said.append((f"{start} {value}.", [start, f"{who}:", asked, asked], value))
        room -= count(said[-1][0]) + 1
    pieces: Pieces = [("\n".join(sentence for sentence, _, _ in said) + "\n", CONTEXT)]
    rng.shuffle(said)
    for _, ways_to_ask, value in said:
        pieces += [(rng.choice(ways_to_ask), TEXT), (f" {value}{END}", ANSWER)]
    return pieces


def relatives(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Who is whose sister and what is said of her: the step before questions of two hops, as `told` is before one.

    The words of the fact ask for it, or the question of the documents, or only who the relative is.
    """
    name = partial(new_names(), rng)
    attributes = [rng.choice(("town", "job", "pet"))] if rng.random() < 0.3 else ["town", "job", "pet"]
    lines: list[str] = []
    asked: list[tuple[str, str]] = []  # a way to ask, the answer
    room = int(0.55 * budget) - 4
    while room > 0 or len(asked) < 2:
        who, relative = name(), name()
        relation = rng.choice(world.RELATIONS)
        attribute = rng.choice(attributes)
        values, ways, question = world.FACTS[attribute]
        value = rng.choice(values)
        lines += [f"The {relation} of {who} is {relative}.", world.told(rng, relative, attribute, value)]
        two, way = f"the {relation} of {who}", rng.random()
        if way < 0.2:
            asked.append((f"Question: Who is {two}? Answer:", relative))
        elif way < 0.4:
            start = ways[0].format(name=two, value="").strip()
            asked.append((world.capital(start), value))
        else:
            asked.append((f"Question: {question.format(name=two)} Answer:", value))
        room -= sum(count(line) for line in lines[-2:]) + 2
    rng.shuffle(lines)
    pieces: Pieces = [("\n".join(lines) + "\n", CONTEXT)]
    for question, answer in rng.sample(asked, len(asked)):
        pieces += [(question, TEXT), (f" {answer}{END}", ANSWER)]
    return pieces


def kin(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Questions of two hops without a way around.

    In `relatives` and `documents` the kind of the fact nearly gives the answer away. Here all facts are of one kind, of
    some people it is not said whose relatives they are, and of some relatives nothing is told. In half of the sequences
    every fact stands before the line that says whose relative this is, which is the easier order for a causal model.
    """
    name = partial(new_names(), rng)
    said = wording()
    attribute = rng.choice(("town", "job", "pet"))
    values, _, question = world.FACTS[attribute]
    as_documents = budget >= 256 and rng.random() < 0.5
    facts: list[str] = []
    relations: list[str] = []
    asked: list[tuple[str, str]] = []
    room = int(0.6 * budget) - (80 if as_documents else 4)
    while room > 0 or len(asked) < 2:
        who, relative, value = name(), name(), rng.choice(values)
        two = f"the {rng.choice(world.RELATIONS)} of {who}"
        kind = rng.random() if asked else 0.0
        if kind < 0.8:
            facts.append(world.told(rng, relative, attribute, value))
            room -= count(facts[-1]) + (6 if as_documents else 1)
        if kind < 0.6 or kind >= 0.8:
            relations.append(f"T{two[1:]} is {relative}.")
            room -= count(relations[-1]) + (6 if as_documents else 1)
            only_one = kind >= 0.8 or rng.random() < 0.25
            asked.append((f"Who is {two}?", relative) if only_one else (question.format(name=two), value))
    rng.shuffle(facts)
    rng.shuffle(relations)
    lines = facts + relations
    if rng.random() < 0.5:
        rng.shuffle(lines)
    rng.shuffle(asked)
    start = "\n".join(lines) + "\n"
    if as_documents:
        context = "\n\n".join(said.qa_document.format(i=i, document=line) for i, line in enumerate(lines, start=1))
        before, _, _ = said.qa_template.partition("{context}")
        start = before + context + "\n\n"
    pieces: Pieces = [(start, CONTEXT)]
    for wanted, answer in asked:
        pieces += [(f"Question: {wanted}{said.qa_prefix}", TEXT), (f" {answer}{END}", ANSWER)]
    return pieces


def codes(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Our own needle and passkey tests."""
    if rng.random() < 0.4:
        made = passkey.passkey_prompt(rng, budget - 10, count, depth=rng.random(), held_out=False)
        return answered(made.prompt, f" {made.references[0]}.", [])
    made = needle.needle_prompt(
        rng, int(budget * 0.75), count, depth=rng.random(), needles=rng.randrange(1, 5), held_out=False
    )
    pattern = re.escape(needle.NEEDLE).replace(r"\{place\}", r"([A-Z]\w+ [A-Z]\w+)").replace(r"\{code\}", r"(\d+)")
    found = re.findall(pattern, made.prompt)
    rng.shuffle(found)
    more = [
        Asked(f"\n{needle.QUESTION.format(place=place)} {needle.ANSWER.format(place=place)}", f" {code}.")
        for place, code in found
    ]
    return answered(made.prompt, f" {made.references[0]}.", more)


def stories(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Stories and portraits told one after the other."""
    told: list[str] = []
    while sum(map(len, told)) < 5 * budget:
        told.append(world.portrait(rng) if rng.random() < 0.5 else world.story(rng))
    return [("\n".join(told), TEXT)]


def quiz(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Closed-book facts, endings and arithmetic, one after the other; each begins like a document of its own."""
    pieces: Pieces = []
    used = 0
    while used < budget:
        kind = rng.random()
        if kind < 0.55:
            while True:
                question, answer = world.arithmetic_question(rng)
                if words.for_training(question):
                    break
            parts: Pieces = [(f"Question: {question}\nAnswer:", CONTEXT), (f" {answer}{END}", ANSWER)]
        elif kind < 0.75:
            asked = rng.choice(_facts())
            choices = asked["choices"]
            assert isinstance(choices, list) and isinstance(asked["answer"], int)
            parts = [(str(asked["question"]), CONTEXT), (f" {choices[asked['answer']]}.{END}", ANSWER)]
        elif kind < 0.9:
            parts = [(world.fact(rng, rng.choice(world.people())) + END, TEXT)]
        else:
            while True:
                sentence = world.ending(rng, rng.choice(world.people()).name)
                if words.for_training(sentence.rpartition(" ")[0]):
                    break
            parts = [(sentence + END, TEXT)]
        pieces += parts
        used += sum(count(part) for part, _ in parts)
    return pieces


@cache
def _facts() -> list[dict[str, object]]:
    return [_fact(f"facts {i}") for i in range(3000)]


def _fact(seed: str) -> dict[str, object]:
    """`world.fact_questions(1, False, seed)[0]`, thirty times as fast: only the question that is drawn gets choices.

    Which one that is depends on how many random words the choices of all questions take, and that on which words are
    refused: below n, `random` draws as many bits as n has and draws again until they are below n. A regular expression
    over the first byte of every word (n < 256) walks along them.
    """
    asked = world.fact_prompts(False)
    words = 13 * len(asked)  # a question uses 10.7 on average
    stream = random.Random(seed).getrandbits(32 * words).to_bytes(4 * words, "little")
    walked = _draws_of_choices().match(stream[3::4])
    assert walked is not None
    place, bits = walked.end(), len(asked).bit_length()
    while (drawn := int.from_bytes(stream[4 * place : 4 * place + 4], "little") >> 32 - bits) >= len(asked):
        place += 1
    rng = random.Random(seed)
    rng.getrandbits(32 * walked.start(drawn + 1))
    return world.choices(rng, *asked[drawn])


@cache
def _draws_of_choices() -> re.Pattern[bytes]:
    """A group for every question, of the six draws of its choices: three of the wrong ones, and their order."""
    questions = []
    for _, _, wrong in world.fact_prompts(False):
        groups = []
        for below in (len(wrong), len(wrong) - 1, len(wrong) - 2, 4, 3, 2):
            first = below << (8 - below.bit_length())  # the first byte that is refused
            groups.append(f"[\\x{first:02x}-\\xff]*+[\\x00-\\x{first - 1:02x}]")
        questions.append("(" + "".join(groups) + ")")
    return re.compile("".join(questions).encode())


def sums(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """Arithmetic alone."""
    pieces: Pieces = []
    for _ in range(budget // 12):
        while not words.for_training((asked := world.arithmetic_question(rng))[0]):
            pass
        pieces += [(f"Question: {asked[0]}\nAnswer:", CONTEXT), (f" {asked[1]}{END}", ANSWER)]
    return pieces


def natural(rng: random.Random, budget: int, count: text.TokenCount) -> Pieces:
    """A stretch of the standard library's sources and docstrings."""
    source = _library()
    start = rng.randrange(len(source) - 8 * budget)
    return [(source[start : start + 6 * budget], TEXT)]


@cache
def _library() -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    chosen = (
        "argparse ast asyncio/base_events asyncio/tasks bisect calendar cmd collections/__init__ configparser "
        "contextlib copy csv dataclasses datetime decimal difflib doctest email/message enum fractions functools "
        "gettext glob gzip hashlib heapq html/parser imaplib inspect ipaddress json/decoder json/encoder locale "
        "logging/__init__ mailbox netrc numbers optparse os pathlib pdb pickle platform poplib posixpath pprint "
        "profile pstats queue random sched shelve shlex shutil smtplib socket socketserver statistics string "
        "subprocess tarfile telnetlib tempfile textwrap threading timeit tokenize trace traceback types typing "
        "unittest/case unittest/mock urllib/parse urllib/request uuid warnings wave weakref webbrowser zipfile"
    ).split()
    files = [folder / f"{name}.py" for name in chosen]
    return "\n\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())


Maker = Callable[[random.Random, int, text.TokenCount], Pieces]
MAKERS: dict[str, tuple[Maker, int]] = {  # and the shortest sequence that can hold one
    "pairs": (pairs, 64),
    "lines": (lines, 64),
    "retrieval": (retrieval, 192),
    "several": (partial(retrieval, kinds=("multivalue", "multiquery"), fewest=3), 256),
    "exact": (partial(retrieval, kinds=("uuid", "uuid lines")), 192),
    "tracked": (tracked, 256),
    "chains": (chains, 128),
    "common": (common, 256),
    "frequent": (frequent, 192),
    "counted": (counted, 128),
    "documents": (documents, 128),
    "single": (partial(documents, hops=(1,)), 128),
    "told": (told, 64),
    "relatives": (relatives, 128),
    "kin": (kin, 128),
    "codes": (codes, 128),
    "stories": (stories, 64),
    "quiz": (quiz, 64),
    "sums": (sums, 64),
    "natural": (natural, 64),
}
SMALL = ("quiz", "sums", "counted")  # sequences of many documents


def sequence(rng: random.Random, name: str, budget: int, count: text.TokenCount) -> Pieces:
    """One sequence of that kind; a draw that does not fit is drawn again."""
    for _ in range(50):
        try:
            return MAKERS[name][0](rng, budget, count)
        except ValueError:  # the needles alone were longer than the sequence
            continue
    raise ValueError(f"{name} does not fit into {budget} tokens; use longer sequences")


def corpus(characters: int) -> Iterator[str]:
    """Text to train the tokenizer on: every kind of sequence, and the word lists."""
    rng = random.Random("tokenizer corpus")

    def rough(string: str) -> int:
        return len(string) // 4

    share = {
        "lines": 1, "retrieval": 3, "tracked": 2, "common": 2, "frequent": 1, "documents": 2, "codes": 1, "stories": 2,
        "quiz": 1, "natural": 4,
    }  # fmt: skip
    for name, part in share.items():
        done = 0
        while done < part * characters / 19:
            made = "".join(piece for piece, _ in sequence(rng, name, 512, rough)).replace(END, "\n")
            done += len(made)
            yield made
    for kind in ("adjective", "noun", "verb"):
        yield " " + " ".join(words.words(kind))
    for kind in ("adjective", "noun"):
        yield " " + " ".join(f"{word}-" for word in words.words(kind))
