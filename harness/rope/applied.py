"""A RoPE plan applied to a loaded transformers model, in place, and taken off again.

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

A `query_factor` multiplies queries where a layer compares them with keys (`harness.rope.queries`).

Limits: positions are text positions (of several position axes the first is read); a deep copy made inside the
block keeps the plan that was pinned then, for good.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from extenders.base import RopePlan, RopeSpec
from harness.rope import queries
from harness.rope.mapping import MappedAttention
from harness.rope.mapping_probe import mapped_attention
from harness.rope.mapping_proof import proved_pieces
from harness.rope.modules import rotary_modules
from harness.rope.proof import NotApplied, proved
from harness.rope.rotation import PlannedForward


@contextmanager
def applied(model: torch.nn.Module, spec: RopeSpec) -> Iterator["Applied"]:
    """Put the model under plans for the length of the block; the identity plan holds until the first `use`.

    Leaving the block restores the model, also after an exception. Raises ValueError for a model whose RoPE is
    not where or what `spec` says, RuntimeError when the model is inside such a block already.
    """
    forwards = rotary_modules(model, spec)
    before = [(module, module.__dict__.get("forward")) for module, _ in forwards]
    rotary = None
    try:
        for module, forward in forwards:
            module.__dict__["forward"] = forward
        rotary = Applied(model, forwards, spec)
        yield rotary
    finally:
        if rotary is not None:
            rotary.forget()
        for module, forward_before in before:
            if forward_before is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward_before


class Applied:
    """A model under plans. Made by `applied`."""

    def __init__(
        self, model: torch.nn.Module, forwards: list[tuple[torch.nn.Module, PlannedForward]], spec: RopeSpec
    ) -> None:
        self.spec = spec
        self._model, self._forwards = model, forwards
        dtypes = [parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()]
        self._dtype = dtypes[0] if dtypes else torch.float32
        self._queries: queries.Queries | None = None  # from the first plan on that multiplies queries
        self._rotating: list[torch.nn.Module] = []
        self._mapping: MappedAttention | None = None  # from the first plan on that maps positions
        self.use(RopePlan.as_trained(spec))

    @property
    def live(self) -> bool:
        """False once the block is left: the model is as loaded, and plans that are pinned here reach it no more."""
        return all(module.__dict__.get("forward") is forward for module, forward in self._forwards)

    def use(self, plans: RopePlan | Sequence[RopePlan], mapped: bool = False) -> None:
        """Pin a plan for all following forward passes; a sequence is one plan for each row of the batch.

        `mapped`: run as if the plans mapped positions, although none does. A cache that is filled so holds keys that
        are not rotated, and goes on only under plans that are pinned so.

        Raises ValueError on a plan for another number of rotary pairs, and on one that maps positions for a model whose
        positions cannot be mapped.
        """
        rows = [plans] if isinstance(plans, RopePlan) else list(plans)
        if not rows:
            raise ValueError("no plan was given; pin one plan, or one for each row of the batch")
        pairs = len(self.spec.inv_freq)
        wrong = [len(plan.inv_freq) for plan in rows if len(plan.inv_freq) != pairs]
        if wrong:
            raise ValueError(f"the plan has {wrong[0]} inverse frequencies, the model rotates {pairs} pairs")
        if self._queries is None and any(plan.query_factor != 1 for plan in rows):
            self._unmap()
            self._queries, self._rotating = queries.queries_of(self._model, self._turn)
        each_row = not isinstance(plans, RopePlan)
        if mapped or any(plan.pieces for plan in rows):
            self._map(rows, each_row)
        else:
            self._unmap()
            self._pin(rows, each_row)
        if self._queries is not None:
            self._queries.pin(rows)

    def _pin(self, rows: Sequence[RopePlan], each_row: bool) -> None:
        for _, forward in self._forwards:
            forward.rotations[self.spec.layer_type].pin(rows, self.spec, each_row)

    def _turn(self, factor: float) -> None:
        """As trained, with frequencies times a factor."""
        self._pin([RopePlan(tuple(factor * value for value in self.spec.inv_freq))], each_row=False)

    def _map(self, rows: Sequence[RopePlan], each_row: bool) -> None:
        if self._mapping is None:
            self._turn(1.0)
            if self._queries is not None:
                self._queries.pin([RopePlan.as_trained(self.spec)])
            self._mapping = mapped_attention(self._model, self.spec, self._forwards)
        self._mapping.pin(rows, each_row)

    def _unmap(self) -> None:
        if self._mapping is not None:
            self._mapping.off()

    def forget(self) -> None:
        """Leave nothing in the model but what `applied` put there."""
        self._unmap()
        queries.forget(self._rotating)

    @property
    def mapped_layers(self) -> str:
        """The layers whose positions are mapped now, as in "0-3, 5"; "" where the plans that are pinned map none."""
        return _ranges(self._mapping.layers) if self._mapping is not None and self._mapping.active else ""

    def loosen(self) -> torch.Tensor:
        """Offsets [plans, pairs + 1], all 0, that the pinned plans depend on from now until the next `use`.

        They are added to the log of every rescale factor and to the log of the attention factor, so the gradient of a
        loss with respect to them is the one with respect to these numbers. Raises ValueError under mapped positions.
        """
        if self.mapped_layers:
            raise ValueError("plans that map positions have no gradient; search their frequencies by losses alone")
        rotations = [forward.rotations[self.spec.layer_type] for _, forward in self._forwards]
        offsets = torch.zeros(rotations[0].plans, len(self.spec.inv_freq) + 1, requires_grad=True)
        for rotation in rotations:
            rotation.loosen(offsets)
        return offsets

    def prove(self, length: int, plan: RopePlan | Sequence[RopePlan]) -> float:
        """Read cos and sin back and compare them with the plan that the model should run with, up to `length` tokens.

        Returns the largest difference in float32; raises NotApplied where it is beyond what rounding explains. See
        `harness.rope.proof`. Queries are read back too where this plan or one before it multiplies them, and under
        mapped positions logits are (`harness.rope.mapping_proof`).
        """
        plans = [plan] if isinstance(plan, RopePlan) else list(plan)
        if self._queries is not None:
            reason = queries.wrong(self._model, self._queries, self._rotating, plans)
        else:
            reason = "its queries are not multiplied" if any(plan.query_factor != 1 for plan in plans) else ""
        if reason:
            raise NotApplied(f"{type(self._model).__name__} does not run with the plan: {reason}")
        if any(plan.pieces for plan in plans):
            return proved_pieces(self._model, self._mapping, self._forwards, self.spec, plans, length, self._dtype)
        return max(proved(module, forward, self.spec, plans, length, self._dtype) for module, forward in self._forwards)


def _ranges(numbers: Sequence[int]) -> str:
    firsts = [n for n in numbers if n - 1 not in numbers]
    lasts = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(firsts, lasts, strict=True))
