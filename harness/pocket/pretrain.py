"""`python -m harness.pocket pretrain`: make a pocket model again from nothing but the package; resumable to the step.

A checkpoint holds weights, optimisers and step, and the batches depend on the step alone, so a run that was killed ends
with the same weights as one that was not. Tensor suffixes: N scored positions, V vocabulary.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.files_on_disk import writing
from harness.pocket import folder, tokenizer
from harness.pocket.batches import PocketBatches
from harness.pocket.build import new_model, save
from harness.pocket.recipe import RECIPES, PocketRecipe

CURVE_STEPS = 50  # a point of the loss curve is a mean over so many
Report = Callable[[int, int, float, float], None]  # step, steps, loss, tokens per second


def pretrain(
    name: str,
    out: Path,
    report: Report,
    *,
    every_seconds: float = 180.0,
    every_steps: int = 50,
    compiled: bool = True,
    **changes: Any,
) -> Path:
    """Train the model of that name into the folder `out`; a checkpoint there is continued.

    `report(step, steps, loss, tokens per second)` is called after every step. Checkpoints are written every
    `every_steps` steps, but not more often than `every_seconds`. `changes` replace fields of the recipe. Raises
    ValueError for an unknown name or a folder that holds another recipe's checkpoint.
    """
    if name not in RECIPES:
        raise ValueError(f"no pocket model is named {name!r}; there are {', '.join(RECIPES)}")
    recipe = dataclasses.replace(RECIPES[name], **changes)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tokenizer.json").exists():
        _put_tokenizer(out)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        _train(recipe, out, report, every_seconds, every_steps, compiled)
    finally:
        torch.set_num_threads(threads_before)
    return out


def _put_tokenizer(out: Path) -> None:
    """One tokenizer for good and for both models: the data that it was trained on has changed since."""
    shipped = folder("pocket-llama")
    if (shipped / "tokenizer.json").exists():
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(shipped / file, out / file)
    else:
        tokenizer.train(out)


def _train(
    recipe: PocketRecipe, out: Path, report: Report, every_seconds: float, every_steps: int, compiled: bool
) -> None:
    """All steps from the checkpoint on, and the finished model."""
    pretraining = Pretraining(recipe, out, compiled)
    first = pretraining.step
    saved_at = began = time.monotonic()
    for ids, weights in _made_ahead(PocketBatches(recipe, out), first, recipe.steps):
        loss = pretraining.learn(ids, weights)
        step, now = pretraining.step, time.monotonic()
        report(step, recipe.steps, loss, (step - first) * recipe.tokens_per_step / (now - began))
        if (now - saved_at > every_seconds and step % every_steps == 0) or step == recipe.steps:
            saved_at = now
            pretraining.save()
    save(pretraining.model, recipe, out)
    (out / "curve.json").write_text(json.dumps(pretraining.curve))


def _made_ahead(batches: PocketBatches, first: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches from step `first` on; the next one is made while one is learned."""
    maker = ThreadPoolExecutor(1)
    try:
        upcoming = maker.submit(batches.at, first)
        for step in range(first, steps):
            batch = upcoming.result()
            upcoming = maker.submit(batches.at, step + 1)
            yield batch
    finally:
        maker.shutdown(cancel_futures=True)


class Pretraining:
    """A model with its optimisers and loss curve after some steps; goes on from the checkpoint in the folder `out`."""

    def __init__(self, recipe: PocketRecipe, out: Path, compiled: bool) -> None:
        self.recipe, self.checkpoint = recipe, out / "checkpoint.pt"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = new_model(recipe).to(self.device)
        self.optimisers = optimisers(self.model, recipe)
        self.rates = [group["lr"] for group in self._groups()]
        self.step = 0
        self.curve: list[tuple[int, float]] = []  # step, mean loss
        self._total = 0.0  # of the losses since the last point of the curve
        if self.checkpoint.exists():
            self._resume()
        can_compile = compiled and (self.device.type == "cuda" or shutil.which("g++") is not None)
        self._body = torch.compile(self._hidden, dynamic=False) if can_compile else self._hidden

    def learn(self, ids: Tensor, weights: Tensor) -> float:
        """One step. Returns the loss in nats per token."""
        loss = loss_of(self._body, self.model, ids, weights, self.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group, rate in zip(self._groups(), self.rates, strict=True):
            group["lr"] = rate * self.recipe.rate(self.step)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        value = float(loss.item())
        if value != value:
            raise ValueError(
                f"the loss is NaN at step {self.step}; the last checkpoint in {self.checkpoint.parent} is good"
            )
        self._total += value
        if self.step % CURVE_STEPS == 0:
            self.curve.append((self.step, round(self._total / CURVE_STEPS, 4)))
            self._total = 0.0
        return value

    def save(self) -> None:
        state = {
            "recipe": repr(self.recipe),
            "step": self.step,
            "curve": self.curve,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        with writing(self.checkpoint) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        if saved["recipe"] != repr(self.recipe):
            raise ValueError(f"{self.checkpoint} belongs to another recipe; name another folder or delete it")
        self.model.load_state_dict(saved["model"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.curve = saved["step"], saved["curve"]

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]

    def _hidden(self, ids: Tensor) -> Tensor:
        states: Tensor = self.model.model(ids, use_cache=False).last_hidden_state
        return states


def optimisers(model: Any, recipe: PocketRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embedding, head and norms."""
    layers = [p for name, p in model.named_parameters() if ".layers." in name]
    matrices = [p for p in layers if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.adamw_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(body: Callable[[Tensor], Tensor], model: Any, ids: Tensor, weights: Tensor, device: torch.device) -> Tensor:
    """Weighted mean loss in nats per token over the positions that count."""
    ids, weights = ids.to(device), weights.to(device)
    with torch.autocast(device.type, torch.bfloat16):
        hidden = body(ids[:, :-1])
        chosen_N = scored(weights[:, 1:].flatten())
        logits_NV = model.lm_head(hidden.flatten(0, 1)[chosen_N])
    targets_N = ids[:, 1:].flatten()[chosen_N]
    losses_N = torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")
    weights_N = weights[:, 1:].flatten()[chosen_N]
    return (losses_N * weights_N).sum() / weights_N.sum()


def scored(weights: Tensor) -> Tensor:
    """Indices of the positions that count, with others (of weight 0) up to a multiple of 1,024.

    oneDNN keeps a compiled kernel for every shape it meets: a new count at every step would fill the memory.
    """
    order = torch.argsort((weights > 0).int(), descending=True, stable=True)
    count = int((weights > 0).sum())
    return order[: -(-count // 1024) * 1024]
