"""Essays as a haystack: the first n words as sentences, with needles between them.

The original splits the same text into sentences anew for every prompt (a quarter of a second at 128k tokens). Here a
text is split once; a shorter beginning of it is split anew only near its end, where a sentence may be cut.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from tasks.token_counts import TokenCounts

SplitSentences = Callable[[str], Sequence[str]]

SPLIT_AGAIN = 50  # sentences before the cut; a splitter decides by the neighbouring words
EDGE = 2  # sentences shown at the ends of a run that is left out


class Essay:
    """A haystack of words. `repeats` starts it again at its end (HEAD); else it ends there (e40fae1)."""

    def __init__(self, words: Sequence[str], split: SplitSentences, repeats: bool) -> None:
        if not any(words):
            raise ValueError("the essay file holds no words; name another one")
        self.words, self._split, self._repeats = list(words), split, repeats
        self._text = ""  # of the words that were asked for so far
        self._held = 0
        self._ends: list[int] = []  # of the words, in characters
        self._sentences: list[str] = []
        self._sentence_ends: list[int] = []  # in characters of the stripped text
        self._cut: tuple[int, list[str]] = (-1, [])
        self._sums: WeakKeyDictionary[TokenCounts, list[int]] = WeakKeyDictionary()  # tokens of the first sentences

    def __len__(self) -> int:
        return len(self.words)

    def sentences(self, size: int) -> list[str]:
        """The sentences of the first `size` words."""
        if self._cut[0] != size:
            self._cut = size, self._first(size)
        return self._cut[1]

    def _first(self, size: int) -> list[str]:
        size = size if self._repeats else min(size, len(self.words))
        self._hold(size)
        text = self._text[: self._ends[size - 1]].strip()
        whole = bisect_right(self._sentence_ends, len(text)) - SPLIT_AGAIN
        if whole <= 0:
            return list(self._split(text))
        return [*self._sentences[:whole], *self._split(text[self._sentence_ends[whole - 1] :].lstrip())]

    def _hold(self, size: int) -> None:
        if size <= self._held:
            return
        size = max(size, min(2 * size, len(self.words)))
        repeated = self.words * -(-size // len(self.words))
        self._text = " ".join(repeated[:size])
        self._held = size
        self._ends, end = [], -1
        for word in repeated[:size]:
            end += len(word) + 1
            self._ends.append(end)
        stripped = self._text.strip()
        self._sentences, self._sentence_ends, end = list(self._split(stripped)), [], 0
        for sentence in self._sentences:
            end = stripped.index(sentence, end) + len(sentence)
            self._sentence_ends.append(end)

    def with_needles(
        self, size: int, needles: Sequence[str], depths: Sequence[int], counts: TokenCounts
    ) -> tuple[str, int, Callable[[], str]]:
        """(short form, tokens that it leaves out, builder of the whole) with needles at depths in percent."""
        sentences = self.sentences(size)
        places = [0, *sorted(int(len(sentences) * (depth / 100)) for depth in depths), len(sentences)]
        short, left_out = [], 0
        for i, (start, end) in enumerate(zip(places, places[1:], strict=False)):
            run = sentences[start:end]
            if len(run) > 2 * EDGE:
                left_out += self._tokens(sentences, start + EDGE, end - EDGE, counts)
                run = [*run[:EDGE], *run[-EDGE:]]
            short.append(" ".join(run))
            short += needles[i : i + 1]

        def whole() -> str:
            parts = []
            for i, (start, end) in enumerate(zip(places, places[1:], strict=False)):
                parts.append(" ".join(sentences[start:end]))
                parts += needles[i : i + 1]
            return " ".join(parts)

        return " ".join(short), left_out, whole

    def _tokens(self, sentences: list[str], start: int, end: int, counts: TokenCounts) -> int:
        """Tokens of sentences `start` to `end`, each with the space before it."""
        sums = self._sums.setdefault(counts, [0])
        shared = min(end, len(sentences) - SPLIT_AGAIN)  # further on, a cut may have changed them
        while len(sums) <= shared:
            sums.append(sums[-1] + counts.after("x", " " + self._sentences[len(sums) - 1]))
        if start >= shared:
            return counts.after("x", "".join(f" {sentence}" for sentence in sentences[start:end]))
        rest = sentences[shared:end] if end > shared else []
        return sums[shared] - sums[start] + (counts.after("x", "".join(f" {s}" for s in rest)) if rest else 0)
