"""The search stage on a fake model: resumed to the candidate, keyed by content, part of a run; and its texts."""

import dataclasses
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import ROPE, Count, FakeEngine, FakeSession, Quiet, experiment, methods
from fakes import FakeLM, story

from extenders.base import RopePlan
from extenders.late_ramp import LateRamp
from extenders.longrope2 import LongRope2
from extenders.ntk_rcd import NtkRcd
from extenders.search.problem import HELD_OUT, Slope
from harness import cli
from harness.experiment.file import Method, Test
from harness.prompts.cache import PromptCache
from harness.prompts.kept import KeptPrompts
from harness.prompts.recorder import Recorder
from harness.runner.engine import LocalEngine
from harness.runner.run import run
from harness.search import result as search_result
from harness.search import stage as searching
from harness.search import texts as search_documents
from harness.search.far_use import far_use, far_use_in_words
from harness.search.texts import PASSAGE, SearchTexts, evaluation_passages, passages
from harness.store import Store, read_lines, write_whole
from tasks.corpora import chronicle, world
from tasks.corpora.words import for_training
from tasks.needle import Needle
from tasks.perplexity import Perplexity

TARGET = 256
WANTED = (1.0, 1.7, 2.9, 5.0)


class SearchSession(FakeSession):
    """A session whose losses are a formula; `stop_after` forward passes it is killed."""

    stop_after: int | None = None
    broken = False

    def __init__(self, method: Method, trained: Path | None = None) -> None:
        super().__init__(method)
        self.passes = 0

    start_ids = (7,)

    def rows_at_once(self, length: int) -> int:
        return 2

    def plan_losses(self, rows: Sequence[tuple[RopePlan, Any]]) -> list[float]:
        if self.stop_after is not None and self.passes >= self.stop_after:
            raise KeyboardInterrupt
        self.passes += 1
        self.token_forwards += sum(len(document.ids) for _, document in rows)
        return [math.nan if self.broken else self.loss(plan, document) for plan, document in rows]

    def plan_slopes(self, rows: Sequence[tuple[RopePlan, Any]], solved: float, recompute: bool = False) -> list[Slope]:
        return [self._slope(plan, document, solved, recompute) for plan, document in rows]

    def _slope(self, plan: RopePlan, document: Any, solved: float, recompute: bool) -> Slope:
        [loss] = self.plan_losses([(plan, document)])
        if not loss >= solved:
            return Slope(loss, None, 1)
        self.token_forwards += (2 + recompute) * len(document.ids)
        logs = [2 * math.log(a / b) for a, b in zip(plan.rescale_factors(ROPE), WANTED, strict=True)]
        return Slope(loss, (*logs, 0.0), 3 + recompute)

    @staticmethod
    def loss(plan: RopePlan, document: Any) -> float:
        pairs = zip(plan.rescale_factors(ROPE), WANTED, strict=True)
        noise = random.Random(document.text).gauss(1, 0.2)  # FakeLM numbers tokens as it meets them
        return sum(math.log(a / b) ** 2 for a, b in pairs) * noise


class SearchEngine(FakeEngine):
    session: type[SearchSession] = SearchSession

    @contextmanager
    def open(self) -> Iterator[Any]:
        self.opened += 1
        yield self.session


def searched(**parameters: Any) -> Method:
    return Method("longrope2", LongRope2(target_length=TARGET, budget=60 * TARGET, **parameters))


def one_search(method: Method | None = None) -> tuple[searching.Search, Any]:
    base = SearchEngine().base()
    [search] = searching.planned([method or searched()], base)
    return search, base


def search_in(folder: Path, session: SearchSession | None = None, method: Method | None = None) -> dict[str, Any]:
    search, base = one_search(method)
    return searching.run_search(search, base, session or SearchSession(search.method), folder)


def files(folder: Path, key: str) -> tuple[dict[str, Any], str, list[Any]]:
    """Result, trajectory and stored losses, without times."""
    content = json.loads((folder / f"{key}.json").read_text())
    content["cost"].pop("seconds")
    for name in ("measured_now", "provenance", "evaluation_passages_avoided", "seal"):
        content.pop(name)
    lines = (folder / f"{key}.losses.jsonl").read_text().splitlines()
    losses = [[line["losses"], line.get("slopes")] for line in map(json.loads, lines)]
    return content, (folder / f"{key}.jsonl").read_text(), losses


def test_a_winner_that_no_search_text_measured_has_its_held_out_loss_in_words(tmp_path: Path) -> None:
    record: Any = search_in(tmp_path, method=searched(searcher="gradient"))
    assert record["loss"] is None
    lowest = min(record["held_out"].values())
    words = f"loss {lowest:.4f} nats per scored token on {record['held_out_samples']} held-out texts"
    assert search_result.loss_in_words(record) == words
    assert "not measured" in search_result.loss_in_words({**record, "held_out": {}})
    assert search_result.loss_in_words({**record, "loss": 0.25}) == "loss 0.2500 nats per scored token"


def test_a_search_writes_what_it_found(tmp_path: Path) -> None:
    content = search_in(tmp_path)
    assert content["status"] == "done" and set(content["found"]) == {"factors", "critical_pair", "attention_factor"}
    assert content["rescale_factors"] == pytest.approx(content["found"]["factors"])
    assert content["loss"] is not None and {"ntk", "yarn", "flat"} < set(content["held_out"])
    cost = content["cost"]
    assert cost["token_forwards"] == cost["evaluations"] * TARGET <= 60 * TARGET
    assert content["measured_now"] > 0.8 * cost["token_forwards"]  # texts are a little shorter than the target
    lines = read_lines(tmp_path / f"{content['key']}.jsonl")
    assert {"candidate", "parent", "operator", "loss", "samples", "factors", "plan", "spent"} <= set(lines[0])
    assert searching.finished(tmp_path, content["key"])


@pytest.mark.parametrize("searcher", ["fast", "gradient"])
def test_a_search_that_is_killed_anywhere_ends_at_the_same_winner(tmp_path: Path, searcher: str) -> None:
    method = searched(searcher=searcher)
    key = search_in(tmp_path / "whole", method=method)["key"]
    whole = files(tmp_path / "whole", key)
    passes = len(whole[2])
    for stop in range(0, passes, max(1, passes // 7)):
        folder = tmp_path / f"killed {stop}"
        session = SearchSession(method)
        session.stop_after = stop
        with pytest.raises(KeyboardInterrupt):
            search_in(folder, session, method)
        assert not searching.finished(folder, key)
        if stop:  # a kill in the middle of a line
            with (folder / f"{key}.losses.jsonl").open("a") as file:
                file.write('{"losses":[[256,"00')
        again = SearchSession(method)
        assert search_in(folder, again, method)["key"] == key
        assert again.passes == passes - stop  # nothing is measured twice
        assert files(folder, key) == whole
    if searcher == "gradient":
        slopes = [slope for _, slopes in whole[2] for slope in slopes or []]
        iterates = [line for line in map(json.loads, whole[1].splitlines()) if "iterate" in line]
        assert len(slopes) == len(iterates) > 5  # the trajectory holds every step
        assert [slope[1:5] for slope in slopes] == [
            [line[name] for name in ("plan", "sample", "loss", "gradient")] for line in iterates
        ]


def test_a_key_covers_what_changes_a_search_and_nothing_else() -> None:
    def key(label: str = "a", weights: str = "w" * 16, **parameters: Any) -> str:
        method = Method(label, LongRope2(target_length=TARGET, **parameters))
        [search] = searching.planned([method], SearchEngine(weights).base())
        return search.key

    assert key() == key("b")
    different = [key(weights="v" * 16), key(search_seed=1), key(budget=9999), key(fitness="perplexity"), key()]
    assert len(set(different)) == 5


def test_younger_settings_move_no_key_of_an_older_search() -> None:
    """A search by the released code keeps its key; one by a searcher that ends elsewhere does not."""
    base = SearchEngine().base()
    identities = {}
    for searcher in ("released", "paper", "fast", "gradient"):
        identities[searcher] = searching.identity_of(LongRope2(target_length=TARGET, searcher=searcher), base)
    assert all("start" not in identity["parameters"] for identity in identities.values())
    versions = {searcher: identity.get("searcher version") for searcher, identity in identities.items()}
    assert versions == {"released": None, "paper": 2, "fast": 2, "gradient": None}
    named = LongRope2(target_length=TARGET, searcher="gradient", start="published")
    assert searching.identity_of(named, base)["parameters"]["start"] == "published"


def test_given_numbers_need_no_search() -> None:
    assert searching.planned([searched(factors=[1.0, 2.0, 3.0, 4.0]), *methods("pi")], SearchEngine().base()) == []


def with_searches(*found: Method, **changes: Any) -> Any:
    return experiment(methods=(*methods("none", "pi"), *(found or (searched(),))), seeds=(0,), **changes)


def test_a_run_searches_first_and_evaluates_what_was_found(tmp_path: Path) -> None:
    outcome = run(with_searches(), tmp_path, SearchEngine(), Quiet())
    assert (outcome.total, outcome.failed, outcome.unsearched) == (8, (), ())  # longrope2 is `none` within the window
    store = Store.open(tmp_path)
    content = store.run()
    [entry] = content["searches"]
    assert entry["label"] == "longrope2" and entry["status"] == "done"
    result = store.search(entry["key"])
    assert result is not None and read_lines(store.searches / f"{entry['key']}.jsonl")
    [method] = [one for one in content["methods"] if one["label"] == "longrope2"]
    assert method["parameters"]["factors"] == result["found"]["factors"]
    found = [a / b for a, b in zip(ROPE.inv_freq, method["plans"]["256"]["inv_freq"], strict=True)]
    assert found == pytest.approx(result["rescale_factors"])
    conditions = {one["condition"]: one["values"] for one in content["ledger"]["conditions"]}
    assert conditions["search token-forwards"] == {
        "none": 0, "pi": 0, "longrope2": result["cost"]["token_forwards"],
    }  # fmt: skip
    assert conditions["search trials"]["longrope2"] == result["cost"]["candidates"]

    engine = SearchEngine()
    assert run(with_searches(), tmp_path, engine, Quiet()).computed == 0 and engine.opened == 0
    cheaper = with_searches(searched(), Method("rcd", NtkRcd(target_length=TARGET, budget=20 * TARGET)))
    assert run(cheaper, tmp_path, SearchEngine(), Quiet()).computed == 3  # only the new method's


def test_a_search_that_fails_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchSession, "broken", True)
    progress = Quiet()
    outcome = run(with_searches(), tmp_path, SearchEngine(), progress)
    assert outcome.total == 6 and not outcome.failed
    [(label, reason)] = outcome.unsearched
    assert label == "longrope2" and "NaN or infinite for every one of" in reason
    assert any("the search of longrope2 failed" in line for line in progress.said)
    content = Store.open(tmp_path).run()
    assert content["searches"][0]["status"] == "failed" and {m["label"] for m in content["methods"]} == {"none", "pi"}
    monkeypatch.setattr(SearchSession, "broken", False)
    (tmp_path / "searches" / f"{content['searches'][0]['key']}.losses.jsonl").unlink()
    again = run(with_searches(), tmp_path, SearchEngine(), Quiet())
    assert again.computed == 2 and not again.unsearched


def test_status_before_a_search_is_done(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchSession, "stop_after", 3)
    with pytest.raises(KeyboardInterrupt):
        run(with_searches(), tmp_path, SearchEngine(), Quiet())
    assert cli.answer(["status", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "search of longrope2: missing; its cells are planned when it is done" in said and "pi" in said
    monkeypatch.setattr(SearchSession, "stop_after", None)
    assert run(with_searches(), tmp_path, SearchEngine(), Quiet()).unsearched == ()
    assert cli.answer(["status", str(tmp_path)]) == 0
    assert "search of longrope2: done" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damaged", [lambda record: {"key": record["key"]}, lambda record: record | {"cost": {}}, lambda record: []]
)
def test_a_damaged_result_is_a_missing_search(
    tmp_path: Path, damaged: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """By every reader: `status`, the run that searches it anew, and the commands that take a result's file."""
    store = run(with_searches(), tmp_path, SearchEngine(), Quiet()).store
    path = store.searches / f"{store.run()['searches'][0]['key']}.json"
    record = json.loads(path.read_text())
    write_whole(path, json.dumps(damaged(record)))
    assert cli.answer(["status", str(tmp_path)]) == 0
    assert "search of longrope2: missing" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is not the result of a finished search"):
        search_result.read(path, "longrope2", TARGET)
    assert run(with_searches(), tmp_path, SearchEngine(), Quiet()).unsearched == ()
    assert json.loads(path.read_text())["found"] == record["found"]


# --- texts ----------------------------------------------------------------------------------------------------------


def documents(**more: Any) -> SearchTexts:
    return SearchTexts(FakeLM(), more.pop("length", 400), **more)


@pytest.mark.parametrize("needles", [1, 3])
def test_needle_texts_score_the_answers_only(needles: int) -> None:
    lm = FakeLM()
    made = SearchTexts(lm, 400, needles=needles, start=(0,))
    for sample in range(6):
        one = made[sample]
        assert 300 <= len(one.ids) <= 400 and one.ids[0] == 0
        answers = "".join(lm.pieces[one.ids[place]] for place in one.scored).split()
        assert len(answers) == needles
        text = lm.decode(one.ids[1:])
        for answer in answers:
            assert answer.isdigit() and for_training(answer)  # of the half that evaluation never asks for
            assert text.count(answer) == 2 and answer in one.text


def test_depths_and_sources_are_spread() -> None:
    made = documents()
    places = []
    for sample in range(11):
        one = made[sample]
        answer = one.text
        number = max((word.strip(".") for word in answer.split() if word.strip(".").isdigit()), key=len)
        places.append(one.text.index(number) / len(one.text))
    assert min(places) < 0.2 and max(places) > 0.75
    assert len({round(place, 1) for place in places}) >= 7
    assert {made[sample].source for sample in range(4)} == {"world stories", "world portraits"}
    assert len({made[sample].text for sample in (*range(6), *range(HELD_OUT, HELD_OUT + 6))}) == 12


def test_plain_texts_score_every_token_but_the_first() -> None:
    one = documents(fitness="perplexity", start=(0,))[3]
    assert len(one.ids) == 400 and one.scored == tuple(range(2, 400))


def test_a_sample_is_the_same_text_whoever_asks() -> None:
    first, second = documents(seed=1), documents(seed=1)
    assert second[5].text == first[5].text and documents(seed=2)[5].text != first[5].text


def write_files(folder: Path, count: int, words: int = 2000) -> Path:
    folder.mkdir()
    for i in range(count):
        rng = random.Random(f"file {i}")
        text = ""
        while len(text.split()) < words:
            text += story(rng) + "\n"
        (folder / f"{i}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("fitness", ["needle", "perplexity"])
def test_users_files_are_split_between_search_and_check(tmp_path: Path, fitness: str) -> None:
    made = documents(folder=str(write_files(tmp_path / "mine", 6)), fitness=fitness)
    searching_on = {made[sample].source for sample in range(12)}
    checked_on = {made[sample].source for sample in range(HELD_OUT, HELD_OUT + 12)}
    assert len(searching_on) == 4 and len(checked_on) == 2 and not searching_on & checked_on


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        documents(folder=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="holds 1 .txt and .md files, joined 1 documents of 400 tokens, and .* two"):
        documents(folder=str(write_files(tmp_path / "one", 1)))
    with pytest.raises(ValueError, match="holds 3 .txt and .md files, joined 0 documents of 40000 tokens"):
        documents(folder=str(write_files(tmp_path / "short", 3)), length=40000)


def test_short_files_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Each file alone is too short for the length, and all sources together hold every file once."""
    folder = write_files(tmp_path / "short", 9)
    length = 2 * len(FakeLM().encode(min(folder.glob("*.txt"), key=lambda path: path.stat().st_size).read_text()))
    made = documents(folder=str(folder), length=length, fitness="perplexity")
    sources = {made[sample].source for sample in (*range(12), *range(HELD_OUT, HELD_OUT + 12))}
    assert len(sources) >= 2 and all(" … " in source for source in sources)
    assert len(made[0].ids) == length


def test_passages_find_common_text_and_not_common_sentences() -> None:
    words = [f"w{i}" for i in range(200)]
    assert passages(" ".join(words)) & passages("before " + " ".join(words[60 : 60 + PASSAGE]))
    assert not passages(" ".join(words)) & passages("before " + " ".join(words[60 : 59 + PASSAGE]) + " after")
    assert passages("two words") & passages(" two\nwords ") and not passages("")


def test_search_texts_never_meet_evaluation_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's own text stays apart by itself; a user's file that a test reads too is refused by name."""
    folder = str(write_files(tmp_path / "shared", 3))
    tests = (Test("needle", Needle(), 6), Test("perplexity", Perplexity(), 3))
    lm = FakeLM()
    one = experiment(tests=tests, target_length=600, lengths=(600,))
    avoid = evaluation_passages(one, lm, lambda test: (600,))
    assert len(avoid) > 500
    for fitness in ("needle", "perplexity"):
        made = SearchTexts(lm, 600, fitness, avoid=avoid)
        for sample in (*range(8), *range(HELD_OUT, HELD_OUT + 4)):
            assert not passages(made[sample].text) & avoid
    kept = KeptPrompts(PromptCache(tmp_path / "cache"), "tokenizer")
    assert evaluation_passages(one, lm, lambda test: (600,), kept) == avoid  # the first time they are made and kept
    with monkeypatch.context() as patched:
        patched.setattr(Needle, "sample", lambda *_: pytest.fail("a prompt was made again"))
        assert evaluation_passages(one, lm, lambda test: (600,), kept) == avoid
    reading = experiment(tests=(Test("perplexity", Perplexity(folder=folder), 3),), target_length=2000)
    read = evaluation_passages(reading, lm, lambda test: (2000,))
    with pytest.raises(ValueError, match=r"\.txt shares a passage of 50 words with a test of this experiment"):
        SearchTexts(lm, 600, "perplexity", folder=folder, avoid=read)[0]


def test_a_finished_search_is_checked_against_new_tests(tmp_path: Path) -> None:
    """What it searched on is in its key, and what tests read is not."""
    mine, others = str(write_files(tmp_path / "mine", 3)), tmp_path / "others"
    others.mkdir()
    (others / "other.txt").write_text("nothing of the search's. " * 400)
    method = searched(documents=mine)

    def reading(folder: str) -> Any:
        tests = (Test("count", Count(), 2), Test("perplexity", Perplexity(folder=folder), 2, (64,)))
        return with_searches(method, tests=tests)

    first = run(reading(str(others)), tmp_path / "run", SearchEngine(), Quiet())
    assert not first.unsearched and Store.open(tmp_path / "run").run()["searches"][0]["status"] == "done"
    engine = SearchEngine()
    with pytest.raises(ValueError, match=r"search of 'longrope2': .*\.txt shares a passage of 50 words with a file"):
        run(reading(mine), tmp_path / "run", engine, Quiet())
    assert engine.opened == 0
    assert run(reading(str(others)), tmp_path / "run", engine, Quiet()).computed == len(first.failed)


def test_a_text_of_the_world_that_meets_evaluation_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = documents()[0].text
    avoid = frozenset(passages(first))
    again = documents(avoid=avoid)[0].text
    assert again != first and not passages(again) & avoid
    monkeypatch.setattr(search_documents, "REDRAWS", 1)
    with pytest.raises(ValueError, match="1 search texts in a row share passages"):
        documents(avoid=avoid)[0]


def test_a_recorder_notes_what_tests_ask() -> None:
    recorder = Recorder(FakeLM())
    assert list(recorder.generate(["one"], 4))[0].text == "" and recorder.texts == ["one"]
    assert recorder.losses(recorder.encode("a b c")) == [0.0, 0.0]
    assert list(recorder.answer_losses([("a", "b")])) == [(0.0, False)] and recorder.texts[-1] == "ab"
    broken = experiment(tests=(Test("count", Count(broken_at=1), 2), Test("needle", Needle(), 2)), lengths=(20,))
    assert evaluation_passages(broken, FakeLM(), lambda test: (20,)) == frozenset()  # too short: its cells will say so


def test_a_progressive_search_trains_half_way(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Search to 96 tokens, fine-tune, search on to 128: both factor lists multiply, and the model lies beside them."""
    from transformers import AutoModelForCausalLM

    def answer(arguments: list[str]) -> Any:
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        return stopped.value.code or 0

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i in range(12):
        (corpus / f"{i}.txt").write_text(f"{i:02d} and " * 19 + "." * i)
    out = tmp_path / "searches"
    command = ["search", "longrope", "--model", str(tiny_model_folder), "--target-length", "128", "--out", str(out)]
    command += ["--budget", str(128 * 12), "-p", "intermediate_length=96", "-p", f"documents={corpus}"]
    command += ["-p", "search_samples=1"]
    assert answer(command) == 2
    assert "ropebench search with --fine-tune" in capsys.readouterr().err
    command += ["--fine-tune", "plain", "--set", "tokens=512", "--set", "tokens_per_step=256"]
    command += ["--set", "learning_rate=0.01", "--set", f"corpus={corpus}"]
    assert answer(command) == 0
    shown = capsys.readouterr().out
    [path] = [one for one in out.glob("*.json") if json.loads(one.read_text())["status"] == "done"]
    content = json.loads(path.read_text())
    found = content["found"]
    product = [a * b for a, b in zip(found["factors"], found["base_factors"], strict=True)]
    assert content["rescale_factors"] == pytest.approx(product) and found["base_length"] == 96
    trained = out / f"{content['key']}.model"
    assert f"model: {trained}" in " ".join(shown.split())
    assert "its config.json has the original RoPE, which they change" in " ".join(shown.split())
    assert json.loads((trained / "plan.json").read_text())["target_length"] == 96
    assert json.loads((trained / "config.json").read_text())["max_position_embeddings"] == 64
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny_model_folder, trained))
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    assert (out / f"{content['key']}.tuned.losses.jsonl").stat().st_size > 0
    before_again = path.read_bytes()
    assert answer(command) == 0 and path.read_bytes() == before_again


# --- texts that need far context, and those that do not -----------------------------------------------------------


def chronicles(fitness: str, **more: Any) -> SearchTexts:
    lm: Any = FakeLM()
    return SearchTexts(lm, 2000, fitness, window=300, start=(0,), **more)


def test_a_search_on_far_context_scores_what_was_said_long_ago() -> None:
    far, whole = chronicles("far_context")[3], chronicles("long_perplexity")[3]
    assert far.ids == whole.ids and len(far.ids) == 2000 and whole.scored == tuple(range(2, 2000))
    assert 5 < len(far.scored) < 100 and min(far.scored) > 300
    assert chronicles("far_context")[HELD_OUT].ids != far.ids and chronicles("far_context", seed=1)[3].ids != far.ids
    lm: Any = FakeLM()
    with pytest.raises(ValueError, match="nothing in a chronicle of the world needs what stands 5000 tokens back"):
        SearchTexts(lm, 600, "far_context", window=5000)[0]


def test_no_person_of_a_search_is_in_an_evaluation() -> None:
    """Half of all names each, so no chronicle of a test shares a fact with one of a search."""
    lm: Any = FakeLM()
    evaluated = chronicle.document(lm.encode, "world 0 0", 3000, held_out=True)[0]
    searched = chronicles("long_perplexity")[0].text
    known = {*world.TOWNS, *(word for sentence in (*world.TIMES, *world.WEATHER) for word in sentence.split())}
    people = [{word.strip(".") for word in told.split() if word[0].isupper()} - known for told in (evaluated, searched)]
    starts = {"The", "In", "At", "On", "Everybody"}
    assert people[0] & people[1] <= starts and min(map(len, people)) > 10


def test_a_search_on_plain_text_says_whether_far_context_helps(tmp_path: Path) -> None:
    """The stand-in's loss is the same with less context: nothing is gained, and the search says so."""
    record: Any = search_in(tmp_path, method=searched(fitness="perplexity"))
    use = record["far_use"]
    assert use["texts"] == 4 and use["low"] <= use["gain"] <= use["high"]
    assert use["gain"] == pytest.approx(use["loss_without"] - use["loss"])
    assert 2.5 * 4 * (TARGET - ROPE.trained_length) < use["token_forwards"]
    assert "far_use" not in search_in(tmp_path, method=searched())


def test_a_search_that_goes_on_asks_for_no_loss_of_its_far_use_again(tmp_path: Path) -> None:
    method = searched(fitness="perplexity")
    session = SearchSession(method)  # the same one twice: FakeLM numbers tokens as it meets them
    first: Any = search_in(tmp_path, method=method, session=session)
    (tmp_path / f"{first['key']}.json").unlink()
    before = session.token_forwards
    again: Any = search_in(tmp_path, method=method, session=session)
    assert session.token_forwards == before and again["measured_now"] == 0 < first["measured_now"]
    assert again["far_use"] == first["far_use"]


@pytest.mark.parametrize(
    ("gain", "low", "words"),
    [(0.2, 0.1, "far context helps"), (0.2, -0.1, "is not shown"), (-0.01, -0.1, "these texts have no use")],
)
def test_the_use_of_far_context_in_words(gain: float, low: float, words: str) -> None:
    use: Any = {"loss": 2.0, "loss_without": 2.0 + gain, "gain": gain, "low": low, "high": 2 * gain - low, "texts": 4}
    said = far_use_in_words(use)
    assert words in said and f"{gain:+.3f} gained [{low:+.3f}, " in said and "\n" not in said


@pytest.mark.slow
def test_the_check_flags_short_pieces_and_passes_chronicles() -> None:
    """On a model that sees far: pocket-llama under late_ramp at twice its window."""
    length = 1024
    method = Method("late_ramp", LateRamp(target_length=length))
    asked = dataclasses.replace(experiment(), model="pocket-llama", target_length=length, methods=(method,), tests=())
    engine = LocalEngine(asked, Quiet(), device="cpu")
    with engine.open() as session_of:
        session, rope = session_of(method), engine.base().rope
        plan = method.extender.plan(rope, length)
        gains = {}
        for fitness in ("perplexity", "long_perplexity"):
            texts = SearchTexts(session.lm, length, fitness, start=session.start_ids, window=rope.trained_length)
            gains[fitness] = far_use(session.plan_losses, session.rows_at_once, plan, rope, texts)
    assert "no use for far context" in far_use_in_words(gains["perplexity"])
    assert "far context helps" in far_use_in_words(gains["long_perplexity"])
