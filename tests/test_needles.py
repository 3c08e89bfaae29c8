"""The tests that hide something, one by one: wording, scores and what each is made of."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest

import tasks.base
from harness.model.tokens import Tokens
from tasks import answers, facts_in_text, key_value, passkey, scoring, text, unmatched_needle
from tasks.base import Row
from tasks.corpora import world
from tasks.failures import failure

OWN = {
    "opening": "Here are some essays.",
    "needle": "A good thing to do in Rome is eat a pizza and sit by the fountain.",
    "question": "What is a good thing to do in Rome?",
    "phrases": ["eat a pizza", "fountain"],
}


def rows(name: str, answer=lambda _: "", samples: int = 6, length: int = 600, **given) -> list[Row]:
    return list(tasks.base.make(name, **given).run(fakes.FakeLM(answer), length, 0, samples))


# needle


def test_several_needles_are_asked_for_in_an_order():
    task = tasks.base.make("needle", needles=4, asked=3)
    assert task.new_tokens == 48 and task.parameters() == {"depths": 11, "needles": 4, "asked": 3}
    [row] = task.run(fakes.FakeLM(), 700, 0, 1)
    places = [re.search(rf"The secret code of (.+?) is {code}\.", row.prompt)[1] for code in row.references]
    assert row.prompt.endswith(f"The secret codes of {places[0]}, {places[1]} and {places[2]} are")


@pytest.mark.parametrize(
    ("said", "points"),
    [
        ("1 2 3", 1),
        ("1, then 9, 2, 3", 1),
        ("2 1 3", 2 / 3),
        ("3 2 1", 1 / 3),
        ("1 3", 2 / 3),
        ("12 3", 1 / 3),
        ("", 0),
    ],
)
def test_codes_in_order_get_part_of_the_score(said, points):
    sample = text.Sample("", ("1", "2", "3"), 0)
    assert scoring.score("tasks.needle:score", said, sample.references) == pytest.approx(points)


def test_a_needle_in_your_own_words_is_scored_by_phrases():
    [row] = rows("needle", samples=1, **OWN)
    assert row.prompt.startswith("Here are some essays.\n") and row.prompt.endswith(
        "\nWhat is a good thing to do in Rome?"
    )
    assert row.prompt.count(OWN["needle"]) == 1 and row.references == ("eat a pizza", "fountain")
    said = {"Eat  a Pizza.": 0.5, "sit by the fountain and eat\na pizza": 1, "eat pizza": 0}
    for answer, points in said.items():
        [row] = rows("needle", lambda _, answer=answer: answer, samples=1, **OWN)
        assert row.score == points
    assert tasks.base.make("needle", **OWN).scoring == "tasks.needle:score_phrases"


def test_your_own_sentence_may_keep_the_drawn_places_and_codes():
    given = {"needle": "{place} opens with {code}.", "question": "What opens {place}?", "needles": 3}
    for row in rows("needle", **given):
        place = row.prompt.rpartition("What opens ")[2].rstrip("?")
        assert f"{place} opens with {row.references[0]}." in row.prompt and row.prompt.count(" opens with ") == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"asked": 2}, "asked in 1 … needles, got 1 and 2"),
        ({"needles": 101}, "needles in 1 … 100"),
        ({"needle": "Nothing here."}, "holds {code}"),
        ({"needle": "It is {code}.", "needles": 2}, "several also {place}"),
        ({**OWN, "phrases": ["pasta"]}, "'pasta' does not stand in it"),
        ({**OWN, "needles": 2}, "needles is 2"),
        ({**OWN, "question": ""}, "need a question"),
        ({**OWN, "phrases": "pizza"}, "a list of texts"),
        ({"folder": "/nowhere"}, "/nowhere is not a folder"),
    ],
)
def test_wrong_needles_are_one_line(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rows("needle", samples=1, **given)


def test_the_haystack_may_come_from_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("First line. Second sentence!\n\nAnother paragraph of this essay?\n")
    (tmp_path / "b.md").write_text("The other file.\n")
    for row in rows("needle", folder=str(tmp_path)):
        body = row.prompt.partition("\n")[2].rpartition("\n")[0]
        assert {"First line.", "Second sentence!", "Another paragraph of this essay?", "The other file."} == {
            one
            for one in re.split(r"(?<=[.!?])\s+", re.sub(r"The secret code of .+? is \d+\.", "", body).strip())
            if one
        }
        assert row.prompt_tokens > 500, "a short folder is repeated until the length is filled"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no text"):
        rows("needle", folder=str(tmp_path / "empty"))


# passkey


def test_landmark_has_the_layout_of_the_paper():
    announcement, noise = passkey.landmark_wording()
    found = rows("passkey", profile="landmark", samples=40)
    for row in found:
        opening, before, key, after, question = row.prompt.split("\n")
        assert (opening, question) == (announcement, passkey.QUESTION)
        assert key == passkey.KEY.format(key=row.references[0])
        endless = f"{noise} " * 100
        assert endless.startswith(before) and endless.startswith(after), "the second part begins anew"
        assert len(before) == int(row.depth * (len(before) + len(after)))
    keys = [int(row.references[0]) for row in found]
    assert min(keys) < 10_000 < max(keys) <= 50_000
    assert len({row.depth for row in found}) == 40, "depths are drawn, not stratified"
    assert all(590 < row.prompt_tokens + 10 <= 600 for row in found)


def test_your_own_words_complete_the_landmark_profile():
    given = {"profile": "landmark", "key_line": "It is {key}, {key}!", "question": "What is it? It is"}
    for row in rows("passkey", **given):
        assert f"\nIt is {row.references[0]}, {row.references[0]}!\n" in row.prompt
        assert row.prompt.endswith("\nWhat is it? It is")
    with pytest.raises(ValueError, match="key_line must hold {key}"):
        tasks.base.make("passkey", key_line="Nothing.")
    with pytest.raises(ValueError, match="profile is one of ropebench, landmark, got 'lamdmark'"):
        tasks.base.make("passkey", profile="lamdmark")


def test_landmark_says_when_its_wording_is_gone(monkeypatch):
    monkeypatch.setattr(passkey, "ANNOUNCEMENT", "00000000")
    passkey.landmark_wording.cache_clear()
    with pytest.raises(ValueError, match="install the lm_eval version of constraints.txt"):
        rows("passkey", profile="landmark")


# key_value


def test_pairs_are_one_json_object_and_the_key_leads_to_the_value():
    for row in rows("key_value", samples=11, length=900):
        _, line, question = row.prompt.split("\n")
        pairs = json.loads(line)
        key = question.split('"')[1]
        assert pairs[key] == row.references[0] and len(pairs) > 4
        assert len({*pairs, *pairs.values()}) == 2 * len(pairs)
        place = list(pairs).index(key) / (len(pairs) - 1)
        assert place == pytest.approx(row.depth, abs=0.5 / (len(pairs) - 1) + 1e-9)
        assert all(text.is_held_out(one) for one in [*pairs, *pairs.values()])


def test_a_longer_prompt_holds_the_pairs_of_a_shorter_one():
    [short], [long] = rows("key_value", samples=1, length=700), rows("key_value", samples=1, length=1400)
    few, many = (json.loads(row.prompt.split("\n")[1]) for row in (short, long))
    assert few.items() <= many.items() and len(many) > 1.6 * len(few)


def test_another_value_of_the_object_is_another_needle():
    def last(prompt: str) -> str:
        return list(json.loads(prompt.split("\n")[1]).values())[-1]

    found = rows("key_value", last, samples=11)
    assert {(row.score, row.failure) for row in found} == {(1, ""), (0, "other needle")}


# facts_in_text

MOVES = r"(went|moved|returned) to"
TAKES = r"(took|picked up)"
DROPS = r"(put down|left)"


def told(prompt: str) -> Iterator[tuple[str, str, str]]:
    """(who, kind, what) of every fact, read from the words of the prompt."""
    body = prompt.partition("\n")[2].rpartition("\n")[0]
    places, things = "|".join(facts_in_text.PLACES), "|".join(facts_in_text.THINGS)
    pattern = rf"(\w+) (?:{MOVES} the ({places})|{TAKES} the ({things})|{DROPS} the ({things})(?: behind)?)\."
    for found in re.finditer(pattern, body):
        kind = "move" if found[3] else "take" if found[5] else "drop"
        yield found[1], kind, found[3] or found[5] or found[7]


def solved(prompt: str) -> str:
    """The answer, by a second simulation that keeps the whole course of every thing."""
    where: dict[str, str] = {}
    carries: dict[str, set[str]] = {}
    course: dict[str, list[str]] = {}
    for who, kind, what in told(prompt):
        if kind == "move":
            where[who] = what
            for thing in carries.get(who, set()):
                course[thing].append(what)
        elif kind == "take":
            carries.setdefault(who, set()).add(what)
            if course.setdefault(what, []) == []:
                course[what].append(where[who])
            assert course[what][-1] == where[who], "taken where it is"
        else:
            carries[who].remove(what)
    question = prompt.rpartition("\n")[2]
    if found := re.match(r"Where was the (\w+) before it was in the (\w+)\?", question):
        stays = course[found[1]]
        assert stays[-1] == found[2]
        return stays[-2]
    found = re.match(r"Where is (the )?(\w+) now\?", question)
    return course[found[2]][-1] if found[1] else where[found[2]]


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_answer_follows_from_the_facts_as_they_are_told(hops):
    for row in rows("facts_in_text", samples=60, hops=hops):
        facts = list(told(row.prompt))
        assert len(facts) == 8
        assert (solved(row.prompt),) == row.references
        assert len(row.extra["depths"]) == hops and row.extra["depths"][-1] == pytest.approx(row.depth, abs=1e-3)
        assert not {who for who, _, _ in facts} & {person.name for person in world.people()}


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_every_supporting_fact_is_needed(hops):
    """Without any one of them another answer follows, or none."""
    rng = random.Random("supports")
    for _ in range(60):
        events = facts_in_text.simulate(rng, ["Ann", "Bob", "Cid"], facts_in_text.THINGS, 9)
        for asked in facts_in_text.questions(events, hops):
            assert len(asked.supports) == hops and asked.supports == tuple(sorted(set(asked.supports)))
            about = {asked.asked, *(events[i].who for i in asked.supports), *(events[i].what for i in asked.supports)}
            assert all({events[i].who, events[i].what} & about for i in asked.supports)
            changed = [event for i, event in enumerate(events) if i != asked.supports[-1]]
            assert (asked.asked, asked.answer, asked.now) not in {
                (one.asked, one.answer, one.now) for one in _questions(changed, hops)
            }


def _questions(events: list[facts_in_text.Event], hops: int) -> list[facts_in_text.Question]:
    try:
        return facts_in_text.questions(events, hops)
    except KeyError:  # somebody puts down what nobody took any more
        return []


def test_the_world_around_the_facts_has_other_words_for_places_and_things():
    rng = random.Random("words")
    told = set(re.findall(r"\w+", " ".join(world.story(rng) for _ in range(2000)).lower()))
    assert not told & {*facts_in_text.PLACES, *facts_in_text.THINGS}


@pytest.mark.parametrize(
    ("answer", "points"),
    [(" attic.", 1), ("Attic", 1), ("the attic, not the cellar", 1), ("cellar, then attic", 0), ("", 0)],
)
def test_the_first_place_counts(answer, points):
    assert facts_in_text.score(answer, text.Sample("", ("attic",), 0)) == points


@pytest.mark.parametrize("given", [{"hops": 4}, {"facts": 5}, {"people": 1}])
def test_wrong_facts_are_one_line(given):
    with pytest.raises(ValueError, match="facts_in_text wants hops in 1 … 3"):
        tasks.base.make("facts_in_text", **given)


# unmatched_needle


def words(string: str) -> set[str]:
    return set(re.findall(r"[a-z]+", string.lower()))


def test_question_and_needle_share_no_word():
    said = [
        unmatched_needle.NEEDLE.format(name="Zelan", things=things)
        for kind in unmatched_needle.KINDS.values()
        for things in kind
    ]
    asked = [unmatched_needle.QUESTION.format(kind=kind) for kind in unmatched_needle.KINDS]
    assert not words(" ".join(said)) & words(" ".join(asked))
    things = [one for kind in unmatched_needle.KINDS.values() for one in kind]
    assert len(things) == len(set(things)) == 36, "no thing is of two kinds"


def test_the_world_around_the_needle_says_nothing_about_it():
    rng = random.Random("words")
    told = words(" ".join(world.story(rng) for _ in range(2000)))
    kinds = unmatched_needle.KINDS
    assert not told & {*kinds, *(one for things in kinds.values() for one in things), "photographed", "pictures"}


@pytest.mark.parametrize("link", ["known", "stated"])
def test_one_of_the_photographers_has_things_of_the_asked_kind(link):
    for row in rows("unmatched_needle", samples=20, link=link):
        people = dict(re.findall(r"For years (\w+) photographed (\w+)\.", row.prompt))
        kind = re.search(r"pictures of (\w+)\?", row.prompt)[1]
        assert [name for name, things in people.items() if things in unmatched_needle.KINDS[kind]] == [*row.references]
        assert len(people) == 4 and set(row.extra["names"]) == set(people) - set(row.references)
        links = dict(re.findall(r"All (\w+) are (\w+)\.", row.prompt))
        assert links == ({} if link == "known" else {things: _kind(things) for things in people.values()})


def _kind(things: str) -> str:
    return next(kind for kind, several in unmatched_needle.KINDS.items() if things in several)


def test_the_first_photographer_counts():
    sample = text.Sample("", ("Zelan",), 0, extra={"names": ["Dorin"]})
    said = {" Zelan.": 1, "zelan and Dorin": 1, "Dorin, or Zelan": 0, "Zelanus": 0, "Mara or Zelan": 1}
    assert {answer: unmatched_needle.score(answer, sample) for answer in said} == said
    with pytest.raises(ValueError, match="link known or stated"):
        tasks.base.make("unmatched_needle", link="implied")


# what they share


def test_inserts_of_equal_depth_keep_their_order():
    units = [" a", " b"]
    assert text.joined(units, [(0.5, "z"), (0.5, "y"), (0.0, "x"), (0.0, "w")]) == "x w a z y b"


def test_longest_common_subsequence_against_brute_force():
    rng = random.Random("order")
    for _ in range(300):
        right = [rng.choice("abc") for _ in range(rng.randint(1, 5))]
        said = [rng.choice("abcd") for _ in range(rng.randint(0, 6))]
        best = 0
        for mask in range(2 ** len(right)):
            part = [value for i, value in enumerate(right) if mask >> i & 1]
            rest = iter(said)
            if all(value in rest for value in part):
                best = max(best, len(part))
        assert text.in_order(right, said) == pytest.approx(best / len(right))


def test_every_test_scores_the_same_by_the_name_of_its_function():
    """What `run` gives and what a program gets that has only prompt, references and the name."""
    for name in tasks.base.names():
        task = tasks.base.make(name)
        if "/" not in name and isinstance(task, answers.AnswerTask):
            for row in rows(name, lambda prompt: f" 12 attic Zelan {prompt[-30:]}"):
                again = scoring.score(scoring.name_of(task), row.generation, row.references, extra=row.extra)
                assert again == row.score


def test_identifiers_are_uuids():
    import uuid

    made = key_value.identifier(random.Random("x"))
    assert uuid.UUID(made).version == 4 and str(uuid.UUID(made)) == made


# text is text


def test_what_spells_a_special_token_is_text() -> None:
    tokens = Tokens(fakes.byte_tokenizer())
    assert 257 not in tokens.encode("a</s>b") and tokens.decode(tokens.encode("a</s>b <s>")) == "a</s>b <s>"
    assert 257 in tokens.encode("a</s>b", special=True)
    assert tokens.with_start(tokens.encode("<s>a"))[0] == 256, "BOS stands before a text that only spells it"


@pytest.mark.parametrize(
    ("name", "given", "special"),
    [
        ("needle", {}, False),
        ("needle", {"question": "Which code? Say <b>only</b> <it>, [INSTEAD] of <all>."}, False),
        ("needle", {"opening": "<|im_start|>user\nRead this."}, True),
        ("needle", {"question": "Where?<end_of_turn>\n<start_of_turn>model\n"}, True),
        ("passkey", {"question": "Which passkey is it? [/INST]"}, True),
        ("passkey", {"key_line": "The key is {key}.</s>"}, True),
        ("facts_in_text", {}, False),
        ("ruler-head/vt", {}, False),
        ("ruler-head/vt", {"template": "meta-llama3"}, True),
        ("ruler-pocket/vt", {}, False),
    ],
)
def test_only_a_chat_template_means_special_tokens(name: str, given: dict[str, str], special: bool) -> None:
    lm = fakes.FakeLM()
    list(tasks.base.make(name, **given).run(lm, 1500, 0, 1))
    assert lm.special == {special}


def test_a_haystack_of_yours_is_text_and_counts_anew(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It ends here.</s> And <s> it begins. " * 40, encoding="utf-8")
    lm = Tokens(fakes.byte_tokenizer())
    for name in ("needle", "facts_in_text"):
        task = tasks.base.make(name, folder=str(tmp_path))
        assert isinstance(task, answers.PromptTask) and task.version == tasks.base.make(name).version + 1
        made = next(iter(task.prompts(lm, 1500, 0, 1)))
        assert "</s>" in made.prompt and made.tokens == len(made.prompt.encode())


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("The code is 123,456.", ["123456"]),
        ("1,234,567", ["1234567"]),
        ("123'456 or 123’456", ["123456", "123456"]),
        ("123\u202f456, 123\u00a0456 and 123\u2009456", ["123456"] * 3),
        ("123456,654321", ["123456", "654321"]),
        ("123456, 654321", ["123456", "654321"]),
        ("12,3456", ["12", "3456"]),
        ("1234,567", ["1234", "567"]),
        ("1,234,56", ["1", "234", "56"]),
        ("12345,678,901", ["12345", "678", "901"]),
        ("1,234'567", ["1", "234", "567"]),
        ("123.456", ["123", "456"]),
        ("123 456", ["123", "456"]),
        ("9123,456", ["9123", "456"]),
        ("١٢٣,456", ["456"]),
    ],
)
def test_thousands_may_be_set_apart(said: str, numbers: list[str]) -> None:
    assert text.numbers(said) == numbers


def test_a_code_with_a_comma_is_right_and_one_of_several_is_found() -> None:
    sample = text.Sample("", ("123456", "654321"), 0)
    assert scoring.score("tasks.needle:score", "123,456 and 654,321", sample.references) == 1
    assert scoring.score("tasks.needle:score", "123,456 and 9,654,321", sample.references) == 0.5
    assert failure("123,456 and 111,111", ("123456", "777888")) == "incomplete"
    assert failure("777,888", ("123456",), ("777888",)) == "other needle"
    assert scoring.score("tasks.passkey:score", " 12,345", ["12345"]) == 1


@pytest.mark.parametrize(
    ("said", "key", "score"),
    [
        ("00123.", "123", 1),
        (" is 123", "123", 1),
        ("0", "123", 0),
        ("1230", "123", 0),
        ("12,345", "12345", 0),  # LongRoPE's script takes the first run of digits
        ("٠١٢٣", "123", 1),  # and any digits of Unicode
        ("nothing", "123", 0),
        ("1" * 5000, "123", 0),
    ],
)
def test_the_landmark_passkey_is_compared_as_a_number(said: str, key: str, score: float) -> None:
    """As LongRoPE's evaluation/passkey.py and YaRN's eval/passkey.py do: int(re.search(r"\\d+", answer).group())."""
    assert scoring.score("tasks.passkey:score_landmark", said, [key]) == score
    assert scoring.name_of(tasks.base.make("passkey", profile="landmark")) == "tasks.passkey:score_landmark"
    assert scoring.name_of(tasks.base.make("passkey")) == "tasks.passkey:score"


def test_phrases_are_compared_however_their_accents_are_composed() -> None:
    composed, apart = "caf\u00e9 Z\u00fcrich", "cafe\u0301 Zu\u0308rich"
    for said, phrase in ((composed, apart), (apart, composed)):
        assert scoring.score("tasks.needle:score_phrases", f"At the {said.upper()}!", [phrase]) == 1
        made = {"needle": f"Eat at {said}.", "question": "Where?", "phrases": [phrase]}
        assert rows("needle", lambda _, said=said: said, 1, **made)[0].score == 1
    assert scoring.score("tasks.needle:score_phrases", "At the cafe", [composed]) == 0
