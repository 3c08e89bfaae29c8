"""Low-rank adapters (LoRA, arXiv:2106.09685): two thin matrices beside every chosen linear layer, merged at the end.

Our own forty lines and not a library, because a RoPE plan is installed by the place and name of modules, which wrappers
of whole models change. Tensor suffixes: R rank, I inputs, O outputs of a linear layer.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from extenders.training.recipe import Lora


class LoraLinear(nn.Module):
    """y = x·Wᵀ + scale · x·Aᵀ·Bᵀ with a frozen W."""

    def __init__(self, base: nn.Linear, lora: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.base, self.scale = base, lora.scale
        wide = base.in_features
        bound = 1 / math.sqrt(wide)  # as a linear layer of PyTorch starts
        first = torch.rand(lora.rank, wide, generator=generator, dtype=torch.float32) * 2 * bound - bound
        device = base.weight.device
        self.lora_A = nn.Parameter(first.to(device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, lora.rank, dtype=torch.float32, device=device))

    def forward(self, x: Tensor) -> Tensor:
        low = torch.nn.functional.linear(x.to(self.lora_A.dtype), self.lora_A)
        added: Tensor = torch.nn.functional.linear(low, self.lora_B) * self.scale
        output: Tensor = self.base(x)
        return output + added.to(output.dtype)


def attach(model: nn.Module, lora: Lora, seed: str) -> None:
    """Freeze the model, put adapters beside the targets and let them and the parameters of `also` train.

    Raises ValueError when nothing is named so.
    """
    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in lora.targets
    ]
    if not chosen:
        raise ValueError(f"no linear layer of this model is named {', '.join(lora.targets)}; name LoRA targets it has")
    also = [name for name, _ in model.named_parameters() if any(part in name for part in lora.also)]
    missing = [part for part in lora.also if not any(part in name for name in also)]
    if missing:
        raise ValueError(f"no parameter of this model has {missing[0]!r} in its name; name parts that it has")
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name in also:
            parameter.data = parameter.data.float()  # small steps would be lost in bf16
            parameter.requires_grad_(True)
    for name, module in chosen:
        above, _, last = name.rpartition(".")
        generator = torch.Generator().manual_seed(_number(f"{seed}/{name}"))
        setattr(model.get_submodule(above), last, LoraLinear(module, lora, generator))


def detach(model: nn.Module) -> dict[str, Tensor]:
    """Take all adapters away again; gives their matrices by the names of the layers, `<layer>.lora_A` and `.lora_B`."""
    matrices: dict[str, Tensor] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            matrices[f"{name}.lora_A"], matrices[f"{name}.lora_B"] = module.lora_A.detach(), module.lora_B.detach()
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, module.base)
    return matrices


@torch.no_grad()
def merge(model: nn.Module, matrices: Mapping[str, Tensor], scale: float) -> None:
    """Add scale · B·A to the weights of the layers that the matrices are named after."""
    for name in [name.removesuffix(".lora_A") for name in matrices if name.endswith(".lora_A")]:
        layer: Any = model.get_submodule(name)
        change = scale * matrices[f"{name}.lora_B"].double() @ matrices[f"{name}.lora_A"].double()
        layer.weight += change.to(layer.weight)


def merge_into(model: nn.Module, scale: float) -> None:
    """Take all adapters away and leave what they learned in the weights."""
    merge(model, detach(model), scale)


def _number(text: str) -> int:
    return zlib.crc32(text.encode())
