"""Checkpoints that are easily read wrongly: scaled for inference, switching by length, odd dtypes, odd folders."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

from extenders.base import RopePlan
from extenders.dynamic_ntk import DynamicNtk
from extenders.none import NoExtension
from extenders.none_fixed import TrainedFrequencies
from extenders.yarn import Yarn
from harness import cli
from harness.model.answers import check_answers
from harness.model.files import shipped_models, weights_hash
from harness.model.load import load_model
from harness.model.logits import hidden_states
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.rope.proof import NotApplied
from harness.tools.preflight import Preflight

TINY = dict(
    vocab_size=8,
    hidden_size=64,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def tiny(model_type: str, **more: Any) -> dict[str, Any]:
    return dict(TINY, model_type=model_type, **more)


def built(content: dict[str, Any], dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    values = json.loads(json.dumps({key: value for key, value in content.items() if key != "model_type"}))
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(content["model_type"], **values), dtype=dtype).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def saved(model: Any, folder: Path, **changes: Any) -> Path:
    """A model folder with a word tokenizer; `changes` go into config.json afterwards, None takes a key out."""
    model.save_pretrained(folder)
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", "a", "b", "c", "d"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>").save_pretrained(folder)
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: v for key, v in config.items() if v is not None}))
    return folder


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids, use_cache=False).logits


def ended(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 0


IDS = torch.tensor([[4, 5, 6, 7, 4, 4, 6, 5, 7, 6, 5, 4]])


# Scaled for inference


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "llama", "my-own"])
@pytest.mark.parametrize("maximum", [32768, 40960])
@pytest.mark.parametrize("older", [True, False])
def test_a_scaling_for_inference_is_taken_off(model_type: str, maximum: int, older: bool) -> None:
    block = dict(YARN, type="yarn") if older else dict(YARN, rope_theta=1e6)
    base = tiny(model_type, max_position_embeddings=maximum, rope_theta=1e6)
    spec = spec_from_config({**base, ("rope_scaling" if older else "rope_parameters"): block})
    assert (spec.trained_length, spec.attention_factor, spec.rope_theta) == (32768, 1.0, 1e6)
    assert spec.inv_freq == spec_from_config(base).inv_freq
    assert "put there for inference" in spec.notes[0] and "32,768" in spec.notes[0]
    # a target of 131,072 is 4 times the base, not 16 or 12.8 times
    stretched = Yarn(target_length=131072).plan(spec, 131072)
    assert max(stretched.rescale_factors(spec)) == pytest.approx(4.0)
    assert NoExtension(target_length=131072).plan(spec, 131072) == RopePlan.as_trained(spec)


@pytest.mark.parametrize(
    "block, maximum, length, factor",
    [
        (dict(YARN, factor=32.0, original_max_position_embeddings=4096), 131072, 131072, 1.3465735902799727),  # gpt-oss
        (dict(YARN, factor=20.0, original_max_position_embeddings=4096), 65536, 65536, 1.299573227355399),  # AFM-4.5B
        (dict(YARN, factor=16.0, original_max_position_embeddings=8192, finetuned=True), 8192, 131072, 1.2772588722),
        (dict(rope_type="linear", factor=4.0), 16384, 16384, 1.0),  # DeepSeek-Coder
        (
            dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                 original_max_position_embeddings=8192), 131072, 131072, 1.0,
        ),  # Llama 3.2
    ],
)  # fmt: skip
def test_a_scaling_that_was_trained_with_is_kept(block: dict, maximum: int, length: int, factor: float) -> None:
    spec = spec_from_config(tiny("llama", max_position_embeddings=maximum, rope_theta=1e4, rope_scaling=block))
    assert (spec.trained_length, spec.attention_factor) == (length, pytest.approx(factor))
    assert spec.inv_freq[-1] == pytest.approx(spec.base_inv_freq[-1] / block["factor"])
    assert any("taken as trained with" in note for note in spec.notes)


def test_a_doubtful_scaling_is_said() -> None:
    """Nothing in a configuration tells a raised length of the authors from one of a user."""
    block = dict(YARN, original_max_position_embeddings=32768)
    [note] = spec_from_config(tiny("qwen2", max_position_embeddings=131072, rope_scaling=block)).notes
    assert "taken as trained with" in note and "take it out" in note
    [note] = spec_from_config(tiny("qwen2", max_position_embeddings=16384, rope_scaling=block)).notes
    assert "16,384 is below original_max_position_embeddings 32,768" in note
    [note] = spec_from_config(
        tiny("qwen2", max_position_embeddings=131072, rope_scaling={**block, "finetuned": True})
    ).notes
    assert note.endswith("on top of it")


def test_the_model_runs_without_the_scaling_too(tmp_path: Path) -> None:
    base = tiny("qwen2", max_position_embeddings=64, rope_theta=1e4)
    model = built(base)
    wanted = logits(model, IDS)
    block = dict(YARN, rope_theta=1e4, original_max_position_embeddings=64)
    folder = saved(model, tmp_path / "model", rope_parameters=block)
    loaded = load_model(str(folder), dtype="float32", device="cpu")
    assert loaded.spec.trained_length == 64 and "taken off" in loaded.spec.notes[0]
    assert torch.equal(logits(loaded.model, IDS), wanted)
    with applied(loaded.model, loaded.spec) as rotary:
        assert torch.equal(logits(loaded.model, IDS), wanted)
        rotary.prove(64, RopePlan.as_trained(loaded.spec))
    scaled = built({**base, "rope_parameters": block})
    assert not torch.equal(logits(scaled, IDS), wanted)
    with pytest.raises(ValueError, match="put into its configuration for inference"), applied(scaled, loaded.spec):
        pass


def test_plan_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = tiny("qwen3", max_position_embeddings=40960, rope_theta=1e6, rope_scaling=dict(YARN))
    (tmp_path / "config.json").write_text(json.dumps(content))
    words = ["plan", "yarn", "--model", str(tmp_path), "--target-length", "131072"]
    ended(words)
    printed = capsys.readouterr()
    assert "note: the configuration carries a yarn scaling (factor 4 on 32,768 tokens)" in printed.out
    assert "(32768 tokens as trained)" in printed.out
    ended([*words, "--json"])
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 1
    assert "transformers" not in printed.err  # its log lines stay quiet


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(rope_scaling=dict(YARN, factor="4")), "factor is '4' in the configuration; write a number"),
        (dict(rope_theta="10000"), "rope_theta is '10000' in the configuration; write a number"),
        (dict(rope_parameters=dict(rope_type="default", rope_theta="1e4")), "rope_theta is '1e4'"),
        (dict(max_position_embeddings="4096"), "max_position_embeddings is '4096'"),
        (dict(rope_scaling=dict(YARN, original_max_position_embeddings="32768")), "original_max_position_emb"),
        (dict(rope_scaling=dict(YARN, factor=True)), "factor is True"),
        (dict(rope_scaling=dict(YARN, beta_fast="32")), "beta_fast is '32'"),
        (dict(rope_scaling=dict(YARN, factor=-4)), "factor is -4 in the configuration; it must be above 0"),
        (dict(partial_rotary_factor=1.5), "partial_rotary_factor is 1.5 in the configuration; it is a part of a head"),
        (dict(rope_theta=1), "rope_theta is 1 in the configuration; it must be above 1"),
        (dict(rope_scaling="yarn"), "rope_scaling is 'yarn' in the configuration; an object or null"),
        (
            dict(rope_scaling=dict(rope_type="longrope", short_factor=["1"] * 16, long_factor=[2.0] * 16, factor=4.0,
                                   original_max_position_embeddings=1024)),
            r"short_factor\[0\] is '1'",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model_type", ["llama", "my-own"])
def test_a_number_written_as_text_is_one_line(wrong: dict, message: str, model_type: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        spec_from_config({**tiny(model_type, max_position_embeddings=4096, rope_theta=1e4), **wrong})
    assert "\n" not in str(error.value)


# The checkpoint's own rule by length

PHI3 = tiny(
    "phi3", max_position_embeddings=64, original_max_position_embeddings=16, rope_theta=1e4, sliding_window=None,
    rope_scaling=dict(type="longrope", short_factor=[1 + i / 50 for i in range(16)],
                      long_factor=[1 + i / 4 for i in range(16)]),
)  # fmt: skip
DYNAMIC = tiny("llama", max_position_embeddings=16, rope_theta=1e4, rope_scaling=dict(type="dynamic", factor=2.0))


@pytest.mark.parametrize("content", [PHI3, dict(PHI3, rope_scaling=dict(PHI3["rope_scaling"], type="su")), DYNAMIC])
def test_none_is_what_the_checkpoint_does(content: dict) -> None:
    older = "su" in str(content)
    model = built(PHI3 if older else content)
    spec = spec_from_config(content)
    none, fixed = NoExtension(target_length=64), TrainedFrequencies(target_length=64)
    ids = torch.arange(40)[None] % 5 + 3
    native = {length: logits(model, ids[:, :length]) for length in (12, 40)}  # a long one last: the base only grows
    with applied(model, spec) as rotary:
        for length, wanted in native.items():
            rotary.use(none.plan(spec, length))
            rotary.prove(length, none.plan(spec, length))
            assert float((logits(model, ids[:, :length]) - wanted).abs().max()) <= 1e-5, length
        rotary.use(fixed.plan(spec, 40))
        assert float((logits(model, ids) - native[40]).abs().max()) > 1e-2
    assert none.plan(spec, 16) == fixed.plan(spec, 16) == fixed.plan(spec, 64) == RopePlan.as_trained(spec)
    assert none.plan(spec, 17) != fixed.plan(spec, 17)
    assert any("none follows that rule" in note for note in spec.notes)


def test_own_dynamic_rule_is_the_formula_of_the_method() -> None:
    spec = spec_from_config(DYNAMIC)
    for length in (1, 16, 17, 30, 64):
        wanted = DynamicNtk(target_length=64, growth=2.0).plan(spec, length)
        assert spec.own_plan(length).inv_freq == pytest.approx(wanted.inv_freq)


def test_phimoe_has_a_factor_for_each_list() -> None:
    block = dict(PHI3["rope_scaling"], short_mscale=1.1, long_mscale=1.3, original_max_position_embeddings=16)
    spec = spec_from_config(tiny("phimoe", max_position_embeddings=64, rope_theta=1e4, rope_scaling=block))
    assert (spec.own_plan(16).attention_factor, spec.own_plan(17).attention_factor) == (1.1, 1.3)


# Families with something of their own


def test_llama4_with_equal_frequency_factors() -> None:
    block = dict(
        rope_type="llama3",
        factor=16.0,
        low_freq_factor=1.0,
        high_freq_factor=1.0,
        original_max_position_embeddings=8192,
    )
    content = tiny("llama4_text", head_dim=128, max_position_embeddings=10485760, rope_theta=5e5, rope_scaling=block)
    spec = spec_from_config(content)
    for base, value in zip(spec.base_inv_freq, spec.inv_freq, strict=True):
        assert value == (base if 2 * math.pi / base < 8192 else base / 16)
    assert 0 < sum(spec.inv_freq[i] == spec.base_inv_freq[i] for i in range(64)) < 64


def test_a_body_that_has_the_name_of_the_whole() -> None:
    """Llama 4's base_model is the model itself: hidden states were logits, or an error."""
    model = built(
        tiny("llama4_text", head_dim=32, max_position_embeddings=64, rope_theta=1e4, intermediate_size_mlp=32,
             moe_layers=[], no_rope_layers=[1, 1], num_local_experts=2)
    )  # fmt: skip
    assert model.base_model is model
    assert hidden_states(model, IDS).shape == (1, IDS.shape[1], 64)
    with applied(model, spec_from_config(model.config)):
        check_answers(model)


def test_a_cache_inside_the_modules_is_refused_by_name() -> None:
    model = built(tiny("recurrent_gemma", lru_width=64, head_dim=32, num_hidden_layers=3, rope_theta=1e4))
    with pytest.raises(ValueError, match="RecurrentGemmaForCausalLM is not supported: .* inside its modules"):
        check_answers(model)


@pytest.mark.parametrize("family", ["olmo", "olmo2", "olmo3", "flex_olmo", "ernie4_5", "llama", "gpt_oss"])
def test_cos_and_sin_keep_their_dtype_and_the_proof_sees_it(family: str) -> None:
    more = dict(num_local_experts=2, num_experts=2, num_experts_per_tok=1, head_dim=32)
    more |= dict(layer_types=["sliding_attention", "full_attention"]) if family == "olmo3" else {}
    model = built(tiny(family, max_position_embeddings=64, rope_theta=1e4, **more), torch.bfloat16)
    spec = spec_from_config(model.config)
    before = logits(model, IDS)
    with applied(model, spec) as rotary:
        assert torch.equal(logits(model, IDS), before)
        rotary.prove(64, RopePlan.as_trained(spec))
        for module in model.modules():
            forward = module.__dict__.get("forward")
            if forward is not None:
                rotation = forward.rotations[spec.layer_type]
                assert rotation.keeps_float32 == ("olmo" in family or "ernie" in family)
                rotation.keeps_float32 = not rotation.keeps_float32
        with pytest.raises(NotApplied, match="gives cos and sin in"):
            rotary.prove(64, RopePlan.as_trained(spec))


# What loads is what was hashed


def test_one_whole_file_comes_before_an_index(tmp_path: Path) -> None:
    base = tiny("llama", max_position_embeddings=64)
    model = built(base)
    folder = saved(model, tmp_path / "model")
    before = weights_hash(folder)
    stale = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(stale))
    loaded = load_model(str(folder), dtype="float32", device="cpu")  # the shard is missing, and nobody reads it
    assert loaded.weights_hash == before
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    assert weights_hash(folder) == before
    changed = {name: tensor * 2 for name, tensor in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    assert weights_hash(folder) != before
    again = load_model(str(folder), dtype="float32", device="cpu").model
    assert torch.equal(again.lm_head.weight, changed["lm_head.weight"])


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')


def _scales(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    scales = {name.replace(".weight", ".weight_scale"): torch.ones(1) for name in tensors if "q_proj" in name}
    save_file({**tensors, **scales}, folder / "model.safetensors", metadata={"format": "pt"})


def _stored_as(dtype: torch.dtype) -> Any:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        narrow = {name: value.to(dtype) if "proj" in name else value for name, value in tensors.items()}
        save_file(narrow, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def _cut(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _config(**changes: Any) -> Any:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return edit


@pytest.mark.parametrize(
    "damage, message",
    [
        (_adapter, "holds a model and an adapter"),
        (_scales, "2 weights that a LlamaForCausalLM has no place for, such as .*weight_scale"),
        (_stored_as(torch.int8), "14 weights of 8 bits, such as model.layers.0.mlp.down_proj.weight"),
        (_stored_as(torch.float8_e4m3fn), "names no quantisation .quantization_config., so their scales are unknown"),
        (_cut, r"model.norm.weight has the shape \(32,\), and the configuration says \(64,\)"),
        (_config(transformers_weights="other.safetensors"), "names other weights"),
        (_config(quantization_config={"quant_method": "gptq", "bits": 4}), "weights quantised by gptq"),
        (_config(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}), "quantised by bitsandb"),
        (
            lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors.index.json").write_text("[]")),
            "is no index of weights",
        ),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    folder = saved(built(tiny("llama", max_position_embeddings=64)), tmp_path / "model")
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_model(str(folder), dtype="float32", device="cpu")
    assert "\n" not in str(error.value)


def test_half_precision_keys_say_what_runs(tmp_path: Path) -> None:
    """Cells of models whose cos and sin were rounded in bf16 may not be reused; those in float32 were right."""
    olmo = saved(built(tiny("olmo2", max_position_embeddings=64)), tmp_path / "olmo")
    exact, half = (load_model(str(olmo), dtype=dtype, device="cpu") for dtype in ("float32", "bfloat16"))
    assert exact.weights_hash == weights_hash(olmo)
    assert half.weights_hash == f"{weights_hash(olmo)} (cos and sin in float32)"


# What a plan can do for the model


LONG = dict(max_position_embeddings=32768)
SLIDING = dict(LONG, sliding_window=4096)
QWEN = dict(SLIDING, use_sliding_window=True)
MIXED = dict(SLIDING, layer_types=["sliding_attention", "full_attention"])


@pytest.mark.parametrize(
    "content, words",
    [
        (tiny("mistral", **SLIDING), "no layer that rotates sees further back than 4,096"),
        (tiny("mistral", **LONG, sliding_window=None), None),
        (tiny("qwen2", **SLIDING, use_sliding_window=False), None),
        (tiny("qwen2", **QWEN, max_window_layers=0), "than 4,096"),
        (tiny("qwen2", **QWEN, max_window_layers=1), None),
        (tiny("cohere2", **MIXED), "than 4,096"),
        (tiny("exaone4", **MIXED), "than 4,096"),
        (tiny("exaone4", **LONG, sliding_window=None, layer_types=["full_attention"] * 2), None),
        (tiny("gemma3_text", **MIXED), None),
        (tiny("llama4_text", max_position_embeddings=65536, num_hidden_layers=4), "than 8,192"),
        (tiny("smollm3", **LONG, no_rope_layers=[1, 0]), None),
    ],
)
def test_plans_that_cannot_help_are_said(content: dict, words: str | None) -> None:
    notes = [note for note in spec_from_config(content).notes if "no layer that rotates" in note]
    assert bool(notes) == (words is not None) and (words is None or words in notes[0])


@pytest.mark.parametrize(
    "content, words",
    [
        (tiny("phi", partial_rotary_factor=0.5), "16 of the 32 dimensions"),
        (tiny("gpt_neox", rotary_pct=0.25), "8 of the 32 dimensions"),
        (tiny("deepseek_v3", qk_rope_head_dim=64, qk_nope_head_dim=128), "64 of the 192 dimensions"),
        (tiny("llama"), None),
        (tiny("my-own", rope_theta=1e4, partial_rotary_factor=0.5), "16 of the 32 dimensions"),
    ],
)
def test_a_temperature_on_a_part_of_the_head_is_said(content: dict, words: str | None) -> None:
    notes = [note for note in spec_from_config(dict(content, max_position_embeddings=64)).notes if "of a head" in note]
    assert bool(notes) == (words is not None) and (words is None or words in notes[0])


def test_dual_chunk_attention_names_the_trained_length() -> None:
    chunks = dict(chunk_size=262144, local_size=8192, original_max_position_embeddings=262144)
    content = tiny("qwen2", max_position_embeddings=1010000, rope_theta=1e7, dual_chunk_attention_config=chunks)
    spec = spec_from_config(content)
    assert spec.trained_length == 262144 and "dual_chunk" in spec.notes[0] and "trained to 262,144" in spec.notes[0]
    del chunks["original_max_position_embeddings"]
    assert "it does not say to how many tokens it was trained" in spec_from_config(content).notes[0]
    assert spec_from_config(content, trained_length=1000).trained_length == 1000


# Messages


@pytest.mark.parametrize(
    "content, says, never",
    [
        (dict(model_type="chatglm", rope_ratio=500, kv_channels=128, seq_length=131072), "may rotate", "has no RoPE"),
        (dict(model_type="baichuan", hidden_size=4096, model_max_length=4096), "may rotate", "has no RoPE"),
        (tiny("roformer"), "may rotate", "has no RoPE"),
        (dict(model_type="kimi_linear"), "may rotate", "has no RoPE"),
        (tiny("granitemoehybrid", position_embedding_type="nope"), "has no RoPE .*'nope'", None),
        (tiny("granitemoehybrid"), "has no RoPE .its position_embedding_type is None", None),
        (dict(model_type="zamba2", use_mem_rope=False), "has no RoPE .*use_mem_rope", None),
        (tiny("smollm3", no_rope_layers=[0, 0]), "no layer that rotates", None),
        (dict(model_type="bloom"), "has no RoPE", None),
    ],
)
def test_what_is_said_of_a_model_without_readable_rope_is_true(content: dict, says: str, never: str | None) -> None:
    with pytest.raises(ValueError, match=says) as error:
        spec_from_config(content)
    assert never is None or never not in str(error.value)


def test_dbrx_runs_with_its_own_theta() -> None:
    content = dict(model_type="dbrx", d_model=128, n_heads=2, n_layers=1, max_seq_len=32768, vocab_size=8,
                   attn_config=dict(kv_n_heads=2, rope_theta=500000, clip_qkv=8),
                   ffn_config=dict(ffn_hidden_size=64, moe_num_experts=2, moe_top_k=1))  # fmt: skip
    assert spec_from_config(content).rope_theta == 500000


def _fp8(folder: Path) -> None:
    """Weights of the projections in FP8 with a scale for each block, as DeepSeek stores them."""
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        tensors[name + "_scale_inv"] = torch.full((1, 1), 0.5)
        tensors[name] = (tensors[name] * 2).to(torch.float8_e4m3fn)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _config(quantization_config=dict(quant_method="fp8", weight_block_size=[128, 128], activation_scheme="dynamic"))(
        folder
    )


def test_fp8_runs_dequantised_and_says_so(tmp_path: Path) -> None:
    content = tiny("llama", max_position_embeddings=64) | dict(hidden_size=128, intermediate_size=128)
    folder = saved(built(content), tmp_path / "model")
    plain = load_model(str(folder), dtype="float32", device="cpu").model
    _fp8(folder)
    loaded = load_model(str(folder), dtype="float32", device="cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    weight, wanted = (model.model.layers[0].mlp.up_proj.weight for model in (loaded.model, plain))
    assert torch.equal(weight, (wanted * 2).to(torch.float8_e4m3fn).float() / 2)
    assert loaded.weights_hash.endswith(" (dequantised)") and "fp8" in loaded.spec.notes[-1]


@pytest.mark.slow
def test_run_report_and_preflight_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pocket-llama with the block of a model card: a run notes it, keeps it and prints it in the report."""
    folder = tmp_path / "carded"
    shutil.copytree(shipped_models()["pocket-llama"], folder)
    _config(rope_scaling=dict(YARN, original_max_position_embeddings=512))(folder)
    experiment = dict(name="carded", model=str(folder), target_length=1024, lengths=[1024], extenders=["none"],
                      tests=["passkey"], samples=1)  # fmt: skip
    (tmp_path / "e.yaml").write_text(json.dumps(experiment))
    ended(["run", str(tmp_path / "e.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"])
    words = "it was put there for inference"
    printed = capsys.readouterr()
    assert words in printed.err + printed.out
    rope = json.loads((tmp_path / "out" / "run.json").read_text())["model"]["rope"]
    assert words in rope["notes"][0] and rope["trained_length"] == 512
    assert words in (tmp_path / "out" / "report.html").read_text()
    assert Preflight({}, (), ("a note",)).notes == ("a note",)


# An adapter's folder


def lora(folder: Path, base: str) -> Path:
    """A LoRA on the query projections, as PEFT writes it: W + (alpha / r) B A."""
    folder.mkdir(parents=True)
    content = dict(peft_type="LORA", task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj"],
                   base_model_name_or_path=base, bias="none", lora_dropout=0.0)  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(content))
    generator = torch.Generator().manual_seed(0)
    place = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    shapes = {"A": (2, 64), "B": (64, 2)}
    tensors = {place.format(i, k): torch.randn(shapes[k], generator=generator) for i in range(2) for k in shapes}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_adapter_is_merged_into_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft", reason="peft is not installed (extra 'adapters')")
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    base = saved(built(tiny("llama", max_position_embeddings=64)), tmp_path / "base")
    adapter = lora(tmp_path / "adapter", "../base")
    plain, loaded = (load_model(str(f), dtype="float32", device="cpu") for f in (base, adapter))
    tensors = load_file(adapter / "adapter_model.safetensors")
    for i in range(2):
        name = f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_%s.weight"
        wanted = plain.model.model.layers[i].self_attn.q_proj.weight + 2 * tensors[name % "B"] @ tensors[name % "A"]
        assert torch.allclose(loaded.model.model.layers[i].self_attn.q_proj.weight, wanted, atol=1e-6)
    assert loaded.weights_hash != plain.weights_hash and loaded.tokenizer_hash == plain.tokenizer_hash
    assert load_model(str(adapter), dtype="float32", device="cpu").weights_hash == loaded.weights_hash
    save_file({k: v * 2 for k, v in tensors.items()}, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    assert load_model(str(adapter), dtype="float32", device="cpu").weights_hash != loaded.weights_hash


def test_an_adapter_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.model.adapter.find_spec", lambda name: None)
    base = saved(built(tiny("llama", max_position_embeddings=64)), tmp_path / "base")
    adapter = lora(tmp_path / "adapter", str(base))
    with pytest.raises(ValueError, match=r"merging it needs peft: pip install 'ropebench\[adapters\]'"):
        load_model(str(adapter))
    assert spec_from_config(str(adapter)).trained_length == 64  # plan needs the base's configuration only
    for base_name in (".", str(adapter)):
        (adapter / "adapter_config.json").write_text(json.dumps(dict(base_model_name_or_path=base_name)))
        for read in (load_model, spec_from_config):
            with pytest.raises(ValueError, match="is an adapter itself"):
                read(str(adapter))
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="names no base model"):
        load_model(str(adapter))
    (lora(tmp_path / "old", str(base)) / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no adapter_model.safetensors"):
        load_model(str(tmp_path / "old"))


def test_a_vision_language_checkpoint_says_how(tmp_path: Path) -> None:
    text = {key: value for key, value in tiny("mistral").items() if not key.endswith("_id")}
    (tmp_path / "config.json").write_text(json.dumps(dict(model_type="mistral3", text_config=text)))
    with pytest.raises(ValueError, match=r"no causal language model; save its text half \(mistral\)"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_the_text_half_of_a_qwen_that_reads_images_is_a_plain_qwen(family: str, tmp_path: Path) -> None:
    """What the line says works: the same weights under the other type give the same hidden states."""
    sizes = {key: value for key, value in tiny("").items() if not key.endswith(("_type", "_id"))}
    rope = dict(rope_type="default", rope_theta=1e4)
    text = dict(sizes, head_dim=32, max_position_embeddings=64, rms_norm_eps=1e-6)
    text["rope_parameters"] = dict(rope, mrope_section=[4, 6, 6])
    (tmp_path / "config.json").write_text(json.dumps(dict(model_type=family, text_config=text, vision_config={})))
    with pytest.raises(
        ValueError, match=r"no causal language model; save the weights of its text half as a qwen\d model"
    ):
        load_model(str(tmp_path))
    kind = "qwen3" if "3" in family else "qwen2"
    config = AutoConfig.for_model(f"{family}_text", **json.loads(json.dumps(text)))
    whole = AutoModel.from_config(config).eval()
    plain = AutoModel.from_config(AutoConfig.for_model(kind, **dict(text, rope_parameters=rope))).eval()
    for name, parameter in plain.named_parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(len(name)))
    whole.load_state_dict(plain.state_dict())
    ids = torch.arange(24)[None] % 8
    with torch.no_grad():
        assert torch.allclose(whole(ids).last_hidden_state, plain(ids).last_hidden_state, atol=1e-5)
