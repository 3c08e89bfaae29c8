"""The next-token loss in pieces, so that the logits of all positions never exist at once.

Tensor suffixes: N scored positions, W width of the hidden states, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

PIECE = 1024  # positions at a time: logits of 1,024 positions and 128k words are 0.5 GB in float32


def weighted_loss(
    hidden_NW: Tensor, targets_N: Tensor, weights_N: Tensor, head: Callable[[Tensor], Tensor], piece: int = PIECE
) -> Tensor:
    """Sum over positions of weight times loss in nats. `head` maps hidden states [n, W] to logits [n, V].

    Positions of weight 0 are left out, but for as many as fill the last piece: on a CPU every new shape costs a
    compiled kernel that is kept for good. Each piece is computed again in the backward pass instead of being stored.
    """
    order = torch.argsort((weights_N > 0).int(), descending=True, stable=True)
    scored = int((weights_N > 0).sum())
    chosen = order[: max(1, -(-scored // piece)) * piece]
    total = hidden_NW.new_zeros((), dtype=torch.float32)

    def of_piece(hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        losses = torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")
        return (losses * weights).sum()

    for part in chosen.split(piece):
        given = (hidden_NW[part], targets_N[part], weights_N[part])
        total = total + (
            checkpoint(of_piece, *given, use_reentrant=False) if torch.is_grad_enabled() else of_piece(*given)
        )
    return total
