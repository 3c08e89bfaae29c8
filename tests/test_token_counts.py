"""Prompts whose tokens are added up: the same as by counting, for tokenizers of all kinds, and seldom tokenised."""

import random
import re

import fakes
import pytest

import tasks.base
from tasks import ruler, text, timing, token_counts
from tasks.answers import SampleTask
from tasks.corpora import world
from tasks.token_counts import PromptCount, counts_of

TESTS = fakes.PROMPT_TESTS


class Spaced(fakes.FakeLM):
    """As SentencePiece: a space belongs to the word behind it, and the text begins with one."""

    def encode(self, text):
        return super().encode(f" {text}")


class Merging(fakes.FakeLM):
    """Tokens of five characters wherever they stand: no seam is one, so hardly a sum is right."""

    def encode(self, text):
        return [0] * -(-len(text) // 5)


class Newlines(fakes.FakeLM):
    """As Llama 3: a full stop and the newline behind it are one token."""

    def encode(self, text):
        return [0] * len(re.findall(r"\.\n+|\n+| ?(?:[A-Za-z]+|[0-9]|[^\sA-Za-z0-9])|\s", text))


KINDS = [fakes.FakeLM, Spaced, Merging, Newlines]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TESTS)
def test_prompts_are_those_of_counting(name, kind, monkeypatch):
    """Trusted or not: a sum that is wrong in the first sample is never used again."""
    task, lm = tasks.base.make(name), kind()
    assert isinstance(task, SampleTask)
    monkeypatch.setattr(token_counts, "LONG", 1000)
    for length in (600, 2000):
        budget = length - task.new_tokens - lm.added_tokens
        counted = [task.sample(0, i, budget, lambda string: len(lm.encode(string))) for i in range(3)]
        assert list(task.prompts(lm, length, 0, 3)) == counted


@pytest.mark.parametrize("row", ruler.ROWS)
def test_rows_of_ruler_are_those_of_counting(row):
    lm = Newlines()
    budget = 1500 - ruler.ROWS[row].new_tokens - lm.added_tokens
    counted = [ruler.sample(row, 0, i, budget, lambda string: len(lm.encode(string))) for i in range(2)]
    assert list(tasks.base.make(f"ruler-pocket/{row}").prompts(lm, 1500, 0, 2)) == counted


@pytest.mark.parametrize("name", TESTS)
def test_long_prompts_are_tokenised_once_a_run(name, monkeypatch):
    long = []

    class Watched(fakes.FakeLM):
        def encode(self, text):
            long.append(len(text)) if len(text) > 3000 else None
            return super().encode(text)

    monkeypatch.setattr(token_counts, "LONG", 1000)
    lm = Watched()
    made = list(tasks.base.make(name).prompts(lm, 4000, 0, 3))
    assert all(len(sample.prompt) > 3000 for sample in made)
    assert long == [len(made[0].prompt)]
    assert [sample.tokens for sample in made] == [len(lm.encode(sample.prompt)) for sample in made]


def test_short_prompts_are_tokenised_when_they_are_done():
    """A sum that is wrong is never kept below the limit, even in a run that trusts its sums."""
    lm = Merging()
    counter = PromptCount(counts_of(lm))
    made = tasks.base.make("needle").sample(0, 0, 500, counter)
    assert made.tokens == len(lm.encode(made.prompt)) <= 500
    assert counter.estimate(made.prompt) != made.tokens


def test_costs_are_measured():
    found = list(timing.costs(fakes.FakeLM(), ["needle", "ruler-pocket/vt"], [600, 800], 1))
    assert [(cost.name, cost.length) for cost in found][::3] == [("needle", 600), ("ruler-pocket/vt", 800)]
    assert all(0 < cost.sample < 5 and cost.first > 0 for cost in found)
    with pytest.raises(ValueError, match="perplexity does not ask one question a sample"):
        list(timing.costs(fakes.FakeLM(), ["perplexity"], [600], 1))


@pytest.mark.parametrize("kind", [fakes.FakeLM, Newlines])
def test_sums(kind):
    lm = kind()
    counts = counts_of(lm)
    rng = random.Random("sums")
    paragraphs = [world.story(rng) for _ in range(5)]
    for said in (
        "\n".join(paragraphs),
        "A.\n\nB: 12 3.5.\n\nC",
        "\nA line\n",
        "x",
        "",
        'key "9728da0e-14de-4e4e": "0a1-b2"',
        "VAR X = 1 \nVAR Y = VAR X \nend",
    ):
        assert counts.estimate(said) == len(lm.encode(said)), said
    units = list(text.sentences(paragraphs))
    assert sum(map(counts.added, units)) == pytest.approx(len(lm.encode("x" + "".join(units))) - 1, abs=len(paragraphs))


def test_memory_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr(token_counts, "MOST_KNOWN", 50)
    monkeypatch.setattr(token_counts, "MOST_CODES", 50)
    lm = fakes.FakeLM()
    counts = counts_of(lm)
    for i in range(40):
        said = " ".join(f"{word}{i} a{i}{word} {word * 3}{i}x" for word in fakes.WORDS)
        assert counts.estimate(said) == len(lm.encode(said))
    assert len(counts._words) <= 50 and len(counts._codes) <= 120 and len(counts._units) <= 200


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_counted_one_by_one_in_one_text(kind):
    lm = kind()
    parts = ["abcdef", "fa", "deadbeefcafe"]
    assert counts_of(lm)._sizes(parts) == [len(lm.encode(f"1{part}")) - len(lm.encode("1")) for part in parts]
    assert counts_of(lm)._sizes([]) == []


@pytest.mark.parametrize(
    "paragraph",
    ["One. Two! Three? Four.", "One.  Two.\tThree", "'No.' said A. B", "One.\nTwo", "a. . b", "", "3.5 is. No"],
)
def test_sentences_by_either_way(paragraph):
    slow = re.split(r"(?<=[.!?])\s+(?=\S)", paragraph)
    assert list(text.sentences([paragraph])) == [f"{' ' if i else chr(10)}{one}" for i, one in enumerate(slow)]
