"""RULER's wording, generators and scores in the pocket profile."""

import hashlib
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruler_goldens import GoldenLM

from tasks import ruler
from tasks.answers import PromptTask
from tasks.corpora import words as corpora_words
from tasks.corpora.words import all_words, words
from tasks.ruler import scoring, wording


def count(text: str) -> int:
    return len(re.findall(r"\w{1,4}|[^\w\s]|\s(?!\w)", text))


def sample(row: str, index: int = 0, budget: int = 480):  # type: ignore[no-untyped-def]
    return ruler.sample(row, 0, index, budget, count)


# sha256 of the first two prompts of every row; shipped results were made with them
POCKET = {
    "niah_single_1": "48eab14641309e89", "niah_single_2": "5a9fbb451c0bd43a", "niah_single_3": "fff1823ece38deac",
    "niah_multikey_1": "29a78355fb318c7b", "niah_multikey_2": "07b759bd71cbe46e", "niah_multikey_3": "a8f618a61dee9d60",
    "niah_multivalue": "2b03261b81797606", "niah_multiquery": "b85be01d606c4395", "vt": "2cfab6b6fb7caed8",
    "cwe": "5ea321a81d67c570", "fwe": "ad430c4cf8bc208c", "qa_1": "d70befda972cb61c", "qa_2": "66f9ee529c5f5839",
}  # fmt: skip


@pytest.mark.parametrize("row", list(ruler.ROWS))
def test_pocket_prompts_and_identities_stay_as_they_were(row: str) -> None:
    prompts = "\0".join(sample(row, i).prompt for i in range(2))
    assert hashlib.sha256(prompts.encode()).hexdigest()[:16] == POCKET[row]
    task = ruler.make(f"ruler-pocket/{row}")
    assert (task.name, task.parameters(), task.version_at(512)) == (f"ruler-pocket/{row}", {"row": row}, 1)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["cwe", "qa_1", "qa_2"])
def test_pocket_prompts_are_as_long_as_named_at_length(row: str) -> None:
    """Words and documents ran out here: cwe had 27 % of 131,072 tokens, qa_1 74 %, qa_2 69 %."""
    lm, task = GoldenLM(), ruler.make(f"ruler-pocket/{row}")
    assert isinstance(task, PromptTask)
    for sample_ in task.prompts(lm, 131_072, 0, 2):
        assert sample_.tokens == len(lm.encode(sample_.prompt))
        assert 0.99 < (sample_.tokens + task.new_tokens + lm.added_tokens) / 131_072 <= 1
    assert task.version_at(131_072) == 2, "cells of the short prompts may not be used again"


def test_where_words_run_out_all_come_more_often() -> None:
    made = sample("cwe", budget=60_000)
    times, common = Counter(re.findall(r"\d+\. (.+?)(?= \d+\. |\n)", made.prompt)), made.references
    least = min(times[word] for word in common)
    assert {times[word] for word in common} == {least} and least % 5 == 0 and least > 5
    others = {count for word, count in times.items() if word not in common}
    assert others <= {least // 5 - 1, least // 5}, "as often as before against the common ones"


def test_wording_is_the_guarded_one_and_a_changed_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = wording.wording()
    assert said.vt_prefix.endswith("they are: ") and "assigned" in said.vt_prefix
    assert len(said.singular) == 4
    wording.wording.cache_clear()
    monkeypatch.setitem(wording.GUARDS, "noise", "0" * 64)
    with pytest.raises(ValueError, match="'noise' in lm_eval .* is not the known one"):
        wording.wording()
    monkeypatch.undo()
    wording.wording.cache_clear()


def test_word_lists_are_the_ones_ruler_draws_from() -> None:
    """Sizes with right-stripped lines (wonderwords 3.0.1); unstripped there are two adjectives more."""
    assert len(set(words("adjective"))) * len(set(words("noun"))) == 6_171_620
    assert len(all_words()) == 8_166


def test_changed_word_lists_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list that lacks one word, as another version of the package may have it."""
    (tmp_path / "wonderwords" / "assets").mkdir(parents=True)
    (tmp_path / "wonderwords" / "assets" / "verblist.txt").write_text("\n".join(words("verb")[1:]))
    package = SimpleNamespace(version="9.0", locate_file=tmp_path.joinpath)
    monkeypatch.setattr(corpora_words, "distribution", lambda _: package)
    words.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"^wonderwords 9.0 has other verbs .*; install wonderwords==3.0.1$"):
            words("verb")
    finally:
        words.cache_clear()


@pytest.mark.parametrize("row", list(ruler.ROWS))
def test_samples_fill_their_budget_and_hold_their_answers(row: str) -> None:
    for index in range(3):
        made = sample(row, index)
        assert 480 - 60 < made.tokens <= 480
        if row not in ("cwe", "fwe"):
            assert all(reference in made.prompt for reference in made.references)
        assert made == sample(row, index)
        assert made.prompt != sample(row, index + 1).prompt


def test_one_needle_is_asked_for_in_the_singular_and_four_in_the_plural() -> None:
    one, four = sample("niah_single_1").prompt, sample("niah_multiquery").prompt
    assert one.startswith("A special magic number is hidden") and "What is the special magic number for" in one
    assert "One of the special magic numbers for" in one, "needles keep the plural"
    assert four.startswith("Some special magic numbers are hidden") and re.search(r", and \S+ mentioned", four)


def test_only_one_needle_has_the_asked_key() -> None:
    for row in ("niah_multikey_2", "niah_multikey_3"):
        made = sample(row)
        key = re.search(r"for (\S+) mentioned in the provided text\? The", made.prompt)
        assert key is not None
        assert re.findall(rf"for {key[1]} is: (\S+)\.", made.prompt) == list(made.references)


def test_variable_chain_leads_from_the_value_to_every_name() -> None:
    made = sample("vt")
    task = made.prompt.split("\n\n")[-2] + made.prompt.split("\n\n")[-1]
    value = re.search(r"assigned the value (\d+), they are: $", made.prompt)
    assert value is not None
    follows = dict(re.findall(r"VAR ([A-Z]{5}) = (?:VAR )?(\w+)", task))
    name = next(new for new, old in follows.items() if old == value[1])
    chain = [name]
    while name := next((new for new, old in follows.items() if old == name), ""):
        chain.append(name)
    assert tuple(chain) == made.references and len(chain) == 5


def test_common_words_are_the_most_common_and_frequent_words_rank_two_to_four() -> None:
    made = sample("cwe")
    counted = Counter(re.findall(r"\d+\. (\S+)", made.prompt))
    assert {word for word, _ in counted.most_common(10)} == set(made.references)
    assert counted.most_common(11)[10][1] < counted.most_common(10)[9][1]
    made = sample("fwe")
    counted = Counter(re.findall(r"\b[a-z]{6}\b", made.prompt.split("coded words. ")[1].split("\nQuestion")[0]))
    assert [word for word, _ in counted.most_common(3)] == list(made.references)


@pytest.mark.parametrize(
    ("said", "references", "all_", "part"),
    [
        ("1234567", ("1234567",), 1, 1),
        ("x\x001234567\x1f", ("1234567",), 1, 1),
        ("91234567 8", ("1234567",), 1, 1),  # a substring of a longer number counts, as in RULER
        ("PARIS.", ("paris", "Paris, France"), 0.5, 1),
        ("", ("a", "b"), 0, 0),
        ("nothing", ("no",), 1, 1),
    ],
)
def test_scores_are_rulers(said: str, references: tuple[str, ...], all_: float, part: float) -> None:
    assert scoring.match_all(said, references) == all_
    assert scoring.match_part(said, references) == part


def test_unknown_rows_and_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="no test is named .*; did you mean 'ruler-pocket/niah_single_3'"):
        ruler.make("ruler-pocket/niah_single_4")
    with pytest.raises(ValueError, match="has no parameters"):
        ruler.make("ruler-pocket/vt", hops=3)
