"""Plans for llama.cpp: options of the command line where the plan is a type that it has, factor tensors else.

Compared with the engine itself (tests/test_engines.py). One choice holds for every prompt: options at all lengths, the
long factors where the allocated context is above the original one. Factor tensors are read by some architectures only;
others ignore them without a word, so they are refused here.
"""

from collections.abc import Mapping
from typing import Any

from harness.forms.native import usual_temperature
from harness.forms.two_plans import TwoPlans

TENSORS_ARE_READ = {"llama": "llama", "mistral": "llama"}  # model type -> architecture; those that were run
NO_OPTIONS = (
    "llama.cpp has no options for this plan (it has linear, yarn with its usual temperature, and another base); use "
    "--format gguf, which writes the factors into the model's file"
)


def flags(parameters: Mapping[str, Any], plans: TwoPlans, model_type: str) -> list[str]:
    """Options of llama-server, llama-cli and the like. Raises ValueError for a type that llama.cpp lacks."""
    kind, theta = parameters["rope_type"], parameters["rope_theta"]
    architecture = TENSORS_ARE_READ.get(model_type, "ARCHITECTURE")
    # the server cuts its context to the trained one unless the file says more
    start = ["--ctx-size", str(plans.target), "--override-kv", f"{architecture}.context_length=int:{plans.target}"]
    start += ["--rope-freq-base", _number(theta)]
    if kind == "default":
        return [*start, "--rope-scaling", "none"]
    start += ["--rope-scale", _number(parameters["factor"])]
    if kind == "linear":
        return [*start, "--rope-scaling", "linear"]
    if kind == "yarn" and plans.rope.layer_type:
        raise ValueError(
            "llama.cpp turns YaRN on for all layers, and this plan is of the layers without a sliding window alone: "
            "the others would get another temperature; use --format hf, or pi or ntk, which leave them as they are"
        )
    if kind != "yarn" or not parameters["truncate"] or not usual_temperature(dict(parameters)):
        raise ValueError(NO_OPTIONS)
    return [
        *(*start, "--rope-scaling", "yarn"),
        *("--yarn-orig-ctx", str(parameters["original_max_position_embeddings"])),
        *("--yarn-beta-fast", _number(parameters["beta_fast"]), "--yarn-beta-slow", _number(parameters["beta_slow"])),
    ]


def fields(plans: TwoPlans, architecture: str) -> dict[str, str | float | int]:
    """Metadata of a GGUF file beside its factor tensors."""
    return {
        f"{architecture}.context_length": plans.target,
        f"{architecture}.rope.freq_base": float(plans.rope.rope_theta),
        f"{architecture}.rope.dimension_count": plans.rope.rotary_dims,
        f"{architecture}.rope.scaling.type": "longrope",
        f"{architecture}.rope.scaling.original_context_length": plans.trained,
        f"{architecture}.rope.scaling.factor": 1.0,  # llama.cpp divides every frequency by it once more
        f"{architecture}.rope.scaling.attn_factor": float(plans.long.attention_factor),
    }


def notes(plans: TwoPlans) -> list[str]:
    """What the engine does with short prompts."""
    if not (plans.switches or plans.factors_differ):
        return ["llama.cpp runs the same plan at every length, short prompts too, as the method does"]
    short = f"up to {plans.trained} it runs the short list with the long one's attention factor"
    return [
        f"llama.cpp chooses once, by --ctx-size: set above {plans.trained}, it runs prompts of up to {plans.trained} "
        "tokens with the long list and factor too" + (f"; {short}" if plans.factors_differ else "")
    ]


def _number(value: float) -> str:
    return str(round(value)) if value == round(value) else repr(float(value))
