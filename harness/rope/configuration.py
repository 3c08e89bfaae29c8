"""What a model's configuration says about its RoPE → RopeSpec; neither torch nor transformers is needed.

Configurations come in every age: `rope_scaling` beside `rope_theta`, one `rope_parameters` dictionary, or one
such dictionary for each layer type.

Trained length. A checkpoint with fixed frequencies (default, linear, yarn, llama3) was trained with them up to
max_position_embeddings: 131,072 for Llama 3.1, not the 8,192 it was extended from. A type that switches by
length (dynamic, longrope) uses its plain or short frequencies up to original_max_position_embeddings only, and
that is its trained length (4,096 for Phi-3-mini-128k). `trained_length` overrides both.

A scaling that was put there for inference is no part of what the model was trained with: it is read as taken off
(`harness.rope.inference_scaling`), and the notes of the spec say so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from extenders.base import LengthRule, RopeSpec
from harness.rope.inference_scaling import base_parameters, taken_off
from harness.rope.notes import head_dimensions, notes_of, undoes_factors
from harness.rope.numbers import check_numbers
from harness.rope.rope_types import SWITCHING, beyond_window, trained_frequencies

COVERED = "full_attention"  # the layer type that a plan covers where types rotate differently
OTHER_NAMES = {
    "rope_theta": ("rotary_emb_base",),
    "partial_rotary_factor": ("rotary_pct", "rope_pct"),
    "max_position_embeddings": ("max_sequence_length", "max_seq_len", "seq_length", "n_positions"),
    "hidden_size": ("n_embd", "d_model"),
    "num_attention_heads": ("n_head", "n_heads"),
}
ROTATE_WHEN_TOLD = ("granitemoehybrid",)  # only with position_embedding_type "rope"
OWN_CODE = (  # they rotate, in a part of their layers or sizes, and their configuration says nothing of it
    "aquila", "baichuan", "chatglm", "glm", "internlm", "kimi_linear", "minicpm", "orion", "qwen", "roformer",
    "skywork", "telechat", "xverse", "yuan",
)  # fmt: skip


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
    _refuse_without_rope(get, isinstance(config, Mapping), name)
    parameters, layer_type = _parameters(get, name)
    get = _reader(_of_layer_type(config, layer_type))
    check_numbers(name, get, parameters)

    theta = parameters.get("rope_theta") or get("rope_theta")
    if not theta:
        raise ValueError(f"{name} rotates, but its configuration names no rope_theta, so its frequencies are unknown")

    notes = []
    original = parameters.get("original_max_position_embeddings") or get("original_max_position_embeddings")
    maximum = get("max_position_embeddings")
    words = taken_off(parameters, original, maximum)
    if words:
        notes.append(words)
        parameters, maximum = base_parameters(parameters), original or maximum
    kind = kind_of(parameters)
    length = int(trained_length or _trained_length(get, parameters, kind, original, maximum, name))
    maximum = int(maximum or length)
    parameters.setdefault("original_max_position_embeddings", original or maximum)

    # DeepSeek names the rotated dimensions; transformers turns rotary_dim into a share and reads it no more
    rotated = get("qk_rope_head_dim") or (get("rotary_dim") if isinstance(config, Mapping) else None)
    dims = int(rotated) if rotated else _rotary_dims(get, parameters, kind, name)
    beyond: LengthRule | None = None
    try:
        inv_freq, attention_factor = trained_frequencies(kind, parameters, dims, float(theta), maximum)
        if kind in SWITCHING:
            beyond = beyond_window(kind, parameters, dims, float(theta), maximum)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    notes += notes_of(get, kind, parameters, dims, length, layer_type)
    return RopeSpec(
        dims, float(theta), length, tuple(inv_freq), float(attention_factor), layer_type, beyond, tuple(notes)
    )


def kind_of(parameters: Mapping[str, Any]) -> str:
    """The rope type, by its newer or its older name."""
    return str(parameters.get("rope_type") or parameters.get("type") or "default")


def _refuse_without_rope(get: Callable[[str], Any], unknown: bool, name: str) -> None:
    """Raises ValueError for a model that does not rotate, or of which nobody can say how it rotates."""
    placed = get("position_embedding_type")
    layers = get("no_rope_layers")  # 1 is a layer that rotates
    if placed not in (None, "rope", "rotary") or (placed is None and get("model_type") in ROTATE_WHEN_TOLD):
        reason = f"its position_embedding_type is {placed!r}"
    elif get("alibi"):
        reason = "it uses ALiBi"
    elif get("use_mem_rope") is False:
        reason = "its use_mem_rope is false"
    elif get("mla_use_nope"):
        reason = "its mla_use_nope is true: no layer of it rotates"
    elif isinstance(layers, list | tuple) and layers and not any(layers):
        reason = "its no_rope_layers name no layer that rotates"
    elif any(
        get(key) for key in ("rope_parameters", "rope_scaling", "rope_theta", "rotary_dim", "partial_rotary_factor")
    ):
        return
    elif get("model_type") in OWN_CODE:
        raise ValueError(
            f"{name} may rotate in code of its own: its configuration names no rope_theta; ropebench reads RoPE from "
            "the configuration and changes transformers' rotary modules only"
        )
    else:
        reason = "its configuration names no rope_theta"
        if unknown:
            raise ValueError(f"{name} has no RoPE in its configuration (no rope_theta), so its frequencies are unknown")
    raise ValueError(f"{name} has no RoPE ({reason}); ropebench compares RoPE models only")


def _trained_length(
    get: Callable[[str], Any], parameters: Mapping[str, Any], kind: str, original: Any, maximum: Any, name: str
) -> int:
    chunks = get("dual_chunk_attention_config")
    if isinstance(chunks, Mapping) and chunks.get("original_max_position_embeddings"):
        return int(chunks["original_max_position_embeddings"])  # Qwen2.5-1M: the rest is read through dual chunks
    length = (kind in SWITCHING and original) or maximum
    if not length:
        raise ValueError(f"{name}: the configuration names no max_position_embeddings; give the trained length")
    if parameters.get("finetuned"):  # the YaRN authors' checkpoints, whose max_position_embeddings may be the base's
        return max(int(length), round((parameters.get("factor") or 1) * (original or length)))
    return int(length)


def factor_reaches_whole_logit(config: Any, rope: RopeSpec) -> bool:
    """Whether what multiplies cos and sin multiplies attention logits whole, in a configuration of transformers."""
    get = _reader(_of_layer_type(config.get_text_config(), rope.layer_type))
    return head_dimensions(get) == rope.rotary_dims and not undoes_factors(get)


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
