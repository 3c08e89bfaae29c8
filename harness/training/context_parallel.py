"""One sequence over several processes: each holds a slice of its positions, and attention trades slices for heads.

DeepSpeed-Ulysses (arXiv:2309.14509, §3) with PyTorch's all-to-all. Before attention a process gives its slice of the
other processes' heads away and gets the whole sequence of its own heads; afterwards the other way round. So attention
still sees whole sequences, and document masks stay as they are. PyTorch's own context parallelism passes keys round a
ring instead; it takes no document masks and no CPU, so it could not be tested against one process.

Tensor suffixes: B rows, H heads, S positions of a sequence, D head dimension, C processes, s = S / C positions and
h = H / C heads of one process.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_to_all_single


@dataclass(frozen=True)
class Split:
    """The processes that share every sequence with this one. Process i of them holds the i-th slice."""

    group: Any  # of torch.distributed
    size: int

    def whole(self, slice_BHsD: Tensor, heads: int) -> Tensor:
        """[B, h, S, D]: the whole sequence of this process's heads. Key heads that do not divide are repeated.

        `heads` is the number of query heads.
        """
        B, H, s, D = slice_BHsD.shape
        if H % self.size:
            slice_BHsD, H = slice_BHsD.repeat_interleave(heads // H, dim=1), heads
        parts_CBhsD = slice_BHsD.reshape(B, self.size, H // self.size, s, D).transpose(0, 1)
        return self._traded(parts_CBhsD).permute(1, 2, 0, 3, 4).reshape(B, H // self.size, self.size * s, D)

    def slice(self, whole_BhSD: Tensor) -> Tensor:
        """[B, H, s, D]: this process's positions of all heads."""
        B, h, S, D = whole_BhSD.shape
        parts_CBhsD = whole_BhSD.reshape(B, h, self.size, S // self.size, D).permute(2, 0, 1, 3, 4)
        return self._traded(parts_CBhsD).transpose(0, 1).reshape(B, h * self.size, S // self.size, D)

    def _traded(self, parts: Tensor) -> Tensor:
        """Part i goes to process i; what process i gives comes to place i. Gradients go the way back."""
        parts = parts.contiguous()
        given: Tensor = all_to_all_single(parts.new_empty(parts.shape), parts, group=self.group)
        return given


def split_of(rank: int, processes: int, context_parallel: int, heads: int) -> Split | None:
    """How this process shares its sequences; None: it has whole ones. All processes must ask together.

    Neighbours share: with 2, processes 0 and 1 have one sequence, 2 and 3 another. Raises ValueError for numbers that
    do not divide.
    """
    if context_parallel == 1:
        return None
    if context_parallel < 1 or processes % context_parallel:
        raise ValueError(
            f"context_parallel {context_parallel} does not divide the {processes} processes; start a multiple of it "
            "with torchrun"
        )
    if heads % context_parallel:
        raise ValueError(f"context_parallel {context_parallel} does not divide the model's {heads} attention heads")
    groups = [
        torch.distributed.new_group(list(range(first, first + context_parallel)))
        for first in range(0, processes, context_parallel)
    ]
    return Split(groups[rank // context_parallel], context_parallel)
