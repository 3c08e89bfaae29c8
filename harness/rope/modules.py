"""The rotary modules of a model: found by their structure, and how each lays out cos and sin.

A rotary module of transformers is any module with a buffer `inv_freq`, or `<layer type>_inv_freq` for each
layer type. How it lays cos and sin out is found by asking it: a copy of the module is called at a few
positions and its answer compared with the known layouts. So there is no list of model families, and a module
that answers otherwise is refused by name.
"""

import copy

import torch

from extenders.base import RopeSpec
from harness.rope.inference_scaling import without_inference_scaling
from harness.rope.rope_types import SWITCHING
from harness.rope.rotation import LAYOUTS, PlannedForward, Rotation, rotate

PROBED = (0, 1, 5, 17)  # positions
SUFFIX = "inv_freq"
NOT_LIVE = ("original_inv_freq", "long_inv_freq")


def rotary_modules(model: torch.nn.Module, spec: RopeSpec) -> list[tuple[torch.nn.Module, PlannedForward]]:
    """Every rotary module of the model's text part with the forward to put in its place.

    Layer types other than the spec's keep what they were trained with. Raises ValueError for a model without
    rotary modules, with an unknown layout, or whose frequencies are not those of the spec; RuntimeError when
    plans are applied to it already.
    """
    name = type(model).__name__
    if hasattr(model, "config") and without_inference_scaling(model.config) is not model.config:
        raise ValueError(
            f"{name} was built with a RoPE scaling that was put into its configuration for inference; load it with "
            "load_model, which takes it off, or take it out of the configuration"
        )
    forwards = []
    for module in model.modules():
        prefixes = layer_types(module)
        if not prefixes or "Vision" in type(module).__name__ or "Audio" in type(module).__name__:
            continue
        if isinstance(module.__dict__.get("forward"), PlannedForward):
            raise RuntimeError(f"{name} runs under plans already; leave that block before opening another")
        if spec.layer_type not in prefixes:
            kinds = ", ".join(repr(prefix) for prefix in prefixes)
            raise ValueError(
                f"{type(module).__name__} rotates layers of type {kinds}, the configuration says {spec.layer_type!r}"
            )
        forwards.append((module, PlannedForward({prefix: _rotation(module, prefix, spec) for prefix in prefixes})))
    if not forwards:
        raise ValueError(
            f"{name} is not supported: none of its modules has an inv_freq buffer, "
            "so it has no RoPE or rotates in code of its own"
        )
    return forwards


def layer_types(module: torch.nn.Module) -> list[str]:
    """Layer types that a module rotates ([""] when it knows none); empty for any other module."""
    names = [
        name for name, _ in module.named_buffers(recurse=False) if name.endswith(SUFFIX) and not name.endswith(NOT_LIVE)
    ]
    return [name.removesuffix(SUFFIX).removesuffix("_") for name in names]


def _rotation(module: torch.nn.Module, layer_type: str, spec: RopeSpec) -> Rotation:
    """Probe one layer type. What the spec covers is checked against the spec, other types against nothing."""
    layout, factor, keeps_float32 = _probe(module, layer_type)
    prefix = f"{layer_type}_" if layer_type else ""
    kinds = getattr(module, "rope_type", "default")
    kind = kinds[layer_type] if isinstance(kinds, dict) else kinds
    live = f"{prefix}{SUFFIX}"
    # a switching type may hold the frequencies of an earlier, longer prompt; the original ones are beside them
    original = f"{prefix}original_{SUFFIX}"
    buffer: torch.Tensor = getattr(module, original if kind in SWITCHING and hasattr(module, original) else live)
    trained = buffer.detach().clone().to("cpu")
    if layer_type != spec.layer_type:
        unknown = torch.zeros(trained.numel(), dtype=torch.float64)
        return Rotation(layout, trained.float(), factor, unknown, keeps_float32)

    name = type(module).__name__
    expected = torch.tensor(spec.inv_freq, dtype=torch.float64)
    if trained.shape != expected.shape:
        raise ValueError(f"{name} rotates {tuple(trained.shape)} pairs, the configuration says {len(expected)}")
    deviation = torch.where(expected > 0, trained.double() / expected - 1, trained.double()).abs()
    # float32 exponents err by θ's logarithm times 6e-8, YaRN's ramp by its factor times 6e-8; a model cast to
    # bf16 has rounded frequencies as well
    if float(deviation.max()) > (2e-5 if trained.dtype == torch.float32 else 2.0**-7):
        i = int(deviation.argmax())
        values = f"pair {i} has {float(trained[i]):.6g}, expected {spec.inv_freq[i]:.6g}"
        raise ValueError(f"{name} does not rotate as its configuration says: {values}")
    if abs(factor - spec.attention_factor) > 1e-5:
        raise ValueError(
            f"{name} scales cos and sin by {factor:.6g}, its configuration says {spec.attention_factor:.6g}"
        )
    if trained.dtype != torch.float32:  # rounded values would be wrong by radians at long range: take the spec's
        trained, deviation = expected.float(), torch.zeros_like(deviation)
    return Rotation(layout, trained, spec.attention_factor, deviation, keeps_float32)


def answer_dtype(module: torch.nn.Module, layer_type: str, dtype: torch.dtype) -> torch.dtype:
    """In which dtype the module's own class gives cos and sin in a model of that dtype, under a plan or not."""
    subject = copy.copy(module)
    subject._buffers = dict(module._buffers)  # a call may replace a buffer
    subject.__dict__.pop("forward", None)
    device = next(module.buffers()).device
    x, positions = (
        torch.zeros(1, 1, 8, device=device, dtype=dtype),
        torch.zeros((1, 1), dtype=torch.long, device=device),
    )
    answer = subject(x, positions, layer_type) if layer_type else subject(x, positions)
    part = answer[0] if isinstance(answer, tuple) else answer
    return torch.float32 if part.is_complex() else part.dtype


@torch.no_grad()
def _probe(module: torch.nn.Module, layer_type: str) -> tuple[str, float, bool]:
    """Layout, attention factor, and whether cos and sin stay in float32 in a bfloat16 model (OLMo, ERNIE 4.5).

    A copy of the module is called: a call may switch its frequencies.
    """
    name = type(module).__name__
    config = getattr(module, "config", None)
    subject = copy.deepcopy(module, {id(config): config})
    device = next(subject.buffers()).device
    positions = torch.tensor([PROBED], device=device)
    x = torch.zeros(1, len(PROBED), 8, device=device)
    try:
        answer = subject(x, positions, layer_type) if layer_type else subject(x, positions)
    except Exception as error:
        raise ValueError(f"{name} is not supported: it does not answer to positions ({type(error).__name__})") from None
    parts = answer if isinstance(answer, tuple) else (answer,)
    if not all(isinstance(part, torch.Tensor) and part.ndim == 3 for part in parts):
        raise ValueError(f"{name} is not supported: its answer is no cos and sin of shape (batch, length, dimensions)")
    factor = float(parts[0].abs().max() if parts[0].is_complex() else parts[0][0, 0, 0])  # cos 0 = 1
    inv_freq = getattr(subject, f"{layer_type}_{SUFFIX}" if layer_type else SUFFIX).float()
    phase = positions[..., None].float() * inv_freq
    for layout in LAYOUTS:
        known = rotate(layout, phase, torch.full((1, 1, 1), factor, device=device))
        if len(known) == len(parts) and all(
            k.shape == p.shape
            and k.is_complex() == p.is_complex()
            and torch.allclose(k, p.to(k.dtype), rtol=0, atol=1e-6 * max(1.0, factor))
            for k, p in zip(known, parts, strict=True)
        ):
            return layout, factor, answer_dtype(subject, layer_type, torch.bfloat16) == torch.float32
    raise ValueError(
        f"{name} is not supported: it lays cos and sin out in none of the known ways ({', '.join(LAYOUTS)})"
    )
