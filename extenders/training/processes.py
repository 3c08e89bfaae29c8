"""The processes of one training under torch.distributed: sums over them, and tensors that each holds a part of."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """A copy of the whole tensor on the CPU; every process that holds a part must take part."""
    full: Any = getattr(tensor, "full_tensor", None)
    return (full() if full is not None else tensor).detach().to("cpu", copy=True)


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor, spread over processes as the parameter is."""
    if not hasattr(parameter, "full_tensor"):
        return value.to(parameter.device, copy=True)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)


class Processes:
    """All processes of this run; one without torch.distributed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.size = torch.distributed.get_world_size() if self.distributed else 1

    def sum(self, values: Tensor) -> Tensor:
        if not self.distributed:
            return values
        values = values.to(self.device)
        torch.distributed.all_reduce(values)
        return values.cpu()

    def gather(self, digests: Mapping[int, str]) -> Mapping[int, str]:
        if not self.distributed:
            return digests
        parts: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(parts, dict(digests))
        return {place: digest for part in parts for place, digest in part.items()}

    def any(self, flag: bool) -> bool:
        """The same answer in every process, else one would wait for the others for ever."""
        return bool(self.sum(torch.tensor([float(flag)])).item())
