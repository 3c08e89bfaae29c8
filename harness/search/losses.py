"""Losses of many plans at once: one forward pass with a plan for each row, and logits of the scored tokens only.

Memory grows with the length and never with length × vocabulary: hidden states of scored positions are gathered before
the head sees them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from extenders.base import RopePlan
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
