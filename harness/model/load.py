"""Loading a model for evaluation or training: one call, all that a run has to record about it.

Weights come from safetensors files only, and code that lies beside a checkpoint is never run. Everything that
can be known to fail before the weights are read fails before they are read.
"""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from extenders.base import RopeSpec
from harness.model.answers import check_answers
from harness.model.files import check_weights, shipped_models, tokenizer_files, tokenizer_hash, weights_hash
from harness.model.locate import model_folder
from harness.model.options import ATTENTION, DTYPES
from harness.model.packaged import PACKAGED
from harness.model.quiet import quiet
from harness.model.run_as import run_as, run_unquantised
from harness.model.spec import load_config, spec_from_config
from harness.model.tokens import load_tokenizer
from harness.rope.applied import applied
from harness.rope.inference_scaling import without_inference_scaling

# Weights that answers to text do not need: parts for other inputs, heads that draft, masks and tables of old releases.
WITHOUT_USE = re.compile(
    r"vision|visual|audio|image|multi_?modal|(^|\.)mtp|nextn|inv_freq$|(attn|attention)\.(masked_)?bias$"
)

TEXT_HALVES = {  # of models that read images, and the type that runs the same weights on text (tests/test_reading.py)
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with its tokenizer, and what a record says about it."""

    model: Any
    tokenizer: Any
    spec: RopeSpec
    weights_hash: str  # over weights, configuration and tokenizer
    dtype: str  # "float32", "bfloat16" or "float16"
    attention: str  # the kernel that really runs, which may differ from the one asked for
    source: str  # name of a shipped model, folder, or hub id with its commit
    tokenizer_hash: str = ""  # over the tokenizer's files; "": unknown, and prompts are not kept


def load_model(
    name: str,
    dtype: str = "auto",
    attention: str = "sdpa",
    device: str = "auto",
    *,
    local_files_only: bool = True,
    trained_length: int | None = None,
) -> LoadedModel:
    """Load a folder, a shipped model ("pocket-llama") or a hub id (downloaded only without `local_files_only`).

    `dtype` "auto" is the checkpoint's own on a GPU. On a CPU it is bfloat16 for a checkpoint in half precision where
    the CPU multiplies it in hardware (3 times as fast with AMX, 1.6 times with AVX-512 alone), else float32, and for
    shipped models always float32.
    `attention` "sdpa" becomes "eager" for the few models that cannot run it (Gemma 2, GPT-OSS).
    `device` "auto" is the first CUDA device, else the CPU. `trained_length` (tokens) overrides the configuration.
    Raises ValueError in one line for whatever is missing or impossible.
    """
    _one_of("dtype", dtype, DTYPES)
    _one_of("attention", attention, ATTENTION)
    folder = model_folder(name, local_files_only)
    config = load_config(str(folder))
    _model_class(folder, config)  # says what kind of model it is not before its RoPE is looked for
    spec = spec_from_config(config, trained_length)
    check_weights(folder)
    tokenizer_files(folder)
    config, words = run_unquantised(folder, without_inference_scaling(config))
    spec = replace(spec, notes=(*spec.notes, *words))

    place = place_of(device)
    dtype, attention = resolved(folder, config, dtype, attention, place.type)
    if attention == "flash_attention_2":
        _refuse_flash_attention(place, dtype)

    tokenizer = load_tokenizer(folder)
    model = _model(folder, config, dtype, attention).to(place).eval()
    with applied(model, spec):  # refuses, by name, a model that plans cannot be applied to
        check_answers(model)
    return LoadedModel(
        model,
        tokenizer,
        spec,
        weights_hash(folder) + run_as(config, dtype),
        dtype,
        str(model.config._attn_implementation),
        _source(name, folder),
        tokenizer_hash(folder),
    )


def resolved(folder: Path, config: Any, dtype: str, attention: str, device: str) -> tuple[str, str]:
    """(dtype, attention kernel) that a load will use: "auto" decided, and sdpa replaced where a class lacks it.

    Known before the weights are read, because both are part of every cell's key.
    """
    model_class = _model_class(folder, config)
    if dtype == "auto":
        stored = _stored_dtype(config)
        half = stored_in_half(folder, config)
        on_cpu = "bfloat16" if half and fast_in_bfloat16() else "float32"
        dtype = stored if device == "cuda" and stored in DTYPES else on_cpu
    return dtype, "eager" if attention == "sdpa" and not getattr(model_class, "_supports_sdpa", False) else attention


def _stored_dtype(config: Any) -> str:
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")


def stored_in_half(folder: Path, config: Any) -> bool:
    """Whether a model's weights are in half precision and may run in it; shipped models run in float32."""
    return _stored_dtype(config) in ("bfloat16", "float16") and folder not in shipped_models().values()


def fast_in_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 (AMX or AVX-512). Without that half precision is slower than float32."""
    capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.13
    return any(capabilities().get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def slow_in_half(device: torch.device) -> bool:
    """Whether products of bfloat16 are slower there than of float32."""
    return device.type == "cpu" and not fast_in_bfloat16()


def place_of(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, else the CPU. Raises ValueError for one that is not here."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is unknown; allowed are auto, cpu, cuda and cuda:0, cuda:1 …") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} was never tried; allowed are auto, cpu, cuda and cuda:0, cuda:1 …")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no CUDA device here; use device cpu")
    return device


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is unknown; allowed are {', '.join(allowed)}")


def _model_class(folder: Path, config: Any) -> Any:
    if isinstance(config, dict):
        raise ValueError(
            f"{folder} holds a model of type {config.get('model_type')!r}, which transformers does not know; "
            "code beside a checkpoint is never run"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        text = config.get_text_config()
        how = ""
        if text is not config and type(text) in MODEL_FOR_CAUSAL_LM_MAPPING:
            how = f"; save its text half ({text.model_type}) with its tokenizer as a folder of its own, and name that"
        elif text.model_type in TEXT_HALVES:
            how = (
                f"; save the weights of its text half as a {TEXT_HALVES[text.model_type]} model with its tokenizer as "
                "a folder of its own, and name that"
            )
        raise ValueError(f"{folder} holds a {config.model_type} model, which is no causal language model{how}")
    classes = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return classes[0] if isinstance(classes, tuple) else classes


def _refuse_flash_attention(place: torch.device, dtype: str) -> None:
    """Raises ValueError where FlashAttention cannot run, with the reason."""
    reason = ""
    if place.type != "cuda":
        reason = "it needs a CUDA device"
    elif torch.cuda.get_device_capability(place) < (8, 0):
        reason = "it needs a GPU of compute capability 8.0 or higher"
    elif dtype == "float32":
        reason = "it needs dtype bfloat16 or float16"
    elif importlib.util.find_spec("flash_attn") is None:
        reason = "the package flash-attn is not installed (extra 'flash')"
    if reason:
        raise ValueError(f"attention flash_attention_2 cannot run: {reason}; use attention sdpa")


def _model(folder: Path, config: Any, dtype: str, attention: str) -> Any:
    with quiet():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # said below, with a name
                output_loading_info=True,
            )
        except Exception as error:  # a damaged configuration or file fails in as many ways as there are classes
            raise ValueError(f"the model in {folder} cannot be loaded ({_first_line(error)})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"{folder} is incomplete: {len(missing)} weights are missing, such as {missing[0]}")
    for name, stored, wanted in sorted(report["mismatched_keys"])[:1]:
        raise ValueError(
            f"{folder} holds another model's weights: {name} has the shape {tuple(stored)}, and the configuration says "
            f"{tuple(wanted)}"
        )
    unused = sorted(key for key in report["unexpected_keys"] if not WITHOUT_USE.search(key))
    if unused:
        raise ValueError(
            f"{folder} holds {len(unused)} weights that a {type(model).__name__} has no place for, such as "
            f"{unused[0]}; they are another model's, or quantised in a way that the configuration does not name"
        )
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _source(name: str, folder: Path) -> str:
    if name in shipped_models() or name in PACKAGED:
        return name
    if Path(name).expanduser().exists():
        return str(Path(name).expanduser().resolve())
    return f"{name}@{folder.name}"  # the hub's cache names a snapshot's folder after its commit
