"""What a configuration says of how weights really run, beside the dtype: part of the weights' name in every key.

Left to itself transformers would run FP8 or MXFP4 kernels on some machines and dequantised weights on others, under one
recorded dtype. So a quantised checkpoint is turned into the dtype of the record, or refused.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEQUANTISED = ("fp8", "mxfp4")  # transformers gives these weights back in full as it loads
# Their rotary modules give cos and sin in float32 in half-precision models, on purpose (tests/test_families.py checks).
FLOAT32_ROTATION = ("beam", "ernie4_5", "ernie4_5_moe", "flex_olmo", "olmo", "olmo2", "olmo3", "olmo_hybrid")


def run_unquantised(folder: Path, config: Any) -> tuple[Any, list[str]]:
    """(the configuration to load with, notes). Raises ValueError for a quantisation that stays in the weights."""
    content = getattr(config, "quantization_config", None)
    if content is None:
        return config, []
    method = _method(content)
    if method not in DEQUANTISED:
        raise ValueError(
            f"{folder} holds weights quantised by {method}; ropebench runs float32, bfloat16 and float16, and turns "
            f"{' and '.join(DEQUANTISED)} back into these only: name the checkpoint that was quantised"
        )
    config = copy.deepcopy(config)
    if not isinstance(content, Mapping):
        content = content.to_dict()
    config.quantization_config = {**content, "dequantize": True}
    return config, [f"the weights are stored in {method} and run dequantised, in the dtype of the record"]


def run_as(config: Any, dtype: str) -> str:
    """Words behind the hash of the weights; "" for most models.

    They moved the keys of what was computed when these models ran otherwise (rounded cos and sin, FP8 kernels).
    """
    words = []
    if dtype != "float32" and config.get_text_config().model_type in FLOAT32_ROTATION:
        words.append("cos and sin in float32")
    if getattr(config, "quantization_config", None) is not None:
        words.append("dequantised")
    return f" ({', '.join(words)})" if words else ""


def _method(content: Any) -> str:
    return str(content.get("quant_method") if isinstance(content, Mapping) else content.quant_method)
