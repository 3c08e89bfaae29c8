"""Trained weights on a loaded model: put on, taken off, in place. Files are read and checked here.

A file holds what was trained and nothing else: tensors under the names of the parameters that they replace, and for
LoRA two matrices a layer, `<layer>.lora_A` and `.lora_B`, which are added to what is there.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from extenders.training.lora import merge
from harness.files_on_disk import writing
from harness.store import Store, TrainedFile

FILE = "weights.safetensors"
KEPT = 2**30  # bytes of trained weights that stay in memory for the next cell that wants them


def write_weights(folder: Path, tensors: Mapping[str, Tensor], scale: float) -> TrainedFile:
    """Write the file, whole or not at all; gives what a record says about it."""
    with writing(folder / FILE) as partial:
        save_file({name: t.contiguous() for name, t in tensors.items()}, partial, {"lora_scale": json.dumps(scale)})
        with partial.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"file": f"{folder.name}/{FILE}", "sha256": digest, "bytes": (folder / FILE).stat().st_size}


def read_weights(folder: Path, sha256: str) -> tuple[dict[str, Tensor], float]:
    """(tensors, LoRA scale). Raises ValueError when the file is gone or not the one that was written."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(
            f"the trained weights {path} are gone; delete {folder.name}.json beside the folder and run again"
        )
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            raise ValueError(f"{path} is damaged; delete it and {folder.name}.json beside the folder and run again")
    with safe_open(path, framework="pt") as file:
        scale = float(json.loads((file.metadata() or {}).get("lora_scale", "1")))
        return {name: file.get_tensor(name) for name in file.keys()}, scale


class TrainedWeights:
    """The trainings of a store on a loaded model, one at a time. Files are read once while there is room."""

    def __init__(self, model: Any) -> None:
        self._swap = WeightSwap(model)
        self._current: Path | None = None
        self._kept: dict[Path, tuple[dict[str, Tensor], float]] = {}

    def use(self, folder: Path | None) -> None:
        """Run with the weights of the training in that folder of a store; None: with the model's own.

        Raises ValueError when the training is missing or failed, or its file is not what was written.
        """
        if folder == self._current:
            return
        self._current = None
        self._swap.use({})
        if folder is None:
            return
        if folder not in self._kept:
            tensors, scale = read_weights(folder, _digest_of(folder))
            size = sum(t.numel() * t.element_size() for held, _ in self._kept.values() for t in held.values())
            if size > KEPT:
                self._kept.clear()
            self._kept[folder] = tensors, scale
        self._swap.use(*self._kept[folder])
        self._current = folder


def _digest_of(folder: Path) -> str:
    """What the record of a training says about its file."""
    record = Store(folder.parent.parent).training(folder.name)
    if record is None:
        raise ValueError(f"the training {folder.name} is missing; run again")
    if record["status"] != "done":
        raise ValueError(f"its training failed: {record['error']}")
    return record["weights"]["sha256"]


class WeightSwap:
    """A loaded model that can be given trained weights and its own again, bit for bit."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._replaced: dict[str, Tensor] = {}  # what was replaced so far, as it was

    @torch.no_grad()
    def use(self, tensors: Mapping[str, Tensor], scale: float = 1.0) -> None:
        """Run with these weights from now on; none is the model's own. Raises ValueError for names it does not have."""
        parameters = dict(self.model.named_parameters())
        for name, original in self._replaced.items():
            parameters[name].copy_(original)
        touched = {_replaced(name) for name in tensors}
        missing = sorted(touched - set(parameters))
        if missing:
            raise ValueError(f"trained weights belong to another model: this one has no {missing[0]}")
        for name in touched - set(self._replaced):
            self._replaced[name] = parameters[name].detach().to("cpu", copy=True)
        for name, tensor in tensors.items():
            if name in parameters:
                parameters[name].copy_(tensor)
        merge(self.model, tensors, scale)


def _replaced(name: str) -> str:
    """The parameter that a tensor of the file changes."""
    layer, _, kind = name.rpartition(".")
    return f"{layer}.weight" if kind in ("lora_A", "lora_B") else name
