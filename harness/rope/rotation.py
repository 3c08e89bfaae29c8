"""Rotation under plans: cos and sin at positions, laid out as the model wants them, and the forward that gives them."""

from collections.abc import Sequence
from typing import Any

import torch

from extenders.base import RopePlan, RopeSpec

LAYOUTS = ("half_cat", "interleave", "half", "polar")


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

    def __init__(
        self,
        layout: str,
        trained: torch.Tensor,
        attention_factor: float,
        deviation: torch.Tensor,
        keeps_float32: bool = False,
    ) -> None:
        self.layout = layout
        self.keeps_float32 = keeps_float32  # whether cos and sin leave in float32 whatever the dtype of x
        self.trained = trained  # float32 on the CPU, the checkpoint's own values to the bit
        self.attention_factor = attention_factor
        self.deviation = deviation  # |trained float32 value / value of the spec - 1|, float64
        self.rows: int | None = None  # None: one plan for any batch
        self._inv_freq = trained[None, None]  # (plans, 1, pairs)
        self._factor = torch.full((1, 1, 1), attention_factor, dtype=torch.float32)  # (plans, 1, 1)
        self._keep_first: torch.Tensor | None = None  # (plans, 1, 1)
        self._on_device: dict[torch.device, tuple[torch.Tensor | None, ...]] = {}
        self.loose = False  # cos and sin depend on offsets that a gradient is wanted for

    @property
    def plans(self) -> int:
        """How many are pinned."""
        return len(self._inv_freq)

    def pin(self, plans: Sequence[RopePlan], spec: RopeSpec, each_row: bool) -> None:
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
        self.loose = False

    def loosen(self, offsets: torch.Tensor) -> None:
        """Let the pinned plans depend on `offsets` (plans, pairs + 1), added to log factors and log attention factor.

        Kept first positions do not depend on them. Until the next `pin`.
        """
        self._inv_freq = self._inv_freq * torch.exp(-offsets[:, None, :-1])
        self._factor = self._factor * torch.exp(offsets[:, None, -1:])
        self._on_device = {}
        self.loose = True

    def __call__(self, x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        """cos and sin for positions (batch or 1, length), in the dtype in which the module itself gives them.

        Phases are formed in float32.
        """
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
        if self.layout == "polar":
            return parts[0]
        return parts if self.keeps_float32 else tuple(part.to(x.dtype) for part in parts)

    def _tables(self, device: torch.device) -> tuple[torch.Tensor | None, ...]:
        if device not in self._on_device:
            tables = (self._inv_freq, self._factor, self._keep_first, self.trained)
            self._on_device[device] = tuple(table if table is None else table.to(device) for table in tables)
        return self._on_device[device]


class PlannedForward:
    """Stands in for a rotary module's forward. An object and not a closure, so that deepcopy copies its state."""

    def __init__(self, rotations: dict[str, Rotation]) -> None:
        self.rotations = rotations

    def __call__(self, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None) -> Any:
        rotation = self.rotations[layer_type or ""]
        # elementwise products and cosines only: autocast leaves those in float32
        with torch.set_grad_enabled(rotation.loose and torch.is_grad_enabled()):
            return rotation(x, position_ids)
