"""RULER's common words and frequent words (NVIDIA/RULER common_words_extraction.py and freq_words_extraction.py)."""

import random
import string
from dataclasses import dataclass

from tasks import text
from tasks.corpora.words import all_words, for_training
from tasks.ruler.wording import wording

TOKENS_PER_ITEM = 3  # of a numbered list, at the least: number, full stop, word
ZETA_2 = 1.6449340668482264  # π²/6, the normaliser of k^-2


@dataclass(frozen=True)
class CommonWords:
    """Ten common words among uncommon ones, in a numbered list.

    Where the vocabulary is used up, all words come twice as often, then three times, so that the list goes on.
    """

    common: int = 10
    common_repeats: int = 30
    uncommon_repeats: int = 3


@dataclass(frozen=True)
class FrequentWords:
    """Coded words with frequencies k^-2; the first rank is shown as dots, ranks 2 to 4 are asked for."""

    letters: int = 6
    tokens_per_word: int = 50  # vocabulary = budget / this


def common_words(
    task: CommonWords, rng: random.Random, budget: int, count: text.TokenCount, held_out: bool = True
) -> text.Sample:
    vocabulary = [word for word in all_words() if for_training(word) != held_out]
    drawn = rng.sample(vocabulary, min(len(vocabulary), task.common + budget))
    common, uncommon = drawn[: task.common], drawn[task.common :]
    seed = rng.getrandbits(64)
    said = wording()

    def build(size: int) -> str:
        rounds = max(1, -(-size // len(uncommon)))
        last = size - (rounds - 1) * len(uncommon)  # uncommon words of the last round
        listed = common * (rounds * task.common_repeats) + uncommon * ((rounds - 1) * task.uncommon_repeats)
        listed += uncommon[:last] * task.uncommon_repeats
        random.Random(f"order {seed}").shuffle(listed)
        context = " ".join(f"{i}. {word}" for i, word in enumerate(listed, start=1))
        return said.cwe_template.format(context=context) + said.cwe_prefix

    prompt = build(text.fit(build, max(len(uncommon), budget // TOKENS_PER_ITEM), count, budget))
    return text.Sample(prompt, tuple(common), count(prompt))


def frequent_words(
    task: FrequentWords, rng: random.Random, budget: int, count: text.TokenCount, held_out: bool = True
) -> text.Sample:
    def coded(r: random.Random) -> str:
        return "".join(r.choices(string.ascii_lowercase, k=task.letters))

    vocabulary = text.draw(rng, coded, max(6, budget // task.tokens_per_word), held_out)
    seed = rng.getrandbits(64)
    said = wording()

    def build(size: int) -> str:
        spread = []
        for rank, word in enumerate(vocabulary, start=1):
            spread += ["...." if rank == 1 else word] * int(size * rank**-2 / ZETA_2)
        random.Random(f"order {seed}").shuffle(spread)
        return said.fwe_template.format(context=" ".join(spread)) + said.fwe_prefix

    prompt = build(text.fit(build, max(1, budget), count, budget))
    return text.Sample(prompt, tuple(vocabulary[1:4]), count(prompt), others=tuple(vocabulary[4:]))
