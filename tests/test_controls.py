"""Nulls and refusals: controls take the answer away and nothing else, wrong answers get their class, nothing is cut."""

import fakes
import pytest

import tasks.base
from harness.experiment.cells import task_identity
from tasks import failures, text
from tasks.answers import CONTROLS, AnswerTask
from tasks.base import Row

TESTS = [name for name in tasks.base.names() if "/" not in name and isinstance(tasks.base.make(name), AnswerTask)]
SETTINGS = [
    *((name, {}) for name in TESTS),
    ("needle", {"needles": 4, "asked": 3}),
    ("passkey", {"profile": "landmark"}),
    ("facts_in_text", {"hops": 2}),
    ("facts_in_text", {"hops": 3}),
    ("unmatched_needle", {"link": "stated"}),
    ("first_value", {}),
]


def rows(name: str, lm: fakes.FakeLM | None = None, samples: int = 6, length: int = 600, **given) -> list[Row]:
    return list(tasks.base.make(name, **given).run(lm or fakes.FakeLM(), length, 0, samples))


def supported(row: Row, name: str) -> str:
    """Words of the prompt that give the answer away, as whole words of the prompt without its last line."""
    return row.prompt.rpartition("\n")[0]


def question(prompt: str) -> str:
    """The last paragraph of a prompt: a question, for a conversation with the start of the answer below it."""
    return prompt.rpartition("\n\n")[2] if prompt.endswith("\nAnswer:") else prompt.rpartition("\n")[2]


@pytest.mark.parametrize(("name", "given"), SETTINGS)
def test_no_needle_is_the_same_prompt_without_the_answer(name, given):
    real, null = rows(name, **given), rows(name, control="no-needle", **given)
    for with_answer, without in zip(real, null, strict=True):
        assert without.references == with_answer.references and without.depth == with_answer.depth
        assert without.prompt.rpartition("\n")[2] == with_answer.prompt.rpartition("\n")[2]
        assert without.prompt.partition("\n")[0] == with_answer.prompt.partition("\n")[0]
        assert without.prompt_tokens > 600 / 2 and "placed" not in without.extra
        if name == "facts_in_text":  # its answers are places, which other people go to as well
            continue
        # The question itself says an ordinal's prefix and which_first's two names; what is asked for is not said.
        given_away = without.prompt.removesuffix(question(without.prompt))
        assert not any(reference in given_away for reference in without.references)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_no_needle_leaves_out_all_that_is_told_about_what_is_asked(hops):
    real, null = rows("facts_in_text", hops=hops, samples=12), rows("facts_in_text", hops=hops, control="no-needle")
    for with_facts, without in zip(real, null, strict=False):
        asked = with_facts.prompt.rpartition("\n")[2].split()[2 if hops == 1 else 3].rstrip("?")
        assert asked in supported(with_facts, "") and asked not in supported(without, "")


@pytest.mark.parametrize(("name", "given"), SETTINGS)
def test_closed_book_is_the_question_alone(name, given):
    for with_text, without in zip(rows(name, **given), rows(name, control="closed-book", **given), strict=True):
        assert without.prompt == question(with_text.prompt)
        assert without.references == with_text.references


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("name", TESTS)
def test_controls_are_apart_from_every_average_and_have_keys_of_their_own(name, control):
    real, null = tasks.base.make(name), tasks.base.make(name, control=control)
    assert null.category == "control" != real.category
    assert task_identity(null)["parameters"]["control"] == control
    assert "control" not in task_identity(real)["parameters"]
    with pytest.raises(ValueError, match=f"{name}: control is one of no-needle, closed-book"):
        tasks.base.make(name, control="none")


def test_a_model_that_reads_the_needle_scores_in_the_test_and_not_in_its_control():
    def reads(prompt: str) -> str:
        found = text.runs_of_digits(prompt)
        return f" {found[0]}." if found else " I cannot tell."

    assert {row.score for row in rows("needle", fakes.FakeLM(reads))} == {1}
    nulls = rows("needle", fakes.FakeLM(reads), control="no-needle")
    assert {(row.score, row.failure) for row in nulls} == {(0, "format")}


@pytest.mark.parametrize(
    ("answer", "finished", "name"),
    [
        ("  \n", True, "empty"),
        ("\ufffd\ufffd \x00\x01\x02\x03\x04\x05\x06", True, "gibberish"),
        ("\x00\x01\x02\x03\x04\x05\x06 a", True, "gibberish"),
        ("the code is 777777", True, "other needle"),
        ("7777770", True, "wrong value"),
        ("the code: 1234", False, "truncated"),
        ("the code: 1234", True, "wrong value"),
        ("132456", True, "wrong order"),
        ("123456 is it, or 132456", True, "wrong value"),
        ("the the the the the the the code the", True, "repetition"),
        ("no, no, no", True, "format"),
        ("come here. come here. come here. come here.", True, "repetition"),
        ("I do not know", True, "format"),
        ("999999", True, "wrong value"),
    ],
)
def test_failure_classes_of_a_number(answer, finished, name):
    assert failures.failure(answer, ("123456",), ("777777",), finished) == name


@pytest.mark.parametrize(
    ("answer", "references", "others", "name"),
    [
        ("22, 11 and 33", ("11", "22", "33"), (), "wrong order"),
        ("11 and 33", ("11", "22", "33"), (), "incomplete"),
        ("11 and 44", ("11", "22", "33"), ("44",), "other needle"),
        ("22, 11, 33 and 44", ("11", "22", "33"), ("44",), "wrong order"),
        ("112233", ("11", "22", "33"), (), "wrong value"),
        ("Pellow", ("Zelan",), ("Pellow",), "other needle"),
        ("PELLOW!", ("Zelan",), ("Pellow",), "other needle"),
        ("Pellowan", ("Zelan",), ("Pellow",), "other"),
        ("nobody", ("Zelan",), (), "other"),
        ("c3ef71e2-7a4d-4f0c-9a0b-1b2c3d4e5f60", ("d3ef71e2-7a4d-4f0c-9a0b-1b2c3d4e5f60",), (), "wrong value"),
        ("c3ef71e2-7a4d", ("d3ef71e2-7a4d-4f0c-9a0b-1b2c3d4e5f60",), (), "format"),
        ("42", ("d3ef71e2-7a4d-4f0c-9a0b-1b2c3d4e5f60",), (), "format"),
    ],
)
def test_failure_classes_of_other_answers(answer, references, others, name):
    assert failures.failure(answer, references, others) == name
    assert name in failures.CLASSES


def test_rows_carry_the_class_of_a_wrong_answer_and_none_for_a_right_one():
    lm = fakes.FakeLM(lambda prompt: " " + text.runs_of_digits(prompt)[0])
    found = rows("needle", lm, needles=4, samples=11)
    assert {(row.score, row.failure) for row in found} == {(1, ""), (0, "other needle")}


def test_an_over_long_prompt_is_refused_and_never_cut():
    asked = text.Sample("a b c d", ("1",), 4)
    lm = fakes.FakeLM()
    assert list(text.answer_rows(lm, [asked], 5, lambda *_: 0.0, length=10))  # with its BOS exactly 10 tokens
    with pytest.raises(
        ValueError, match="5 tokens of prompt and needs 6 new ones, beyond the length of 10; prompts are"
    ):
        list(text.answer_rows(lm, [asked], 6, lambda *_: 0.0, length=10))
    assert len(lm.asked) == 1


def test_a_test_that_claims_too_little_room_is_refused(monkeypatch):
    monkeypatch.setattr(text, "fit", lambda build, most, count, budget: most)  # a generator that overfills
    with pytest.raises(ValueError, match="beyond the length of 600"):
        rows("needle")


class Spaced(fakes.FakeLM):
    """Gives every token back with a space before it."""

    def decode(self, ids):
        return " ".join(self.pieces[token].strip() for token in ids)


@pytest.mark.parametrize("name", ["needle", "passkey", "key_value"])
def test_a_tokenizer_that_cannot_say_the_answer_is_one_line(name):
    with pytest.raises(ValueError, match=r"^the tokenizer gives back '.*' for '.*', so that no answer could be right"):
        rows(name, Spaced())
