"""Does an exported configuration rotate as the plan says? It is loaded as a user's program loads it, and asked.

The configuration goes through transformers' AutoConfig into the family's own rotary modules, which are called at three
lengths; cos and sin at positions 0, 1, 2, 4, … are compared with the plan in float64, so that each pair is compared
where it has turned by about one radian. Layer types that the plan does not cover must rotate as before, and no other
number of any module may have changed (DeepSeek scales its softmax by what stands in the same dictionary), but softmax
scales by the factor of a plan on queries. No weights are read: the model is built without memory.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from extenders.base import RopePlan, RopeSpec
from harness.model.quiet import quiet
from harness.model.spec import in_newer_words
from harness.rope.modules import layer_types
from harness.rope.rotation import LAYOUTS, rotate, spread

ROUNDING = 4e-6  # of a phase: float32 exponents of θ err by its logarithm times 6e-8, a ramp by its factor times that


class NotThePlan(ValueError):
    """What was exported would not run as planned."""


def prove(
    raw: Mapping[str, Any], merged: Mapping[str, Any], rope: RopeSpec, lengths: Sequence[tuple[int, RopePlan]]
) -> set[str]:
    """How the family lays out cos and sin (`harness.rope.rotation`). Raises NotThePlan, one line, at a difference.

    `raw` and `merged`: the checkpoint's configuration before and after; `lengths` in tokens, each with its plan.
    """
    before, after = _skeleton(loaded(in_newer_words(raw))), _skeleton(loaded(merged))
    _same_numbers(before, after, lengths[-1][1].query_factor)
    pairs = list(zip(_rotary(before), _rotary(after), strict=True))
    if not pairs:
        raise NotThePlan(f"{type(after).__name__} has no rotary module that could be asked; nothing was exported")
    layouts = set()
    for old, new in pairs:
        for layer_type in layer_types(new):
            if layer_type == rope.layer_type:
                for length, plan in lengths:
                    layouts.add(_compare(new, layer_type, length, plan))
            else:
                _unchanged(old, new, layer_type)
    return layouts


def loaded(content: Mapping[str, Any]) -> Any:
    """The configuration as AutoConfig reads it from a folder. Raises NotThePlan where it cannot."""
    with tempfile.TemporaryDirectory() as name, quiet():
        Path(name, "config.json").write_text(json.dumps(content), encoding="utf-8")
        try:
            return AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # every configuration class checks its values in its own way
            raise NotThePlan(f"transformers refuses the configuration ({_line(error)}); nothing was exported") from None


def _skeleton(config: Any) -> torch.nn.Module:
    """The model without memory for its weights, of the text part alone."""
    text = config.get_text_config()
    known = [part for part in (text, config) if type(part) in MODEL_FOR_CAUSAL_LM_MAPPING]
    try:
        with torch.device("meta"), quiet():
            model: torch.nn.Module = (AutoModelForCausalLM if known else AutoModel).from_config([*known, text][0])
    except Exception as error:
        raise NotThePlan(f"no model can be made of the configuration ({_line(error)}); nothing was exported") from None
    return model


def _rotary(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The rotary modules, made anew with memory; one for each class and configuration."""
    modules: dict[tuple[type, int], torch.nn.Module] = {}
    for module in model.modules():
        if layer_types(module) and "Vision" not in type(module).__name__:
            config: Any = module.config
            if (type(module), id(config)) not in modules:
                with quiet():
                    modules[type(module), id(config)] = type(module)(config)
    return list(modules.values())


@torch.no_grad()
def _asked(module: torch.nn.Module, layer_type: str, length: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Positions (n) of a prompt of that length, and cos and sin (n, …) at them from a fresh module."""
    places = sorted({0, *(2**i for i in range(length.bit_length()) if 2**i < length), length - 1})
    positions = torch.tensor([places])
    try:
        with quiet():
            fresh: Any = type(module)(module.config)
            x = torch.zeros(1, len(places), 8)
            answer = fresh(x, positions, layer_type) if layer_type else fresh(x, positions)
    except Exception as error:  # sections of several axes that do not add up, and the like
        raise NotThePlan(f"{type(module).__name__} cannot be asked ({_line(error)}); nothing was exported") from None
    parts = answer if isinstance(answer, tuple) else (answer,)
    return positions[0], tuple(part[0] for part in parts)


def _compare(module: torch.nn.Module, layer_type: str, length: int, plan: RopePlan) -> str:
    """The layout in which cos and sin are those of the plan."""
    positions, parts = _asked(module, layer_type, length)
    phase = positions.double()[:, None] * torch.tensor(plan.inv_freq, dtype=torch.float64)
    factor = torch.full((len(positions), 1), plan.attention_factor, dtype=torch.float64)
    live_factor = float(parts[0][0].abs().max())
    if abs(live_factor - plan.attention_factor) > 2e-6 * plan.attention_factor:
        raise NotThePlan(
            f"at {length} tokens transformers would multiply cos and sin by {live_factor:.6g}, the plan says "
            f"{plan.attention_factor:.6g}; nothing was exported"
        )
    allowed = factor * (phase * ROUNDING + 2e-6)
    worst = float("inf")
    for layout in LAYOUTS:
        wanted = rotate(layout, phase, factor)
        if len(wanted) == len(parts) and all(w.shape == p.shape for w, p in zip(wanted, parts, strict=True)):
            limit = spread(layout, allowed) * (2**0.5 if layout == "polar" else 1.0)
            gaps = [(p.to(w.dtype) - w).abs() for w, p in zip(wanted, parts, strict=True)]
            if all(bool((gap <= limit).all()) for gap in gaps):
                return layout
            worst = min(worst, max(float(gap.max()) for gap in gaps))
    raise NotThePlan(
        f"at {length} tokens {type(module).__name__} would not rotate as planned (cos and sin differ by {worst:.3g}); "
        "nothing was exported"
    )


def _unchanged(old: torch.nn.Module, new: torch.nn.Module, layer_type: str) -> None:
    (_, before), (_, after) = _asked(old, layer_type, 64), _asked(new, layer_type, 64)
    if any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise NotThePlan(f"layers of type {layer_type} would rotate otherwise than before; nothing was exported")


def _same_numbers(before: torch.nn.Module, after: torch.nn.Module, factor: float) -> None:
    """Everything that modules keep as plain numbers, but for lengths and what the rotary modules hold; `factor`: what
    the plan multiplies the softmax scales of latent attention with."""
    multiplied = 0
    for (name, old), (_, new) in zip(_numbers(before), _numbers(after), strict=True):
        if factor != 1 and name.endswith(".scaling"):
            multiplied += 1
            old = old * factor
        if old != new and not (factor != 1 and math.isclose(old, new, rel_tol=1e-9)):
            raise NotThePlan(f"{name} would become {new} (it is {old}), which is no part of the plan; not exported")
    if factor != 1 and not multiplied:
        raise NotThePlan(f"{type(after).__name__} keeps no softmax scale that could be compared; nothing was exported")


def _numbers(model: torch.nn.Module) -> Iterator[tuple[str, float]]:
    for name, module in model.named_modules():
        if not layer_types(module):
            for key, value in vars(module).items():
                if isinstance(value, int | float) and not any(word in key for word in ("max_", "seq_len", "rope_")):
                    yield f"{name}.{key}", value


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
