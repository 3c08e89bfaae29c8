"""What a reader of the numbers has to know of a model's RoPE: shown by plan, run, preflight and the report."""

from collections.abc import Callable, Mapping
from typing import Any

from harness.rope.rope_types import SWITCHING

# Where a sliding window is set, only the layers that slide rotate; the others see everything and no position.
ROTATE_WHERE_THEY_SLIDE = (
    "afmoe",
    "cohere2",
    "cohere2_moe",
    "exaone4",
    "exaone4_5_text",
    "exaone_moe",
    "flint",
    "kolibri1",
)
# A norm after rotation divides what multiplies cos and sin out again (tests/test_families.py checks).
NORM_AFTER_ROTATION = ("hunyuan_v1_dense", "hunyuan_v1_moe", "hunyuan_vl_text", "nanochat")
# Their model cards tell users to add a YaRN block for long prompts; no checkpoint of theirs was trained with one.
YARN_BY_CARD = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
NO_ATTENTION = ("linear_attention", "conv", "mamba", "recurrent")


def notes_of(
    get: Callable[[str], Any], kind: str, parameters: Mapping[str, Any], dims: int, length: int, layer_type: str
) -> list[str]:
    """One line each. `kind` and `parameters` as read, `length` the trained length in tokens."""
    lines = []
    chunks = get("dual_chunk_attention_config")
    if chunks:
        said = isinstance(chunks, Mapping) and chunks.get("original_max_position_embeddings")
        trained = f"trained to {length:,} tokens" if said else "it does not say to how many tokens it was trained"
        lines.append(
            f"the configuration has a dual_chunk_attention_config: {trained}; transformers does not run dual chunks, "
            f"so none reads longer prompts without them{'' if said else f' (--trained-length; {length:,} was read)'}"
        )
    if kind in ("yarn", "linear", "llama3", "proportional") and (parameters.get("factor") or 1) > 1:
        lines.append(
            f"the configuration carries a {kind} scaling (factor {parameters['factor']:g}), taken as trained with; a "
            f"method comes on top of it{_doubt(get, kind, parameters)}"
        )
    if kind in SWITCHING and not parameters.get("alpha"):
        what = "dynamic NTK" if kind == "dynamic" else "its long list of factors"
        lines.append(f"beyond {length:,} tokens the checkpoint runs {what} by itself, and none follows that rule")
    whole = head_dimensions(get)
    if whole and dims < whole and not undoes_factors(get):
        lines.append(
            f"{dims} of the {whole} dimensions of a head rotate: an attention_factor reaches their part of a logit "
            "alone, where a temperature (as in DeepSeek's own YaRN) is on the whole of it; the method whole_logit puts "
            "another's there"
        )
    if undoes_factors(get):
        lines.append(
            "queries and keys are normalised after they are rotated, which undoes an attention_factor: it has no "
            "effect; the method whole_logit puts a temperature on the whole logit"
        )
    sight = None if layer_type else rotating_sight(get)
    if sight is not None and sight <= length:
        lines.append(
            f"no layer that rotates sees further back than {sight:,} tokens, and the model was trained to {length:,}: "
            "no method can help it to longer prompts"
        )
    return lines


def _doubt(get: Callable[[str], Any], kind: str, parameters: Mapping[str, Any]) -> str:
    """What a user should look at where a scaling may not be the checkpoint's own, or ''."""
    maximum = get("max_position_embeddings")
    original = parameters.get("original_max_position_embeddings") or get("original_max_position_embeddings")
    if original and maximum and original > maximum:
        return (
            f" (max_position_embeddings {maximum:,} is below original_max_position_embeddings {original:,}: one of "
            "them was edited; --trained-length says what is right)"
        )
    if kind == "yarn" and get("model_type") in YARN_BY_CARD and not parameters.get("finetuned"):
        return " (one that was added for inference, with max_position_embeddings raised, looks alike: take it out)"
    return ""


def undoes_factors(get: Callable[[str], Any]) -> bool:
    """Whether a factor on cos and sin has no effect."""
    kind = get("model_type")
    return kind in NORM_AFTER_ROTATION or (kind == "llama4_text" and get("use_qk_norm") is not False)


def head_dimensions(get: Callable[[str], Any]) -> int:
    """Dimensions of a query that is compared with a key; 0 where the configuration does not say."""
    if get("qk_rope_head_dim"):
        return int(get("qk_rope_head_dim")) + int(get("qk_nope_head_dim") or 0)
    if get("head_dim"):
        return int(get("head_dim"))
    width, heads = get("hidden_size"), get("num_attention_heads")
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else 0


def rotating_sight(get: Callable[[str], Any]) -> int | None:
    """How far back, in tokens, a layer that rotates can see at most; None where one sees everything."""
    window, chunk = get("sliding_window"), get("attention_chunk_size")
    kinds = get("layer_types")
    if not kinds:
        return int(window) if isinstance(window, int) and get("use_sliding_window") is not False else None
    turning = get("no_rope_layers")  # 1 is a layer that rotates
    sights: list[int | None] = []
    for i, kind in enumerate(kinds):
        slides = "sliding" in kind
        if isinstance(turning, list | tuple) and i < len(turning) and not turning[i]:
            continue
        if any(word in kind for word in NO_ATTENTION):
            continue
        if get("model_type") in ROTATE_WHERE_THEY_SLIDE and window and not slides:
            continue
        sights.append(window if slides else chunk if "chunked" in kind else None)
    known = [sight for sight in sights if sight is not None]
    return max(known) if known and len(known) == len(sights) else None
