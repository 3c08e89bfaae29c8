"""What a search found can be used as it says: in an experiment, and as keys of a configuration."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import ROPE
from test_search_stage import TARGET, SearchEngine, SearchSession
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from extenders import base
from extenders.search.searched import SearchedExtender
from harness import cli
from harness.experiment import file as experiment
from harness.experiment import strict_yaml
from harness.experiment.cells import probes
from harness.experiment.file import Method
from harness.search import stage as searching
from harness.tools import search_alone as search_command

SEARCHED: list[tuple[str, dict[str, Any]]] = [
    ("longrope2", {}),
    ("longrope2", {"short_attention": True, "attention_factor": 1.3, "search_all": True}),
    ("longrope", {}),
    ("longrope", {"keep_first": 8, "recovery_lengths": [128]}),
    ("yarn_tuned", {"beta_slow": 2.5}),
    ("yarn_rcd", {}),
    ("curve_tuned", {"curve": -1}),
    ("ntk_rcd", {"searcher": "fast", "search_seed": 3}),
    ("abf", {"fitness": "perplexity"}),
    ("pi_tuned", {}),
]


def test_every_searched_method_is_tested() -> None:
    classes = {name: base.load(name) for name in base.names()}
    assert {name for name, cls in classes.items() if issubclass(cls, SearchedExtender)} == {n for n, _ in SEARCHED}


def searched(folder: Path, name: str, given: dict[str, Any]) -> tuple[dict[str, Any], SearchedExtender]:
    """A search's result, and the method with what it found."""
    extender = base.load(name)(target_length=TARGET, budget=60 * TARGET, **given)
    assert isinstance(extender, SearchedExtender)
    engine = SearchEngine().base()
    [search] = searching.planned([Method(name, extender)], engine)
    content = searching.run_search(search, engine, SearchSession(search.method), folder)
    assert content["status"] == "done", content["error"]
    return content, extender.with_found(content["found"])


@pytest.mark.parametrize(("name", "given"), SEARCHED)
def test_the_printed_line_is_the_found_method(tmp_path: Path, name: str, given: dict[str, Any]) -> None:
    content, found = searched(tmp_path, name, given)
    [line] = [line for line in search_command.table(content, tmp_path, name) if "use it" in line]
    words, _, listed = line.partition("extenders: ")
    entries = strict_yaml.loads(listed, "the line")
    read = {"model": "fake", "target_length": TARGET, "lengths": [TARGET], "extenders": entries, "tests": ["needle"]}
    method = experiment.parse(read, "x", tmp_path).methods[-1].extender
    assert f"target_length {TARGET}" in words and isinstance(method, SearchedExtender) and method.searched
    for length in probes(TARGET, ROPE.trained_length):
        assert method.plan(ROPE, length) == found.plan(ROPE, length)


@pytest.mark.parametrize(("name", "given"), SEARCHED)
def test_a_result_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, given: Any) -> None:
    """What leaves is what transformers then computes: the numbers that were found."""
    if "keep_first" in given or "recovery_lengths" in given:
        pytest.skip("a configuration cannot say this plan")
    model = tmp_path / "model"
    model.mkdir()
    shape = {"hidden_size": 2 * ROPE.rotary_dims, "num_attention_heads": 2, "num_key_value_heads": 2}
    rope = {"rope_theta": ROPE.rope_theta, "max_position_embeddings": ROPE.trained_length}
    (model / "config.json").write_text(json.dumps({"model_type": "llama", **shape, **rope}))
    content, found = searched(tmp_path, name, given if name != "longrope" else {"keep_first": 0})
    path = tmp_path / f"{content['key']}.json"
    asked = ["export", name, "--model", str(model), "--target-length", str(TARGET), "--found", str(path)]
    if name.startswith("longrope"):  # transformers has one attention factor for short and long prompts
        asked.append("--always-long")
    assert cli.answer(asked) == 0
    config = LlamaConfig(**json.loads(capsys.readouterr().out))
    plan = found.plan(ROPE, TARGET)
    kind = config.rope_parameters["rope_type"]
    if kind == "default":  # a new base
        theta = config.rope_parameters["rope_theta"]
        inv_freq, attention = [theta ** (-2 * i / ROPE.rotary_dims) for i in range(ROPE.rotary_dims // 2)], 1.0
    else:
        computed, attention = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=TARGET)
        inv_freq = computed.double().tolist()
    assert inv_freq == pytest.approx(plan.inv_freq, rel=1e-5)
    assert attention == pytest.approx(plan.attention_factor, rel=1e-6)


def test_what_is_no_result_of_this_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, _ = searched(tmp_path, "ntk_rcd", {})
    path = tmp_path / f"{content['key']}.json"
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "text.json").write_text("1, 2")
    for name, target, file, said in (
        ("yarn_rcd", TARGET, path, "was searched for the method ntk_rcd, not yarn_rcd"),
        ("ntk_rcd", 4096, path, "was searched for target length 256, not 4096"),
        ("ntk_rcd", TARGET, tmp_path / "list.json", "is not the result of a finished search"),
        ("ntk_rcd", TARGET, tmp_path / "text.json", "it is no JSON"),
        ("ntk_rcd", TARGET, tmp_path / "none.json", "No such file"),
    ):
        asked = ["export", name, "--model", "pocket-llama", "--target-length", str(target), "--found", str(file)]
        assert cli.answer(asked) == 2
        shown = " ".join(capsys.readouterr().err.split())
        assert said in shown
