"""Applying a RoPE plan to a loaded transformers model, in place, and proving that it is applied.

    with applied(model, spec) as rotary:
        rotary.use(plan)             # or one plan for each row of the batch
        rotary.prove(length, plan)   # reads cos and sin back
        model(...)

No weights are reloaded, no modelling code is copied and no configuration is edited. Inside the block the
`forward` of each rotary module is hidden behind an instance attribute; leaving the block takes it away again,
so the model is the very object it was. Frequencies never change by themselves: `use` pins them, for prefill,
every decoding step and every chunk alike. transformers' own types that switch by length (dynamic, longrope)
hold still too.

The first `keep_first` positions are rotated exactly as trained, attention factor included. LongRoPE's equation
(arXiv:2402.13753, eq. 3) is silent about the factor there; its published code overwrites the first rows of
the cos/sin table with the original ones, which carry none, and we follow it.

Limits: positions are text positions (of several position axes the first is read); a deep copy made inside the
block keeps the plan that was pinned then, for good.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from extenders.base import RopePlan, RopeSpec
from harness.rope.rotation import PlannedForward, find, rotate, spread

PROOF_ALL = 8192  # up to this length the proof reads every position, beyond it a spread of as many


class NotApplied(RuntimeError):
    """The model's live cos and sin are not those of the plan."""


@contextmanager
def applied(model: torch.nn.Module, spec: RopeSpec) -> Iterator["Applied"]:
    """Put the model under plans for the length of the block; the identity plan holds until the first `use`.

    Leaving the block restores the model, also after an exception. Raises ValueError for a model whose RoPE is
    not where or what `spec` says, RuntimeError when the model is inside such a block already.
    """
    forwards = find(model, spec)
    before = [(module, module.__dict__.get("forward")) for module, _ in forwards]
    try:
        for module, forward in forwards:
            module.__dict__["forward"] = forward
        dtypes = [parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()]
        yield Applied(forwards, spec, dtypes[0] if dtypes else torch.float32)
    finally:
        for module, forward_before in before:
            if forward_before is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward_before


class Applied:
    """A model under plans. Made by `applied`."""

    def __init__(
        self, forwards: list[tuple[torch.nn.Module, PlannedForward]], spec: RopeSpec, dtype: torch.dtype
    ) -> None:
        self.spec = spec
        self._forwards = forwards
        self._dtype = dtype
        self.use(RopePlan.as_trained(spec))

    def use(self, plans: RopePlan | Sequence[RopePlan]) -> None:
        """Pin a plan for all following forward passes; a sequence is one plan for each row of the batch.

        Raises ValueError on a plan for another number of rotary pairs.
        """
        rows = [plans] if isinstance(plans, RopePlan) else list(plans)
        if not rows:
            raise ValueError("no plan was given; pin one plan, or one for each row of the batch")
        pairs = len(self.spec.inv_freq)
        wrong = [len(plan.inv_freq) for plan in rows if len(plan.inv_freq) != pairs]
        if wrong:
            raise ValueError(f"the plan has {wrong[0]} inverse frequencies, the model rotates {pairs} pairs")
        for _, forward in self._forwards:
            forward.rotations[self.spec.layer_type].pin(rows, self.spec, each_row=not isinstance(plans, RopePlan))

    @torch.no_grad()
    def prove(self, length: int, plan: RopePlan | Sequence[RopePlan]) -> float:
        """Read cos and sin back from the model and compare them with the plan that it should run with.

        Positions 0 … length-1 (a spread of them beyond 8,192). The reference is the plan in float64. The live
        values are read in float32 and in the model's dtype; the largest difference in float32 is returned.

        Tolerance, for each position p and pair i: the phase p·ω_i is formed in float32, so its error grows
        with the phase, by 2^-23 for rounding ω and the product, doubled for safety, and by what the
        checkpoint's own float32 ω is off from the formula; 1e-6 is for cos and sin themselves. At p = 131,072
        this is 0.03 for the fastest pair and under 1e-5 for the slowest. Raises NotApplied beyond it.
        """
        rows = [plan] if isinstance(plan, RopePlan) else list(plan)
        worst = 0.0
        for module, forward in self._forwards:
            rotation = forward.rotations[self.spec.layer_type]
            device = next(module.buffers()).device
            positions = _spread(length, max(row.keep_first for row in rows), device)
            phase, factor = self._reference(rows, positions)
            slack = phase * (rotation.deviation.to(device) + 2.0**-22) + 1e-6
            for dtype in dict.fromkeys((torch.float32, self._dtype)):
                x = torch.zeros(len(rows), 1, 8, dtype=dtype, device=device)
                live = self._live(module, x, positions[None])
                rounding = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2  # to nearest
                excess, difference = _compare(live, rotation.layout, phase, factor, factor * (slack + rounding))
                if excess > 0:
                    raise NotApplied(
                        f"{type(module).__name__} does not run with the plan: cos/sin differ by {difference:.3g} "
                        f"within {length} positions ({dtype})"
                    )
                if dtype == torch.float32:
                    worst = max(worst, difference)
        return worst

    def _live(self, module: torch.nn.Module, x: torch.Tensor, positions: torch.Tensor) -> Any:
        if self.spec.layer_type:
            return module(x, positions, self.spec.layer_type)
        return module(x, positions)

    def _reference(self, rows: list[RopePlan], positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Phases (rows, positions, pairs) and factors (rows, positions, 1) of the plans, in float64."""
        phases, factors = [], []
        for plan in rows:
            place = positions.double()[:, None]
            early = place < plan.keep_first
            phases.append(
                place * torch.where(early, place.new_tensor(self.spec.inv_freq), place.new_tensor(plan.inv_freq))
            )
            factors.append(
                torch.where(
                    early, place.new_tensor(self.spec.attention_factor), place.new_tensor(plan.attention_factor)
                )
            )
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


def _spread(length: int, keep_first: int, device: torch.device) -> torch.Tensor:
    """Positions to read: all of a short prompt; of a long one an even spread, its start, its end and the seam."""
    if length <= PROOF_ALL:
        return torch.arange(max(length, 1), device=device)
    even = torch.linspace(0, length - 1, PROOF_ALL, dtype=torch.float64, device=device).long()
    ends = torch.arange(64, device=device)
    seam = torch.arange(max(keep_first - 2, 0), min(keep_first + 2, length), device=device)
    return torch.cat((even, ends, length - 1 - ends, seam))
