"""RULER's common words as NVIDIA/RULER scripts/data/synthetic/common_words_extraction.py makes them, draw by draw.

Above the 8,166 words of wonderwords HEAD draws from a larger list (`english_words.json` of its checkout), also while
it searches for the size; e40fae1 stops there. Its worked example lacks the space before its answers.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from tasks.corpora.words import all_words
from tasks.ruler.exact.fitting import Draft, MissingData, Setting, halving, order, paper_size, samples, shuffled
from tasks.ruler.wording import wording

COMMON = 10
TIMES = (30, 3)  # how often a common word and another come
STEP = 10  # words
FIRST_PROBE = 4096  # words
EDGE = 3  # items shown at the ends of a list that is left out


class CommonWords:
    def __init__(
        self, setting: Setting, more_words: Sequence[str], times: tuple[int, int] = TIMES, common: int = COMMON
    ) -> None:
        self.setting, self.more, self.common = setting, more_words, common
        self.rng = random.Random(setting.random_seed)
        self.words = shuffled(all_words(), setting.random_seed)
        self.said = wording(setting.version)
        short = setting.length < 4096
        self.example_size, self.example_times = (20, (3, 1)) if short else (40, (10, 3))
        self.times = (6, 1) if short else times  # RULER heeds the setting from 4,096 tokens on
        if setting.additive:
            setting.counts.remember(f" {word}" for word in self.words)

    def drawn(self, size: int) -> list[str]:
        if size <= len(self.words):
            return self.rng.sample(self.words, size)
        if not self.more:
            raise MissingData(
                f"RULER draws {size} words here and its list has {len(self.words)}; name a folder with its "
                "english_words.json (folder: …, or $ROPEBENCH_RULER), or take ruler-head+standin/cwe"
            )
        return self.rng.sample(self.more, size)

    def listed(self, words: list[str], times: tuple[int, int]) -> list[str]:
        return shuffled(words[: self.common] * times[0] + words[self.common :] * times[1], self.setting.random_seed)

    def draft(self, size: int, with_answers: bool = False) -> Draft:
        template, counts = self.setting.template, self.setting.counts
        shown, asked = self.drawn(self.example_size), self.drawn(size)
        space = " " if self.setting.version == "head" else ""
        example = template.format(context=_numbered(self.listed(shown, self.example_times))) + space
        example += _numbered(shown[: self.common]) + "\n"

        def build() -> str:
            return example + template.format(context=_numbered(self.listed(asked, self.times)))

        ending = f" {_numbered(asked[: self.common])}" if with_answers else ""
        short, left_out = "", 0
        items = min(size, self.common) * self.times[0] + max(0, size - self.common) * self.times[1]
        if self.setting.additive and items > 2 * EDGE:
            units = {f" {word}": self.times[1] for word in asked[self.common :]}
            units |= {f" {word}": self.times[0] for word in asked[: self.common]}
            short = example + template.format(context=self._edges(asked, items))
            left_out = counts.units(units) - counts.units(Counter(f" {word}" for word in self._ends(asked, items)))
            left_out += counts.numbering(EDGE + 1, items - EDGE)
        elif self.setting.additive:
            short = build()
        tokens = self.setting.tokens(short, left_out, build, ending)
        return Draft(tokens, tokens, build, tuple(asked[: self.common]))

    def _ends(self, words: list[str], items: int) -> list[str]:
        """What the short form shows: any word at the first and last numbers, but the true one at the end."""
        last, common = order(items, self.setting.random_seed)[-1], words[: self.common] * self.times[0]
        end = (
            common[last]
            if last < len(common)
            else words[self.common + (last - len(common)) % (len(words) - self.common)]
        )
        return [words[0]] * (2 * EDGE - 1) + [end]

    def _edges(self, words: list[str], items: int) -> str:
        numbers = [*range(1, EDGE + 1), *range(items - EDGE + 1, items + 1)]
        return " ".join(f"{i}. {word}" for i, word in zip(numbers, self._ends(words, items), strict=True))


def _numbered(words: Sequence[str]) -> str:
    return " ".join([f"{i}. {word}" for i, word in enumerate(words, start=1)])


def stream(
    setting: Setting, more_words: Sequence[str] = (), times: tuple[int, int] = TIMES, common: int = COMMON
) -> Iterator[Draft]:
    """The samples, in order and without end."""
    limit = setting.length - setting.new_tokens
    words = CommonWords(setting, more_words, times, common)
    if setting.version == "head":
        per_word = words.draft(FIRST_PROBE).tokens / FIRST_PROBE
        size = halving(lambda n: words.draft(n).tokens, limit, STEP, int(setting.length // per_word) * 2)
    else:
        size = paper_size(lambda n: words.draft(n, True).tokens, limit, STEP, len(words.words))
    yield from samples(words.draft, size, STEP, limit)
