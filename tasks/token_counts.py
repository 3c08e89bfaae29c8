"""Token counts of long prompts without tokenising them: count the parts that vary, know the parts that repeat.

Tokenizers that split at white space before they merge (all byte-level ones, and in effect the SentencePiece ones)
count additively at two seams: between a non-space and a space that is followed by a non-space, and after a newline
that is followed by a non-space. A prompt's count is then that of a short text with the same seams plus what was left
out. Nothing here is trusted: the caller compares the first sum with the tokenizer and falls back to `whole` for good.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from weakref import WeakKeyDictionary, ref

from tasks.base import Tokenizer

# Parts of keys and values: a word with the space or dash before it, a run of digits, a lone dash or space. A dash
# behind another mark (tam-o'-shanter) is no seam: tokenizers join the two.
PARTS = re.compile(r"[- ]?(?:[^0-9 \-]|(?<=[^\w\s-])-)+| ?[0-9]+|[- ]")
PARTS_OF_HEXADECIMAL = re.compile(r"[- ]?[a-f]+| ?[0-9]+|[- ]")  # the same of uuids, sooner
DIGITS_TO_ZERO = str.maketrans("123456789", "0" * 9)
MEASURED_AT_ONCE = 64  # more unknown units than this are counted in one text, and not remembered
NO_HEXADECIMAL = str.maketrans("", "", "0123456789abcdef -")
SHORT = 4  # letters; longer parts of hexadecimal numbers hardly come twice
MOST_KNOWN, MOST_CODES = 1_000_000, 50_000  # words; bounds on memory
# Prompts up to here are tokenised once more when they are done, however sure their sum is. At 131,072 tokens that
# alone would cost more than all the rest.
LONG = 40_000  # tokens

_counts: "WeakKeyDictionary[Tokenizer, dict[bool, TokenCounts]]" = WeakKeyDictionary()


def counts_of(lm: Tokenizer, special: bool = False) -> "TokenCounts":
    """The counts of a tokenizer, remembered as long as whatever brings it lives; `special` as in its `encode`."""
    known = _counts.setdefault(lm, {})
    if special not in known:
        weak = ref(lm)  # a bound method would keep the model alive

        def encode(text: str) -> Sequence[int]:
            alive = weak()
            assert alive is not None
            return alive.encode(text, special=True) if special else alive.encode(text)

        known[special] = TokenCounts(encode)
    return known[special]


class TokenCounts:
    """Counts of one tokenizer; everything but `whole` relies on the seams."""

    def __init__(self, encode: Callable[[str], Sequence[int]]) -> None:
        self._encode = encode
        self._units: dict[str, int] = {}
        self._anchors: dict[str, int] = {}
        self._alike: bool | None = None
        self._words: dict[str, int] = {}  # words that stand behind a space
        self._starts: dict[str, int] = {}  # words that begin a line
        self._codes: dict[str, int] = {}  # words with digits in them, of the prompts at work

    def whole(self, text: str) -> int:
        """Tokens of the text, by the tokenizer."""
        return len(self._encode(text))

    def after(self, anchor: str, text: str) -> int:
        """Tokens that the text adds to what stands before it."""
        if anchor not in self._anchors:
            self._anchors[anchor] = self.whole(anchor)
        return self.whole(anchor + text) - self._anchors[anchor]

    def line(self, line: str) -> int:
        """Tokens of one more line of a text; the line ends in its newline."""
        if line not in self._units:
            self._units[line] = self.after("x\n", line)
        return self._units[line]

    def units(self, times: Mapping[str, int]) -> int:
        """Tokens of units that each begin with a space and come so many times."""
        total, unknown = 0, []
        for unit, count in times.items():
            known = self._units.get(unit)
            if known is None:
                unknown.append(unit)
            else:
                total += count * known
        if len(unknown) <= MEASURED_AT_ONCE:
            for unit in unknown:
                self._units[unit] = self.after("x", unit)
                total += times[unit] * self._units[unit]
            return total
        alike: dict[int, list[str]] = {}
        for unit in unknown:
            alike.setdefault(times[unit], []).append(unit)
        return total + sum(count * self.after("x", "".join(group)) for count, group in alike.items())

    def remember(self, units: Iterable[str]) -> None:
        """Measure units that will come again and again, one by one."""
        for unit in units:
            if unit not in self._units:
                self._units[unit] = self.after("x", unit)

    def numbering(self, first: int, last: int) -> int:
        """Tokens of " 4. 5. 6." and so on, from `first` to `last`."""
        if not self.digits_alike:
            return self.after("x", "".join(f" {i}." for i in range(first, last + 1))) if first <= last else 0
        total = 0
        for digits in range(1, len(str(last)) + 1):
            low, high = max(first, 10 ** (digits - 1)), min(last, 10**digits - 1)
            total += max(0, high - low + 1) * self.units({f" {'0' * digits}.": 1})
        return total

    @property
    def digits_alike(self) -> bool:
        """Whether the count of a number depends on how many digits it has and on nothing else."""
        if self._alike is None:
            rng = random.Random("digits")
            self._alike = all(
                len({self.after("x", f"{start}{number}.") for number in _numbers(rng, digits)}) == 1
                for digits in range(1, 13)
                for start in (" ", "")
            )
        return self._alike

    def values(self, values: Sequence[str], words: bool) -> int:
        """Tokens of keys or values that each stand behind a space: word pairs, numbers or uuids.

        Words are few and remembered; the long runs of a uuid are many and counted in one text.
        """
        text = " " + " ".join(values)
        if words:
            try:  # all of them known: four passes in C
                parts = text.replace("-", "\0-").replace(" ", "\0 ").split("\0")
                return sum(map(self._units.__getitem__, parts[1:]))
            except KeyError:
                pass
        elif self.digits_alike and "".join(values).isdecimal():
            return sum(times * self.units({" " + "0" * size: 1}) for size, times in Counter(map(len, values)).items())
        if self.digits_alike:
            text = text.translate(DIGITS_TO_ZERO)
        total, long = 0, []
        parts_of = PARTS if words or text.translate(NO_HEXADECIMAL) else PARTS_OF_HEXADECIMAL
        for part, times in Counter(parts_of.findall(text)).items():
            known = self._units.get(part)
            if known is None:
                if not words and len(part.lstrip(" -")) > SHORT and part.strip("0 "):
                    long += [part] * times
                    continue
                known = self._units[part] = self.after("1" if part[0].isalpha() else "x", part)
            total += times * known
        numbers = [part for part in long if part[-1].isdigit()]
        letters = [part for part in long if not part[-1].isdigit()]
        return total + self._separated("a", "0", numbers) + self._separated("0", "a", letters)

    def _separated(self, mark: str, other: str, parts: list[str]) -> int:
        """Tokens of parts that stand between marks of the other kind, without those of the marks."""
        if not parts:
            return 0
        one, two = self.whole(mark + other + mark), self.whole(mark + other + mark + other + mark)
        marks = one + (len(parts) - 1) * (two - one) - len(parts) * self.after(mark, other)
        return self.whole(mark + mark.join(parts) + mark) - marks

    def estimate(self, text: str) -> int:
        """Tokens of a text, as the sum of its words."""
        first, *lines = _lines(text)
        word, *words = first.split(" ")
        return self.whole(word) + self._behind(words) + sum(map(self._line, lines))

    def added(self, unit: str) -> int:
        """Tokens that a unit adds to a text; it begins with a newline or with the space before its first word."""
        if unit[:1] == " ":
            return self._behind(unit[1:].split(" "))
        newline = self._starts.get("\n") or self._known(self._starts, "\n", "x.")
        return newline + sum(map(self._line, _lines(unit[1:])))

    def _line(self, line: str) -> int:
        word, *words = line.split(" ")
        if word not in self._starts:
            self._known(self._starts, word, "x.\n")
        return self._starts[word] + self._behind(words)

    def _behind(self, words: list[str]) -> int:
        """Tokens of words that each stand behind a space."""
        try:
            return sum(map(self._words.__getitem__, words))
        except KeyError:
            pass
        codes = [w for w in words if w not in self._words and w not in self._codes and _NUMBERED.search(w)]
        if codes:
            self._learn(codes)
        total = 0
        for word in words:
            known = self._words.get(word)
            if known is None:
                known = self._codes.get(word)
            total += self._known(self._words, word, "x", " ") if known is None else known
        return total

    def _learn(self, codes: list[str]) -> None:
        """Count words with digits that stand behind a space: unlike other words they hardly come twice, unlike their
        parts."""
        if len(self._codes) > MOST_CODES:
            self._codes.clear()
        if len(self._units) > MOST_KNOWN:
            self._units.clear()
        zeros = DIGITS_TO_ZERO if self.digits_alike else {}
        parts_of = {code: PARTS.findall(f" {code}".translate(zeros)) for code in codes}
        unknown = sorted({part for parts in parts_of.values() for part in parts} - self._units.keys())
        long = [part for part in unknown if len(part) > SHORT and part[0].isalpha()]
        for part, size in zip(long, self._sizes(long), strict=True):
            self._units[part] = size
        for part in unknown:
            if part not in self._units:
                self._known(self._units, part, "1" if part[0].isalpha() else "x")
        for code, parts in parts_of.items():
            self._codes[code] = sum(map(self._units.__getitem__, parts))

    def _sizes(self, parts: list[str]) -> list[int]:
        """Tokens of parts that stand behind a digit, all in one text: the digit's token tells them apart."""
        ids = self._encode("".join(("a1", *(f"{part}1" for part in parts)))) if parts else []
        marks = [i for i, token in enumerate(ids) if token == ids[-1]]
        sizes = [end - start - 1 for start, end in pairwise(marks)]
        return sizes if len(sizes) == len(parts) else [self.after("1", part) for part in parts]

    def _known(self, held: dict[str, int], word: str, anchor: str, space: str = "") -> int:
        if held is not self._units and len(held) >= MOST_KNOWN:  # units are being added up just now
            held.clear()
        held[word] = self.after(anchor, space + word)
        return held[word]


class PromptCount:
    """Counts the prompts of one run: calling it gives the tokens of a text, by the tokenizer unless the text is long.

    `text.fit` searches with `estimate` and checks what it finds by a call.
    """

    def __init__(self, counts: TokenCounts) -> None:
        self.counts = counts
        # A search and those who use what it found ask for the same long texts again.
        self.whole = lru_cache(maxsize=4)(counts.whole)
        self.estimate = lru_cache(maxsize=4)(counts.estimate)
        self.added = counts.added

    def __call__(self, text: str) -> int:
        added_up = self.estimate(text)
        return added_up if added_up > LONG else self.whole(text)


_NUMBERED = re.compile("[0-9]")


def _lines(text: str) -> list[str]:
    """The text cut behind every newline that a non-space follows; the pieces are the text again."""
    first, *rest = text.split("\n")
    found = [first]
    for line in rest:
        if line and not line[0].isspace():
            found[-1] += "\n"
            found.append(line)
        else:
            found[-1] += "\n" + line
    return found


def _numbers(rng: random.Random, digits: int) -> list[str]:
    drawn = [str(rng.randrange(10 ** (digits - 1), 10**digits)) for _ in range(6)]
    return [*drawn, "7" * digits, "1" + "0" * (digits - 1)]
