"""Training as a factor of an experiment: keyed, resumed, found again, swapped in and out, and counted."""

import json
import math
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_engine import Quiet

import tasks.base
from extenders.longrope import LongRope
from harness import cli
from harness.experiment import file as experiments
from harness.runner.engine import LocalEngine
from harness.runner.run import run
from harness.store import Store, write_whole
from harness.training import stage as training_stage
from harness.training.corpus import _texts
from reports.numbers import frame
from reports.numbers.costs import cost_totals
from reports.numbers.searches import searches

SETTINGS = {"tokens": 1024, "tokens_per_step": 512, "learning_rate": 3e-3, "corpus": "corpus"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A folder with a corpus, texts for the perplexity test, and a name for the tiny model."""
    folder = tmp_path_factory.mktemp("experiment")
    rng = random.Random("training run")
    for name, sizes in (("corpus", range(20, 190, 10)), ("tests", [150, 160])):
        (folder / name).mkdir()
        for i, size in enumerate(sizes):
            words = "".join(rng.choice("abcdefgh ") for _ in range(size))
            (folder / name / f"{i:02}.txt").write_text(words)
    return folder


def experiment(place: Path, model: Path, **changes: Any) -> Any:
    content = {
        "model": str(model),
        "target_length": 128,
        "lengths": [64, 128],
        "extenders": ["none", "yarn"],
        "training": ["none", "plain", "mixed"],
        "training_settings": SETTINGS,
        "tests": [{"perplexity": {"folder": "tests", "samples": 1}}],
        **changes,
    }
    content = {key: value for key, value in content.items() if value is not None}
    return experiments.parse(content, "file", place, "trained")


def scores(store: Store) -> dict[tuple[str, int], float]:
    return {(p["label"], p["length"]): c["rows"][0]["score"] for p, c in store.cells() if c and c["status"] == "done"}


@pytest.fixture(scope="module")
def finished(place: Path, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    one = experiment(place, tiny_model_folder)
    folder = tmp_path_factory.mktemp("store")
    progress = Quiet()
    outcome = run(one, folder, LocalEngine(one, progress), progress)
    return outcome, folder, progress


def test_a_learning_rate_of_zero_is_refused_and_not_replaced(place: Path, tiny_model_folder: Path) -> None:
    with pytest.raises(ValueError, match="the learning rate must be above 0, got 0"):
        experiment(place, tiny_model_folder, training_settings={**SETTINGS, "learning_rate": 0})
    kept = experiment(place, tiny_model_folder).trainings[1].recipe
    assert kept.learning_rate == 3e-3


def test_texts_of_tests_are_found_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text that no training may hold")
    test = experiments.Test("perplexity", tasks.base.make("perplexity", folder="~/texts"), 1)
    assert training_stage.texts_of([test]) == ["a text that no training may hold"]


def test_every_method_with_every_training(finished: Any) -> None:
    outcome, folder, progress = finished
    assert not outcome.failed, outcome.failed
    content = Store.open(folder).run()
    labels = ["none", "none + plain", "none + mixed", "yarn", "yarn + plain", "yarn + mixed"]
    assert [method["label"] for method in content["methods"]] == labels
    assert [method.get("training", {}).get("recipe") for method in content["methods"]] == [None, "plain", "mixed"] * 2
    assert len(content["trainings"]) == 4 and {one["status"] for one in content["trainings"]} == {"done"}
    assert len(scores(outcome.store)) == 12
    assert sum("trained on 1,024 tokens" in line for line in progress.said) == 4


def test_the_record_of_a_training(finished: Any) -> None:
    _, folder, _ = finished
    store = Store.open(folder)
    [row] = [one for one in store.run()["trainings"] if one["method"] == "yarn + mixed"]
    assert (row["base_method"], row["recipe"], row["seed"], row["error"]) == ("yarn", "mixed", 0, "")
    record = store.training(row["key"])
    assert record is not None
    assert (record["cost"]["tokens"], len(record["curve"])) == (1024, 2)
    assert (
        record["cost"]["seconds"] > 0 and record["cost"]["flops"] > 1024 and record["cost"]["peak_memory_bytes"] > 1e6
    )
    assert record["data"]["sequences"] == {"short": 3, "middle": 2, "long": 3}
    assert "13 words in a row" in record["data"]["decontamination"]
    assert record["trainable"]["parameters"] == record["trainable"]["of"] > 1000
    plans = store.run()["methods"][3]["plans"]
    assert record["plans"]["long, planned for 128"]["plan_hash"] == plans["128"]["hash"]
    assert record["plans"]["short, original"]["plan_hash"] == store.run()["methods"][0]["plans"]["64"]["hash"]
    assert (store.training_folder(row["key"]) / "weights.safetensors").stat().st_size == record["weights"]["bytes"]
    assert not (store.training_folder(row["key"]) / "checkpoint.pt").exists()


@pytest.mark.parametrize("lacks", ["status", "error", "weights", "cost", "data"])
def test_a_damaged_record_is_a_missing_training(
    finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], lacks: str
) -> None:
    store = Store(shutil.copytree(finished[1], tmp_path / "copy"))
    row = store.run()["trainings"][0]
    path = store.training_folder(row["key"]).with_suffix(".json")
    assert store.training(row["key"]) is not None
    write_whole(path, json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != lacks}))
    assert store.training(row["key"]) is None
    assert cli.answer(["status", str(store.folder)]) == 0
    assert "training of none + plain, seed 0: missing" in capsys.readouterr().out


def test_the_same_data_for_every_method(finished: Any) -> None:
    _, folder, _ = finished
    store = Store.open(folder)
    orders: dict[str, set[str]] = {}
    for row in store.run()["trainings"]:
        record = store.training(row["key"])
        assert record is not None
        orders.setdefault(row["recipe"], set()).add(record["data"]["order"])
    assert all(len(found) == 1 for found in orders.values()) and orders["plain"] != orders["mixed"]


def test_training_changes_scores_and_untrained_cells_keep_theirs(
    finished: Any, place: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    _, folder, _ = finished
    trained = Store.open(folder)
    without = experiment(place, tiny_model_folder, training=None, training_settings=None)
    plain = run(without, tmp_path, LocalEngine(without, Quiet()), Quiet()).store
    untrained = scores(plain)
    assert len(untrained) == 4 and "trainings" not in plain.run()
    found = scores(trained)
    assert {key: found[key] for key in untrained} == untrained  # weights were put back to the bit
    keys = {(p["label"], p["length"]): p["key"] for p, _ in trained.cells()}
    assert {key: keys[key] for key in untrained} == {(p["label"], p["length"]): p["key"] for p, _ in plain.cells()}
    assert all(found["yarn + plain", length] != found["yarn", length] for length in (64, 128))
    assert found["none + plain", 128] < found["none", 128]  # it learned these letters


def test_the_ledger_counts_training(finished: Any) -> None:
    _, folder, _ = finished
    rows = {one["condition"]: one for one in Store.open(folder).run()["ledger"]["conditions"]}
    assert rows["training tokens"]["values"]["yarn + plain"] == 1024 and rows["training tokens"]["values"]["yarn"] == 0
    shares = rows["share of the training loss by class of sequences"]["values"]
    assert shares["none"] == "none" and shares["yarn + plain"] == "long 1.00"
    assert re.fullmatch(r"(\w+ 0\.\d\d(, )?){2,3}", shares["yarn + mixed"])
    assert rows["training recipe"]["values"]["yarn + mixed"] == "mixed"
    order = rows["training data order"]["values"]
    assert order["yarn + plain"] == order["none + plain"] != order["yarn + mixed"]
    assert rows["training seconds"]["values"]["yarn + plain"] > 0
    assert rows["trained parameters"]["values"]["yarn + plain"].count(" of ") == 1
    assert rows["base weights and tokenizer"]["equal"]


def test_again_computes_nothing_and_a_changed_setting_only_what_depends_on_it(
    finished: Any, place: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "copy")  # the other setting writes another run.json
    one = experiment(place, tiny_model_folder)
    progress = Quiet()
    assert run(one, folder, LocalEngine(one, progress), progress).computed == 0
    assert not any("training" in line for line in progress.said)
    entries = ["none", "plain", {"mixed": {"mix": {"short": 0.5, "long": 0.5}}}]
    other = experiment(place, tiny_model_folder, training=entries)
    assert run(other, folder, LocalEngine(other, progress), progress).computed == 4
    assert sum("trained on" in line for line in progress.said) == 2


def test_a_training_that_was_stopped_goes_on(
    finished: Any, place: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, _ = finished
    from extenders.training import loop

    one = experiment(place, tiny_model_folder, extenders=["none"], training=["plain"])
    kept = loop.train

    def stopped(*given: Any, **named: Any) -> Any:
        def report(now: Any) -> None:
            if now.step == 2:
                raise KeyboardInterrupt

        return kept(*given, **{**named, "report": report, "every_seconds": 0})

    monkeypatch.setattr(loop, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(one, tmp_path, LocalEngine(one, Quiet()), Quiet())
    [checkpoint] = tmp_path.glob("trainings/*/checkpoint.pt")
    monkeypatch.setattr(loop, "train", kept)
    progress = Quiet()
    run(one, tmp_path, LocalEngine(one, progress), progress)
    assert any("going on after step 1" in line for line in progress.said) and not checkpoint.exists()
    key = checkpoint.parent.name
    records = [Store(path).training(key) for path in (tmp_path, folder)]
    assert records[0]["weights"]["sha256"] == records[1]["weights"]["sha256"]  # type: ignore[index]


def test_a_training_that_diverges_fails_its_cells_and_no_others(
    place: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    entries = ["none", {"plain": {"learning_rate": 1e30, "float32": True, "tokens": 2048, "warmup": 0.0}}]
    one = experiment(place, tiny_model_folder, extenders=["none"], training=entries)
    outcome = run(one, tmp_path, LocalEngine(one, Quiet()), Quiet())
    assert len(outcome.failed) == 2 and all("diverged at step" in reason for _, reason in outcome.failed)
    assert len(scores(outcome.store)) == 2
    [row] = outcome.store.run()["trainings"]
    assert row["status"] == "failed" and "diverged at step" in row["error"]


def test_damaged_weights_are_said(finished: Any, place: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    _, folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    one = experiment(place, tiny_model_folder, extenders=["none"], training=["plain"])
    [row] = [r for r in Store(folder).run()["trainings"] if r["method"] == "none + plain"]
    path = tmp_path / "copy" / "trainings" / row["key"] / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    for cell in (tmp_path / "copy" / "cells").iterdir():
        cell.unlink()
    outcome = run(one, tmp_path / "copy", LocalEngine(one, Quiet()), Quiet())
    assert len(outcome.failed) == 2 and all("is damaged; delete it" in reason for _, reason in outcome.failed)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("plain", "must be a list of recipes or none"),
        (["plane"], "no training recipe is named 'plane'; did you mean 'plain'?"),
        ([{"none": {"tokens": 4}}], "none takes no settings, got tokens"),
        (["plain", "plain"], "two entries are labelled 'plain'"),
        ([{"plain": {"token": 4}}], "unknown parameter 'token'; did you mean 'tokens'?"),
        ([{"plain": {"tokens": 1.5}}], "tokens must be a whole number, got 1.5"),
        ([{"mixed": {"mix": {"short": 0.5}}}], "sum to 1, got 0.5, 0, 0"),
        ([{"mixed": {"mix": [1]}}], "mix must give portions shares"),
        ([{"plain": {"corpus": ""}}], "name a corpus"),
        ([["plain"]], "an entry is a recipe or"),
    ],
)
def test_wrong_entries_are_one_line(place: Path, tiny_model_folder: Path, entries: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        experiment(place, tiny_model_folder, training=entries)
    assert said in str(caught.value) and str(caught.value).startswith("file: training")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SETTINGS, "tokens": 100}, "training of 'none + plain': a budget of 100 tokens is under one step of 512"),
        ({**SETTINGS, "corpus": "nowhere"}, "does not exist"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_runs(
    place: Path, tiny_model_folder: Path, tmp_path: Path, settings: Any, said: str
) -> None:
    _texts.cache_clear()
    one = experiment(place, tiny_model_folder, training_settings=settings, training=["plain"])
    with pytest.raises(ValueError, match=re.escape(said)):
        run(one, tmp_path / "store", LocalEngine(one, Quiet()), Quiet())
    assert not (tmp_path / "store").exists()


def test_the_shipped_factorial_is_as_announced() -> None:
    one = experiments.read(experiments.find("pocket-training"))
    methods = training_stage.factored(one.methods, one.trainings)
    assert len(methods) == 24 and one.seeds == (0, 1, 2) and one.target_length == 4096
    assert {m.training.recipe.name for m in methods if m.training} == {"plain", "plain_same_data", "mixed"}
    assert len({m.training.settings.tokens for m in methods if m.training}) == 1


def staged(place: Path, model: Path) -> Any:
    """LongRoPE at four times the window, trained in two stages."""
    _texts.cache_clear()
    folder = place / "long"
    folder.mkdir(exist_ok=True)
    rng = random.Random("long documents")
    for i in range(12):
        (folder / f"{i:02}.txt").write_text("".join(rng.choice("abcdefgh ") for _ in range(300)))
    longrope = {"longrope": {"budget": 2048, "search_samples": 1, "fitness": "perplexity", "documents": "long"}}
    training = ["none", {"two_stage": {**SETTINGS, "tokens": 2048}}]
    changes = {"target_length": 256, "lengths": [128], "training": training, "training_settings": None}
    return experiment(place, model, extenders=["none", longrope], **changes)


def test_a_searched_method_is_searched_for_every_stage(place: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    one = staged(place, tiny_model_folder)
    outcome = run(one, tmp_path, LocalEngine(one, Quiet()), Quiet())
    content = outcome.store.run()
    assert not outcome.failed and not outcome.unsearched
    searched = [(row["label"], row["status"], row.get("stage_of")) for row in content["searches"]]
    assert searched == [
        ("longrope", "done", None),
        ("longrope for a stage of 128 tokens", "done", ["longrope + two_stage"]),
    ]
    [row] = [row for row in content["trainings"] if row["method"] == "longrope + two_stage"]
    record = outcome.store.training(row["key"])
    assert record is not None
    plans = record["identity"]["plans"]
    assert set(plans) == {"planned for 128", "planned for 256"} and len(set(plans.values())) == 2
    found = searches(outcome.store, content)
    spent = cost_totals(frame.read(outcome.store), found)["search_token_forwards"]
    forwards = [search.cost("token_forwards") for search in found]
    assert spent["longrope"] == forwards[0] and spent["longrope + two_stage"] == sum(forwards)
    assert math.isnan(spent["none"]) and math.isnan(spent["none + two_stage"])
    assert run(one, tmp_path, LocalEngine(one, Quiet()), Quiet()).computed == 0


def test_a_failed_search_for_a_stage_leaves_the_method_alone(
    place: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = LongRope.search

    def fails(self: LongRope, problem: Any) -> LongRope:
        return search(self, problem) if self.target_length == 256 else LongRope(target_length=0)

    monkeypatch.setattr(LongRope, "search", fails)
    one = staged(place, tiny_model_folder)
    outcome = run(one, tmp_path, LocalEngine(one, Quiet()), Quiet())
    assert [label for label, _ in outcome.unsearched] == ["longrope for a stage of 128 tokens"]
    labels = [method["label"] for method in outcome.store.run()["methods"]]
    assert labels == ["none", "none + two_stage", "longrope"] and not outcome.failed


def test_one_training_alone_is_found_by_a_run(
    place: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli import answer

    _texts.cache_clear()
    corpus = str(place / "corpus")
    options = ["--model", str(tiny_model_folder), "--target-length", "128", "--recipe", "plain", "--tokens", "1024"]
    options += ["--set", "tokens_per_step=512", "--set", f"corpus={corpus}", "--out", str(tmp_path / "store")]
    save = ["--save-model", str(tmp_path / "model")]
    assert answer(["train", "yarn", *options, *save]) == 0
    written = json.loads((tmp_path / "store" / "trainings").glob("*.json").__next__().read_text())
    shown = capsys.readouterr()
    first, second, *_ = shown.err.splitlines()
    assert written["key"] in shown.out and first.startswith("loading ") and "to be trained with plain" in first
    assert "GB of memory beside the weights" in second
    from harness.model.load import load_model
    from harness.training.weights import read_weights

    folder = tmp_path / "store" / "trainings" / written["key"]
    configuration = json.loads((tmp_path / "model" / "config.json").read_text())
    assert configuration["max_position_embeddings"] == 128 and configuration["rope_parameters"]["rope_type"] == "yarn"
    plans = json.loads((tmp_path / "model" / "plan.json").read_text())["plans"]
    assert [plan["lengths"] for plan in plans] == [[1, 128]]
    tensors, _ = read_weights(folder, written["weights"]["sha256"])
    saved = dict(load_model(str(tmp_path / "model")).model.named_parameters())
    assert all(bool((saved[name] == value).all()) for name, value in tensors.items())
    assert answer(["train", "yarn", *options]) == 0 and "kept" in capsys.readouterr().out
    assert answer(["train", "yarn", *options, "--set", "tokens=3"]) == 2
