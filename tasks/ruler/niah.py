"""RULER's eight needle tasks (NVIDIA/RULER scripts/data/synthetic/niah.py): magic numbers hidden in a haystack.

Placement follows the original: in noise and needle haystacks whole lines at random places, in essays behind whole
sentences at depths drawn from 40 values. Deviations of this generator are those of its suite, see `tasks.ruler`.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tasks import text
from tasks.corpora import words, world
from tasks.ruler.wording import wording


@dataclass(frozen=True)
class Niah:
    """What is hidden where: haystack `noise`, `essay` or `needle`; keys and values `words`, `numbers` or `uuids`."""

    haystack: str
    keys: str = "words"
    values: str = "numbers"
    keys_hidden: int = 1
    values_per_key: int = 1
    keys_asked: int = 1


def number(rng: random.Random) -> str:
    return str(rng.randint(1_000_000, 9_999_999))


def word_pair(rng: random.Random) -> str:
    return f"{rng.choice(words.words('adjective'))}-{rng.choice(words.words('noun'))}"


def identifier(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


MAKERS = {"numbers": number, "words": word_pair, "uuids": identifier}


def questions(task: Niah, keys: list[str]) -> tuple[str, str]:
    """(template, answer prefix) around {context}, in the singular when one value is asked for."""
    said = wording()
    query = ", ".join(keys[:-1]) + ", and " + keys[-1] if len(keys) > 1 else keys[0]
    template, prefix, kind = said.niah_template, said.niah_prefix, task.values
    if len(keys) * task.values_per_key == 1:
        for old, new in said.singular:
            template, prefix = template.replace(old, new), prefix.replace(old, new)
        kind = kind[:-1]
    template = template.replace("{type_needle_v}", kind).replace("{query}", query)
    return template, prefix.replace("{type_needle_v}", kind).replace("{query}", query)


def needle(task: Niah, key: str, value: str) -> str:
    return wording().needle.format(type_needle_v=task.values, key=key, value=value)


def sample(task: Niah, rng: random.Random, budget: int, count: text.TokenCount, held_out: bool = True) -> text.Sample:
    """One question of at most `budget` prompt tokens, filled as far as whole units of the haystack allow."""
    hidden = max(task.keys_hidden, task.keys_asked)
    keys = text.draw(rng, MAKERS[task.keys], hidden, held_out)
    drawn = text.draw(rng, MAKERS[task.values], hidden * task.values_per_key, held_out)
    values = {key: drawn[i * task.values_per_key : (i + 1) * task.values_per_key] for i, key in enumerate(keys)}
    needles = [needle(task, key, value) for key in keys for value in values[key]]
    asked = rng.sample(keys, task.keys_asked)
    template, prefix = questions(task, asked)
    placing, filling = rng.getrandbits(64), rng.getrandbits(64)
    units: list[str] = []

    def context(size: int) -> str:
        places = random.Random(f"places {placing}")
        if task.haystack == "essay":
            return _in_essay(units[:size], needles, places)
        lines = units[:size]
        at = sorted(places.sample(range(size + len(needles)), len(needles)))
        for place, line in zip(at, places.sample(needles, len(needles)), strict=True):
            lines.insert(place, line)
        return "\n".join(lines)

    def build(size: int) -> str:
        return template.replace("{context}", context(size)) + prefix

    source = _units(task, random.Random(f"haystack {filling}"), held_out, set(keys))
    while not units or count(build(len(units))) <= budget:
        units += islice(source, max(4, budget // 16))
    prompt = build(text.fit(build, len(units), count, budget))
    answers = [value for key in asked for value in values[key]]
    others = tuple(value for value in drawn if value not in answers)
    depth = prompt.index(answers[0]) / len(prompt)
    return text.Sample(prompt, tuple(answers), count(prompt), round(depth, 4), others=others)


def _units(task: Niah, rng: random.Random, held_out: bool, taken: set[str]) -> Iterator[str]:
    if task.haystack == "noise":
        while True:
            yield wording().noise
    elif task.haystack == "essay":
        yield from text.sentences(iter(lambda: world.story(rng), ""))
    else:
        while True:
            key = text.draw(rng, MAKERS[task.keys], 1, held_out)[0]
            if key not in taken:  # a second needle with the asked key would make the question ambiguous
                yield needle(task, key, text.draw(rng, MAKERS[task.values], 1, held_out)[0])


def _in_essay(sentences: list[str], needles: list[str], rng: random.Random) -> str:
    """Depths from 40 values without repeats; a needle stands after the sentence that its depth falls on."""
    depths = [round(i * 100 / 39) for i in rng.sample(range(40), len(needles))]
    return text.joined(sentences, list(zip((depth / 100 for depth in sorted(depths)), needles, strict=True)))
