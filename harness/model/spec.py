"""Reading what a model was trained with from its configuration alone; no weights are needed.

Configurations come in every age: `rope_scaling` beside `rope_theta`, one `rope_parameters` dictionary, or one
such dictionary for each layer type. Where transformers knows the model type, its own configuration class fills
in the defaults; any other config.json is read as it stands.

Trained length. A checkpoint with fixed frequencies (default, linear, yarn, llama3) was trained with them up to
max_position_embeddings: 131,072 for Llama 3.1, not the 8,192 it was extended from. A type that switches by
length (dynamic, longrope) uses its plain or short frequencies up to original_max_position_embeddings only, and
that is its trained length (4,096 for Phi-3-mini-128k). `trained_length` overrides both.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from extenders.base import RopeSpec
from harness.model.files import config_file
from harness.rope.checkpoint import SWITCHING, scaled

COVERED = "full_attention"  # the layer type that a plan covers where types rotate differently
OTHER_NAMES = {
    "rope_theta": ("rotary_emb_base",),
    "partial_rotary_factor": ("rotary_pct", "rope_pct"),
    "max_position_embeddings": ("max_sequence_length", "max_seq_len", "seq_length", "n_positions"),
    "hidden_size": ("n_embd", "d_model"),
    "num_attention_heads": ("n_head", "n_heads"),
}


def load_config(model: str, local_files_only: bool = True) -> Any:
    """The configuration of a folder, a shipped model or a hub id.

    A transformers configuration where the model type is known, else the plain dictionary of config.json.
    The hub is asked only when `local_files_only` is False. Raises ValueError in one line.
    """
    file = config_file(model, local_files_only)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no configuration (a JSON object is expected)")
    return _known(content)


def spec_from_config(config: Any, trained_length: int | None = None) -> RopeSpec:
    """What a model was trained with.

    `config`: a transformers configuration, the dictionary of a config.json, or the path of a model folder.
    `trained_length` in tokens, where the configuration is wrong or silent about it. Raises ValueError for a
    model without RoPE, without θ, or with a rope type we cannot compute.
    """
    if isinstance(config, str | Path):
        config = load_config(str(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # old names are read on purpose
        return _read(_known(config) if isinstance(config, Mapping) else config, trained_length)


def _known(content: Mapping[str, Any]) -> Any:
    """The dictionary as a transformers configuration, where transformers knows its model type."""
    from transformers import CONFIG_MAPPING

    model_type = content.get("model_type")
    if model_type not in CONFIG_MAPPING:
        return dict(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return CONFIG_MAPPING[model_type].from_dict(json.loads(json.dumps(content)))
    except Exception as error:  # every configuration class checks its values in its own way
        reason = (str(error).strip().splitlines() or ["unreadable"])[0]
        raise ValueError(
            f"the configuration is not one of a {model_type} model ({type(error).__name__}: {reason})"
        ) from None


def _read(config: Any, trained_length: int | None) -> RopeSpec:
    if not isinstance(config, Mapping):
        config = config.get_text_config()
    get = _reader(config)
    name = f"model type {get('model_type') or 'unknown'}"
    parameters, layer_type = _parameters(get, name)
    get = _reader(_of_layer_type(config, layer_type))

    theta = parameters.get("rope_theta") or get("rope_theta")
    rotates = any(get(key) for key in ("rotary_dim", "partial_rotary_factor"))
    if get("alibi") or not (parameters or theta or rotates):
        raise ValueError(
            f"{name} has no RoPE (its configuration names no rope_theta); ropebench compares RoPE models only"
        )
    if not theta:
        raise ValueError(f"{name} rotates, but its configuration names no rope_theta, so its frequencies are unknown")

    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    maximum = get("max_position_embeddings")
    original = parameters.get("original_max_position_embeddings") or get("original_max_position_embeddings")
    length = trained_length or (kind in SWITCHING and original) or maximum
    if not length:
        raise ValueError(f"{name}: the configuration names no max_position_embeddings; give the trained length")
    parameters.setdefault("original_max_position_embeddings", original or maximum or length)

    # DeepSeek names the rotated dimensions; transformers turns rotary_dim into a share and reads it no more
    named = get("qk_rope_head_dim") or (get("rotary_dim") if isinstance(config, Mapping) else None)
    dims = int(named) if named else _rotary_dims(get, parameters, kind, name)
    try:
        inv_freq, attention_factor = scaled(kind, parameters, dims, float(theta), maximum or length)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return RopeSpec(dims, float(theta), int(length), tuple(inv_freq), float(attention_factor), layer_type)


def _reader(config: Any) -> Callable[[str], Any]:
    """Look a key up under its own and its older names; None where it is missing."""

    def get(key: str) -> Any:
        for known in (key, *OTHER_NAMES.get(key, ())):
            value = config.get(known) if isinstance(config, Mapping) else getattr(config, known, None)
            if value is not None:
                return value
        return None

    return get


def _parameters(get: Callable[[str], Any], name: str) -> tuple[dict[str, Any], str]:
    """The RoPE dictionary that a plan covers, and its layer type ("" when all layers rotate alike)."""
    content = get("rope_parameters") or get("rope_scaling") or {}
    types = [
        key
        for key, value in content.items()
        if isinstance(value, Mapping) or value is None and key.endswith("_attention")
    ]
    if not types:
        return dict(content), ""
    if not content.get(COVERED):
        rotating = ", ".join(key for key in types if content[key]) or "none"
        raise ValueError(f"{name}: a plan covers layers of type {COVERED}, but the types that rotate are {rotating}")
    parameters = dict(content[COVERED])
    parameters.pop("truncate", None)  # transformers looks for it outside the layer type, so it never counts
    return parameters, COVERED


def _of_layer_type(config: Any, layer_type: str) -> Any:
    """The configuration of one layer type, where types differ in more than RoPE (Gemma 4's head_dim)."""
    if layer_type and not isinstance(config, Mapping):
        try:
            return config.per_layer_config[layer_type]
        except (AttributeError, ValueError):  # a release without it; a configuration with nothing to choose
            pass
    return config


def _rotary_dims(get: Callable[[str], Any], parameters: Mapping[str, Any], kind: str, name: str) -> int:
    """How many dimensions of a head rotate, where the configuration gives a share of the head or nothing."""
    head_dim = get("head_dim")
    if not head_dim:
        if not (get("hidden_size") and get("num_attention_heads")):
            raise ValueError(
                f"{name}: the configuration names neither head_dim nor hidden_size and num_attention_heads"
            )
        head_dim = get("hidden_size") // get("num_attention_heads")
    if kind == "proportional":
        return int(head_dim)
    dims = int(head_dim * (parameters.get("partial_rotary_factor") or get("partial_rotary_factor") or 1.0))
    if dims < 2 or dims % 2:
        raise ValueError(f"{name}: the configuration rotates {dims} dimensions of a head; an even number is needed")
    return dims
