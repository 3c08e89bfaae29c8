"""Reading what a model was trained with: every age of configuration, scaled checkpoints, and refusals."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from harness.model.files import shipped_models
from harness.model.spec import load_config, spec_from_config
from harness.rope.configuration import read_spec

LLAMA3_8B = dict(
    model_type="llama", hidden_size=4096, num_attention_heads=32, max_position_embeddings=8192, rope_theta=500000.0
)
LLAMA31 = dict(
    LLAMA3_8B,
    max_position_embeddings=131072,
    rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
    ),
)
PHI3 = dict(
    model_type="phi3",
    hidden_size=3072,
    num_attention_heads=32,
    max_position_embeddings=131072,
    original_max_position_embeddings=4096,
    rope_theta=10000.0,
    rope_scaling=dict(type="longrope", short_factor=[1.0 + i / 100 for i in range(48)], long_factor=[2.0] * 48),
)


def textbook(theta: float, dims: int) -> list[float]:
    return [theta ** (-2 * i / dims) for i in range(dims // 2)]


def test_llama3_8b() -> None:
    spec = spec_from_config(LLAMA3_8B)
    assert (spec.rotary_dims, spec.rope_theta, spec.trained_length, spec.layer_type) == (128, 500000.0, 8192, "")
    assert spec.inv_freq == pytest.approx(textbook(500000.0, 128), rel=1e-15)
    assert spec.critical_pair == 35  # LongRoPE2, arXiv:2502.20082, §3.1


def test_a_checkpoint_trained_to_its_extended_length() -> None:
    spec = spec_from_config(LLAMA31)
    assert spec.trained_length == 131072
    wanted, factor = ROPE_INIT_FUNCTIONS["llama3"](AutoConfig.for_model(**json.loads(json.dumps(LLAMA31))))
    assert spec.inv_freq == pytest.approx(wanted.tolist(), rel=1e-6)
    assert spec.inv_freq[0] == 1.0 and spec.inv_freq[-1] == pytest.approx(spec.base_inv_freq[-1] / 8)
    assert spec.attention_factor == factor == 1.0


def test_a_checkpoint_that_switches_by_length_was_trained_to_its_short_window() -> None:
    spec = spec_from_config(PHI3)
    assert (spec.trained_length, spec.rotary_dims, spec.critical_pair) == (4096, 96, 34)
    wanted = [value / (1.0 + i / 100) for i, value in enumerate(textbook(10000.0, 96))]
    assert spec.inv_freq == pytest.approx(wanted, rel=1e-12)
    assert spec.attention_factor == pytest.approx(1.1902380714238083)  # √(1 + ln 32 / ln 4096)


def test_trained_length_can_be_overridden() -> None:
    assert spec_from_config(LLAMA3_8B, trained_length=4096).trained_length == 4096
    assert spec_from_config({"rope_theta": 1e4, "head_dim": 64}, trained_length=128).trained_length == 128


def test_dynamic_keeps_its_plain_frequencies() -> None:
    spec = spec_from_config(dict(LLAMA3_8B, rope_scaling=dict(type="dynamic", factor=4.0)))
    assert spec.inv_freq == pytest.approx(textbook(500000.0, 128)) and spec.trained_length == 8192


@pytest.mark.parametrize(
    "theta, head_dim, share, length",
    [
        (1e4, 64, 1.0, 2048),
        (1e4, 96, 1.0, 4096),
        (1e4, 128, 1.0, 4096),
        (5e5, 128, 1.0, 8192),
        (1e6, 128, 1.0, 32768),
        (1e4, 128, 0.25, 2048),
        (5e5, 128, 0.75, 4096),
        (1e6, 64, 0.5, 8192),
    ],
)
@pytest.mark.parametrize("factor", [1.0, 2.0, 16.0, 64.0])
@pytest.mark.parametrize(
    "kind, more",
    [
        ("linear", {}),
        ("dynamic", {}),
        ("yarn", {}),
        ("yarn", dict(beta_fast=16, beta_slow=2, attention_factor=1.5, truncate=False)),
        ("yarn", dict(mscale=1.0, mscale_all_dim=0.8)),
        ("llama3", dict(low_freq_factor=1.0, high_freq_factor=4.0)),
        ("longrope", {}),
        ("proportional", {}),
    ],
)
def test_scaled_checkpoints_equal_transformers(
    kind: str, more: dict, factor: float, theta: float, head_dim: int, share: float, length: int
) -> None:
    pairs = int(head_dim * share) // 2
    lists = (
        dict(short_factor=[1 + i / pairs for i in range(pairs)], long_factor=[2.0] * pairs)
        if kind == "longrope"
        else {}
    )
    rope = dict(rope_type=kind, rope_theta=theta, factor=factor, partial_rotary_factor=share, **more, **lists)
    if kind in ("yarn", "llama3", "longrope"):
        rope["original_max_position_embeddings"] = length
    values = dict(head_dim=head_dim, max_position_embeddings=int(length * factor), rope_parameters=rope)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = AutoConfig.for_model("llama", **json.loads(json.dumps(values)))
    wanted, attention_factor = ROPE_INIT_FUNCTIONS[kind](config)
    spec = spec_from_config(config)
    # transformers forms YaRN's 1 - ramp in float32; near the ramp's end the factor magnifies what is rounded there
    near = 1e-6 + (factor * 2**-24 if kind == "yarn" else 0.0)
    assert spec.inv_freq == pytest.approx(wanted.tolist(), rel=near)
    assert spec.attention_factor == pytest.approx(attention_factor, rel=1e-12)
    assert spec_from_config(dict(values, model_type="not-known-to-transformers")) == spec


@pytest.mark.parametrize(
    "content, dims",
    [
        (
            dict(model_type="gpt_neox", hidden_size=512, num_attention_heads=8, rotary_pct=0.25, rotary_emb_base=10000),
            16,
        ),
        (dict(model_type="gpt_neox", hidden_size=512, num_attention_heads=8), 16),
        (dict(model_type="phi", hidden_size=512, num_attention_heads=8, partial_rotary_factor=0.5), 32),
        (dict(model_type="mixtral", hidden_size=512, num_attention_heads=8, head_dim=None), 64),
        (dict(model_type="qwen3", hidden_size=512, num_attention_heads=8, head_dim=128), 128),
        (dict(model_type="falcon", hidden_size=512, num_attention_heads=8), 64),
        (dict(model_type="deepseek_v3", hidden_size=512, num_attention_heads=8, qk_rope_head_dim=32), 32),
        (dict(model_type="minimax_m2", hidden_size=512, num_attention_heads=8, head_dim=128, rotary_dim=64), 64),
        (
            dict(
                model_type="own",
                hidden_size=512,
                num_attention_heads=8,
                rope_theta=1e4,
                rotary_pct=0.5,
                max_position_embeddings=64,
            ),
            32,
        ),
        (dict(model_type="own", n_embd=512, n_head=8, rope_theta=1e4, n_positions=64), 64),
    ],
)
def test_rotated_dimensions(content: dict, dims: int) -> None:
    assert spec_from_config(content).rotary_dims == dims


def test_layer_types_choose_full_attention() -> None:
    rope = {
        "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1e6),
        "sliding_attention": dict(rope_type="default", rope_theta=1e4),
    }
    content = dict(model_type="gemma3_text", head_dim=256, max_position_embeddings=131072, rope_parameters=rope)
    spec = spec_from_config(content)
    assert (spec.layer_type, spec.rope_theta, spec.trained_length) == ("full_attention", 1e6, 131072)
    assert spec.inv_freq == pytest.approx([value / 8 for value in textbook(1e6, 256)])
    assert spec_from_config(dict(content, model_type="own")) == spec
    old = dict(
        model_type="gemma3_text",
        head_dim=256,
        max_position_embeddings=131072,
        rope_theta=1e6,
        rope_local_base_freq=1e4,
        rope_scaling=dict(rope_type="linear", factor=8.0),
    )
    assert spec_from_config(old) == spec
    whole = dict(model_type="gemma3", text_config=old)
    assert spec_from_config(whole) == spec


def test_layer_types_that_differ_in_more_than_rope() -> None:
    spec = spec_from_config(AutoConfig.for_model("gemma4_text"))  # head_dim 512 in full attention, 256 elsewhere
    assert (spec.rotary_dims, spec.layer_type) == (512, "full_attention")
    assert spec.inv_freq[:64] == pytest.approx(textbook(1e6, 512)[:64]) and not any(spec.inv_freq[64:])


def test_layer_types_without_full_attention_are_refused() -> None:
    rope = {"sliding_attention": dict(rope_theta=1e4), "full_attention": None}
    with pytest.raises(ValueError, match="the types that rotate are sliding_attention"):
        spec_from_config(dict(model_type="own", head_dim=64, max_position_embeddings=64, rope_parameters=rope))


@pytest.mark.parametrize(
    "content, message",
    [
        (dict(model_type="gpt2"), "gpt2 has no RoPE"),
        (dict(model_type="falcon", alibi=True), "falcon has no RoPE"),
        (dict(model_type="jamba"), "jamba has no RoPE"),
        (dict(model_type="gptj"), "gptj rotates, but its configuration names no rope_theta"),
        (dict(model_type="own", head_dim=64), "own has no RoPE"),
        (
            dict(
                model_type="own", head_dim=64, rope_scaling=dict(type="linear", factor=2.0), max_position_embeddings=64
            ),
            "names no rope_theta",
        ),
        (dict(head_dim=64, rope_theta=1e4), "names no max_position_embeddings"),
        (dict(rope_theta=1e4, max_position_embeddings=64), "neither head_dim nor hidden_size"),
        (
            dict(head_dim=64, rope_theta=1e4, max_position_embeddings=64, rotary_pct=9 / 64),
            "rotates 9 dimensions .* even number",
        ),
        (
            dict(head_dim=64, rope_theta=1e4, max_position_embeddings=64, rope_scaling=dict(type="yam", factor=2.0)),
            "rope type 'yam' is unknown",
        ),
        (
            dict(head_dim=64, rope_theta=1e4, max_position_embeddings=64, rope_scaling=dict(type="linear")),
            "'linear' needs 'factor'",
        ),
        (
            dict(
                head_dim=64,
                rope_theta=1e4,
                max_position_embeddings=64,
                rope_scaling=dict(type="longrope", short_factor=[1.0] * 3, long_factor=[1.0] * 3),
            ),
            "short_factor of the configuration has 3",
        ),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(content: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        spec_from_config(content)
    assert "\n" not in str(error.value)


def test_configurations_are_not_changed() -> None:
    before = json.dumps(LLAMA31, sort_keys=True)
    spec_from_config(LLAMA31)
    assert json.dumps(LLAMA31, sort_keys=True) == before
    config = CONFIG_MAPPING["llama"].from_dict(json.loads(before))
    saved = config.to_json_string()
    assert spec_from_config(config) == spec_from_config(LLAMA31)
    assert config.to_json_string() == saved


def test_a_folder_is_read_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA31))
    assert spec_from_config(tmp_path) == spec_from_config(str(tmp_path)) == spec_from_config(LLAMA31)
    assert spec_from_config(load_config(str(tmp_path))) == spec_from_config(LLAMA31)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "it has no config.json"),
        ("{", "cannot be read as JSON"),
        ("[1]", "holds no configuration"),
        ('{"model_type": "llama", "hidden_size": "many"}', "hidden_size must be a whole number"),
        ('{"model_type": "llama", "rms_norm_eps": "many"}', "not one of a llama model"),
    ],
)
def test_a_damaged_folder(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_config(str(tmp_path))
    assert "\n" not in str(error.value)


def test_the_hub_is_not_asked_unless_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    with pytest.raises(ValueError, match="no model of that name in the local Hugging Face cache"):
        load_config("some-owner/some-model")
    with pytest.raises(ValueError, match="no hub id"):
        load_config(str(tmp_path / "nothing-here"))


def test_reading_a_spec_does_not_wait_for_torch_to_be_imported() -> None:
    file = shipped_models()["pocket-llama"] / "config.json"
    code = (
        f"import sys, json; from harness.rope.configuration import read_spec; read_spec(json.load(open({str(file)!r})))"
    )
    code += "; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_says_all_of_its_rope_itself(name: str) -> None:
    """So `ropebench list models` reads its file as it stands and waits for no library."""
    folder = shipped_models()[name]
    assert read_spec(json.loads((folder / "config.json").read_text())) == spec_from_config(str(folder))


def test_llama3_smoothing_in_the_middle() -> None:
    spec = spec_from_config(LLAMA31)
    i = next(i for i, value in enumerate(spec.base_inv_freq) if 2048 < 2 * math.pi / value < 8192)
    turns = 8192 * spec.base_inv_freq[i] / (2 * math.pi)
    kept = (turns - 1) / 3
    assert spec.inv_freq[i] == pytest.approx(spec.base_inv_freq[i] * (kept + (1 - kept) / 8))
