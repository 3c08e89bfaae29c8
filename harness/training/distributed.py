"""One training over several processes: started by torchrun, sharded by PyTorch's FSDP2. Nothing here is home-made.

    torchrun --nproc-per-node 8 -m harness.cli train yarn --recipe mixed ...

Every process holds a part of each weight and of its optimiser state and runs its own rows, or, where sequences are
shared (`harness.training.context_parallel`), its own slice of them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


@dataclass(frozen=True)
class World:
    """This process among all of the run."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun started, joined for the length of the block; one where it started none."""
    if "WORLD_SIZE" not in os.environ or torch.distributed.is_initialized():
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size()) if running else World()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def shard(objective: nn.Module, layers: Any) -> None:
    """Spread every layer's weights over all processes with FSDP2, the rest (embedding, head, norm) as one part."""
    device = next(objective.parameters()).device.type
    mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of a transformers model. Raises ValueError where they are not in one list."""
    wanted = int(model.config.get_text_config().num_hidden_layers)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == wanted]
    if not lists:
        raise ValueError(f"{type(model).__name__} keeps its {wanted} layers in no list, so they cannot be sharded")
    return list(lists[0])
