"""RULER's variable tracking as NVIDIA/RULER scripts/data/synthetic/variable_tracking.py makes it, draw by draw.

| | HEAD | e40fae1 |
|---|---|---|
| lines | one per line | joined by a space, while noise ends in a newline |
| too little noise | fails | is split at its full stops |
| worked example | names and value drawn anew for every sample | drawn once; squeezed white space |
| too long a sample | less noise | less noise, its example counted apart |
"""

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tasks.ruler.exact.fitting import Draft, Setting, head_size, kept, paper_size, samples
from tasks.ruler.wording import wording

HOPS = 4
EXAMPLE_LENGTH = 500  # tokens
SHORTEN_FROM = 40  # noise lines; fewer are counted as they are
SHOWN = 2  # noise lines of a run that the short form keeps


class Chains:
    """Chains of assignments in noise; names come from one generator, values from numpy's, as in the original."""

    def __init__(self, setting: Setting, chains: int = 1, hops: int = HOPS) -> None:
        self.setting, self.chains, self.hops = setting, chains, hops
        self.said = wording(setting.version)
        self.head = setting.version == "head"
        self.rng = random.Random(setting.random_seed)
        self.values = np.random.RandomState(setting.random_seed)
        self.noise = self.said.noise + ("" if self.head else "\n")

    def name(self, letters: int) -> str:
        return "".join(self.rng.choices(string.ascii_uppercase, k=letters))

    def value(self) -> str:
        return str(self.values.randint(10000, 99999))

    def drawn(self, letters: int, value: str | None) -> tuple[list[str], str, list[list[str]]]:
        """(names of the first chain, its value, the lines of all chains)."""
        size = self.hops + 1
        names = [self.name(letters) for _ in range(size * self.chains)]
        while len(set(names)) < size * self.chains:
            names.append(self.name(letters))
        chains, starts = [], []
        for i in range(0, len(names), size):
            own = names[i : i + size]
            starts.append(value or self.value())
            if len(own) < size:  # the original then begins one more chain, draws its value and fails
                raise ValueError("two names of the chain are alike, where RULER's generator fails; use another seed")
            links = [f"VAR {after} = VAR {before} " for before, after in pairwise(own)]
            chains.append([f"VAR {own[0]} = {starts[-1]}", *links])
        return names[:size], starts[0], chains

    def draft(self, size: int, template: str, example: bool = False, ending: bool = False) -> Draft:
        """The chains in `size` noise lines, without a worked example. `ending` counts the answers too."""
        names, value, chains = self.drawn(3 if example else 5, "12345" if example and self.head else None)
        units = [self.noise] * size
        if not self.head and size <= len(chains[0]):
            pieces = [piece for noise in units for piece in noise.split(".")]
            units = [piece + "." if piece.strip() else piece for piece in pieces]
            chains = [chain[: len(units) - 1] if len(units) <= len(chains[0]) else chain for chain in chains]
        links = self._placed(len(units), chains)
        order = [at - i for i, (at, _) in enumerate(links)]  # noise lines before each link
        shown, left_out = order, 0
        if size >= SHORTEN_FROM and self.setting.additive:
            shown, left_out = self._shortened(order, size)

        def filled(places: list[int], units: list[str]) -> str:
            parts: list[str] = []
            done = 0
            for place, (_, link) in zip(places, links, strict=True):
                parts += [*units[done:place], link]
                done = place
            context = ("\n" if self.head else " ").join([*parts, *units[done:]]).replace(". \n", ".\n")
            return template.format(context=context, query=value, num_v=self.hops + 1)

        few = [self.noise] * (size - left_out) if left_out else units
        more = left_out * self._noise_tokens() if left_out else 0
        answers = f" {names}" if ending else ""
        tokens = self.setting.tokens(filled(shown, few), more, lambda: filled(order, units), answers)
        target = f"= {value}\n" if self.head else f"= {value} "
        return Draft(tokens, tokens, lambda: filled(order, units), tuple(names), (target, *chains[0][1:]))

    def _placed(self, noise: int, chains: list[list[str]]) -> list[tuple[int, str]]:
        """Every link with its number among all lines, in their order. Chains go in one after the other, each at places
        drawn among the lines that are there by then."""
        links: list[tuple[int, str]] = []
        for chain in chains:
            places = sorted(self.rng.sample(range(noise + len(links)), len(chain)))
            for j, (place, link) in enumerate(zip(places, chain, strict=True)):
                links = [(at + (at >= place + j), other) for at, other in links] + [(place + j, link)]
        return sorted(links)

    def _shortened(self, places: list[int], size: int) -> tuple[list[int], int]:
        """Places with runs of noise cut to a few lines, and how many lines that leaves out."""
        edges = [0, *places, size]
        runs = [end - start for start, end in zip(edges, edges[1:], strict=False)]
        kept_lines = [min(run, SHOWN) for run in runs]
        return [sum(kept_lines[: i + 1]) for i in range(len(places))], sum(runs) - sum(kept_lines)

    def _noise_tokens(self) -> int:
        """Tokens of one more noise line among others."""
        if self.head:
            return self.setting.counts.line(self.noise + "\n")
        counts = self.setting.counts
        return counts.whole(" ".join([self.noise] * 3)) - counts.whole(" ".join([self.noise] * 2))

    def redrawn(self, example: str) -> str:
        """The worked example with new names and a new value, replaced as strings wherever they stand (HEAD)."""
        for name in example.strip().split()[-self.hops - 1 :]:
            example = example.replace(name, self.name(len(name)))
        return example.replace("12345", self.value())


def stream(setting: Setting, chains: int = 1, hops: int = HOPS) -> Iterator[Draft]:
    """The samples, in order and without end."""
    drawn = Chains(setting, chains, hops)
    return _head(setting, drawn) if setting.version == "head" else _paper(setting, drawn)


def _placed(draft: Draft, start: str, example: Callable[[], str], tokens: int, checked: int) -> Draft:
    """The draft with its example before the task's opening words."""

    def build() -> str:
        text = draft.build()
        cut = text.index(start)
        return text[:cut] + example() + text[cut:]

    return replace(draft, build=build, tokens=tokens, checked=checked)


def _head(setting: Setting, chains: Chains) -> Iterator[Draft]:
    bare = chains.said.vt_template + chains.said.vt_prefix
    opening, counts = chains.said.vt_template[:20], setting.counts

    def shown(size: int) -> Draft:
        return chains.draft(size, bare, example=True)

    size = head_size(lambda n: shown(n).tokens, EXAMPLE_LENGTH, EXAMPLE_LENGTH, 5)
    first = kept(shown, size, 5, EXAMPLE_LENGTH)
    example = first.build() + " " + " ".join(first.references) + "\n"
    before, word = setting.template[: setting.template.index(opening)], opening.split(" ")[0]
    limit = setting.length - setting.new_tokens
    step = 10 if setting.length >= 4096 else 5
    room = limit - counts.whole(example)
    size = head_size(lambda n: chains.draft(n, setting.template).tokens, setting.length, room, step)

    def drawn(size: int) -> Draft:
        draft = chains.draft(size, setting.template)
        own = chains.redrawn(example)
        if not setting.additive:
            placed = _placed(draft, opening, lambda: own + "\n", 0, 0)
            tokens = counts.whole(placed.build())
        else:
            # Behind an empty line stands a word: at the end of a text, some tokenizers join the two line ends.
            tokens = draft.tokens + counts.after(before, own + "\n" + word) - counts.after(before, word)
        return _placed(draft, opening, lambda: own + "\n", tokens, tokens)

    yield from samples(drawn, size, step, limit)


def _paper(setting: Setting, chains: Chains) -> Iterator[Draft]:
    said, counts = chains.said, setting.counts
    start, answer = setting.template.index(said.vt_template[:20]), setting.template.index(said.vt_prefix[:10])
    squeezed = " ".join(setting.template[start:answer].split()[:-1]) + setting.template[answer:]

    def shown(size: int) -> Draft:
        return chains.draft(size, squeezed, example=True)

    room = EXAMPLE_LENGTH - setting.new_tokens
    size = paper_size(lambda n: chains.draft(n, squeezed, True, ending=True).tokens, room, 5)
    first = kept(shown, size, 5, room)
    example = first.build() + " " + " ".join(first.references) + "\n\n"
    example_tokens = counts.whole(example)
    limit = setting.length - setting.new_tokens - example_tokens
    size = paper_size(lambda n: chains.draft(n, setting.template, ending=True).tokens, limit, 10)
    inserted = " " + example + "\n\n"
    before, word = setting.template[: setting.template.index(said.vt_template[:20])], said.vt_template.split(" ")[0]
    for draft in samples(lambda n: chains.draft(n, setting.template), size, 10, limit):
        placed = _placed(draft, said.vt_template[:20], lambda: inserted, 0, draft.checked)
        if setting.additive:
            tokens = draft.tokens + counts.after(before, inserted + word) - counts.after(before, word)
        else:
            tokens = counts.whole(placed.build())
        yield replace(placed, tokens=tokens)
