"""Does a model really run with its plan? cos and sin are read back from the live model and compared in float64.

Tolerance, for each position p and pair i: the phase p·ω_i is formed in float32, so its error grows with the phase, by
2^-23 for rounding ω and the product, doubled for safety, and by what the checkpoint's own float32 ω is off from the
formula; 1e-6 is for cos and sin themselves. At p = 131,072 this is 0.03 for the fastest pair and under 1e-5 for the
slowest.
"""

from collections.abc import Sequence
from typing import Any

import torch

from extenders.base import RopePlan, RopeSpec
from harness.rope.modules import answer_dtype
from harness.rope.rotation import PlannedForward, rotate, spread

ALL_POSITIONS = 8192  # up to this length every position is read, beyond it a spread of as many


class NotApplied(RuntimeError):
    """The model's live cos and sin are not those of the plan."""


@torch.no_grad()
def proved(
    module: torch.nn.Module,
    forward: PlannedForward,
    spec: RopeSpec,
    plans: Sequence[RopePlan],
    length: int,
    dtype: torch.dtype,
) -> float:
    """The largest difference of a rotary module's cos and sin in float32 from those of the plans, one for each row.

    Positions 0 … length-1 (a spread of them beyond 8,192) are read in float32 and in the model's `dtype`. Raises
    NotApplied beyond the tolerance.
    """
    rotation = forward.rotations[spec.layer_type]
    device = next(module.buffers()).device
    positions = _positions(length, max(plan.keep_first for plan in plans), device)
    phase, factor = _reference(plans, spec, positions)
    slack = phase * (rotation.deviation.to(device) + 2.0**-22) + 1e-6
    worst = 0.0
    for kind in dict.fromkeys((torch.float32, dtype)):
        x = torch.zeros(len(plans), 1, 8, dtype=kind, device=device)
        live = module(x, positions[None], *([spec.layer_type] if spec.layer_type else []))
        wanted = answer_dtype(module, spec.layer_type, kind)
        _check_dtype(module, live, wanted)
        rounding = 0.0 if wanted == torch.float32 else torch.finfo(wanted).eps / 2  # to nearest
        excess, difference = _compare(live, rotation.layout, phase, factor, factor * (slack + rounding))
        if excess > 0:
            raise NotApplied(
                f"{type(module).__name__} does not run with the plan: cos/sin differ by {difference:.3g} "
                f"within {length} positions ({kind})"
            )
        if kind == torch.float32:
            worst = difference
    return worst


def _check_dtype(module: torch.nn.Module, live: Any, wanted: torch.dtype) -> None:
    """Some families give cos and sin in float32 in a bfloat16 model on purpose: rounding them changes the model."""
    for part in live if isinstance(live, tuple) else (live,):
        if not part.is_complex() and part.dtype != wanted:
            raise NotApplied(f"{type(module).__name__} gives cos and sin in {part.dtype}; by itself it gives {wanted}")


def _reference(plans: Sequence[RopePlan], spec: RopeSpec, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Phases (rows, positions, pairs) and factors (rows, positions, 1) of the plans, in float64."""
    phases, factors = [], []
    position = positions.double()[:, None]
    for plan in plans:
        early = position < plan.keep_first
        trained, planned = position.new_tensor(spec.inv_freq), position.new_tensor(plan.inv_freq)
        phases.append(position * torch.where(early, trained, planned))
        trained_factor = position.new_tensor(spec.attention_factor)
        factors.append(torch.where(early, trained_factor, position.new_tensor(plan.attention_factor)))
    return torch.stack(phases), torch.stack(factors)


def _compare(
    live: Any, layout: str, phase: torch.Tensor, factor: torch.Tensor, allowed: torch.Tensor
) -> tuple[float, float]:
    """How far live cos/sin go beyond what is allowed (above 0 is wrong), and their largest difference."""
    wanted = rotate(layout, phase, factor)
    limits = spread(layout, allowed) * (2**0.5 if layout == "polar" else 1.0)  # a complex number errs in two parts
    excess, difference = -1.0, 0.0
    parts = live if isinstance(live, tuple) else (live,)
    if len(parts) != len(wanted) or any(got.shape != want.shape for got, want in zip(parts, wanted, strict=True)):
        return float("inf"), float("inf")
    for got, want in zip(parts, wanted, strict=True):
        gap = (got.to(want.dtype) - want).abs()
        excess = max(excess, float((gap - limits).max().nan_to_num(nan=float("inf"))))
        difference = max(difference, float(gap.max().nan_to_num(nan=float("inf"))))
    return excess, difference


def _positions(length: int, keep_first: int, device: torch.device) -> torch.Tensor:
    """Positions to read: all of a short prompt; of a long one an even spread, its start, its end and the seam."""
    if length <= ALL_POSITIONS:
        return torch.arange(max(length, 1), device=device)
    even = torch.linspace(0, length - 1, ALL_POSITIONS, dtype=torch.float64, device=device).long()
    ends = torch.arange(64, device=device)
    seam = torch.arange(max(keep_first - 2, 0), min(keep_first + 2, length), device=device)
    return torch.cat((even, ends, length - 1 - ends, seam))
