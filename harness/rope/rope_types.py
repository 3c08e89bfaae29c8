"""The rope types of transformers (yarn, llama3, …) → the frequencies that a checkpoint was trained with.

A released checkpoint may have been trained with scaled frequencies (Llama 3.1, DeepSeek, Phi-3-128k). What it was
trained with is our zero point, so it has to be known exactly, on every machine to the same bits: in float64, without
torch and without loading weights. The formulas are those of transformers' `modeling_rope_utils`, defaults included.
Methods that scale a model further are in `extenders`, not here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from extenders.base import LengthRule

Frequencies = tuple[list[float], float]  # radians per token for every pair; factor on cos and sin

SWITCHING = ("dynamic", "longrope")  # types that change their frequencies with the length of the prompt


def trained_frequencies(kind: str, parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    """Frequencies (`dims / 2` values) and attention factor of a checkpoint of rope type `kind`.

    `parameters` is the checkpoint's RoPE dictionary and `maximum` its max_position_embeddings (tokens). The
    types that switch by length give what they use inside the trained window. Raises ValueError for an
    unknown type and for a missing or impossible parameter.
    """
    if kind not in FORMULAS:
        raise ValueError(f"rope type {kind!r} is unknown; known are {', '.join(sorted(FORMULAS))}")
    try:
        return FORMULAS[kind](parameters, dims, theta, maximum)
    except KeyError as missing:
        raise ValueError(f"rope type {kind!r} needs {missing.args[0]!r} in the configuration") from None


def beyond_window(kind: str, parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> LengthRule | None:
    """What a type that switches by length does with longer prompts; arguments and errors of `trained_frequencies`."""
    if kind == "dynamic":
        if parameters.get("alpha"):
            return None  # a fixed base under that name
        if "factor" not in parameters:
            raise ValueError("rope type 'dynamic' needs 'factor' in the configuration")
        return LengthRule(maximum, growth=float(parameters["factor"]))
    if "long_factor" not in parameters:
        raise ValueError(f"rope type {kind!r} needs 'long_factor' in the configuration")
    values = _divided(parameters, "long_factor", dims, theta)
    factor = _longrope_attention(parameters, "long_mscale", maximum)
    return LengthRule(int(parameters["original_max_position_embeddings"]), tuple(values), factor)


def _base(dims: int, theta: float) -> list[float]:
    return [theta ** (-2 * i / dims) for i in range(dims // 2)]


def _default(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    return _base(dims, theta), 1.0


def _linear(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    return [value / parameters["factor"] for value in _base(dims, theta)], 1.0


def _dynamic(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    # HunYuan writes "dynamic" together with a fixed alpha, which is a plain change of base
    alpha = parameters.get("alpha")
    return _base(dims, theta * alpha ** (dims / (dims - 2)) if alpha else theta), 1.0


def _yarn(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    original = parameters["original_max_position_embeddings"]
    factor = parameters.get("factor") or maximum / original

    def pair_of(turns: float) -> float:
        """The (fractional) pair that turns so many times within the original window."""
        return dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = pair_of(parameters.get("beta_fast") or 32)
    high = pair_of(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    if low == high:
        high += 0.001
    values = []
    for i, value in enumerate(_base(dims, theta)):
        interpolated = min(max((i - low) / (high - low), 0.0), 1.0)
        values.append(value * (1 - interpolated) + value / factor * interpolated)
    return values, _yarn_attention(parameters, factor)


def _yarn_attention(parameters: Mapping[str, Any], factor: float) -> float:
    def temperature(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    given = parameters.get("attention_factor")
    if given is not None:
        return float(given)
    over, under = parameters.get("mscale"), parameters.get("mscale_all_dim")
    return temperature(over) / temperature(under) if over and under else temperature(1.0)


def _longrope(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    return _divided(parameters, "short_factor", dims, theta), _longrope_attention(parameters, "short_mscale", maximum)


def _divided(parameters: Mapping[str, Any], key: str, dims: int, theta: float) -> list[float]:
    listed = parameters[key]
    if len(listed) != dims // 2:
        raise ValueError(f"{key} of the configuration has {len(listed)} values, the model has {dims // 2} rotary pairs")
    return [value / factor for value, factor in zip(_base(dims, theta), listed, strict=True)]


def _longrope_attention(parameters: Mapping[str, Any], key: str, maximum: int) -> float:
    """Factor on cos and sin; `key` is short_mscale or long_mscale, which Phi-3.5-MoE has in its place."""
    original = parameters["original_max_position_embeddings"]
    given = parameters.get(key) or parameters.get("attention_factor")
    if given is not None:
        return float(given)
    factor = parameters.get("factor") or maximum / original
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def _llama3(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    factor, original = parameters["factor"], parameters["original_max_position_embeddings"]
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    values = []
    for value in _base(dims, theta):
        turns = original * value / (2 * math.pi)  # within the original window
        # Llama 4 has 1 and 1: no blend, a pair is kept where it turns within the original window and divided beyond
        kept = min(max((turns - low) / (high - low), 0.0), 1.0) if high > low else float(turns >= low)
        values.append(kept * value + (1 - kept) * value / factor)
    return values, 1.0


def _proportional(parameters: Mapping[str, Any], dims: int, theta: float, maximum: int) -> Frequencies:
    # here dims is the whole head: pairs beyond the rotated share stay in the table and do not turn
    turning = int(parameters.get("partial_rotary_factor", 1.0) * dims // 2)
    factor = parameters.get("factor") or 1.0
    return [value / factor if i < turning else 0.0 for i, value in enumerate(_base(dims, theta))], 1.0


FORMULAS: dict[str, Callable[[Mapping[str, Any], int, float, int], Frequencies]] = {
    "default": _default,
    "axial": _default,  # several position axes; text moves along all of them at once
    "linear": _linear,
    "dynamic": _dynamic,
    "ntk_alpha": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,  # the older name of the same thing
    "llama3": _llama3,
    "proportional": _proportional,
}
