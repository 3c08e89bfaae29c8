"""Loading a model folder, what is recorded about it, and one clear line for each thing that can be missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from harness.model.at_once import cache_bytes_per_token, tokens_at_once
from harness.model.files import shipped_models, weights_hash
from harness.model.load import load_model, place_of
from harness.model.locate import model_folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with a word tokenizer, in bf16."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=8,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", "a", "b", "c", "d"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_load(saved: Path) -> None:
    loaded = load_model(str(saved), dtype="float32", device="cpu")
    assert (loaded.dtype, loaded.attention, loaded.source) == ("float32", "sdpa", str(saved.resolve()))
    assert (loaded.spec.trained_length, loaded.spec.rotary_dims) == (64, 16)
    assert loaded.tokenizer.encode("a d") == [4, 7]
    assert not loaded.model.training and loaded.model.dtype == torch.float32
    assert loaded.weights_hash == weights_hash(saved)
    assert load_model(str(saved), dtype="bfloat16", attention="eager", device="cpu").attention == "eager"
    assert load_model(str(saved), trained_length=32, device="cpu").spec.trained_length == 32


@pytest.mark.parametrize(
    ("units", "dtype"), [("amx_bf16", "bfloat16"), ("avx512_bf16", "bfloat16"), ("avx512_f", "float32")]
)
def test_auto_asks_the_cpu(saved: Path, monkeypatch: pytest.MonkeyPatch, units: str, dtype: str) -> None:
    """A checkpoint in bf16 runs in it where the CPU is fast in it; a shipped model never does."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {units: True}, raising=False)
    assert load_model(str(saved), device="cpu").dtype == dtype
    assert load_model(str(saved), dtype="float32", device="cpu").dtype == "float32"
    assert load_model("pocket-llama", device="cpu").dtype == "float32"


def test_hash_covers_contents_and_nothing_else(folder: Path) -> None:
    before = weights_hash(folder)
    assert len(before) == 16
    (folder / "README.md").write_text("notes")
    (folder / "other.safetensors").write_bytes(b"not read by a load")
    assert weights_hash(folder) == before
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "generation_config.json",
    ):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(kept + b" ")
        assert weights_hash(folder) != before, name
        (folder / name).write_bytes(kept)
    assert weights_hash(folder) == before


def test_sharded_weights(folder: Path) -> None:
    whole = load_model(str(folder), device="cpu")
    (folder / "model.safetensors").unlink()
    whole.model.save_pretrained(folder, max_shard_size="5KB")
    assert (folder / "model.safetensors.index.json").exists()
    sharded = load_model(str(folder), device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), sharded.model.parameters(), strict=True))
    next(folder.glob("model-00001*")).unlink()
    with pytest.raises(ValueError, match="incomplete: model-00001"):
        load_model(str(folder))


def _edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "config.json").unlink(), "it has no config.json"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "safetensors format only"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "the tokenizer in .* cannot be loaded"),
        (lambda f: (f / "tokenizer.json").rename(f / "tokenizer.model"), "SentencePiece file .* pip install sentencep"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12"), "model.safetensors is damaged or was cut off"),
        (lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'), "gpt2 has no RoPE"),
        (
            lambda f: _edit(f, model_type="my-own", auto_map={"AutoModelForCausalLM": "code.Model"}),
            "code beside a checkpoint is never run",
        ),
        (lambda f: _edit(f, model_type="clip"), "no causal language model"),
        (lambda f: _edit(f, num_hidden_layers=2), "incomplete: .* weights are missing"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(folder: Path, damage, message: str, monkeypatch) -> None:
    monkeypatch.setattr("harness.model.files.find_spec", lambda name: None)  # no sentencepiece, also where there is one
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(dtype="fp32"), "dtype 'fp32' is unknown; allowed are auto, float32"),
        (dict(attention="flash"), "attention 'flash' is unknown"),
        (dict(attention="flash_attention_2", device="cpu"), "needs a CUDA device; use attention sdpa"),
    ],
)
def test_wrong_settings(saved: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(str(saved), **wrong)


def test_names_that_are_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        load_model(str(tmp_path / "file"))
    with pytest.raises(ValueError, match="no shipped model is named 'pocket-nothing'"):
        load_model("pocket-nothing")
    with pytest.raises(ValueError, match="downloads are not allowed here"):
        load_model("some-owner/some-model")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto anything")

    monkeypatch.setattr("harness.model.locate.snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"the Hugging Face hub did not give it \(ConnectionError: no route\)"):
        load_model("some-owner/some-model", local_files_only=False)


def test_shipped_models_go_by_name() -> None:
    for name, place in shipped_models().items():
        assert model_folder(name) == place


@pytest.mark.parametrize(
    ("name", "wanted"), [("tpu", "unknown"), ("meta", "never tried"), ("cuda:0", "sees no CUDA device")]
)
def test_a_device_that_is_not_here_is_one_line(name: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert place_of("auto") == place_of("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=wanted) as error:
        place_of(name)
    assert "\n" not in str(error.value)


def test_a_gpu_answers_many_prompts_at_once(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its memory and by what a token's keys and values take, not by what is free."""
    base = load_model(str(saved), dtype="float32", device="cpu")
    assert tokens_at_once(base.model) == (16_384, 16_384)
    heads = base.model.config
    token = 2 * heads.num_hidden_layers * heads.num_key_value_heads * heads.head_dim * 4  # keys, values; float32
    assert cache_bytes_per_token(base.model) == token

    def gpu(memory: int) -> tuple[int, int]:
        there = SimpleNamespace(device=torch.device("cuda"), config=base.model.config, dtype=base.model.dtype)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
        return tokens_at_once(there)

    assert gpu(400_000 * token) == (65_536, 100_000)
    assert gpu(token) == (65_536, 16_384)
    assert gpu(2**60) == (65_536, 1_048_576)


@pytest.mark.slow
def test_a_run_imports_no_package_that_only_some_tests_need() -> None:
    """lm_eval and datasets take seconds to import, and a machine without them runs perplexity and needles."""
    code = "import sys, harness.runner.engine, tasks.perplexity, tasks.needle, tasks.base; tasks.base.names()"
    code += "; print({'lm_eval', 'datasets', 'wonderwords', 'gguf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
