"""Tests of order: their answers found again from the prompts alone, their scores against published rules."""

import random
import re

import fakes
import pytest

import tasks.base
from tasks import graphwalks, ordinal, which_first
from tasks.scoring import named
from tasks.text import Sample

LENGTH = 600


def rows(name, samples=24, length=LENGTH, answer=lambda prompt: "", **parameters):
    return list(tasks.base.make(name, **parameters).run(fakes.FakeLM(answer), length, 0, samples))


def number_asked(question):
    return next(i for i, word in enumerate(ordinal.NUMBERS) if f" {word} " in question)


@pytest.mark.parametrize(("equal", "sentences"), [(4, 1), (2, 2), (8, 1)])
def test_the_reply_asked_for_is_found_by_counting(equal, sentences):
    numbers = set()
    for row in rows("ordinal", equal=equal, sentences=sentences, length=900):
        *turns, question = row.prompt.split("\n\n")
        number = number_asked(question)
        kind, topic = re.search(r"\w+ (\w+) about (\w+) of", question).groups()
        replies = [turn.split("\nWriter: ")[1] for turn in turns if f"a {kind} about {topic}." in turn]
        prefix, reply = row.references
        assert len(replies) == equal and replies[number] == reply and row.extra["number"] == number + 1
        assert row.prompt.count(reply) == 1 and f"write {prefix} before" in question and len(prefix) == 6
        numbers.add(number)
    assert numbers == set(range(equal))


def test_the_code_asked_for_is_found_by_counting():
    numbers = set()
    for row in rows("ordinal", form="record", length=400):
        question = row.prompt.splitlines()[-1]
        place = re.search(r"secret code of ([\w ]+)\?", question)[1]
        codes = re.findall(rf"secret code of {place} is (\d+)\.", row.prompt)
        number = number_asked(question)
        assert len(codes) == 4 and (codes[number],) == row.references
        assert len(re.findall(r"is \d{6}\.", row.prompt)) == 5
        numbers.add(number)
    assert numbers == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("k3x9ab The old man sings.", 1),
        (" k3x9ab: The old man sings.", 2 * 18 / 38),
        ("k3x9abThe old man sings.", 1),
        ("The old man sings.", 0),
        ("Answer: k3x9ab The old man sings.", 0),
        ("k3x9ab", 0),
        ("k3x9ab The old man", 2 * 11 / 29),
        ("k3x9abThe old woman sang.", 0.8648648648648649),
    ],
)
def test_ordinal_scores_are_those_of_mrcr(answer, points):
    """Figures of MRCR's own grade, given prefix + reply as the right answer."""
    assert ordinal.score(answer, Sample("", ("k3x9ab", "The old man sings."), 0)) == pytest.approx(points)


def test_a_number_later_in_the_answer_does_not_count():
    sample = Sample("", ("123456",), 0)
    assert [ordinal.score_record(said, sample) for said in ("123456, not 654321", "654321 or 123456", "")] == [1, 0, 0]


def test_who_came_first_is_balanced_and_stands_first():
    found = rows("which_first", samples=44)
    named_first = 0
    for row in found:
        one, other = re.search(r"first, (\w+) or (\w+)\?", row.prompt).groups()
        first = min((one, other), key=lambda name: row.prompt.index(f"{name} reached"))
        assert row.references == (first,) and row.prompt.count(" reached the lighthouse.") == 4
        named_first += one == first
    assert named_first == 22
    assert tasks.base.make("which_first").chance == 0.5
    always_the_first = rows("which_first", 44, answer=lambda prompt: re.search(r"first, (\w+) or", prompt)[1])
    always_the_other = rows("which_first", 44, answer=lambda prompt: re.search(r" or (\w+)\?", prompt)[1])
    assert sum(row.score for row in always_the_first) == sum(row.score for row in always_the_other) == 22


def edges_of(prompt):
    return re.findall(r"^(\w+) -> (\w+)$", prompt, re.MULTILINE)


def at_distance(edges, start, steps):
    """By brute force: every walk of every length."""
    reached = [{start}]
    for _ in range(steps):
        reached.append({other for one, other in edges if one in reached[-1]})
    return reached[steps] - set().union(*reached[:steps])


@pytest.mark.parametrize("names", graphwalks.NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_search_is_right_by_brute_force(steps, names):
    sizes = set()
    for row in rows("graphwalks", samples=12, steps=steps, names=names, length=1500):
        edges = edges_of(row.prompt)
        start = re.search(r"away from (\w+), and not fewer", row.prompt)[1]
        assert at_distance(edges, start, steps) == {*row.references}
        assert len(edges) == len({*edges}) == row.extra["edges"] and all(one != other for one, other in edges)
        sizes.add(len(row.references))
    assert len(sizes) > 1


def test_parents_are_right_by_brute_force():
    for row in rows("graphwalks", samples=12, ask="parents", length=1500):
        node = re.search(r"parents of (\w+),", row.prompt)[1]
        edges = edges_of(row.prompt)
        assert {one for one, other in edges if other == node} == {*row.references}
        assert any(one == node for one, _ in edges)


def test_a_graph_asks_the_same_at_every_length_and_hides_its_edges():
    short, long = (rows("graphwalks", samples=6, length=length) for length in (300, 2000))
    assert [row.references for row in short] == [row.references for row in long]
    first = []
    for row in long:
        edges = edges_of(row.prompt)
        first += [i / len(edges) for i, (_, other) in enumerate(edges) if other in row.references]
    assert min(first) < 0.3 and max(first) > 0.7


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("aa, bb]", 1),
        ("[bb,aa]", 1),
        (" 'aa', \"bb\"]\nand so on, cc", 1),
        ("aa", 2 / 3),
        ("aa, bb, cc, dd]", 2 / 3),
        ("cc]", 0),
        ("", 0),
        ("]", 0),
        ("I think: Final Answer: [aa, bb]", 1),
        ("Final Answer: [aa]\nFinal Answer: [aa, bb]", 1),
        ("Final Answer: [aa, bb]\nThat is all.", 0),
        ("Final Answer: aa, bb", 0),
        ("Final Answer: []", 0),
    ],
)
def test_scores_of_sets_of_nodes(answer, points):
    assert graphwalks.score(answer, Sample("", ("aa", "bb"), 0)) == pytest.approx(points)
    assert graphwalks.score("Final Answer: []", Sample("", (), 0)) == 1


@pytest.mark.slow
def test_stated_answers_score_as_lm_eval_scores_graphwalks():
    theirs = pytest.importorskip("lm_eval.tasks.graphwalks.utils")
    rng = random.Random("answers")
    pieces = ["Final Answer: [", "]", "aa", "bb", "cc", ", ", "'", "\n", " ", "Final Answer:", "so "]
    seen = set()
    for _ in range(5000):
        answer = "Final Answer: [" + "".join(rng.choice(pieces) for _ in range(rng.randint(0, 9)))
        right = rng.sample(["aa", "bb", "cc"], rng.randint(1, 3))
        ours = graphwalks.score(answer, Sample("", tuple(right), 0))
        if answer.rstrip() != answer:  # theirs reads white lines at the end as the last line
            continue
        assert ours == pytest.approx(theirs.process_results({"answer_nodes": right}, [answer])["f1"]), (answer, right)
        seen.add(round(ours, 2))
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ordinal", {"form": "chat"}),
        ("ordinal", {"equal": 1}),
        ("ordinal", {"equal": 9}),
        ("ordinal", {"sentences": 0}),
        ("which_first", {"visitors": 1}),
        ("graphwalks", {"ask": "dfs"}),
        ("graphwalks", {"steps": 0}),
        ("graphwalks", {"names": "numbers"}),
    ],
)
def test_wrong_parameters_are_one_line(name, parameters):
    with pytest.raises(ValueError, match=f"^{name}") as error:
        tasks.base.make(name, **parameters)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "parameters", "hidden"),
    [
        ("ordinal", {}, "Writer: {}"),
        ("ordinal", {"form": "record"}, "is {}."),
        ("which_first", {}, "{} reached"),
    ],
)
def test_controls_have_no_answer(name, parameters, hidden):
    for control in ("", "no-needle", "closed-book"):
        for row in rows(name, 6, control=control, **parameters):
            assert (hidden.format(row.references[-1]) in row.prompt) == ("placed" in row.extra) == (not control)
            assert (row.prompt_tokens < 60) == (control == "closed-book")


def test_chance_is_stated():
    chances = {name: tasks.base.make(name).chance for name in ("ordinal", "which_first", "graphwalks", "needle")}
    assert chances == {"ordinal": 0.25, "which_first": 0.5, "graphwalks": 0, "needle": 0}
    assert tasks.base.make("ordinal", equal=8).chance == 1 / 8
    assert which_first.WhichFirst.chance == 0.5


@pytest.mark.parametrize("values", [2, 4, 7])
def test_the_first_value_is_found_by_reading(values):
    for row in rows("first_value", values=values, length=900):
        key = re.search(r"numbers for (\S+) mentioned in the provided text in the order of the text\?", row.prompt)[1]
        told = re.findall(rf"for {key} is: (\d+)\.", row.prompt)
        assert len(set(told)) == len(told) == values and (told[0],) == row.references
        assert abs(row.extra["placed"] - row.depth) < 0.2


def test_only_the_first_number_of_the_answer_is_the_first_value():
    sample = Sample("", ("1234567",), 0, others=("7654321",))
    said = [" 1234567, 7654321", " 7654321, and 1234567", " 1,234,567", "none", ""]
    assert [named(tasks.base.make("first_value").scoring)(one, sample) for one in said] == [1, 0, 1, 0, 0]


def test_a_first_value_that_is_no_number_of_values_is_refused():
    with pytest.raises(ValueError, match="values must be in 2 … 20, got 1"):
        tasks.base.make("first_value", values=1)
