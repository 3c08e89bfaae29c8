"""A plan inside a checkpoint's own configuration: put where the family reads it, the rest kept.

The old key `rope_scaling` becomes null wherever it stands, because transformers and engines prefer it to
`rope_parameters`. Keys of the dictionary that have nothing to do with frequencies stay (`partial_rotary_factor`,
`mrope_section`, `mscale_all_dim`, which DeepSeek's softmax is scaled by, `llama_4_scaling_beta`, …), and with them the
numbers that they are read with.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

from extenders.base import Extender
from harness.forms import native
from harness.forms.two_plans import TwoPlans

Parameters = dict[str, Any]

REPLACED = {
    *("rope_type", "type", "rope_theta", "factor", "attention_factor", "attn_factor", "finetuned"),
    *("original_max_position_embeddings", "short_factor", "long_factor", "short_mscale", "long_mscale"),
    *("beta_fast", "beta_slow", "truncate", "low_freq_factor", "high_freq_factor", "alpha"),
}
LENGTH_NAMES = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "seq_length", "n_positions")
THETA_NAMES = ("rope_theta", "rotary_emb_base", "global_rope_theta", "rope_embedding_base")
READ_BY_POSITION = "llama_4_scaling_beta"  # queries are scaled by position over original_max_position_embeddings


def old_parameters(config: Any, layer_type: str) -> Parameters:
    """The dictionary that the family reads for the layers that a plan covers, as transformers fills it in."""
    text = config.get_text_config()
    content = getattr(text, "rope_parameters", None) or {}
    return dict((content.get(layer_type) if layer_type else content) or {})


def native_type(plans: TwoPlans, extender: Extender, old: Mapping[str, Any]) -> Parameters | None:
    """The plan as a native type; None where it is none, or where its own numbers would change more than frequencies."""
    scaled_softmax = bool(old.get("mscale_all_dim")) and _kind(old) != "default"
    if scaled_softmax or READ_BY_POSITION in old or "mrope_section" in old:
        return None
    parameters = native.native(plans, extender)
    if plans.multiplies and parameters is not None and "factor" not in parameters:
        return None  # the softmax is scaled by a factor's logarithm
    return parameters


def with_kept(parameters: Parameters, old: Mapping[str, Any], plans: TwoPlans) -> Parameters:
    """The new dictionary with what the old one holds beside frequencies. Raises ValueError where the two collide."""
    kept = {key: value for key, value in old.items() if key not in REPLACED and value is not None}
    if _kind(old) == "default" or parameters["rope_type"] != "longrope":
        kept = {key: value for key, value in kept.items() if key not in ("mscale", "mscale_all_dim")}
    new = {**kept, **parameters}
    if plans.multiplies:
        new |= softmax_keys(new, old, plans)
    elif "mscale_all_dim" in kept:
        new["factor"] = old["factor"]  # read for the softmax alone: the attention factor is written out
    if _kind(old) == "proportional" and new["rope_type"] == "longrope":
        new["partial_rotary_factor"] = 1.0  # the lists cover the whole head, pairs that stand still with 1e18
    if READ_BY_POSITION in kept:
        if plans.switches:
            raise ValueError(
                f"this checkpoint scales its queries by position ({READ_BY_POSITION}) with the same original length "
                "that would choose between two lists; a plan for all lengths can be written (--always-long)"
            )
        new["original_max_position_embeddings"] = old["original_max_position_embeddings"]
    return new


def softmax_keys(new: Mapping[str, Any], old: Mapping[str, Any], plans: TwoPlans) -> Parameters:
    """DeepSeek's keys for a factor on the whole logit: its softmax is scaled by the square of g(mscale_all_dim), and
    engines multiply cos and sin by g(mscale) / g(mscale_all_dim), where g(m) = 1 + 0.1 · m · ln factor.

    Raises ValueError where short prompts have another factor, for which there is no key.
    """
    if plans.short.query_factor != plans.long.query_factor:
        raise ValueError(
            f"the plan multiplies attention logits by {plans.short.query_factor:.6g} within the trained length and by "
            f"{plans.long.query_factor:.6g} beyond it, which no configuration can say; use --always-long"
        )
    already = temperature(old)
    on_softmax = already * math.sqrt(plans.long.query_factor)
    rise = 0.1 * math.log(new["factor"])
    on_rotated = plans.long.attention_factor * on_softmax
    return {"mscale": (on_rotated - 1) / rise, "mscale_all_dim": (on_softmax - 1) / rise}


def latent(text: Any) -> bool:
    """Whether keys are compressed and rotated apart (DeepSeek), by the configuration of the text model."""
    return bool(getattr(text, "qk_rope_head_dim", None))


def own_temperature(config: Any, layer_type: str) -> float | None:
    """`temperature` of the checkpoint as it is; None for a family that scales no softmax by its dictionary."""
    old = old_parameters(config, layer_type)
    if not latent(config.get_text_config()):
        return None
    return temperature(old)


def temperature(parameters: Mapping[str, Any]) -> float:
    """Square root of what DeepSeek's families multiply the softmax scale with."""
    factor = (parameters.get("factor") or 1.0) if _kind(parameters) != "default" else 1.0
    return 1 + 0.1 * (parameters.get("mscale_all_dim") or 0.0) * math.log(factor) if factor > 1 else 1.0


def longrope(plans: TwoPlans) -> Parameters:
    """The form that can say any two lists. Both mscale keys are for engines; transformers reads attention_factor."""
    return {
        "rope_type": "longrope",
        "rope_theta": plans.rope.rope_theta,
        "factor": plans.target / plans.trained,
        "original_max_position_embeddings": plans.trained,
        "attention_factor": plans.long.attention_factor,
        "short_mscale": plans.short.attention_factor,
        "long_mscale": plans.long.attention_factor,
        "short_factor": plans.factors(plans.short),
        "long_factor": plans.factors(plans.long),
    }


def merged(raw: Mapping[str, Any], config: Any, parameters: Parameters, maximum: int, layer_type: str) -> Parameters:
    """The whole configuration with the new dictionary in it. `raw`: config.json as it stands, which is not changed."""
    content = copy.deepcopy(dict(raw))
    for level in _levels(content, config):
        _without_old_keys(level)
    text = _levels(content, config)[-1]
    whole = getattr(config.get_text_config(), "rope_parameters", None) or {}
    text["rope_parameters"] = {**copy.deepcopy(whole), layer_type: parameters} if layer_type else parameters
    present = [name for name in LENGTH_NAMES if name in text]
    text[present[0] if present else LENGTH_NAMES[0]] = maximum
    for name in THETA_NAMES:
        if text.get(name) is not None:
            text[name] = parameters["rope_theta"]
    model = config.get_text_config()
    original = parameters.get("original_max_position_embeddings")
    if original is not None and hasattr(model, "original_max_position_embeddings"):
        text["original_max_position_embeddings"] = original  # Phi-3 prefers this one to the dictionary's
    if not layer_type and getattr(model, "head_dim", 0) is None:
        text["head_dim"] = model.hidden_size // model.num_attention_heads  # Mixtral: transformers multiplies by it
    return content


def overrides(merged: Mapping[str, Any], raw: Mapping[str, Any]) -> Parameters:
    """What of a merged configuration differs from the checkpoint's own, nested as it stands; the plan and its greatest
    length in any case, so that the overrides say all by themselves."""
    changed: Parameters = {}
    for key, value in merged.items():
        if key not in raw or raw[key] != value or key in ("rope_parameters", *LENGTH_NAMES):
            nested = isinstance(value, dict) and isinstance(raw.get(key), dict) and key != "rope_parameters"
            changed[key] = overrides(value, raw[key]) if nested else value
    return changed


def _levels(content: Parameters, config: Any) -> list[Parameters]:
    """The configuration and the part of it that describes the text model, which may be the same."""
    text = config.get_text_config()
    levels, at = [content], config
    while at is not text:
        keys = [key for key, value in vars(at).items() if value is text or _holds(value, text)]
        key = keys[0].lstrip("_") if keys else ""
        if not keys or not isinstance(levels[-1].get(key, {}), dict):
            break
        if key not in levels[-1] and "hidden_size" in levels[-1]:
            break  # an older file without a part for the text: its keys stand beside the others
        levels.append(levels[-1].setdefault(key, {}))
        at = vars(at)[keys[0]]
    return levels


def _holds(value: Any, text: Any) -> bool:
    return hasattr(value, "get_text_config") and value.get_text_config() is text


def _without_old_keys(level: Parameters) -> None:
    if "rope_scaling" in level:
        level["rope_scaling"] = None


def _kind(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("rope_type") or parameters.get("type") or "default")
