"""Contracts that every test keeps, found automatically, and the shared helpers of `tasks/text.py`."""

import random
from dataclasses import replace

import fakes
import pytest

import tasks.base
from tasks import needle, passkey, text
from tasks.base import Row, Task

# An lm-eval task takes seconds to import; its contract is in test_short.py.
TESTS = [name for name in tasks.base.names() if not name.startswith("short/")]
LENGTH = 512


def length_of(name: str) -> int:
    """The shortest length that a test is made for: RULER's exact profiles begin at 4,096 tokens."""
    return 4096 if name.startswith("ruler-") and not name.startswith("ruler-pocket") else LENGTH


def rows(name: str, lm: fakes.FakeLM, samples: int = 3, seed: int = 0, length: int = 0) -> list[Row]:
    return list(tasks.base.make(name).run(lm, length or length_of(name), seed, samples))


def answered(name: str, **asked) -> tuple[Task, list[Row]]:
    return tasks.base.make(name), rows(name, fakes.FakeLM(), **asked)


def generates(task: Task) -> bool:
    return task.new_tokens > 0


@pytest.mark.parametrize("name", TESTS)
def test_fits_the_length_and_says_how_long_it_is(name):
    lm = fakes.FakeLM()
    task = tasks.base.make(name)
    for row in rows(name, lm):
        assert row.prompt_tokens == len(lm.encode(row.prompt)) + lm.added_tokens
        assert row.prompt_tokens + task.new_tokens <= length_of(name)
        assert row.prompt_tokens + task.new_tokens > length_of(name) / 2, "far shorter than asked for"
        assert row.plan_hash == lm.plan_hash(row.prompt_tokens + task.new_tokens)


@pytest.mark.parametrize("name", TESTS)
def test_samples_depend_on_seed_and_number_only(name):
    _, many = answered(name, samples=4)
    _, few = answered(name, samples=2)
    _, other = answered(name, samples=2, seed=1)
    assert [row.prompt for row in many[:2]] == [row.prompt for row in few]
    assert [row.sample for row in many] == [0, 1, 2, 3]
    assert len({row.prompt for row in many + other}) == 6


@pytest.mark.parametrize("name", TESTS)
def test_empty_answer_scores_0_and_perfect_answer_scores_1(name):
    task, empty = answered(name)
    if not generates(task):
        pytest.skip("has no answers")
    assert all(row.score == 0 and row.failure == "empty" for row in empty)
    table = {row.prompt: " ".join(row.references) for row in empty}
    perfect = rows(name, fakes.FakeLM(lambda prompt: f" {table[prompt]}"))
    assert all(row.score == 1 and row.failure == "" for row in perfect)


@pytest.mark.parametrize("name", [name for name in TESTS if "/" not in name])
def test_target_stands_in_the_prompt(name):
    task, found = answered(name, samples=11)
    if generates(task):
        for row in found:
            assert row.references and all(row.prompt.count(reference) >= 1 for reference in row.references)


@pytest.mark.parametrize("name", ["needle", "passkey"])
def test_depths_are_stratified(name):
    _, found = answered(name, samples=22, length=1000)
    assert sorted(row.depth for row in found) == sorted([i / 10 for i in range(11)] * 2)
    for row in found:
        assert row.extra["placed"] == pytest.approx(row.depth, abs=0.13)
    assert sorted(row.depth for row in found[:3])[0] < 0.4 < sorted(row.depth for row in found[:3])[-1]


@pytest.mark.parametrize("name", ["needle", "passkey"])
def test_same_question_at_every_length(name):
    _, short = answered(name, length=300)
    _, long = answered(name, length=900)
    assert [row.references for row in short] == [row.references for row in long]


@pytest.mark.parametrize("name", ["needle", "passkey"])
def test_too_short_a_length_is_one_line(name):
    with pytest.raises(ValueError, match="tokens of prompt"):
        rows(name, fakes.FakeLM(), length=30)


@pytest.mark.parametrize("name", ["needle", "passkey"])
def test_no_length_is_exceeded(name):
    task = tasks.base.make(name)
    for length in range(240, 300):
        [row] = task.run(fakes.FakeLM(), length, 0, 1)
        assert row.prompt_tokens + task.new_tokens <= length


def test_passkey_is_token_exact():
    _, found = answered("passkey", samples=11)
    assert {row.prompt_tokens + passkey.Passkey.new_tokens for row in found} <= {LENGTH, LENGTH - 1}


def test_training_and_evaluation_share_no_key():
    count = len
    seen = {}
    for held_out in (True, False):
        made = [
            needle.needle_prompt(
                random.Random(f"{i}"), 3000, count, depth=0.5, needles=4, story=fakes.story, held_out=held_out
            )
            for i in range(40)
        ]
        keys = [
            passkey.passkey_prompt(random.Random(f"{i}"), 900, count, depth=0.5, held_out=held_out) for i in range(40)
        ]
        seen[held_out] = {value for sample in made + keys for value in sample.references + sample.others}
        assert all(text.is_held_out(value) == held_out for value in seen[held_out])
    assert not seen[True] & seen[False]


def test_several_needles_ask_for_one():
    sample = needle.needle_prompt(random.Random("x"), 2000, len, depth=0.3, needles=4, story=fakes.story)
    assert len({*sample.references, *sample.others}) == 4
    assert sample.prompt.count("The secret code of") == 4 + 1
    assert sample.prompt.endswith(" is")
    assert text.failure(sample.others[0], sample) == "other needle"


@pytest.mark.parametrize(
    ("answer", "points"), [(" 12345", 1), ("12345 is it, not 999", 1), ("999 12345", 0), ("123456", 0), ("", 0)]
)
def test_passkey_score_wants_the_first_run_of_digits(answer, points):
    assert passkey.score(answer, text.Sample("", ("12345",), 0)) == points


@pytest.mark.parametrize(
    ("answer", "points"), [(" 123456.", 1), ("7 or 123456", 1), ("1234567", 0), ("0123456", 0), ("x", 0)]
)
def test_needle_score_wants_the_exact_digits(answer, points):
    assert needle.score(answer, text.Sample("", ("123456",), 0)) == points


@pytest.mark.parametrize(
    ("answer", "finished", "name"),
    [
        ("  \n", True, "empty"),
        ("\ufffd\ufffd \x00\x01\x02\x03\x04\x05\x06", True, "gibberish"),
        ("the code is 777777", True, "other needle"),
        ("7777770", True, "wrong value"),
        ("the code: 1234", False, "truncated"),
        ("the code: 1234", True, "wrong value"),
        ("the the the the the the the code the", True, "repetition"),
        ("I do not know", True, "format"),
        ("999999", True, "wrong value"),
    ],
)
def test_failure_classes(answer, finished, name):
    assert text.failure(answer, text.Sample("", ("123456",), 0, others=("777777",)), finished) == name


@pytest.mark.parametrize("budget", range(0, 60, 7))
def test_fit_finds_the_largest_that_fits(budget):
    sizes = [1 + (i * 7) // 3 for i in range(31)]  # tokens with i units: 1 to 71, steps of 2 or 3
    if budget < 1:
        with pytest.raises(ValueError, match="use a larger length"):
            text.fit(lambda units: "x" * sizes[units], 30, len, budget)
    else:
        best = text.fit(lambda units: "x" * sizes[units], 30, len, budget)
        assert sizes[best] <= budget < sizes[best + 1]


@pytest.mark.parametrize("depths", [1, 2, 3, 5, 11, 35])
def test_every_depth_comes_once_in_a_cycle(depths):
    expected = [0.5] if depths == 1 else [i / (depths - 1) for i in range(depths)]
    assert sorted(text.depth_of(i, depths) for i in range(depths)) == pytest.approx(expected)


def test_perplexity_of_a_document_is_the_mean_and_the_curve():
    lm = fakes.FakeLM()
    found = rows("perplexity", lm, samples=2)
    for row, document in zip(found, lm.documents, strict=True):
        losses = [1.0 + (token % 7) / 10 for token in document[1:]]
        assert row.score == pytest.approx(sum(losses) / len(losses))
        bounds, means = row.extra["curve"]["edges"], row.extra["curve"]["loss"]
        assert bounds[0] == 0 and bounds[-1] == len(losses) == row.extra["tokens"] == LENGTH - 2
        sizes = [b - a for a, b in zip(bounds, bounds[1:], strict=False)]
        assert sum(m * n for m, n in zip(means, sizes, strict=True)) == pytest.approx(sum(losses), abs=1e-3)
        assert means[0] == pytest.approx(sum(losses[:16]) / 16, abs=1e-6)
        assert row.extra["bytes"] == len(lm.decode(document[1:]).encode())


def test_perplexity_takes_the_same_beginning_at_every_length():
    lm = fakes.FakeLM()
    for length in (100, 700, 300):
        rows("perplexity", lm, samples=1, length=length)
    short, long, middle = lm.documents
    assert long[: len(short)] == short and long[: len(middle)] == middle


def test_perplexity_of_a_folder(tmp_path):
    for name in ("b.txt", "a.md", "c.csv"):
        (tmp_path / name).write_text(f"{name} says something. " * 40)
    task = tasks.base.make("perplexity", folder=str(tmp_path))
    found = list(task.run(fakes.FakeLM(), 100, 0, 2))
    assert [row.extra["document"] for row in found] == ["a.md", "b.txt"]
    with pytest.raises(ValueError, match="holds 2"):
        list(task.run(fakes.FakeLM(), 100, 0, 3))
    with pytest.raises(ValueError, match="use longer files"):
        list(task.run(fakes.FakeLM(), 5000, 0, 1))
    with pytest.raises(ValueError, match="is not a folder"):
        list(replace(task, folder=str(tmp_path / "d")).run(fakes.FakeLM(), 100, 0, 1))


def test_make_names_the_nearest_when_it_knows_none():
    with pytest.raises(ValueError, match="did you mean 'needle'"):
        tasks.base.make("neeedle")
    with pytest.raises(ValueError, match="did you mean 'depths'"):
        tasks.base.make("needle", depth=5)
    with pytest.raises(ValueError, match="depths must be of type int, got 'five'"):
        tasks.base.make("needle", depths="five")
    with pytest.raises(ValueError, match="depths of at least 1"):
        tasks.base.make("needle", depths=0)
    with pytest.raises(ValueError, match="did you mean 'short/pocket_facts'"):
        tasks.base.make("short/pocket_fact")
    with pytest.raises(ValueError, match="no test is named 'nonsense/row'"):
        tasks.base.expand("nonsense/row")
    assert tasks.base.make("needle", depths=5).parameters() == {"depths": 5, "needles": 1}


def test_groups_expand_to_their_rows():
    pocket = ["short/pocket_arithmetic", "short/pocket_cloze", "short/pocket_facts", "short/pocket_perplexity"]
    assert tasks.base.expand("short") == tasks.base.expand("short/pocket") == pocket
    assert tasks.base.expand("short/pocket_facts") == ["short/pocket_facts"]
    assert tasks.base.expand("short/hellaswag") == ["short/hellaswag"]
    assert tasks.base.expand("needle") == ["needle"]
    assert "text" not in tasks.base.names() and "corpora" not in tasks.base.names()


@pytest.mark.parametrize("name", tasks.base.names())
def test_names_and_declarations(name):
    task = tasks.base.make(name)
    assert task.name == name
    assert task.unit in ("score", "nats") and task.lengths in ("every", "window")
    assert task.category in ("retrieval", "tracking", "counting", "qa", "perplexity", "short")
    assert type(task)(**{**task.parameters(), **({"task": task.task} if hasattr(task, "task") else {})}) == task
