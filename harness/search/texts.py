"""Texts that a search scores plans on: needles to be found at spread depths, or plain text, never evaluation text.

Keys and values of needles are of the half that evaluation never uses (`tasks.corpora.words.for_training`). The text
around them is drawn from the invented world under a name of its own, or comes from the user's files; it is compared
with the evaluation's prompts by passages of 50 words, which no two texts share by accident. Shorter ones would not do:
the world repeats its sentences, so 13 words in a row are often met twice.

Deviations from LongRoPE2 (arXiv:2502.20082, §3.4). It scores the number alone; the space before it is scored as well:
where a tokenizer makes it a token of its own, the mean holds one easy token more, the same for every plan. Its needles
have one wording; every second one here has our own, and most of what good plans still lose on pocket models is on
those, so `search-study` shows the two apart. It hides the needle at the start (the code at ten depths of ten books,
with another key and without a question); here eleven depths from start to end take turns. The text around is the
world's, or the user's, and no PG19.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extenders.search.problem import HELD_OUT
from harness.experiment.file import Experiment, Test
from harness.prompts.kept import KeptPrompts
from harness.prompts.recorder import Recorder
from tasks import needle, text
from tasks.base import LM
from tasks.corpora import chronicle, world
from tasks.documents import joined, path_of, read_text, text_files
from tasks.far import places_of
from tasks.ruler import niah

PASSAGE = 50  # words
DEPTHS = 11
REDRAWS = 20


@dataclass(frozen=True)
class SearchText:
    """Token ids with BOS, and the positions whose tokens are scored (each after the first token)."""

    ids: tuple[int, ...]
    scored: tuple[int, ...]
    source: str  # what the text around is from
    text: str


class SearchTexts:
    """Sample i of a search: the same text for every plan. From HELD_OUT on, texts that no step of a search has seen.

    `start` are the ids before every text (BOS). `needles` is how many needles stand in one text; each is asked for in
    turn, and all answers are scored in one forward pass. `avoid` holds the passages of evaluation prompts. `window` is
    how many tokens back fitness far_context asks for. Raises ValueError for files that are too few or too short, or
    that hold evaluation text.
    """

    def __init__(
        self,
        lm: LM,
        length: int,
        fitness: str = "needle",
        seed: int = 0,
        folder: str = "",
        start: Sequence[int] = (),
        needles: int = 1,
        avoid: frozenset[int] = frozenset(),
        window: int = 0,
    ) -> None:
        self._lm, self.length, self._fitness, self._seed = lm, length, fitness, seed
        self._start, self._needles, self._avoid, self._window = tuple(start), needles, avoid, window
        self._files = _files(lm, folder, length) if folder else []
        self._made: dict[int, SearchText] = {}

    def __getitem__(self, sample: int) -> SearchText:
        if sample not in self._made:
            self._made[sample] = self._make(sample)
        return self._made[sample]

    def _make(self, sample: int) -> SearchText:
        for attempt in range(REDRAWS):
            rng = random.Random(f"search {self._fitness} {self._seed} {sample} {attempt}")
            document = self._drawn(rng, sample, f"search {self._seed} {sample} {attempt}")
            if not passages(document.text) & self._avoid:
                return document
            if self._files:
                raise ValueError(
                    f"{document.source} shares a passage of {PASSAGE} words with a test of this experiment; "
                    "a search must not see evaluation text: give it other documents"
                )
        raise ValueError(f"{REDRAWS} search texts in a row share passages with the tests of this experiment")

    def _drawn(self, rng: random.Random, sample: int, name: str) -> SearchText:
        far = self._fitness == "far_context"
        if self._fitness == "long_perplexity" or (far and not self._files):
            size = self.length - len(self._start)
            told, ids, needed = chronicle.document(self._lm.encode, name, size, held_out=False)
            return self._scored(ids, needed, told, "a chronicle of the world", far)
        source, story = self._source(rng, sample)
        if self._fitness == "needle":
            row, scored, told = self._needle(rng, sample, story)
            return SearchText(row, scored, source, told)
        return self._scored(*self._plain(rng, story), source, far)

    def _scored(
        self, ids: list[int], needed: Sequence[chronicle.Needed], told: str, source: str, far: bool
    ) -> SearchText:
        """A text of which all tokens are scored, or those that need what stands further back than the window."""
        before = len(self._start)
        places = places_of(ids, needed, self._window) if far else range(1, len(ids))
        if not places:
            raise ValueError(
                f"fitness far_context: nothing in {source} needs what stands {self._window} tokens back; take other "
                "documents, a longer target or fitness perplexity"
            )
        return SearchText((*self._start, *ids), tuple(before + place for place in places), source, told)

    def _source(self, rng: random.Random, sample: int) -> tuple[str, Callable[[random.Random], str]]:
        """Stories and portraits of the world in turn, or the files: two thirds of them for the search, the rest not."""
        if not self._files:
            return [("world stories", world.story), ("world portraits", world.portrait)][sample // 2 % 2]
        split = max(1, 2 * len(self._files) // 3)
        files = self._files[split:] if sample >= HELD_OUT else self._files[:split]
        path, words = files[sample % len(files)]
        start = rng.randrange(max(1, len(words) // 4))
        pieces = _pieces(words, start)
        return str(path), lambda _: next(pieces)

    def _count(self, string: str) -> int:
        return len(self._lm.encode(string))

    def _needle(
        self, rng: random.Random, sample: int, story: Callable[[random.Random], str]
    ) -> tuple[tuple[int, ...], tuple[int, ...], str]:
        """RULER's needle and our own in turn; depths 0 to 1 as the tests spread them."""
        depth = text.depth_of(sample % HELD_OUT, DEPTHS)
        room = self.length - len(self._start) - 40 * self._needles
        asked = self._asked(rng, room, depth, story, WORDINGS[wording_of(sample)])
        ids: list[int] = list(self._start)
        scored: list[int] = []
        for question, answer in asked:
            ids += self._lm.encode(question)
            tokens = self._lm.encode(f" {answer}")
            scored += range(len(ids), len(ids) + len(tokens))
            ids += tokens
        if len(ids) > self.length:
            raise ValueError(f"a search text has {len(ids)} tokens, beyond the {self.length} of its plan")
        return tuple(ids), tuple(scored), asked[0][0]

    def _asked(
        self,
        rng: random.Random,
        room: int,
        depth: float,
        story: Callable[[random.Random], str],
        worded: "Callable[[random.Random, int], list[SearchNeedle]]",
    ) -> list[tuple[str, str]]:
        """(text up to an answer, answer) of every needle; the first text holds the haystack."""
        hidden = worded(rng, self._needles)
        depths = [(depth + i / self._needles) % 1.0 if i else depth for i in range(self._needles)]
        inserts = [(place, sought.sentence) for place, sought in zip(depths, hidden, strict=True)]
        units: list[str] = []

        def build(size: int) -> str:
            return hidden[0].template.replace("{context}", text.joined(units[:size], inserts))

        source = text.sentences(iter(lambda: story(rng), ""))
        while not units or self._count(build(len(units))) <= room:
            units += text.collect(source, 4 * room)
        first = build(text.fit(build, len(units), self._count, room))
        further = [(sought.template.split("{context}")[1], sought.value) for sought in hidden[1:]]
        return [(first, hidden[0].value), *further]

    def _plain(
        self, rng: random.Random, story: Callable[[random.Random], str]
    ) -> tuple[list[int], Sequence[chronicle.Needed], str]:
        size = self.length - len(self._start)
        told: list[str] = []
        ids: list[int] = []
        while len(ids) < size:
            told += text.collect(iter(lambda: story(rng), ""), 6 * (size - len(ids)) + 200)
            ids = self._lm.encode("\n".join(told))
        return ids[:size], (), self._lm.decode(ids[:size])


@dataclass(frozen=True)
class SearchNeedle:
    """A sentence to hide and how it is asked for: a text with {context} that ends where the value follows."""

    sentence: str
    template: str
    value: str


def _rulers(rng: random.Random, count: int) -> list[SearchNeedle]:
    """RULER's wording in the singular (LongRoPE2, arXiv:2502.20082, App. C)."""
    task = niah.Niah("essay")
    keys = text.draw(rng, niah.word_pair, count, False)
    values = text.draw(rng, niah.number, count, False)
    needles = []
    for key, value in zip(keys, values, strict=True):
        template, prefix = niah.questions(task, [key])
        needles.append(SearchNeedle(niah.needle(task, key, value), template + prefix, value))
    return needles


def _ours(rng: random.Random, count: int) -> list[SearchNeedle]:
    """The wording of our needle test."""
    places = text.draw(rng, needle.place_name, count, False)
    codes = text.draw(rng, text.number(needle.DIGITS), count, False)
    needles = []
    for place, code in zip(places, codes, strict=True):
        ending = f"{needle.QUESTION} {needle.ANSWER}".replace("{place}", place)
        sentence = needle.NEEDLE.format(place=place, code=code)
        needles.append(SearchNeedle(sentence, f"{needle.OPENING}\n{{context}}\n{ending}", code))
    return needles


WORDINGS = {"RULER's": _rulers, "ours": _ours}


def wording_of(sample: int) -> str:
    """RULER's wording, which is the paper's, and our own in turn."""
    return list(WORDINGS)[sample % 2]


def _pieces(words: list[str], start: int) -> Iterator[str]:
    """A file's text from a word on, in pieces of a hundred words; from its beginning again where it ends."""
    while True:
        for at in range(start, len(words), 100):
            yield " ".join(words[at : at + 100])
        start = 0


def _files(lm: LM, folder: str, length: int) -> list[tuple[str, list[str]]]:
    """(names, words) of every document; short files in a row are joined until they are long enough."""
    if not path_of(folder).is_dir():
        raise ValueError(f"documents: {folder} is not a folder; give one with .txt or .md files")
    paths = _documents_in(folder)
    texts = ((str(path), read_text(path)) for path in paths)
    documents = list(joined(texts, lambda text: len(lm.encode(text)) >= length))
    if len(documents) < 2:
        raise ValueError(
            f"documents: {folder} holds {len(paths)} .txt and .md files, joined {len(documents)} documents of {length} "
            "tokens, and a search needs at least two, so that the winner is checked on text that was not searched on"
        )
    return [(name, text.split()) for name, text in documents]


def _documents_in(folder: str) -> list[Path]:
    """The files that a search reads, none where there is no such folder."""
    return text_files(folder) if path_of(folder).is_dir() else []


def passages(string: str, size: int = PASSAGE) -> set[int]:
    """Hashes of all passages of that many words; a shorter text is one passage."""
    words = string.split()
    if not words:
        return set()
    return {hash(tuple(words[i : i + size])) for i in range(max(1, len(words) - size + 1))}


def check_apart(folder: str, texts: Sequence[str]) -> None:
    """Raises ValueError when a document of a search shares a passage with one of the texts that tests read.

    Whole files are compared, with no model and no prompts, so a search that was finished long ago is checked as well.
    """
    seen = {passage for content in texts for passage in passages(content)}
    for path in _documents_in(folder) if seen else []:
        if not seen.isdisjoint(passages(path.read_text(encoding="utf-8", errors="replace"))):
            raise ValueError(
                f"{path} shares a passage of {PASSAGE} words with a file that a test of this experiment reads; "
                "a search must not see evaluation text: give it other documents"
            )


def evaluation_passages(
    experiment: Experiment,
    lm: LM,
    lengths_of: Callable[[Test], Sequence[int]],
    kept: KeptPrompts | None = None,
) -> frozenset[int]:
    """Passages of all prompts of the experiment's long tests, at each test's greatest length.

    Shorter prompts of a sample are cut from the same text. Short-context tests ask questions that no search text holds.
    `kept` gives prompts that were made before: making them anew takes every process of a run seconds at every start.
    """
    seen: set[int] = set()
    for test in experiment.tests:
        if test.task.lengths == "window":
            continue
        for seed in experiment.seeds:
            recorder = Recorder(lm)
            length = max(lengths_of(test))
            try:
                asked = recorder, length, seed, test.samples
                for _ in kept.rows(test.task, *asked) if kept else test.task.run(*asked):
                    pass
            except ValueError:
                continue  # its cells will say why
            for said in recorder.texts:
                seen |= passages(said)
    return frozenset(seen)
