"""A RoPE scaling that was put into a configuration for inference: recognised, and taken off.

Model cards tell users to add a block such as YaRN ×4 for long prompts (Qwen2.5, Qwen3). The weights were not trained
with it. A method on top of it would scale twice, and `none` would be untrained YaRN. So the base is what is compared.

The rule. The scaling reaches (factor × original length) beyond max_position_embeddings, and max_position_embeddings is
still near the original length (below twice as long; Qwen3 has 40,960 for 32,768). A checkpoint that was trained with
its scaling has its length raised: 131,072 for 4,096 × 32 (gpt-oss). Where the factor leaves some room, as in AFM-4.5B
(65,536 for 4,096 × 20) or Llama 3.2 (131,072 for 8,192 × 32), it is still many times the original length. `finetuned`,
which the YaRN authors write, is believed. Linear scaling names no original length as a rule; it needs training, so it
is kept.
"""

import copy
from collections.abc import Mapping
from typing import Any

SCALED = ("yarn", "linear", "llama3", "longrope", "su")
RAISED = 2  # max_position_embeddings / original length, from which on a length counts as raised
BASE = ("rope_theta", "partial_rotary_factor", "mrope_section", "mrope_interleaved")  # not the scaling's


def taken_off(parameters: Mapping[str, Any], original: Any, maximum: Any) -> str:
    """The note for the user where the scaling in `parameters` is for inference; "" where it belongs to the model.

    `original` and `maximum` are original_max_position_embeddings and max_position_embeddings (tokens or None).
    """
    kind, factor = parameters.get("rope_type") or parameters.get("type"), parameters.get("factor")
    if kind == "yarn" and not original:
        original = maximum  # as transformers reads it
    if kind not in SCALED or not factor or not original or not maximum or parameters.get("finetuned"):
        return ""
    if factor * original <= maximum or not original <= maximum < RAISED * original:
        return ""
    return (
        f"the configuration carries a {kind} scaling (factor {factor:g} on {original:,} tokens) beside "
        f"max_position_embeddings {maximum:,}: it was put there for inference, so it is taken off, and the model is "
        f"read as trained to {original:,} tokens"
    )


def base_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The RoPE dictionary without its scaling."""
    return {"rope_type": "default", **{key: parameters[key] for key in BASE if key in parameters}}


def without_inference_scaling(config: Any) -> Any:
    """A transformers configuration without such a scaling: a changed copy, or the very object where there is none."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return config
    nested = {key: value for key, value in parameters.items() if isinstance(value, Mapping)}
    maximum = getattr(text, "max_position_embeddings", None)
    above = getattr(text, "original_max_position_embeddings", None)

    def original(block: Mapping[str, Any]) -> Any:
        return block.get("original_max_position_embeddings") or above

    scaled = [
        block for block in (nested.values() if nested else [parameters]) if taken_off(block, original(block), maximum)
    ]
    if not scaled:
        return config
    config = copy.deepcopy(config)
    text = config.get_text_config()
    if nested:
        changed = {key: base_parameters(block) if block in scaled else block for key, block in nested.items()}
        text.rope_parameters = {**parameters, **changed}
    else:
        text.rope_parameters = base_parameters(parameters)
    text.max_position_embeddings = original(scaled[0]) or maximum
    return config
