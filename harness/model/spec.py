"""A model by name → its configuration, and what it was trained with; no weights are needed.

Where transformers knows the model type, its own configuration class fills in the defaults; any other config.json is
read as it stands. What the fields mean is in `harness.rope.configuration`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from extenders.base import RopeSpec
from harness.model.locate import config_file
from harness.model.quiet import quiet
from harness.rope.configuration import read_spec
from harness.rope.numbers import check_numbers

LARGEST = {  # sizes of a configuration, far above those of the largest models
    "hidden_size": 2**20,
    "n_embd": 2**20,
    "d_model": 2**20,
    "intermediate_size": 2**24,
    "head_dim": 2**16,
    "rotary_dim": 2**16,
    "qk_rope_head_dim": 2**16,
    "num_hidden_layers": 2**12,
    "n_layer": 2**12,
    "num_attention_heads": 2**16,
    "num_key_value_heads": 2**16,
    "n_head": 2**16,
    "vocab_size": 2**28,
    "max_position_embeddings": 2**40,
    "original_max_position_embeddings": 2**40,
}


def load_config(model: str, local_files_only: bool = True) -> Any:
    """The configuration of a folder, a shipped model or a hub id.

    A transformers configuration where the model type is known, else the plain dictionary of config.json.
    The hub is asked only when `local_files_only` is False. Raises ValueError in one line.
    """
    file = config_file(model, local_files_only)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no configuration (a JSON object is expected)")
    try:
        check_sizes(content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return known_config(content)


def spec_from_config(config: Any, trained_length: int | None = None) -> RopeSpec:
    """What a model was trained with.

    `config`: a transformers configuration, the dictionary of a config.json, or the path of a model folder.
    `trained_length` in tokens, where the configuration is wrong or silent about it. Raises ValueError for a
    model without RoPE, without θ, or with a rope type we cannot compute.
    """
    if isinstance(config, str | Path):
        config = load_config(str(config))
    try:
        with quiet():  # old names are read on purpose
            return read_spec(known_config(config) if isinstance(config, Mapping) else config, trained_length)
    except ValueError:
        raise
    except Exception as error:  # a value of a type that no configuration has
        raise ValueError(f"the configuration has no RoPE that can be read ({type(error).__name__}: {error})") from error


def check_sizes(content: Mapping[str, Any]) -> None:
    """Raises ValueError for a size that no model has: a load would take all memory, or never end."""
    for name, most in LARGEST.items():
        value = content.get(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and 0 <= value <= most) and not isinstance(value, list):
            raise ValueError(f"{name} must be a whole number of at most {most:,}, got {str(value)[:60]!r}")
    for inner in content.values():
        if isinstance(inner, Mapping):
            check_sizes(inner)


def known_config(content: Mapping[str, Any]) -> Any:
    """The dictionary as a transformers configuration, where transformers knows its model type."""
    model_type = content.get("model_type")
    for values in (content, content.get("text_config")):
        if isinstance(values, Mapping):
            _check_written(f"model type {model_type}", values)
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return dict(content)
    try:
        with quiet():
            return CONFIG_MAPPING[model_type].from_dict(in_newer_words(content))
    except Exception as error:  # every configuration class checks its values in its own way
        reason = " ".join(str(error).split())[:300] or "unreadable"
        raise ValueError(
            f"the configuration is not one of a {model_type} model ({type(error).__name__}: {reason})"
        ) from None


def _check_written(name: str, content: Mapping[str, Any]) -> None:
    """Numbers written as text, before transformers ends in an error of its own. Raises ValueError."""
    for key in ("rope_parameters", "rope_scaling"):
        block = content.get(key)
        if block is not None and not isinstance(block, Mapping):
            raise ValueError(f"{name}: {key} is {block!r} in the configuration; an object or null is needed")
        nested = [value for value in (block or {}).values() if isinstance(value, Mapping)]
        for parameters in nested or [block or {}]:
            check_numbers(name, content.get, parameters)


def in_newer_words(content: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with what transformers reads wrongly where it stands written where it is read.

    "su" with the original length beside the dictionary (Phi-3-mini-128k's first files) is an error there, and DBRX runs
    with θ = 10,000 where attn_config says 500,000.
    """
    copied: dict[str, Any] = json.loads(json.dumps(content))
    scaling = copied.get("rope_scaling")
    if isinstance(scaling, dict) and (scaling.get("type") == "su" or scaling.get("rope_type") == "su"):
        scaling["rope_type"] = "longrope"
        scaling.pop("type", None)
        if copied.get("original_max_position_embeddings"):
            scaling.setdefault("original_max_position_embeddings", copied["original_max_position_embeddings"])
    attention = copied.get("attn_config")
    if isinstance(attention, dict) and attention.get("rope_theta"):
        copied.setdefault("rope_theta", attention["rope_theta"])
    return copied
