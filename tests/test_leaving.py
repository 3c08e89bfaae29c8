"""What leaves is the plan: exported configurations of many families, loaded again, give the logits of the plan.

Configurations have the RoPE fields of real checkpoints (their public config.json) and sizes of a toy.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from extenders import base
from extenders.base import Extender
from extenders.factors import Factors
from extenders.pinned import Pinned
from extenders.training.planned import PlannedInside
from extenders.training.switched import OriginalInside
from harness import cli
from harness.forms import proof
from harness.forms.proof import NotThePlan
from harness.model.load import load_model
from harness.model.spec import load_config, spec_from_config
from harness.rope.applied import applied
from harness.tools.export import merged_configuration
from harness.tools.saved_model import save_model

SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
YARN = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8, "beta_fast": 32, "beta_slow": 1}
DEEPSEEK = {
    **{"num_key_value_heads": 2, "q_lora_rank": None, "kv_lora_rank": 16, "qk_rope_head_dim": 16},
    **{"qk_nope_head_dim": 16, "v_head_dim": 16, "head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2},
    **{"n_group": 1, "topk_group": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 2, "n_shared_experts": 1},
}
MOE = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 4.0, "original_max_position_embeddings": 16},
    **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
LISTS = {"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [1 + i / 8 for i in range(16)]}
LAYERS = ["sliding_attention", "full_attention"]
MINICPM3 = {
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 32, "qk_nope_head_dim": 16, "v_head_dim": 16},
    **{"num_key_value_heads": 2, "head_dim": 32},
}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_theta": 1e4},
    "llama 3.1": {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": LLAMA3},
    "llama linear": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}},
    "llama dynamic": {"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}},
    "mistral": {"model_type": "mistral", "rope_theta": 1e6, "sliding_window": None},
    "mixtral": {"model_type": "mixtral", **MOE, "head_dim": None, "rope_theta": 1e6},
    "qwen2": {"model_type": "qwen2", "rope_theta": 1e6},
    "qwen3": {"model_type": "qwen3", "rope_theta": 1e6},
    "phi": {"model_type": "phi", "num_key_value_heads": 2, "partial_rotary_factor": 0.5},
    "phi3": {
        **{"model_type": "phi3", "original_max_position_embeddings": 64, "max_position_embeddings": 256},
        "rope_scaling": LISTS,
    },
    "phi4": {"model_type": "phi3", "original_max_position_embeddings": 64, "rope_scaling": None, "rope_theta": 250000},
    "gpt_neox": {"model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 10000},
    "stablelm": {"model_type": "stablelm", "partial_rotary_factor": 0.25},
    "gemma3": {
        **{"model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": None},
        **{"sliding_window": 16, "layer_types": LAYERS, "query_pre_attn_scalar": 32},
    },
    "gemma3 linear": {
        **{"model_type": "gemma3_text", "rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        **{"sliding_window": 16, "layer_types": LAYERS},
    },
    "olmo3": {
        **{"model_type": "olmo3", "rope_theta": 5e5, "layer_types": LAYERS, "sliding_window": 16},
        "rope_scaling": {"rope_type": "yarn", **YARN, "attention_factor": 1.2079441541679836},
    },
    "gpt_oss": {
        **{"model_type": "gpt_oss", "rope_theta": 150000, **MOE, "layer_types": LAYERS, "sliding_window": 16},
        "rope_scaling": {**YARN, "rope_type": "yarn", "truncate": False},
    },
    "deepseek v2": {
        **{"model_type": "deepseek_v2", **DEEPSEEK, "topk_method": "greedy"},
        "rope_scaling": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
    },
    "deepseek v3": {
        **{"model_type": "deepseek_v3", **DEEPSEEK},
        "rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
    },
    "deepseek v3 unscaled": {"model_type": "deepseek_v3", **DEEPSEEK, "rope_scaling": None},
    "hunyuan": {
        "model_type": "hunyuan_v1_dense",
        "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
    },
    "minicpm3": {
        "model_type": "minicpm3",
        **MINICPM3,
        "rope_scaling": {**LISTS, "original_max_position_embeddings": 64},
    },
    "exaone4": {"model_type": "exaone4", "rope_theta": 1e6, "rope_scaling": LLAMA3, "layer_types": LAYERS[1:] * 2},
    "ministral3": {
        "model_type": "ministral3",
        "rope_parameters": {
            **{"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 16},
            **{"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1, "beta_fast": 32.0, "beta_slow": 1.0},
        },
    },
    "llama4": {
        **{"model_type": "llama4_text", "rope_theta": 5e5, "intermediate_size_mlp": 32, "num_local_experts": 2},
        **{"moe_layers": [], "no_rope_layers": [1, 0], "attention_chunk_size": 16},
        "rope_scaling": {**LLAMA3, "high_freq_factor": 4.0},
    },
    "cohere": {"model_type": "cohere", "rope_theta": 4e6},
    "glm4": {"model_type": "glm4", "partial_rotary_factor": 0.5},
    "smollm3": {"model_type": "smollm3", "rope_theta": 5e6, "no_rope_layers": [1, 0]},
    "granite": {"model_type": "granite", "rope_theta": 1e4},
}


def method_of(name: str, target: int, pairs: int) -> Extender:
    if name not in ("lists always", "lists by length"):
        return base.load(name)(target_length=target)
    factors = tuple(1 + i / pairs for i in range(pairs))
    if name == "lists always":
        return Factors(target_length=target, factors=factors, switch="always", attention_factor=1.05)
    return Factors(target_length=target, factors=factors, attention_factor=1.0)  # as trained, short and long


def folder_of(name: str, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**SIZES, **FAMILIES[name]}))
    return folder


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(ids, use_cache=False).logits


@pytest.mark.slow
@pytest.mark.parametrize("method", ["yarn", "pi", "lists always", "lists by length"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_exported_configuration_gives_the_logits_of_the_plan(name: str, method: str, tmp_path: Path) -> None:
    folder = folder_of(name, tmp_path)
    raw = json.loads((folder / "config.json").read_text())
    config = load_config(str(folder))
    rope = spec_from_config(config)
    target, trained = 4 * rope.trained_length, rope.trained_length
    extender = method_of(method, target, len(rope.inv_freq))
    try:
        merged, _, _ = merged_configuration(extender, raw, config, rope)
    except ValueError as error:
        assert (name, method) in {("ministral3", "lists by length")}, str(error)
        return
    assert not merged.get("rope_scaling"), "transformers prefers the old key"
    (folder / "config.json").write_text(json.dumps(merged))
    torch.manual_seed(0)
    before = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    after = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager").eval()
    after.load_state_dict(before.state_dict())
    ids = torch.arange(target)[None] * 7 % 60 + 2
    for length in (trained // 2, target):
        with applied(before, rope) as rotary:
            rotary.use(extender.plan(rope, length))
            expected = logits(before, ids[:, :length])
        assert torch.allclose(logits(after, ids[:, :length]), expected, rtol=0, atol=1e-5), length


def test_what_has_nothing_to_do_with_frequencies_is_kept() -> None:
    def parameters(name: str, method: str = "yarn") -> dict[str, Any]:
        raw = {**SIZES, **FAMILIES[name]}
        config = spec_config(raw)
        rope = spec_from_config(config)
        extender = base.load(method)(target_length=4 * rope.trained_length)
        merged = merged_configuration(extender, raw, config, rope)[0]
        for key in set(raw) - {"rope_scaling", "rope_parameters", "max_position_embeddings"}:
            assert merged[key] == raw[key], key
        return merged["rope_parameters"]

    assert parameters("phi")["partial_rotary_factor"] == 0.5
    deepseek = parameters("deepseek v3")
    assert deepseek["mscale_all_dim"] == 1.0 and deepseek["factor"] == 8.0, "DeepSeek's softmax is scaled by both"
    assert parameters("deepseek v3 unscaled")["rope_type"] == "yarn"
    ministral = parameters("ministral3")
    assert ministral["llama_4_scaling_beta"] == 0.1 and ministral["original_max_position_embeddings"] == 16
    gemma = parameters("gemma3")
    assert set(gemma) == set(LAYERS) and gemma["sliding_attention"]["rope_theta"] == 1e4
    assert gemma["full_attention"]["rope_type"] == "yarn"
    assert "alpha" not in parameters("hunyuan") and "finetuned" not in parameters("llama 3.1")


def spec_config(raw: dict[str, Any]) -> Any:
    return proof.loaded(raw)


def test_the_text_part_of_a_larger_model_is_where_the_plan_goes() -> None:
    text = {**SIZES, **FAMILIES["llama4"]}
    raw = {"model_type": "llama4", "text_config": text, "rope_scaling": None, "vision_config": {}}
    config = proof.loaded(raw)
    rope = spec_from_config(config)
    merged = merged_configuration(base.load("pi")(target_length=256), raw, config, rope)[0]
    assert merged["text_config"]["rope_scaling"] is None and "rope_parameters" not in merged
    assert merged["text_config"]["max_position_embeddings"] == 256
    assert merged["text_config"]["rope_parameters"]["rope_type"] == "longrope"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda p: {**p, "factor": 3.0}, "would not rotate as planned"),
        (lambda p: {**p, "attention_factor": 1.0}, "would multiply cos and sin by 1,"),
        (lambda p: {**p, "rope_theta": 2e4}, "would not rotate as planned"),
        (lambda p: {"rope_type": "default", "rope_theta": 1e4}, "would multiply"),
        (lambda p: {**p, "rope_type": "wrong"}, "can be made of the configuration"),
    ],
)
def test_the_proof_sees_what_is_wrong(broken: Any, words: str) -> None:
    raw = {**SIZES, **FAMILIES["llama"]}
    config = proof.loaded(raw)
    rope = spec_from_config(config)
    extender = base.load("yarn")(target_length=256)
    merged = merged_configuration(extender, raw, config, rope)[0]
    lengths = [(64, extender.plan(rope, 64)), (256, extender.plan(rope, 256))]
    proof.prove(raw, merged, rope, lengths)
    with pytest.raises(NotThePlan, match=words):
        proof.prove(raw, {**merged, "rope_parameters": broken(merged["rope_parameters"])}, rope, lengths)
    with pytest.raises(NotThePlan, match="would"):  # the old key wins
        proof.prove(raw, {**merged, "rope_scaling": LLAMA3}, rope, lengths)


def test_the_proof_sees_a_softmax_that_is_scaled_otherwise() -> None:
    raw = {**SIZES, **FAMILIES["deepseek v3"]}
    config = proof.loaded(raw)
    rope = spec_from_config(config)
    extender = base.load("yarn")(target_length=256)
    merged = merged_configuration(extender, raw, config, rope)[0]
    wrong = {**merged["rope_parameters"], "factor": 32.0}
    with pytest.raises(NotThePlan, match="scaling would become"):
        proof.prove(raw, {**merged, "rope_parameters": wrong}, rope, [(256, extender.plan(rope, 256))])


def test_a_list_that_a_family_never_switches_to_is_refused() -> None:
    """transformers' Phi-MoE computes its frequencies from the short list at every length."""
    raw = {**SIZES, "model_type": "phimoe", **MOE}
    config = proof.loaded(raw)
    rope = spec_from_config(config)
    with pytest.raises(NotThePlan, match="at 65 tokens PhimoeRotaryEmbedding would not rotate as planned"):
        merged_configuration(method_of("lists by length", 256, 16), raw, config, rope)


def exported(model: Path | str, *words: str) -> int:
    return cli.answer(["export", words[0], "--model", str(model), "--target-length", "256", *words[1:]])


def test_refusals_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("llama", tmp_path)
    two_factors = ["longrope2", "-p", "factors=[" + ",".join(["2"] * 16) + "]"]
    for words, line in (
        (["yarn", "--format", "vlm"], "no form is named 'vlm'; did you mean 'vllm'?"),
        (two_factors, "transformers has one for both; use --always-long"),
        ([*two_factors, "--format", "llama.cpp", "--always-long"], "llama.cpp has no options for this plan"),
        (["yarn", "--format", "gguf"], "name it with --out FILE.gguf"),
        (["yarn", "--format", "llama.cpp", "-p", "attention_factor=1.0"], "llama.cpp has no options for this plan"),
        (["dynamic_ntk", "--format", "vllm"], "this method has a base for every length, and vllm computes one"),
        (["longrope", *two_factors[1:], "-p", "keep_first=4"], "keeps the first 4 tokens"),
    ):
        assert exported(folder, *words) == 2
        told = capsys.readouterr()
        assert told.out == "" and line in told.err and told.err.count("\n") == 1, told.err
    assert exported(folder, *two_factors, "--always-long") == 0
    (folder / "config.json").write_text(json.dumps({**SIZES, "model_type": "unheard_of", "rope_theta": 1e4}))
    capsys.readouterr()
    assert exported(folder, "yarn") == 2 and "use --format plan" in capsys.readouterr().err
    assert exported(folder, "yarn", "--format", "plan") == 0


def test_options_of_llama_cpp_are_for_all_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its YaRN is one switch; base and scale of layers with a sliding window are numbers of their own there."""
    folder = folder_of("gemma3", tmp_path)
    assert exported(folder, "yarn", "--format", "llama.cpp") == 2
    assert "llama.cpp turns YaRN on for all layers" in capsys.readouterr().err
    assert exported(folder, "pi", "--format", "llama.cpp") == 0
    assert "--rope-scaling linear" in capsys.readouterr().out


def test_dynamic_is_written_as_the_type_and_stays_the_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(folder_of("llama", tmp_path), "dynamic_ntk") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["rope_parameters"] == {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    assert content["max_position_embeddings"] == 64, "the type counts from it"


def test_a_stopped_pair_is_1e18_in_every_form_with_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("llama", tmp_path)
    for form in ("hf", "vllm", "sglang", "mlx"):
        assert exported(folder, "cope", "--always-long", "--format", form) == 0
        told = capsys.readouterr()
        content = json.loads(told.out)
        assert (content.get("rope_scaling") or content["rope_parameters"])["long_factor"][-1] == 1e18
        assert "1 of 16 pairs are stopped, written as a factor of 1e+18" in told.err
    assert exported(folder, "cope", "--always-long", "--format", "llama.cpp") == 2
    assert exported(folder, "cope", "--format", "plan") == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    assert plans[-1]["inv_freq"][-1] == 0 and plans[-1]["rescale_factors"][-1] is None


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plan", "hf", "vllm", "sglang", "mlx", "llama.cpp", "gguf"])
@pytest.mark.parametrize("method", ["yarn", "pi", "ntk", "cope", "llama3", "longrope2"])
def test_what_was_exported_is_read_back_as_the_plan(
    form: str, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of("llama", tmp_path)
    out, read = tmp_path / ("out.gguf" if form == "gguf" else "out"), tmp_path / "plan.json"
    extra = ["-p", "factors=[" + ",".join(str(1 + i / 8) for i in range(16)) + "]"] if method == "longrope2" else []
    always = [] if form == "plan" else ["--always-long"]
    if form == "gguf":
        pytest.importorskip("gguf")
    code = exported(folder, method, *extra, *always, "--format", form, "--out", str(out))
    if form == "llama.cpp" and method in ("cope", "llama3", "longrope2"):
        assert code == 2
        return
    assert code == 0
    words = ["--model", str(folder), "--format", form]
    assert cli.answer(["import", str(out), *words, "--out", str(read)]) == 0, capsys.readouterr().err
    capsys.readouterr()
    plans = []
    for name, given in ((method, extra), ("pinned", ["-p", f"file={read}"])):
        assert cli.answer(["plan", name, "--model", str(folder), "--target-length", "256", "--json", *given]) == 0
        plans.append(json.loads(capsys.readouterr().out)["planned"])
    assert plans[1]["inv_freq"] == pytest.approx(plans[0]["inv_freq"], rel=1e-6, abs=1e-17)
    assert plans[1]["attention_factor"] == pytest.approx(plans[0]["attention_factor"], rel=1e-6)


def test_import_of_the_wrong_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("llama", tmp_path)
    words = ["--model", str(folder)]
    file = tmp_path / "file.json"
    lists = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0] * 4, "rope_theta": 1e4}
    for content, line in (
        ("", "neither JSON, nor options"),
        ("[1, 2]", "holds no RoPE dictionary"),
        ("{}", "holds no RoPE dictionary"),
        ('{"rope_parameters": {"rope_type": "default"}}', "give --target-length"),
        (json.dumps({"rope_parameters": {**lists}, "max_position_embeddings": 256}), "it lacks 'original_max"),
        (
            json.dumps(
                {"rope_parameters": {**lists, "original_max_position_embeddings": 64}, "max_position_embeddings": 256}
            ),
            "it has 4 factors and the model 16 rotary pairs",
        ),
        (
            '{"rope_scaling": {"type": "yarn", "factor": "4"}, "max_position_embeddings": 256}',
            "cannot be read as a plan",
        ),
        ('{"schema": "ropebench-plan/9", "exact": true}', "this ropebench reads ropebench-plan/1"),
        ('{"schema": "ropebench-plan/1", "exact": true, "plans": [{"lengths": 3}]}', "plan 1 needs lengths"),
        ("--rope-scaling wrong", "llama.cpp has no --rope-scaling wrong"),
        ("--rope-scale x", "no number"),
    ):
        file.write_text(content)
        assert cli.answer(["import", str(file), *words]) == 2, content
        err = capsys.readouterr().err
        assert line in err and err.count("\n") == 1, err
    assert cli.answer(["import", str(tmp_path / "absent"), *words]) == 2
    assert cli.answer(["import", str(file), *words, "--format", "vlm"]) == 2
    assert "did you mean 'vllm'" in capsys.readouterr().err
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    assert cli.answer(["import", str(tmp_path / "bad.gguf"), *words]) == 2


def test_a_plan_for_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("llama", tmp_path)
    out = tmp_path / "plan.json"
    assert exported(folder, "yarn", "--format", "plan", "--out", str(out)) == 0
    asked = ["plan", "pinned", "-p", f"file={out}", "--model"]
    assert cli.answer([*asked, "pocket-llama", "--target-length", "1024"]) == 2
    assert "made for a model with rotary_dims 32, this one has 64" in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps({**SIZES, **FAMILIES["qwen2"]}))
    assert cli.answer([*asked, str(folder), "--target-length", "256"]) == 2
    assert "trained with other frequencies" in capsys.readouterr().err
    assert cli.answer([*asked, str(folder), "--target-length", "512"]) == 2


def test_vllm_gets_both_factors_and_says_what_short_prompts_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of("llama 3.1", tmp_path)
    assert exported(folder, "longrope2", "-p", "factors=[" + ",".join(["2"] * 16) + "]", "--format", "vllm") == 0
    told = capsys.readouterr()
    content = json.loads(told.out)
    assert set(content) == {"rope_parameters", "rope_scaling", "max_position_embeddings"}
    parameters = content["rope_parameters"]
    assert content["rope_scaling"] is None and parameters["short_mscale"] == 1.0 < parameters["long_mscale"]
    assert "with the long list and factor too" in told.err and "--max-model-len 64" in told.err


def test_a_saved_model_says_what_its_configuration_cannot(tiny_model_folder: Path, tmp_path: Path) -> None:
    loaded = load_model(str(tiny_model_folder), device="cpu")
    said: list[str] = []
    yarn = base.load("yarn")(target_length=256)
    save_model(loaded, OriginalInside(target_length=256, inner=yarn), "yarn + mixed", tmp_path / "two", said.append)
    assert len(said) == 1 and "keeps the original RoPE (the plan has the attention factor 1 for prompts" in said[0]
    before = json.loads((tiny_model_folder / "config.json").read_text())
    assert json.loads((tmp_path / "two" / "config.json").read_text())["rope_parameters"] == before["rope_parameters"]
    stored = json.loads((tmp_path / "two" / "plan.json").read_text())
    assert [plan["lengths"] for plan in stored["plans"]] == [[1, 64], [65, 256]]
    assert [plan["attention_factor"] for plan in stored["plans"]] == [1.0, pytest.approx(1.1386, abs=1e-4)]
    said.clear()
    save_model(loaded, PlannedInside(target_length=256, inner=yarn), "yarn + plain", tmp_path / "same", said.append)
    assert "the plan is in config.json" in said[0]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "same")
    ids = torch.arange(200)[None] % 60
    with applied(loaded.model, loaded.spec) as rotary:
        rotary.use(yarn.plan(loaded.spec, 200))
        assert torch.allclose(logits(again, ids), logits(loaded.model, ids), rtol=0, atol=1e-5)


def test_policies_choose_among_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("llama", tmp_path)
    out = tmp_path / "plan.json"
    words = ["longrope2", "-p", "factors=[" + ",".join(["2"] * 16) + "]", "--format", "plan", "--out", str(out)]
    assert exported(folder, *words) == 0
    rope = spec_from_config(load_config(str(folder)))

    def chosen(length: int, policy: str, served: int | None = None) -> bool:
        """Whether the long plan runs."""
        method = Pinned(target_length=256, file=str(out), policy=policy, served=served)  # type: ignore[arg-type]
        return method.plan(rope, length).inv_freq[0] == 0.5

    assert [chosen(length, "prompt") for length in (1, 64, 65, 256)] == [False, False, True, True]
    for policy in ("batch", "served", "allocated"):
        assert chosen(10, policy) and not chosen(10, policy, 64) and chosen(10, policy, 65) and chosen(200, policy, 64)
    assert chosen(1, "long") and chosen(1, "long", 64)
    with pytest.raises(ValueError, match="policy must be one of"):
        Pinned(target_length=256, file=str(out), policy="vllm")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["llama", "llama 3.1", "llama linear", "phi3", "olmo3"])
def test_lists_of_a_configuration_are_not_put_on_top_of_a_scaling(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They divide θ^(-2i/d): on a checkpoint that is scaled already they were applied twice."""
    folder, out = folder_of(name, tmp_path), tmp_path / "out.json"
    target = ["--model", str(folder), "--target-length", "1024"]
    lists = ["factors", "-p", f"factors={[1 + i / 8 for i in range(16)]}", "-p", "switch=always"]
    lists += ["-p", "attention_factor=1.05"]
    assert cli.answer(["export", *lists, *target, "--always-long", "--out", str(out)]) == 0
    capsys.readouterr()
    plans = []
    for words in (lists, ["factors", "-p", f"factors={out}", "-p", "switch=always"]):
        assert cli.answer(["plan", *words, *target, "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out)["planned"])
    assert plans[1]["inv_freq"] == pytest.approx(plans[0]["inv_freq"], rel=1e-9)
    assert plans[1]["attention_factor"] == pytest.approx(plans[0]["attention_factor"], rel=1e-9)
    out.write_text("[1, 2]")
    words = ["-p", f"factors={out}", "-p", f"short_factors={folder}/config.json"]
    if name == "phi3":
        assert cli.answer(["plan", "factors", *words, *target]) == 2
        assert "must both come from configurations" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["hf", "vllm", "sglang"])
@pytest.mark.parametrize("name", ["phi3", "llama", "gemma3", "olmo3"])
def test_overrides_say_the_plan_also_where_the_length_is_the_checkpoints_own(
    name: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Phi-3's configuration has the target in it already: its overrides could not be read back."""
    folder, out = folder_of(name, tmp_path), tmp_path / "out.json"
    assert exported(folder, "yarn", "--always-long", "--format", form, "--out", str(out)) == 0
    words = ["--model", str(folder), "--format", form, "--out", str(tmp_path / "plan.json")]
    assert cli.answer(["import", str(out), *words]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "plan.json").read_text())["target_length"] == 256


def test_a_rotary_module_that_fails_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = {**SIZES, "rope_scaling": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "glm4v", "text_config": text, "vision_config": {}}))
    assert exported(tmp_path, "yarn") == 2
    told = capsys.readouterr().err
    assert "cannot be asked (split_with_sizes expects" in told and told.count("\n") == 1
