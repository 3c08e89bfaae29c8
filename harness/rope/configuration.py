"""What a model's configuration says about its RoPE → RopeSpec; neither torch nor transformers is needed.

Configurations come in every age: `rope_scaling` beside `rope_theta`, one `rope_parameters` dictionary, or one
such dictionary for each layer type.

Trained length. A checkpoint with fixed frequencies (default, linear, yarn, llama3) was trained with them up to
max_position_embeddings: 131,072 for Llama 3.1, not the 8,192 it was extended from. A type that switches by
length (dynamic, longrope) uses its plain or short frequencies up to original_max_position_embeddings only, and
that is its trained length (4,096 for Phi-3-mini-128k). `trained_length` overrides both.
"""

from collections.abc import Callable, Mapping
from typing import Any

from extenders.base import RopeSpec
from harness.rope.rope_types import SWITCHING, trained_frequencies

COVERED = "full_attention"  # the layer type that a plan covers where types rotate differently
OTHER_NAMES = {
    "rope_theta": ("rotary_emb_base",),
    "partial_rotary_factor": ("rotary_pct", "rope_pct"),
    "max_position_embeddings": ("max_sequence_length", "max_seq_len", "seq_length", "n_positions"),
    "hidden_size": ("n_embd", "d_model"),
    "num_attention_heads": ("n_head", "n_heads"),
}


def read_spec(config: Any, trained_length: int | None = None) -> RopeSpec:
    """What a model was trained with.

    `config`: a transformers configuration, or a dictionary as it stands in config.json, in which nothing is filled in
    (`harness.model.spec.spec_from_config` fills in). `trained_length` in tokens, where the configuration is wrong or
    silent about it. Raises ValueError for a model without RoPE, without θ, or with a rope type we cannot compute.
    """
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
    length = trained_length or _trained_length(get, parameters, kind, name)
    maximum = get("max_position_embeddings") or length
    original = parameters.get("original_max_position_embeddings") or get("original_max_position_embeddings")
    parameters.setdefault("original_max_position_embeddings", original or maximum)

    # DeepSeek names the rotated dimensions; transformers turns rotary_dim into a share and reads it no more
    rotated = get("qk_rope_head_dim") or (get("rotary_dim") if isinstance(config, Mapping) else None)
    dims = int(rotated) if rotated else _rotary_dims(get, parameters, kind, name)
    try:
        inv_freq, attention_factor = trained_frequencies(kind, parameters, dims, float(theta), maximum)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return RopeSpec(dims, float(theta), int(length), tuple(inv_freq), float(attention_factor), layer_type)


def _trained_length(get: Callable[[str], Any], parameters: Mapping[str, Any], kind: str, name: str) -> int:
    original = parameters.get("original_max_position_embeddings") or get("original_max_position_embeddings")
    length = (kind in SWITCHING and original) or get("max_position_embeddings")
    if not length:
        raise ValueError(f"{name}: the configuration names no max_position_embeddings; give the trained length")
    return int(length)


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
