"""Contracts that every test keeps, found automatically, and the shared helpers of `tasks/text.py`."""

import hashlib
import random
import re

import fakes
import pytest

import tasks.base
from harness.experiment.cells import task_identity
from tasks import failures, needle, passkey, text
from tasks.answers import AnswerTask
from tasks.base import Row, Task

# An lm-eval task takes seconds to import; its contract is in test_short.py. Tests that lack their data can't run here.
TESTS = [
    name
    for name in tasks.base.names()
    if not name.startswith("short/") and not getattr(tasks.base.make(name), "missing", "")
]
LENGTH = 512
HIDING = [name for name in TESTS if isinstance(tasks.base.make(name), AnswerTask)]

PROMPTS = {
    "needle 1 300 0": "344834728b9ee02f", "needle 4 300 0": "f240e0f32db1846b",
    "passkey 300 0": "ea8cb000008f7662", "needle 1 300 3": "c9fe68d7efb0c364",
    "needle 4 300 3": "758e246b19d76817", "passkey 300 3": "73e7c69eaf712e1b",
    "needle 1 300 10": "834b756a08fd1e0a", "needle 4 300 10": "3595fcce26b3a322",
    "passkey 300 10": "a0a031e970364aa6", "needle 1 900 0": "2004eab79389f7c4",
    "needle 4 900 0": "805f7e528fda3e8c", "passkey 900 0": "4c23a6b904a6d470",
    "needle 1 900 3": "85cd13871953cd6c", "needle 4 900 3": "57474b45456794f5",
    "passkey 900 3": "2b22f19aef0c922a", "needle 1 900 10": "1224f6bddb1839da",
    "needle 4 900 10": "3cd315124aeb5866", "passkey 900 10": "da3199cfc893c0ca",
    "needle 1 4000 0": "847cf693e32302dd", "needle 4 4000 0": "7d42211b18b1ab1b",
    "passkey 4000 0": "c2b01898397248a5", "needle 1 4000 3": "c527f17ebfe002a8",
    "needle 4 4000 3": "4296d90ed9ebd1e5", "passkey 4000 3": "9c31a4f53e9bcfa9",
    "needle 1 4000 10": "7e1b850cdb63d88f", "needle 4 4000 10": "a0ee0b8a4664223e",
    "passkey 4000 10": "9f84f31da6aee39c",
}  # fmt: skip


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
        bos = lm.added_tokens if length_of(name) > LENGTH else 0  # RULER's own lengths do not count it
        assert row.prompt_tokens + task.new_tokens <= length_of(name) + bos + getattr(task, "overhang", 0)
        assert row.prompt_tokens + task.new_tokens > length_of(name) / 2, "far shorter than asked for"
        needed = row.prompt_tokens + task.new_tokens
        assert row.plan_hash == lm.plan_hash(min(needed, length_of(name)))  # never another plan than the length's


@pytest.mark.slow
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


@pytest.mark.parametrize("name", HIDING)
def test_depths_are_stratified(name):
    _, found = answered(name, samples=22, length=1000)
    assert sorted(row.depth for row in found) == sorted([i / 10 for i in range(11)] * 2)
    for row in found:
        assert row.extra["placed" if "placed" in row.extra else "depths"] == pytest.approx(
            row.depth if "placed" in row.extra else [row.depth], abs=0.13
        )
    assert sorted(row.depth for row in found[:3])[0] < 0.4 < sorted(row.depth for row in found[:3])[-1]


@pytest.mark.parametrize("name", HIDING)
def test_same_question_at_every_length(name):
    _, short = answered(name, length=300)
    _, long = answered(name, length=900)
    assert [row.references for row in short] == [row.references for row in long]


@pytest.mark.parametrize("name", HIDING)
def test_too_short_a_length_is_one_line(name):
    with pytest.raises(ValueError, match="tokens of prompt"):
        rows(name, fakes.FakeLM(), length=30)


@pytest.mark.parametrize("name", HIDING)
def test_no_length_is_exceeded(name):
    task = tasks.base.make(name)
    for length in range(240, 300, 1 if name in ("needle", "passkey") else 7):
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
            needle.needle_prompt(random.Random(f"{i}"), 3000, count, depth=0.5, needles=4, held_out=held_out)
            for i in range(40)
        ]
        keys = [
            passkey.passkey_prompt(random.Random(f"{i}"), 900, count, depth=0.5, held_out=held_out) for i in range(40)
        ]
        seen[held_out] = {value for sample in made + keys for value in sample.references + sample.others}
        assert all(text.is_held_out(value) == held_out for value in seen[held_out])
    assert not seen[True] & seen[False]


def test_several_needles_ask_for_one():
    sample = needle.needle_prompt(random.Random("x"), 2000, len, depth=0.3, needles=4)
    assert len({*sample.references, *sample.others}) == 4
    assert sample.prompt.count("The secret code of") == 4 + 1
    assert sample.prompt.endswith(" is")
    assert failures.failure(sample.others[0], sample.references, sample.others) == "other needle"


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


def test_make_names_the_nearest_when_it_knows_none():
    with pytest.raises(ValueError, match="did you mean 'needle'"):
        tasks.base.make("neeedle")
    with pytest.raises(ValueError, match="did you mean 'depths'"):
        tasks.base.make("needle", depth=5)
    with pytest.raises(ValueError, match="depths must be of type int, got 'five'"):
        tasks.base.make("needle", depths="five")
    with pytest.raises(ValueError, match="depths must be at least 1"):
        tasks.base.make("needle", depths=0)
    with pytest.raises(ValueError, match="did you mean 'short/pocket_facts'"):
        tasks.base.make("short/pocket_fact")
    with pytest.raises(ValueError, match="no test is named 'nonsense/row'; ropebench list tests shows all$"):
        tasks.base.expand("nonsense/row")
    with pytest.raises(ValueError, match=r"there are (ruler-[a-z+]+/cwe(, |$)){5}"):
        tasks.base.expand("cwe")
    assert tasks.base.make("needle", depths=5).parameters() == {"depths": 5, "needles": 1}


def test_prompts_of_default_needles_and_passkeys_are_those_of_stored_results():
    """Digests of prompt, references, others and tokens, from the first release. A change needs a higher `version`."""
    found = {}
    for length in (300, 900, 4000):
        for i in (0, 3, 10):
            depth = text.depth_of(i, 11)
            for needles in (1, 4):
                rng = random.Random(f"needle 0 {i}")
                found[f"needle {needles} {length} {i}"] = needle.needle_prompt(
                    rng, length, fake_count, depth=depth, needles=needles
                )
            rng = random.Random(f"passkey 0 {i}")
            found[f"passkey {length} {i}"] = passkey.passkey_prompt(rng, length, fake_count, depth=depth)
    parts = {name: repr((s.prompt, s.references, s.others, s.tokens)) for name, s in found.items()}
    assert {name: hashlib.sha256(part.encode()).hexdigest()[:16] for name, part in parts.items()} == PROMPTS


def fake_count(string: str) -> int:
    return len(re.findall(r"\s?(?:[A-Za-z]+|[0-9]|\S)|\s", string))


def test_new_parameters_leave_the_identity_of_stored_results_alone():
    stored = {"needle": {"depths": 11, "needles": 1}, "passkey": {"depths": 11}, "perplexity": {"folder": ""}}
    for name, parameters in stored.items():
        assert task_identity(tasks.base.make(name))["parameters"] == parameters
    changed = tasks.base.make("needle", asked=1, needles=3, control="no-needle", question="Which?")
    assert changed.parameters() == {"depths": 11, "needles": 3, "control": "no-needle", "question": "Which?"}


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
    assert task.category in (
        "retrieval",
        "tracking",
        "counting",
        "qa",
        "perplexity",
        "short",
    )  # control: when asked for
    assert type(task)(**{**task.parameters(), **({"task": task.task} if hasattr(task, "task") else {})}) == task
