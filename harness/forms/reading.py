"""Files that engines run, read back as plans: what each would do with prompts up to the trained length and beyond.

The same keys mean other things to different engines, so the form has to be known: a plan.json, a .gguf file and options
of llama.cpp are known by their content; a JSON object with a RoPE dictionary is transformers' unless the user says so.
"""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from extenders._factor_file import STOPPED
from extenders._formulas import longrope_attention_factor
from extenders.base import RopePlan, RopeSpec
from harness.files_on_disk import read_file
from harness.forms import gguf_file
from harness.forms.configuration import temperature
from harness.forms.plan_file import is_plan_file
from harness.forms.two_plans import TwoPlans
from harness.rope.rope_types import trained_frequencies

READABLE = ("plan", "hf", "vllm", "sglang", "mlx", "llama.cpp", "gguf")
NO_PLAN = "holds no RoPE dictionary (rope_parameters or rope_scaling), so it holds no plan"


def contents(path: Path) -> tuple[str, Any]:
    """(form as far as the content says it, content). Raises ValueError, one line."""
    if path.suffix == ".gguf" and path.is_file():
        return "gguf", gguf_file.read(path)
    try:
        text = read_file(path).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read {path}: {reason}") from None
    if text.startswith("-"):
        return "llama.cpp", from_flags(text, path)
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"{path} is neither JSON, nor options of llama.cpp, nor a .gguf file") from None
    if is_plan_file(content):
        return "plan", content
    if not isinstance(content, dict):
        raise ValueError(f"{path} {NO_PLAN}")
    return "hf", content


def two_plans_of(
    form: str,
    content: Mapping[str, Any],
    rope: RopeSpec,
    target: int | None,
    where: Path,
    softmax: float | None = None,
) -> TwoPlans:
    """What the engine of that form runs on this model. `target` in tokens, where the file does not say it.

    `softmax`: of latent attention (DeepSeek), the temperature that its own configuration has on the softmax scale.
    """
    parameters, maximum = dictionary(content, rope, where)
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    reach = target or _whole(maximum) or 0
    if kind == "dynamic":
        raise ValueError(
            f"{where} holds the type dynamic, which has a plan for every length; use the method dynamic_ntk"
        )
    if reach <= rope.trained_length:
        raise ValueError(
            f"{where} says {reach or 'nothing'} about its greatest length, which must be above the trained length "
            f"{rope.trained_length}; give --target-length"
        )
    try:
        given = {"rope_theta": rope.rope_theta, **parameters}
        short, long = (_plan(form, kind, given, rope, reach, is_long) for is_long in (False, True))
    except (TypeError, ValueError, ArithmeticError, KeyError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{where} cannot be read as a plan for this model: {reason}") from None
    if softmax is not None:
        queries = (temperature(given) / softmax) ** 2
        short, long = (replace(plan, query_factor=queries) for plan in (short, long))
    return TwoPlans(rope, reach, short, long)


def dictionary(content: Mapping[str, Any], rope: RopeSpec, where: Path) -> tuple[dict[str, Any], Any]:
    """(the RoPE dictionary that a plan covers, greatest length), wherever they stand in a configuration."""
    if "rope_type" in content or "type" in content:
        return dict(content), content.get("max_position_embeddings")
    for key in ("rope_scaling", "rope_parameters"):  # transformers prefers the old one
        whole = content.get(key)
        if isinstance(whole, Mapping):
            inner = whole.get(rope.layer_type) if rope.layer_type in whole else whole
            if isinstance(inner, Mapping) and (inner.get("rope_type") or inner.get("type") or "rope_theta" in inner):
                theta = {"rope_theta": content["rope_theta"]} if content.get("rope_theta") else {}
                return {**theta, **inner}, content.get("max_position_embeddings")
    for value in content.values():
        if isinstance(value, Mapping) and ("rope_parameters" in value or "rope_scaling" in value):
            return dictionary(value, rope, where)
    raise ValueError(f"{where} {NO_PLAN}")


def from_flags(text: str, where: Path) -> dict[str, Any]:
    """Options of llama.cpp's command line as a RoPE dictionary."""
    words = shlex.split(text)
    given = dict(zip(words[::2], words[1::2], strict=False))
    kind = given.get("--rope-scaling", "none")
    if kind not in ("none", "linear", "yarn"):
        raise ValueError(f"{where}: llama.cpp has no --rope-scaling {kind}; allowed are none, linear and yarn")
    names = {
        "--rope-freq-base": "rope_theta",
        "--rope-scale": "factor",
        "--yarn-orig-ctx": "original_max_position_embeddings",
        "--yarn-beta-fast": "beta_fast",
        "--yarn-beta-slow": "beta_slow",
        "--ctx-size": "max_position_embeddings",
        "-c": "max_position_embeddings",
    }
    try:
        numbers = {names[flag]: float(value) for flag, value in given.items() if flag in names}
    except ValueError:
        raise ValueError(f"{where} holds an option whose value is no number") from None
    return {"rope_type": "default" if kind == "none" else kind, **numbers}


def _plan(form: str, kind: str, parameters: Mapping[str, Any], rope: RopeSpec, reach: int, long: bool) -> RopePlan:
    theta, dims = float(parameters["rope_theta"]), rope.rotary_dims
    if kind not in ("longrope", "su"):
        given = {"original_max_position_embeddings": rope.trained_length, **parameters}
        if form != "hf" and kind == "yarn" and not given.get("mscale_all_dim"):
            given.pop("attention_factor", None)  # no engine reads it in every release
            if form == "mlx" and "mscale" in given:
                weight = float(given.pop("mscale"))
                given["attention_factor"] = 1 + 0.1 * weight * math.log(given["factor"])
        inv_freq, factor = trained_frequencies(kind, given, dims, theta, reach)
        return RopePlan(tuple(inv_freq), factor)
    original = parameters["original_max_position_embeddings"]
    lists = (parameters["short_factor"], parameters["long_factor"])
    chosen = lists[1] if long or form == "mlx" else lists[0]
    if len(chosen) * 2 != dims:
        raise ValueError(f"it has {len(chosen)} factors and the model {dims // 2} rotary pairs")
    if any(not float(factor) > 0 for factor in chosen):
        raise ValueError("its factors are not all above 0")
    inv_freq = [
        0.0 if factor >= STOPPED * (1 - 1e-6) else theta ** (-2 * i / dims) / factor for i, factor in enumerate(chosen)
    ]
    stated, grown = parameters.get("attention_factor"), parameters.get("factor") or reach / original
    if form not in ("hf", "gguf"):
        stated, grown = None, reach / original
    if form in ("vllm", "sglang"):
        stated = parameters.get("long_mscale" if long else "short_mscale")
    return RopePlan(tuple(inv_freq), longrope_attention_factor(grown, original) if stated is None else float(stated))


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
