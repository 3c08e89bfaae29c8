"""Rotation under plans: cos and sin at positions, laid out as the model wants them, and the forward that gives them."""

from collections.abc import Sequence
from typing import Any, Protocol

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
        self._inv_freq = torch.stack([self.as_the_model(plan.inv_freq, spec) for plan in plans])[:, None]
        factors = [plan.attention_factor for plan in plans]
        self._factor = torch.tensor(factors, dtype=torch.float32).reshape(-1, 1, 1)
        keep = torch.tensor([plan.keep_first for plan in plans], dtype=torch.float32).reshape(-1, 1, 1)
        self._keep_first = keep if bool(keep.any()) else None
        self.rows = len(plans) if each_row else None
        self._on_device = {}
        self.loose = False

    def as_the_model(self, inv_freq: Sequence[float], spec: RopeSpec) -> torch.Tensor:
        """Planned frequencies [pairs] in float32; where a pair is as trained, the checkpoint's own bits."""
        trained, planned = (torch.tensor(values, dtype=torch.float64) for values in (spec.inv_freq, inv_freq))
        ratio = torch.where(trained > 0, planned / trained, 0.0)
        return torch.where(trained > 0, self.trained.double() * ratio, planned).float()

    def still(self, x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        """cos 1 and sin 0 in the shape and dtype of `__call__`: the attention function rotates."""
        place = (position_ids[0] if position_ids.ndim == 3 else position_ids)[..., None].float()
        phase = torch.zeros((*place.shape[:-1], len(self.trained)), device=x.device)
        parts = rotate(self.layout, phase, torch.ones_like(place))
        return parts if self.keeps_float32 else tuple(part.to(x.dtype) for part in parts)

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


class Mapping(Protocol):
    """What `PlannedForward` asks of position mapping."""

    layer_type: str
    active: bool

    def begin(self, position_ids: torch.Tensor) -> None:
        """A forward pass begins with these positions."""


class PlannedForward:
    """Stands in for a rotary module's forward. An object and not a closure, so that deepcopy copies its state."""

    def __init__(self, rotations: dict[str, Rotation]) -> None:
        self.rotations = rotations
        self.mapping: Mapping | None = None  # what rotates in its place while plans map positions

    def __call__(self, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None) -> Any:
        rotation = self.rotations[layer_type or ""]
        if self.mapping is not None and (layer_type or "") == self.mapping.layer_type:
            self.mapping.begin(position_ids)
            if self.mapping.active:
                return rotation.still(x, position_ids)
        # elementwise products and cosines only: autocast leaves those in float32
        with torch.set_grad_enabled(rotation.loose and torch.is_grad_enabled()):
            return rotation(x, position_ids)
