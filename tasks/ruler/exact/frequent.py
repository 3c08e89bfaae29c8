"""RULER's frequent words as NVIDIA/RULER scripts/data/synthetic/freq_words_extraction.py makes them, draw by draw.

e40fae1 keeps no room for the 50 new tokens, so its prompts are longer by them than the length says.
"""

import random
import string
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import zeta

from tasks.ruler.exact.fitting import Draft, Setting, order, shuffled, too_long

LETTERS = 6
TOKENS_PER_WORD = 50  # of the length, for the size of the vocabulary
ALPHA = 2.0
ZETA_2 = 1.6449340668482264  # scipy.special.zeta(2.0)
NOISE = "..."
EDGE = 3  # words that the short form shows


@lru_cache(maxsize=256)
def frequencies(words: int, vocabulary: int, alpha: float = ALPHA) -> tuple[int, ...]:
    """How often the word of every rank stands in a text of about so many words; ranks that come are first."""
    ranks = np.arange(1, vocabulary + 1)
    counts = (words * (ranks**-alpha) / (ZETA_2 if alpha == ALPHA else zeta(alpha))).astype(int)
    return tuple(int(count) for count in counts if count > 0)


class FrequentWords:
    def __init__(self, setting: Setting, alpha: float = ALPHA) -> None:
        self.setting, self.alpha = setting, alpha
        self.rng = random.Random(setting.random_seed)
        self.room = setting.length - (setting.new_tokens if setting.version == "head" else 0)  # prompt tokens
        self.step = self.room // 32  # words
        self.vocabulary_size = self.room // TOKENS_PER_WORD
        if self.vocabulary_size < 4:
            raise ValueError(f"frequent words want at least {4 * TOKENS_PER_WORD} tokens of prompt, got {self.room}")

    def vocabulary(self) -> list[str]:
        size, letters, choices = self.vocabulary_size, string.ascii_lowercase, self.rng.choices
        words = ["".join(choices(letters, k=LETTERS)) for _ in range(size)]
        while len(set(words)) < size:
            words.append("".join(choices(letters, k=LETTERS)))
        words = shuffled(sorted(set(words)), self.setting.random_seed)
        return [NOISE, *words[1:]]

    def draft(self, words: int, vocabulary: list[str]) -> Draft:
        template, counts = self.setting.template, self.setting.counts
        times = dict(zip(vocabulary, frequencies(words, len(vocabulary), self.alpha), strict=False))
        total = sum(times.values())

        def build() -> str:
            spread = [word for word, count in times.items() for _ in range(count)]
            return template.format(context=" ".join(shuffled(spread, self.setting.random_seed)))

        short, left_out = "", 0
        if self.setting.additive and total > EDGE + 1:
            shown = [NOISE] * EDGE + [self._last(times, total)]  # a newline follows the last word
            short = template.format(context=" ".join(shown))
            left_out = counts.units({f" {word}": count for word, count in times.items()})
            left_out -= counts.units(Counter(f" {word}" for word in shown))
        elif self.setting.additive:
            short = build()
        tokens = self.setting.tokens(short, left_out, build)
        return Draft(tokens, tokens, build, tuple(vocabulary[1:4]), others=frozenset(vocabulary[4:]))

    def _last(self, times: dict[str, int], total: int) -> str:
        place = order(total, self.setting.random_seed)[-1]
        for word, count in times.items():
            place -= count
            if place < 0:
                return word
        raise AssertionError("the order is longer than the text")


def stream(setting: Setting, alpha: float = ALPHA) -> Iterator[Draft]:
    """The samples, in order and without end."""
    words = FrequentWords(setting, alpha)
    first, size = words.vocabulary(), words.room // LETTERS
    while words.draft(size, first).tokens < words.room:
        size += words.step
    size -= words.step
    while True:
        vocabulary, used = words.vocabulary(), size
        draft = words.draft(used, vocabulary)
        while draft.tokens > words.room:
            if used <= 0:
                raise too_long(draft.tokens, words.room)
            used -= words.step
            draft = words.draft(used, vocabulary)
        yield draft
