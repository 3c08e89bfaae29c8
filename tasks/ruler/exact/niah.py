"""RULER's eight needle tasks as NVIDIA/RULER scripts/data/synthetic/niah.py makes them, draw by draw."""

import random
from collections.abc import Callable, Iterator

from tasks.ruler.exact.essays import Essay
from tasks.ruler.exact.fitting import Draft, Setting, head_size, paper_size, samples, shuffled
from tasks.ruler.exact.keys import drawer, pairs
from tasks.ruler.niah import Niah
from tasks.ruler.wording import Wording, wording

DEPTHS = [round(i * 100 / 39) for i in range(40)]  # percent
STEPS = {"essay": 500, "noise": 25, "needle": 25}  # words or lines
SHORT_STEP = 5  # lines, below 4,096 tokens


class Needles:
    """One needle task in one setting; all draws come from one generator, in the original's order."""

    def __init__(self, task: Niah, setting: Setting, essay: Essay | None) -> None:
        self.task, self.setting, self.essay = task, setting, essay
        self.said: Wording = wording(setting.version)
        self.rng = random.Random(setting.random_seed)
        self.step = STEPS[task.haystack]
        if task.haystack != "essay" and setting.length < 4096:
            self.step = SHORT_STEP
        self.hidden = max(task.keys_hidden, task.keys_asked)
        self.template, self.kind = setting.template, task.values
        if task.keys_asked * task.values_per_key == 1:
            for old, new in self.said.singular:
                self.template = self.template.replace(old, new)
            self.kind = self.kind[:-1]
        self.key, self.value = drawer(task.keys, self.rng), drawer(task.values, self.rng)
        # a distractor whose tokens stand for those of all the others, but for key and value
        stub = random.Random("stub")
        self.stub = (drawer(task.keys, stub)(), drawer(task.values, stub)())

    def needle(self, key: str, value: str) -> str:
        return self.said.needle.format(type_needle_v=self.task.values, key=key, value=value)

    def draft(self, size: int, with_answers: bool = False) -> Draft:
        task, rng = self.task, self.rng
        hidden, values, needles = [], [], []
        for _ in range(self.hidden):
            hidden.append(self.key())
            values.append([self.value() for _ in range(task.values_per_key)])
            needles += [self.needle(hidden[-1], value) for value in values[-1]]
        needles = shuffled(needles, self.setting.random_seed)
        if task.haystack == "essay":
            short, left_out, context, others = *self._in_essay(size, needles), frozenset[str]()
        else:
            short, left_out, context, others = self._in_lines(size, needles)
        asked = rng.sample(range(self.hidden), task.keys_asked)
        answers = tuple(value for i in asked for value in values[i])
        query = _listed([hidden[i] for i in asked])

        def filled(text: str) -> str:
            return self.template.format(type_needle_v=self.kind, context=text, query=query)

        ending = " ".join(answers) if with_answers else ""  # nothing stands between prefix and answers
        tokens = self.setting.tokens(filled(short), left_out, lambda: filled(context()), ending)
        planted = {value for several in values for value in several}
        return Draft(tokens, tokens, lambda: filled(context()), answers, answers, others | planted - set(answers))

    def _in_essay(self, size: int, needles: list[str]) -> tuple[str, int, Callable[[], str]]:
        assert self.essay is not None
        depths = self.rng.sample(DEPTHS, len(needles))
        return self.essay.with_needles(size, needles, depths, self.setting.counts)

    def _in_lines(self, size: int, needles: list[str]) -> tuple[str, int, Callable[[], str], frozenset[str]]:
        task, rng, counts = self.task, self.rng, self.setting.counts
        line, keys, values = self.said.noise, [""], [""]
        if task.haystack == "needle":
            line = self.needle(*self.stub)
            keys, values = pairs(task.keys, task.values, rng, size)
        places = sorted(rng.sample(range(size), len(needles)), reverse=True)

        def context() -> str:
            lines = [line] * size
            if task.haystack == "needle":
                start, between, end = self.needle("\0", "\0").split("\0")
                lines = [f"{start}{key}{between}{value}{end}" for key, value in zip(keys, values, strict=True)]
            for place, needle in zip(places, needles, strict=True):
                lines.insert(place, needle)
            return "\n".join(lines)

        if not self.setting.additive:
            return "", 0, context, frozenset(values)
        short = "\n".join([line, *(part for needle in needles for part in (needle, line))])
        shown = len(needles) + 1
        left_out = (size - shown) * counts.line(line + "\n")
        if task.haystack == "needle":
            stub_key, stub_value = self.stub
            left_out += self._values(keys, values) - size * self._values([stub_key], [stub_value])
        return short, left_out, context, frozenset(values)

    def _values(self, keys: list[str], values: list[str]) -> int:
        counts, task = self.setting.counts, self.task
        return counts.values(keys, task.keys == "words") + counts.values(values, task.values == "words")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + ", and " + names[-1] if len(names) > 1 else names[0]


def stream(task: Niah, setting: Setting, essay: Essay | None = None) -> Iterator[Draft]:
    """The samples of one needle task, in order and without end."""
    limit = setting.length - setting.new_tokens
    needles = Needles(task, setting, essay)
    if setting.version == "head":
        size = head_size(lambda n: needles.draft(n).tokens, setting.length, limit, needles.step)
    else:
        most = None if essay is None else len(essay)
        size = paper_size(lambda n: needles.draft(n, True).tokens, limit, needles.step, most, most_is_probed=True)
    yield from samples(needles.draft, size, needles.step, limit)
