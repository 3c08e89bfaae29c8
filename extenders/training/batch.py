"""What one forward pass of training gets. Tensor suffixes: B rows, S positions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A micro-batch: rows of one sequence class under one RoPE plan.

    `positions_BS` is what RoPE sees and need not be consecutive. Attention never crosses a document's start:
    `starts` holds them for every row, 0 first. A target of weight 0 is not scored.
    """

    kind: str  # sequence class, by which loss curves are kept apart
    rope: str  # name of the plan that these rows run with
    ids_BS: Tensor
    positions_BS: Tensor
    targets_BS: Tensor
    weights_BS: Tensor  # float32
    starts: tuple[tuple[int, ...], ...]
    reach: int = 0  # tokens; the largest position and one. 0: of these positions; more for a slice of longer rows

    def __post_init__(self) -> None:
        shape = self.ids_BS.shape
        shapes = {tensor.shape for tensor in (self.positions_BS, self.targets_BS, self.weights_BS)}
        assert shapes == {shape} and len(self.starts) == shape[0], "the parts of a batch have different shapes"
        assert all(row and row[0] == 0 and list(row) == sorted(set(row)) for row in self.starts), self.starts

    @property
    def tokens(self) -> int:
        return self.ids_BS.numel()

    def to(self, device: torch.device) -> "Batch":
        return replace(self, **self._each(lambda tensor: tensor.to(device)))

    def part(self, number: int, parts: int) -> "Batch":
        """One of so many equal slices of the positions; documents are still said as of the whole rows."""
        size, rest = divmod(self.ids_BS.shape[1], parts)
        if rest:
            raise ValueError(
                f"sequences of {self.ids_BS.shape[1]} tokens cannot be shared by {parts} processes; choose lengths "
                f"that {parts} divides"
            )
        cut = slice(number * size, (number + 1) * size)
        return replace(self, reach=self.longest, **self._each(lambda tensor: tensor[:, cut]))

    def _each(self, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """All tensors, changed alike."""
        names = ("ids_BS", "positions_BS", "targets_BS", "weights_BS")
        return {name: change(getattr(self, name)) for name in names}

    @property
    def longest(self) -> int:
        """The length in tokens that RoPE must reach."""
        return self.reach or int(self.positions_BS.max()) + 1

    def unscored(self) -> "Batch":
        """The same rows with no target that counts: what a process runs when it has fewer rows than the others."""
        return replace(self, weights_BS=torch.zeros_like(self.weights_BS))
