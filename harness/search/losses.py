"""Losses of many plans at once, and the gradient of one: logits of the scored tokens only.

Memory grows with the length and never with length × vocabulary: hidden states of scored positions are gathered before
the head sees them.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch

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
    """Mean loss (nats) of the scored tokens of every row, each under its own plan; NaN where the model gives NaN.

    Rows are padded on the right, which a causal model cannot see from the left.
    """
    plans = [plan for plan, _ in rows]
    lm.rotary.use(plans[0] if len(set(plans)) == 1 else plans)
    longest = max(len(document.ids) for _, document in rows)
    padded = [[*document.ids, *[0] * (longest - len(document.ids))] for _, document in rows]
    ids_BT = torch.tensor(padded, device=lm.model.device)  # B rows, T positions
    hidden_BTD = hidden_states(lm.model, ids_BT)
    lm.token_forwards += sum(len(document.ids) for _, document in rows)
    states, targets = [], []
    for i, (_, document) in enumerate(rows):
        places_N = torch.tensor(document.scored, device=lm.model.device)
        states.append(hidden_BTD[i, places_N - 1])
        targets.append(ids_BT[i, places_N])
    losses_N, _ = target_losses(lm.model, torch.cat(states), torch.cat(targets), len(rows))
    sizes = [len(document.scored) for _, document in rows]
    return [float(losses.double().mean()) for losses in losses_N.split(sizes)]


def plan_slope(lm: Planned, plan: RopePlan, document: SearchText, solved: float) -> Slope:
    """The loss of one row and its gradient with respect to the logs of all rescale factors and of the attention factor.

    A loss below `solved`, or one that is no number, costs a forward pass and no backward pass, and has no gradient.
    Raises ValueError for a model whose attention kernels give none.
    """
    lm.rotary.use(plan)
    try:
        with torch.enable_grad(), frozen(lm.model):
            offsets = lm.rotary.loosen()
            ids_1T = torch.tensor([document.ids], device=lm.model.device)
            places_N = torch.tensor(document.scored, device=lm.model.device)
            hidden_1TD = hidden_states(lm.model, ids_1T)
            losses_N, _ = target_losses(lm.model, hidden_1TD[0, places_N - 1], ids_1T[0, places_N])
            mean = losses_N.double().mean()
            loss = float(mean.detach())
            lm.token_forwards += len(document.ids)
            if not solved <= loss < math.inf:
                return Slope(loss, None, forwards=1)
            [gradient] = torch.autograd.grad(mean, [offsets])
            lm.token_forwards += 2 * len(document.ids)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        kernel = getattr(lm.model.config, "_attn_implementation", "unknown")
        raise ValueError(
            f"the attention kernels of this model ({kernel}) give no gradient of the loss with respect to the rotation "
            f"({str(error).splitlines()[0]}); run with attention sdpa or eager, or take searcher 'fast'"
        ) from error
    finally:
        lm.rotary.use(plan)
    values = tuple(float(value) for value in gradient)
    return Slope(loss, values if all(map(math.isfinite, values)) else None, forwards=3)


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
