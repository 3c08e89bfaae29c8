"""A temperature on the whole attention logit, where a part of the head rotates: DeepSeek's own, and any method's."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_leaving import FAMILIES, SIZES, YARN, folder_of
from test_reading import built as built_content
from test_reading import tiny
from transformers import AutoModelForCausalLM

from extenders.base import RopePlan, load
from extenders.whole_logit import WholeLogit
from harness import cli
from harness.forms import proof
from harness.model.files import shipped_models
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.rope.inference_scaling import without_inference_scaling
from harness.rope.proof import NotApplied
from harness.tools.export import merged_configuration

IDS = torch.arange(40)[None] * 7 % 60 + 2
PARTIAL = ("phi", "gpt_neox", "stablelm", "glm4", "deepseek v3 unscaled", "smollm3", "gemma3")


def built(name: str, dtype: torch.dtype = torch.float32, attention: str = "eager", **more: Any) -> Any:
    config = proof.loaded({**SIZES, **FAMILIES[name], **more})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def ran(model: Any, ids: torch.Tensor = IDS) -> Any:
    with torch.no_grad():
        return model(ids, use_cache=False, output_attentions=True)


def plan_on_whole(spec: Any, factor: int = 4) -> RopePlan:
    target = factor * spec.trained_length
    return WholeLogit(target_length=target, method="yarn").plan(spec, target)


def test_it_is_deepseeks_own_yarn() -> None:
    """transformers' DeepSeek-V3 with YaRN and mscale_all_dim: the softmax scale takes all of the temperature."""
    model = built("deepseek v3 unscaled")
    spec = spec_from_config(model.config)
    own = {**YARN, "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 1.0, "mscale_all_dim": 1.0}
    native = built("deepseek v3", max_position_embeddings=256, rope_scaling=own)
    native.load_state_dict(model.state_dict())
    wanted, plan = ran(native).logits, plan_on_whole(spec)
    assert load("yarn_deepseek")(target_length=256, whole_logit=True).plan(spec, 256) == plan
    assert plan.attention_factor == 1.0 and plan.query_factor == pytest.approx(1.1386294361**2)
    rotated_only = load("yarn")(target_length=256).plan(spec, 256)
    before = ran(model).logits
    with applied(model, spec) as rotary:
        rotary.use(plan)
        rotary.prove(256, plan)
        assert torch.allclose(ran(model).logits, wanted, rtol=0, atol=2e-6)
        rotary.use(rotated_only)
        rotary.prove(256, rotated_only)
        assert float((ran(model).logits - wanted).abs().max()) > 1e-3
    assert torch.equal(ran(model).logits, before)


@pytest.mark.parametrize("name", PARTIAL)
def test_every_logit_of_a_layer_that_rotates_is_multiplied(name: str) -> None:
    """Log-probabilities of attention, less that of the first key, are differences of logits."""
    model = built(name)
    spec = spec_from_config(model.config)
    plan = plan_on_whole(spec)
    assert plan.query_factor > 1.2 and plan.attention_factor == spec.attention_factor
    first = {"gemma3": 1}.get(name, 0)  # Gemma's first layer slides, and a plan does not cover it

    def logits_of(plan: RopePlan, layer: int) -> torch.Tensor:
        rotary.use(plan)
        rotary.prove(64, plan)
        return (log := ran(model).attentions[layer].double().log()) - log[..., :1]

    with applied(model, spec) as rotary:
        plain, scaled = (logits_of(plan, first).tril() for plan in (dataclasses.replace(plan, query_factor=1.0), plan))
        assert torch.allclose(scaled, plan.query_factor * plain, rtol=1e-4, atol=1e-4) or first
        assert float((scaled - plain).abs().max()) > 0.01
        rotating = sum("planned_queries" in vars(module) for module in model.modules())
    assert rotating == (1 if name in ("smollm3", "gemma3") else 2), "smollm3's second layer does not rotate"
    assert not any("planned_queries" in vars(module) for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_have_factors_of_their_own(dtype: torch.dtype) -> None:
    model = built("phi", dtype, "sdpa")
    spec = spec_from_config(model.config)
    plans = [RopePlan.as_trained(spec), plan_on_whole(spec), plan_on_whole(spec, 16)]
    with applied(model, spec) as rotary:
        alone = []
        for plan in plans:
            rotary.use(plan)
            rotary.prove(64, plan)
            with torch.no_grad():
                alone.append(model(IDS, use_cache=False).logits)
        rotary.use(plans)
        rotary.prove(64, plans)
        with torch.no_grad():
            together = model(IDS.expand(3, -1), use_cache=False).logits
        gap = float((together - torch.cat(alone)).abs().max() / together.abs().max())
        assert gap < (1e-5 if dtype == torch.float32 else 0.05)
        assert float((alone[1] - alone[2]).abs().max()) > 0


def test_the_proof_sees_queries_that_are_not_multiplied() -> None:
    model = built("stablelm")
    spec = spec_from_config(model.config)
    plan = plan_on_whole(spec)
    with applied(model, spec) as rotary:
        with pytest.raises(NotApplied, match="its queries are not multiplied"):
            rotary.prove(64, plan)
        rotary.use(plan)
        rotary.prove(64, plan)
        for other in (plan_on_whole(spec, 5), dataclasses.replace(plan, query_factor=1.0)):
            with pytest.raises(NotApplied, match="does not multiply its queries by|cos/sin differ"):
                rotary.prove(64, other)
        module = next(module for module in model.modules() if "planned_queries" in vars(module))
        del module.__dict__["planned_queries"]
        with pytest.raises(NotApplied, match="without asking for an attention function"):
            rotary.prove(64, plan)


def test_attention_in_code_of_its_own_is_refused_by_name() -> None:
    config = transformers.FalconConfig(vocab_size=64, hidden_size=64, num_hidden_layers=1, num_attention_heads=2)
    model = AutoModelForCausalLM.from_config(config)
    spec = spec_from_config(model.config)
    with applied(model, spec) as rotary, pytest.raises(ValueError, match="FalconForCausalLM compares queries with"):
        rotary.use(plan_on_whole(spec))
    with pytest.raises(ValueError, match="cannot keep first tokens and multiply queries"):
        dataclasses.replace(plan_on_whole(spec), keep_first=4)


def test_a_factor_is_in_the_identity_of_a_plan() -> None:
    plan = RopePlan((1.0, 0.5), 1.1)
    assert plan.hash == "6fd845d994c2ca14", "plans from before there was a query factor keep their keys"
    assert dataclasses.replace(plan, query_factor=1.2).hash != plan.hash
    assert dataclasses.replace(plan, query_factor=1.2) != plan


LATENT = ("deepseek v2", "deepseek v3", "deepseek v3 unscaled", "minicpm3")


@pytest.mark.parametrize("method", ["yarn", "ntk", "factors"])
@pytest.mark.parametrize("name", [*LATENT, "block for inference"])
def test_an_exported_configuration_of_latent_attention_gives_the_logits_of_the_plan(name: str, method: str) -> None:
    raw = {**SIZES, **FAMILIES.get(name, FAMILIES["deepseek v3"])}
    if name == "block for inference":  # such a scaling is taken off, and its share of the softmax scale with it
        raw["rope_scaling"] = {**raw["rope_scaling"], "original_max_position_embeddings": 64}
    spec = spec_from_config(raw)
    assert (name == "block for inference") == ("taken off" in " ".join(spec.notes))
    factors = f"factors factors={[2.0] * len(spec.inv_freq)} switch=always".replace(", ", ",")
    extender = WholeLogit(target_length=256, method=factors if method == "factors" else method)
    config = without_inference_scaling(proof.loaded(raw))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    plan = extender.plan(spec, 256)
    merged, _, notes = merged_configuration(extender, raw, proof.loaded(raw), spec, always_long=True)
    again = AutoModelForCausalLM.from_config(proof.loaded(merged), attn_implementation="eager").eval()
    again.load_state_dict(model.state_dict())
    ids = torch.arange(100)[None] * 7 % 60 + 2
    for length in (40, 100):
        with applied(model, spec) as rotary:
            rotary.use(plan)
            wanted = ran(model, ids[:, :length]).logits
        assert torch.allclose(ran(again, ids[:, :length]).logits, wanted, rtol=0, atol=1e-5)
    if method != "ntk":  # which has no temperature
        assert plan.query_factor > 1 and "the whole attention logit is multiplied by" in notes[0]


def answered(folder: Path, command: str, *words: str) -> int:
    return cli.answer([command, *words, "--model", str(folder)])


@pytest.mark.parametrize("form", ["plan", "hf", "vllm", "sglang", "mlx"])
def test_it_leaves_and_comes_back(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("deepseek v3 unscaled", tmp_path)
    out, read = tmp_path / "out", tmp_path / "plan.json"
    asked = ["whole_logit", "-p", "method=yarn beta_fast=16", "--target-length", "256"]
    assert answered(folder, "export", *asked, "--format", form, "--out", str(out)) == 0
    assert answered(folder, "import", str(out), "--format", form, "--out", str(read)) == 0
    plans = []
    capsys.readouterr()
    for words in (asked, ["pinned", "-p", f"file={read}", "--target-length", "256"]):
        assert answered(folder, "plan", *words, "--json") == 0
        plans.append(json.loads(capsys.readouterr().out)["planned"])
    assert plans[1]["inv_freq"] == pytest.approx(plans[0]["inv_freq"], rel=1e-9)
    assert plans[0]["query_factor"] == pytest.approx(1.1386294361**2)
    for name in ("attention_factor", "query_factor"):
        assert plans[1][name] == pytest.approx(plans[0][name], rel=1e-9)
    assert json.loads(read.read_text())["schema"] == "ropebench-plan/2"
    if form not in ("plan", "hf"):
        content = json.loads(out.read_text())
        keys = content.get("rope_scaling") or content["rope_parameters"]
        assert keys["mscale"] == keys["mscale_all_dim"] == pytest.approx(1.0)


def test_where_the_whole_head_rotates_it_is_the_attention_factor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of("llama", tmp_path)
    contents = []
    for words in (["yarn"], ["whole_logit", "-p", "method=yarn"]):
        for form in ("hf", "vllm", "llama.cpp"):
            assert answered(folder, "export", *words, "--target-length", "256", "--format", form) == 0
            contents.append(capsys.readouterr().out)
    first, other = (json.loads(contents[i])["rope_parameters"] for i in (0, 3))
    assert other.pop("attention_factor") == pytest.approx(first.pop("attention_factor"))
    assert first == other and contents[4:] == contents[1:3]


def test_what_cannot_say_it_refuses_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("phi", tmp_path)
    for form in ("hf", "vllm", "sglang", "mlx", "llama.cpp", "gguf"):
        words = ["whole_logit", "-p", "method=yarn", "--target-length", "256", "--format", form, "--out", "x.gguf"]
        assert answered(folder, "export", *words) == 2
        told = capsys.readouterr().err
        assert "a phi model has no key for that" in told and told.count("\n") == 1
    (tmp_path / "more").mkdir()
    latent = folder_of("deepseek v3 unscaled", tmp_path / "more")
    switching = ["whole_logit", "-p", f"method=longrope2 factors={[2] * 8}".replace(", ", ",")]
    assert answered(latent, "export", *switching, "--target-length", "256") == 2
    assert "which no configuration can say; use --always-long" in capsys.readouterr().err
    assert answered(latent, "export", *switching, "--target-length", "256", "--always-long") == 0
    assert answered(latent, "export", "whole_logit", "-p", "method=yarn", "--target-length", "256", "--format",
                    "llama.cpp") == 2  # fmt: skip
    assert "llama.cpp has no option for a factor on the whole" in capsys.readouterr().err


def test_plan_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("phi", tmp_path)
    assert answered(folder, "plan", "whole_logit", "-p", "method=yarn", "--target-length", "256") == 0
    printed = capsys.readouterr().out
    assert "attention factor 1 (trained 1), whole attention logits times 1.29648, keep_first 0" in printed
    assert "the method whole_logit puts another's there" in printed
    for words, line in (("nothing", "no method is named 'nothing'"), ("longrope2", "is searched on a model")):
        assert answered(folder, "plan", "whole_logit", "-p", f"method={words}", "--target-length", "256") == 2
        assert line in capsys.readouterr().err


@pytest.mark.slow
def test_preflight_run_and_report_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pocket = shipped_models()["pocket-llama"]
    vocabulary = json.loads((pocket / "config.json").read_text())["vocab_size"]
    content = dict(tiny("phi", max_position_embeddings=64, partial_rotary_factor=0.5), vocab_size=vocabulary)
    folder = tmp_path / "phi"
    built_content(content).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pocket / name, folder)
    words = ["-p", "method=yarn", "--model", str(folder), "--target-length", "128"]
    cli.answer(["preflight", "whole_logit", *words])
    printed = capsys.readouterr().out
    assert "whole attention logits times 1.143" in printed and "queries are multiplied by 1.143" in printed
    experiment = {
        "model": str(folder),
        "target_length": 128,
        "lengths": [128],
        "extenders": ["none", "yarn", {"whole_logit": {"method": "yarn"}}],
        "tests": [{"perplexity": {"samples": 1}}],
    }
    (tmp_path / "one.yaml").write_text(json.dumps(experiment))
    out = tmp_path / "out"
    assert cli.answer(["run", str(tmp_path / "one.yaml"), "--out", str(out), "--workers", "1"]) == 0
    run = json.loads((out / "run.json").read_text())
    factors = {method["label"]: method["plans"]["128"].get("query_factor", 1.0) for method in run["methods"]}
    assert factors == {"none": 1.0, "yarn": 1.0, "whole_logit": pytest.approx(1.1434, abs=1e-4)}
    [condition] = [
        one for one in run["ledger"]["conditions"] if one["condition"] == "factor on the whole attention logit"
    ]
    assert not condition["equal"] and not condition["must_be_equal"]
    assert (out / "report.html").read_text().count("whole logit × 1.143") == 1
    losses = {}
    for cell in run["cells"]:
        content = json.loads((out / "cells" / f"{cell['key']}.json").read_text())
        losses[cell["label"]] = content["rows"][0]["score"]
    assert len(set(losses.values())) == 3, losses
