"""The rotary modules of a model: found by their structure, and the forward that takes their place.

A rotary module of transformers is any module with a buffer `inv_freq`, or `<layer type>_inv_freq` for each
layer type. How it lays cos and sin out is found by asking it: a copy of the module is called at a few
positions and its answer compared with the known layouts. So there is no list of model families, and a module
that answers otherwise is refused by name.
"""

import copy
from typing import Any

import torch

from extenders.base import RopePlan, RopeSpec
from harness.rope.checkpoint import SWITCHING

LAYOUTS = ("half_cat", "interleave", "half", "polar")
PROBED = (0, 1, 5, 17)  # positions
SUFFIX = "inv_freq"
NOT_LIVE = ("original_inv_freq", "long_inv_freq")


def spread(layout: str, pairs: torch.Tensor) -> torch.Tensor:
    """One value per pair (…, pairs), laid out as the model lays out cos.

    half_cat: all pairs, then all again (most models). interleave: each pair twice in a row (Cohere).
    half: once (GPT-OSS). polar: once, complex (Llama 4, DeepSeek V2).
    """
    if layout == "half_cat":
        return torch.cat((pairs, pairs), dim=-1)
    return torch.repeat_interleave(pairs, 2, dim=-1) if layout == "interleave" else pairs


def rotate(layout: str, phase: torch.Tensor, factor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """cos and sin (or one complex tensor) of phases (…, pairs), times a factor (…, 1)."""
    if layout == "polar":
        return (torch.polar(torch.ones_like(phase), phase) * factor,)
    phase = spread(layout, phase)
    return phase.cos() * factor, phase.sin() * factor


class Rotation:
    """How one layer type of one module rotates: its layout, its trained values, and the plans pinned now."""

    def __init__(self, layout: str, trained: torch.Tensor, attention_factor: float, deviation: torch.Tensor) -> None:
        self.layout = layout
        self.trained = trained  # float32 on the CPU, the checkpoint's own values to the bit
        self.attention_factor = attention_factor
        self.deviation = deviation  # |trained float32 value / value of the spec - 1|, float64
        self.rows: int | None = None  # None: one plan for any batch
        self._inv_freq = trained[None, None]  # (plans, 1, pairs)
        self._factor = torch.full((1, 1, 1), attention_factor, dtype=torch.float32)  # (plans, 1, 1)
        self._keep_first: torch.Tensor | None = None  # (plans, 1, 1)
        self._on_device: dict[torch.device, tuple[torch.Tensor | None, ...]] = {}

    def pin(self, plans: list[RopePlan], spec: RopeSpec, each_row: bool) -> None:
        """Run with these plans from now on.

        A planned frequency is formed as trained value times planned ratio, so a pair that a plan leaves alone
        keeps the checkpoint's own float32 bits, and the identity plan changes nothing at all.
        """
        trained = torch.tensor(spec.inv_freq, dtype=torch.float64)
        planned = torch.tensor([plan.inv_freq for plan in plans], dtype=torch.float64)
        ratio = torch.where(trained > 0, planned / trained, 0.0)
        planned = torch.where(trained > 0, self.trained.double() * ratio, planned)
        self._inv_freq = planned.float()[:, None]
        factors = [plan.attention_factor for plan in plans]
        self._factor = torch.tensor(factors, dtype=torch.float32).reshape(-1, 1, 1)
        keep = torch.tensor([plan.keep_first for plan in plans], dtype=torch.float32).reshape(-1, 1, 1)
        self._keep_first = keep if bool(keep.any()) else None
        self.rows = len(plans) if each_row else None
        self._on_device = {}

    def __call__(self, x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        """cos and sin for positions (batch or 1, length), in the dtype of x; phases are formed in float32."""
        if self.rows is not None and x.shape[0] != self.rows:
            raise ValueError(f"{self.rows} plans are pinned, one for each row, but the batch has {x.shape[0]} rows")
        place = (position_ids[0] if position_ids.ndim == 3 else position_ids)[..., None].float()
        inv_freq, factor, keep_first, trained = self._tables(x.device)
        assert inv_freq is not None and factor is not None and trained is not None
        if keep_first is not None:
            early = place < keep_first
            inv_freq = torch.where(early, trained, inv_freq)
            factor = torch.where(early, self.attention_factor, factor)
        parts = rotate(self.layout, place * inv_freq, factor)
        return parts[0] if len(parts) == 1 else tuple(part.to(x.dtype) for part in parts)

    def _tables(self, device: torch.device) -> tuple[torch.Tensor | None, ...]:
        if device not in self._on_device:
            tables = (self._inv_freq, self._factor, self._keep_first, self.trained)
            self._on_device[device] = tuple(table if table is None else table.to(device) for table in tables)
        return self._on_device[device]


class PlannedForward:
    """Stands in for a rotary module's forward. An object and not a closure, so that deepcopy copies its state."""

    def __init__(self, rotations: dict[str, Rotation]) -> None:
        self.rotations = rotations

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None) -> Any:
        # elementwise products and cosines only: autocast leaves those in float32
        return self.rotations[layer_type or ""](x, position_ids)


def find(model: torch.nn.Module, spec: RopeSpec) -> list[tuple[torch.nn.Module, PlannedForward]]:
    """Every rotary module of the model's text part with the forward to put in its place.

    Layer types other than the spec's keep what they were trained with. Raises ValueError for a model without
    rotary modules, with an unknown layout, or whose frequencies are not those of the spec; RuntimeError when
    plans are applied to it already.
    """
    name = type(model).__name__
    found = []
    for module in model.modules():
        prefixes = _layer_types(module)
        if not prefixes or "Vision" in type(module).__name__ or "Audio" in type(module).__name__:
            continue
        if isinstance(module.__dict__.get("forward"), PlannedForward):
            raise RuntimeError(f"{name} runs under plans already; leave that block before opening another")
        if spec.layer_type not in prefixes:
            kinds = ", ".join(repr(prefix) for prefix in prefixes)
            raise ValueError(
                f"{type(module).__name__} rotates layers of type {kinds}, the configuration says {spec.layer_type!r}"
            )
        found.append((module, PlannedForward({prefix: _rotation(module, prefix, spec) for prefix in prefixes})))
    if not found:
        raise ValueError(
            f"{name} is not supported: none of its modules has an inv_freq buffer, "
            "so it has no RoPE or rotates in code of its own"
        )
    return found


def _layer_types(module: torch.nn.Module) -> list[str]:
    """Layer types that a module rotates ([""] when it knows none); empty for any other module."""
    names = [
        name for name, _ in module.named_buffers(recurse=False) if name.endswith(SUFFIX) and not name.endswith(NOT_LIVE)
    ]
    return [name.removesuffix(SUFFIX).removesuffix("_") for name in names]


def _rotation(module: torch.nn.Module, layer_type: str, spec: RopeSpec) -> Rotation:
    """Probe one layer type. What the spec covers is checked against the spec, other types against nothing."""
    layout, factor = _probe(module, layer_type)
    prefix = f"{layer_type}_" if layer_type else ""
    kinds = getattr(module, "rope_type", "default")
    kind = kinds[layer_type] if isinstance(kinds, dict) else kinds
    live = f"{prefix}{SUFFIX}"
    # a switching type may hold the frequencies of an earlier, longer prompt; the original ones are beside them
    original = f"{prefix}original_{SUFFIX}"
    buffer: torch.Tensor = getattr(module, original if kind in SWITCHING and hasattr(module, original) else live)
    trained = buffer.detach().clone().to("cpu")
    if layer_type != spec.layer_type:
        return Rotation(layout, trained.float(), factor, torch.zeros(trained.numel(), dtype=torch.float64))

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
    return Rotation(layout, trained, spec.attention_factor, deviation)


@torch.no_grad()
def _probe(module: torch.nn.Module, layer_type: str) -> tuple[str, float]:
    """Layout and attention factor, by calling a copy of the module (a call may switch its frequencies)."""
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
            return layout, factor
    raise ValueError(
        f"{name} is not supported: it lays cos and sin out in none of the known ways ({', '.join(LAYOUTS)})"
    )
