"""Plans for vLLM, SGLang and MLX: each engine's keys, what it cannot say, and what it does with short prompts.

What each engine computes from its keys is written here as a formula and compared with the plan before anything leaves.
Read in vLLM 0.23 to 0.33, SGLang 0.5.23 and mlx-lm 0.32.2 (which was run: tests/test_engines.py).
"""

import math
from collections.abc import Mapping
from typing import Any

from extenders._formulas import yarn_attention_factor
from extenders.base import RopeSpec
from harness.forms.configuration import Parameters
from harness.forms.native import usual_temperature
from harness.forms.two_plans import TwoPlans, alike
from harness.rope.rope_types import trained_frequencies

ENGINES = ("vllm", "sglang", "mlx")
NAMES = {"vllm": "vLLM", "sglang": "SGLang", "mlx": "MLX"}


def says(engine: str, parameters: Mapping[str, Any], plans: TwoPlans) -> bool:
    """Whether the engine computes from a native dictionary what transformers computes."""
    if parameters["rope_type"] == "yarn" and not parameters["truncate"]:
        return False  # MLX rounds the ends of the ramp always, the others since 2025 only when told so
    if plans.multiplies:
        return parameters["rope_type"] == "yarn"  # DeepSeek's, with mscale_all_dim
    if parameters["rope_type"] == "yarn" and engine != "mlx":
        return usual_temperature(dict(parameters))  # each version drops another of the keys that say another one
    return True


def keys(engine: str, parameters: Parameters, plans: TwoPlans) -> Parameters:
    """The dictionary as the engine wants it. Raises ValueError for what the engine cannot say."""
    parameters = dict(parameters)
    factor = plans.long.attention_factor
    if engine == "mlx" and parameters["rope_type"] == "longrope":
        if factor < 1:
            raise ValueError(
                f"MLX computes the attention factor of lists by itself and never gives less than 1 ({factor:.6g} is "
                "planned); there is no form for it"
            )
        parameters["original_max_position_embeddings"] = plans.target ** (1 / factor**2)
        parameters["factor"] = plans.target / parameters["original_max_position_embeddings"]
    if plans.multiplies:
        return parameters
    if engine == "mlx" and parameters["rope_type"] == "yarn":
        parameters["mscale"] = (factor - 1) / (yarn_attention_factor(parameters["factor"]) - 1)
    for inner in ("mscale_all_dim", "mscale"):
        if engine != "mlx" and parameters["rope_type"] == "yarn":
            parameters.pop(inner, None)
    return parameters


def check(engine: str, parameters: Mapping[str, Any], plans: TwoPlans, attention: str, layouts: set[str]) -> None:
    """Raises ValueError where the engine, set to the target length, would not run the plan of long prompts.

    `attention`: "mla" or ""; `layouts`: how the family lays out cos and sin.
    """
    name, kind = NAMES[engine], parameters["rope_type"]
    if attention == "mla" and kind not in ("default", "yarn"):
        raise ValueError(
            f"{name} makes a YaRN of its own of every scaling on latent attention (DeepSeek), so it would not run this "
            "plan; use --format hf"
        )
    if engine != "mlx" and kind == "longrope" and layouts & {"interleave", "polar"}:
        raise ValueError(
            f"{name} runs lists of factors on models that rotate halves only, and this one rotates neighbours; use a "
            "method with a native type (pi, ntk, yarn, llama3) or --format hf"
        )
    inv_freq, factor = computed(engine, parameters, plans.rope, plans.target)
    expected = [value or base / 1e18 for value, base in zip(plans.long.inv_freq, plans.rope.base_inv_freq, strict=True)]
    if not alike(inv_freq, expected) or abs(factor / plans.long.attention_factor - 1) > 1e-9:
        raise ValueError(f"{name} would compute other frequencies than the plan's; nothing was exported")


def computed(engine: str, parameters: Mapping[str, Any], rope: RopeSpec, maximum: int) -> tuple[list[float], float]:
    """Frequencies and attention factor of an engine that is set to `maximum` tokens, by its own formulas."""
    kind = parameters["rope_type"]
    if kind == "longrope":
        base = [parameters["rope_theta"] ** (-2 * i / rope.rotary_dims) for i in range(rope.rotary_dims // 2)]
        inv_freq = [value / factor for value, factor in zip(base, parameters["long_factor"], strict=True)]
        if engine != "mlx":
            return inv_freq, parameters["long_mscale"]
        original = parameters["original_max_position_embeddings"]
        reach = maximum / original
        return inv_freq, math.sqrt(1 + math.log(reach) / math.log(original)) if reach > 1 else 1.0
    if kind == "yarn":
        own = () if "mscale_all_dim" in parameters else ("mscale",)  # DeepSeek's has both
        given = {key: value for key, value in parameters.items() if key not in ("attention_factor", *own)}
        inv_freq, factor = trained_frequencies(
            kind, given, rope.rotary_dims, parameters["rope_theta"], rope.trained_length
        )
        if engine == "mlx" and own:
            factor = 1 + (factor - 1) * parameters["mscale"]
        return inv_freq, factor
    return trained_frequencies(kind, parameters, rope.rotary_dims, parameters["rope_theta"], rope.trained_length)


def notes(engine: str, parameters: Mapping[str, Any], plans: TwoPlans) -> list[str]:
    """What the user has to know: how to start the engine, and what it does with short prompts."""
    start = {
        "vllm": f'vllm serve MODEL --max-model-len {plans.target} --hf-overrides "$(cat FILE)"',
        "sglang": f"python -m sglang.launch_server --model-path MODEL --context-length {plans.target} "
        '--json-model-override-args "$(cat FILE)"',
        "mlx": "put this in the place of the model's config.json",
    }
    lines = [f"use: {start[engine]}"]
    if plans.multiplies:
        lines.append(on_softmax(plans))
    if plans.switches or plans.factors_differ:
        lines.append(short_prompts(engine, plans))
    elif always_alike(plans):
        lines.append(f"{NAMES[engine]} runs the same plan at every length, short prompts too, as the method does")
    if engine != "mlx" and parameters["rope_type"] == "longrope":
        lines.append("some releases refuse lists on models that rotate a part of the head; they say so when they start")
    if plans.stopped:
        lines.append(
            f"{plans.stopped} of {len(plans.long.inv_freq)} pairs are stopped, written as a factor of 1e+18; an engine "
            "that computes with float16 cannot hold that number"
        )
    return lines


def with_old_names(content: Mapping[str, Any], parameters: Parameters, layer_type: str) -> Parameters:
    """A config.json for MLX, whose models read `rope_scaling` and `rope_theta`; few of them read `rope_parameters`."""
    if layer_type:
        raise ValueError("MLX's models with layer types of their own read other keys in every family; use --format hf")
    new = dict(content)
    at = new
    while "rope_parameters" not in at:  # the part for the text
        inner = next(key for key, value in at.items() if isinstance(value, dict) and "rope_parameters" in str(value))
        at[inner] = dict(at[inner])
        at = at[inner]
    at["rope_theta"] = parameters["rope_theta"]
    at["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    return new


def on_softmax(plans: TwoPlans) -> str:
    return f"the whole attention logit is multiplied by {plans.long.query_factor:.6g}, through mscale_all_dim"


def always_alike(plans: TwoPlans) -> bool:
    return not (plans.switches or plans.factors_differ)


def short_prompts(engine: str, plans: TwoPlans) -> str:
    """What the engine does where the method has a plan of its own for short prompts."""
    short = f"prompts of up to {plans.trained} tokens"
    return {
        "vllm": f"vLLM chooses once, by --max-model-len: set above {plans.trained}, it runs {short} with the long list "
        f"and factor too; a second deployment with --max-model-len {plans.trained} runs them as planned",
        "sglang": f"SGLang chooses for each batch of a forward pass: {short} run with the long list whenever a longer "
        "one is in the batch, and a request that grows past it keeps keys of the short list",
        "mlx": f"MLX never uses the short list: {short} run with the long list and factor, unlike the method",
    }[engine]
