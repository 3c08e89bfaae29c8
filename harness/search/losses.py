"""Losses of many plans at once, and the gradient of one: logits of the scored tokens only.

Memory grows with the length and never with length × vocabulary: hidden states of scored positions are gathered before
the head sees them.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from extenders.base import RopePlan
from extenders.search.problem import Slope
from harness.model.logits import hidden_states, target_losses
from harness.search.texts import SearchText

if TYPE_CHECKING:
    from harness.model.lm import ExtendedLM
    from harness.rope.applied import Applied


class Planned(Protocol):
    """A model whose rows can have plans; an `ExtendedLM` is one."""

    model: Any
    rotary: "Applied"
    token_forwards: int


# Rows of one pass, in tokens. On a CPU a pass of several rows takes as long as the rows one by one.
TOKENS_ON_GPU = 65_536


def rows_at_once(lm: "ExtendedLM", length: int) -> int:
    """How many rows of that length go through the model together."""
    return max(1, TOKENS_ON_GPU // length) if lm.model.device.type == "cuda" else 1


@torch.inference_mode()
def plan_losses(lm: Planned, rows: Sequence[tuple[RopePlan, SearchText]]) -> list[float]:
    """Mean loss (nats) of the scored tokens of every row, each under its own plan; NaN where the model gives NaN."""
    plans = [plan for plan, _ in rows]
    lm.rotary.use(plans[0] if len(set(plans)) == 1 else plans)
    return [float(mean) for mean in _means(lm, [document for _, document in rows])]


def _means(lm: Planned, documents: Sequence[SearchText]) -> list[Tensor]:
    """Mean loss (nats) of the scored tokens of every row, under the plans that are pinned.

    Rows are padded on the right, which a causal model cannot see from the left.
    """
    longest = max(len(document.ids) for document in documents)
    padded = [[*document.ids, *[0] * (longest - len(document.ids))] for document in documents]
    ids_BT = torch.tensor(padded, device=lm.model.device)  # B rows, T positions
    hidden_BTD = hidden_states(lm.model, ids_BT)
    lm.token_forwards += sum(len(document.ids) for document in documents)
    states, targets = [], []
    for i, document in enumerate(documents):
        places_N = torch.tensor(document.scored, device=lm.model.device)
        states.append(hidden_BTD[i, places_N - 1])
        targets.append(ids_BT[i, places_N])
    losses_N, _ = target_losses(lm.model, torch.cat(states), torch.cat(targets), len(documents))
    return [losses.double().mean() for losses in losses_N.split([len(document.scored) for document in documents])]


def plan_slopes(
    lm: Planned, rows: Sequence[tuple[RopePlan, SearchText]], solved: float, recompute: bool = False
) -> list[Slope]:
    """Loss and gradient of every row under its own plan, by the logs of rescale factors and of the attention factor.

    A loss below `solved`, or one that is no number, counts as a forward pass alone and has no gradient. With
    `recompute` only what goes into a layer is kept in memory, and the rest is computed again on the way back. A row
    that is solved in a batch with one that is not goes along on the way back, and like padding it is not counted.
    Raises ValueError for a model whose attention kernels give no gradient.
    """
    lm.rotary.use([plan for plan, _ in rows])
    try:
        with torch.enable_grad(), frozen(lm.model), recomputed(lm.model) if recompute else nullcontext():
            offsets_BP = lm.rotary.loosen()
            means = _means(lm, [document for _, document in rows])
            losses = [float(mean.detach()) for mean in means]
            unsolved = [row for row, loss in enumerate(losses) if solved <= loss < math.inf]
            if not unsolved:
                return [Slope(loss, None, forwards=1) for loss in losses]
            [gradient_BP] = torch.autograd.grad(torch.stack([means[row] for row in unsolved]).sum(), [offsets_BP])
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        kernel = getattr(lm.model.config, "_attn_implementation", "unknown")
        raise ValueError(
            f"the attention kernels of this model ({kernel}) give no gradient of the loss with respect to the rotation "
            f"({str(error).splitlines()[0]}); run with attention sdpa or eager, or take searcher 'fast'"
        ) from error
    finally:
        lm.rotary.use(rows[0][0])
    slopes = []
    for row, (loss, (_, document)) in enumerate(zip(losses, rows, strict=True)):
        if row not in unsolved:
            slopes.append(Slope(loss, None, forwards=1))
            continue
        values = tuple(float(value) for value in gradient_BP[row])
        lm.token_forwards += (2 + recompute) * len(document.ids)
        slopes.append(Slope(loss, values if all(map(math.isfinite, values)) else None, forwards=3 + recompute))
    return slopes


@contextmanager
def recomputed(model: torch.nn.Module) -> Iterator[None]:
    """Layers keep what goes into them and compute the rest again when a gradient is asked for.

    Raises ValueError for a model whose layers transformers cannot tell apart.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no layers that can be computed again; leave out recompute=1, or take "
            "searcher 'fast'"
        )
    for layer in layers:
        layer.__dict__["forward"] = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


@contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """No weight takes a gradient, so that none is kept in memory for it."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
