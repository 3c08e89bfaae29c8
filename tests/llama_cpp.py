"""A small Llama as a GGUF file in float32, and llama.cpp's answers to token ids, for the tests of what leaves.

The engine runs in a Python of its own where it is not installed beside the tests: ROPEBENCH_LLAMA_CPP names one that
has the package xllamacpp.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy

TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def python_with_engine() -> str | None:
    """A Python that can import xllamacpp; None where there is none."""
    if find_spec("xllamacpp") is not None:
        return sys.executable
    return os.environ.get("ROPEBENCH_LLAMA_CPP")


def interleaved(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows as llama.cpp rotates them: neighbours instead of halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(model: Any, path: Path, context: int | None = None) -> Path:
    """The weights of a transformers Llama in float32; tokens have names only, prompts are given as ids."""
    import gguf

    config = model.config
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(context or config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_key_length(config.head_dim)
    out.add_value_length(config.head_dim)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_rope_dimension_count(config.head_dim)
    out.add_vocab_size(config.vocab_size)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list([f"t{i}" for i in range(config.vocab_size)])
    out.add_token_types([1] * config.vocab_size)
    out.add_token_merges(["a b"])  # llama.cpp wants some; prompts are ids, so they are never used
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = interleaved(values, heads)
        for ours, theirs in TENSORS.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
        name = name.replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd")
        out.add_tensor(
            name.replace("model.norm", "output_norm").replace("lm_head", "output"), numpy.ascontiguousarray(values)
        )
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def next_tokens(model: Path, flags: list[str], prompts: list[list[int]], new: int, most: int) -> list[list[list[Any]]]:
    """For each prompt and new token, the engine's most likely tokens as (id, log-probability), the likeliest first."""
    python = python_with_engine()
    assert python is not None
    asked = json.dumps({"model": str(model), "flags": flags, "prompts": prompts, "new": new, "most": most})
    answer = subprocess.run(
        [python, str(Path(__file__).with_name("llama_cpp_server.py"))],
        input=asked,
        capture_output=True,
        text=True,
        timeout=280,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.splitlines()[-1])
