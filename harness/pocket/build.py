"""A pocket model before and after its training: made from its recipe's seed, and saved as users get it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.pocket import block_attention
from harness.pocket.recipe import WINDOW, PocketRecipe
from harness.pocket.start import start

NOT_A_SHAPE = ("model_type", "architectures", "transformers_version", "dtype")  # in a configuration


def new_model(recipe: PocketRecipe) -> Any:
    """The model with its first weights, which depend on the recipe's seed alone."""
    ALL_ATTENTION_FUNCTIONS.register(block_attention.NAME, block_attention.block_attention)
    shape = dict(recipe.config)
    config = AutoConfig.for_model(shape.pop("model_type"), **shape, attn_implementation=block_attention.NAME)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=block_attention.NAME)
    start(model, torch.Generator().manual_seed(recipe.seed))
    return model


def save(model: Any, recipe: PocketRecipe, out: Path) -> None:
    """Write the model in Hugging Face format: bf16 safetensors, sdpa attention, the window as its length."""
    model = as_phi3(model) if recipe.saved_as == "phi3" else model
    model.config._attn_implementation = "sdpa"
    model.to(torch.bfloat16).save_pretrained(out)
    assert model.config.max_position_embeddings == WINDOW


def as_phi3(model: Any) -> Any:
    """The same function as a Phi3: query, key and value in one matrix, gate and up in another."""
    ours = model.config.to_dict()
    llamas = ("head_dim", "attention_bias", "mlp_bias", "pretraining_tp")
    shape = {name: value for name, value in ours.items() if name not in (*llamas, *NOT_A_SHAPE)}
    config = AutoConfig.for_model("phi3", **shape, original_max_position_embeddings=WINDOW)
    states: dict[str, Tensor] = dict(model.state_dict())
    for layer in range(config.num_hidden_layers):
        for place, joined, parts in (
            ("self_attn", "qkv_proj", ("q_proj", "k_proj", "v_proj")),
            ("mlp", "gate_up_proj", ("gate_proj", "up_proj")),
        ):
            block = f"model.layers.{layer}.{place}"
            states[f"{block}.{joined}.weight"] = torch.cat([states.pop(f"{block}.{name}.weight") for name in parts])
    fused = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fused.load_state_dict(states)
    return fused
