"""`ropebench pretrain`: make a pocket model again from nothing but the package; resumable to the step.

The data of step i depend on the seed and on i alone, so a checkpoint holds weights, optimiser and step, and a run that
was killed ends with the same weights as one that was not. Tensor suffixes: B batch, S positions, H query heads,
K key heads, G query heads a key head, D head dimension, N scored positions, V vocabulary.
"""

import json
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.files_on_disk import writing
from harness.pocket import data, folder, tokenizer
from harness.pocket.recipe import RECIPES, WINDOW, Recipe
from harness.pocket.start import start

NOT_A_SHAPE = ("model_type", "architectures", "transformers_version", "dtype")  # in a configuration
BLOCK = 128  # queries at a time; keys after the block are never multiplied


def block_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **rest: Any
) -> tuple[Tensor, None]:
    """Causal attention in blocks of queries: on two cores a third faster to train with than PyTorch's own kernel."""
    B, H, S, D = query.shape
    K = key.shape[1]
    query_BKGSD = (query * rest["scaling"]).view(B, K, H // K, S, D)
    position_S = torch.arange(S, device=query.device)
    outputs = []
    for first in range(0, S, BLOCK):
        end = min(first + BLOCK, S)
        block = query_BKGSD[:, :, :, first:end].reshape(B, K, -1, D)
        scores = (block @ key[:, :, :end].transpose(-1, -2)).view(B, K, H // K, end - first, end)
        future = position_S[:end][None] > position_S[first:end][:, None]
        shares = torch.softmax(scores.masked_fill(future, float("-inf")).float(), -1).to(value.dtype)
        output = shares.view(B, K, -1, end) @ value[:, :, :end]
        outputs.append(output.view(B, K, H // K, end - first, D))
    return torch.cat(outputs, 3).reshape(B, H, S, D).transpose(1, 2), None


class Batches:
    """Batches by step: token ids and loss weights, both (B, S+1)."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.recipe = recipe
        self.encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.begin: int = self.encode(tokenizer.BEGIN)[0]
        self.end: int = self.encode(data.END)[0]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.encoder.encode(text, add_special_tokens=False).ids
        return ids

    def row(self, rng: random.Random, kind: str, length: int) -> tuple[list[int], list[float]]:
        """One sequence of length+1 ids with the weight of predicting each."""
        ids: list[int] = [self.begin]
        weights = [0.0]
        for text, weight in data.sequence(rng, kind, length, lambda string: len(self.encode(string))):
            added = self.encode(text)
            ids += added
            weights += [weight] * len(added)
            if added[-1] == self.end and kind in data.SMALL:  # every small document starts as at evaluation
                ids.append(self.begin)
                weights.append(0.0)
        missing = max(0, length + 1 - len(ids))
        return ids[: length + 1] + [self.end] * missing, weights[: length + 1] + [0.0] * missing

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(f"{self.recipe.name}/{self.recipe.seed}/{step}")
        phase = self.recipe.phase(step)
        length = rng.choices(list(phase.lengths), list(phase.lengths.values()))[0]
        kinds = {kind: share for kind, share in phase.kinds.items() if data.MAKERS[kind][1] <= length}
        rows = []
        for _ in range(self.recipe.tokens_per_step // length):
            rows.append(self.row(rng, rng.choices(list(kinds), list(kinds.values()))[0], length))
        # context tokens weigh little: score one in ten of them at ten times the weight, and skip the rest
        weights = [[w if w > data.CONTEXT else 10 * w * (rng.random() < 0.1) for w in row] for _, row in rows]
        return torch.tensor([ids for ids, _ in rows]), torch.tensor(weights)


def new_model(recipe: Recipe) -> Any:
    """The model with its first weights, which depend on the recipe's seed alone."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register("ropebench_blocks", block_attention)
    shape = dict(recipe.config)
    config = AutoConfig.for_model(shape.pop("model_type"), **shape, attn_implementation="ropebench_blocks")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="ropebench_blocks")
    start(model, torch.Generator().manual_seed(recipe.seed))
    return model


def optimisers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
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


def pretrain(
    name: str,
    out: Path,
    report: Callable[[int, int, float, float], None],
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
    import dataclasses

    if name not in RECIPES:
        raise ValueError(f"no pocket model is named {name!r}; there are {', '.join(RECIPES)}")
    recipe = dataclasses.replace(RECIPES[name], **changes)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tokenizer.json").exists():
        # One tokenizer for good and for both models: the data that it was trained on has changed since.
        shipped = folder("pocket-llama")
        if (shipped / "tokenizer.json").exists():
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copyfile(shipped / file, out / file)
        else:
            tokenizer.train(out)
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        _train(recipe, out, report, every_seconds, every_steps, compiled)
    finally:
        torch.set_num_threads(before)
    return out


def _train(
    recipe: Recipe,
    out: Path,
    report: Callable[[int, int, float, float], None],
    every_seconds: float,
    every_steps: int,
    compiled: bool,
) -> None:
    """All steps from the checkpoint on, and the finished model."""
    identity = repr(recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_model(recipe).to(device)
    optimisers_ = optimisers(model, recipe)
    rates = [group["lr"] for optimiser in optimisers_ for group in optimiser.param_groups]
    batches = Batches(recipe, out)
    step, curve = 0, []
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        if saved["recipe"] != identity:
            raise ValueError(f"{checkpoint} belongs to another recipe; name another folder or delete it")
        model.load_state_dict(saved["model"])
        for optimiser, state in zip(optimisers_, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        step, curve = saved["step"], saved["curve"]

    def hidden(ids: Tensor) -> Tensor:
        states: Tensor = model.model(ids, use_cache=False).last_hidden_state
        return states

    can_compile = compiled and (device.type == "cuda" or shutil.which("g++") is not None)
    body = torch.compile(hidden, dynamic=False) if can_compile else hidden
    saved_at = began = time.monotonic()
    done = step
    total = 0.0
    maker = ThreadPoolExecutor(1)  # makes the next batch while this one is learned
    upcoming = maker.submit(batches.at, step)
    while step < recipe.steps:
        ids, weights = upcoming.result()
        upcoming = maker.submit(batches.at, step + 1)
        loss = loss_of(body, model, ids, weights, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        groups = [group for optimiser in optimisers_ for group in optimiser.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * recipe.rate(step)
        for optimiser in optimisers_:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        value = loss.item()
        if value != value:
            raise ValueError(f"the loss is NaN at step {step}; the last checkpoint in {out} is good")
        total += value
        if step % 50 == 0:
            curve.append([step, round(total / 50, 4)])
            total = 0.0
        now = time.monotonic()
        report(step, recipe.steps, value, (step - done) * recipe.tokens_per_step / (now - began))
        if (now - saved_at > every_seconds and step % every_steps == 0) or step == recipe.steps:
            saved_at = now
            state = {
                "recipe": identity,
                "step": step,
                "curve": curve,
                "model": model.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers_],
            }
            with writing(checkpoint) as partial:
                torch.save(state, partial)
    maker.shutdown(cancel_futures=True)
    finish(model, recipe, out)
    (out / "curve.json").write_text(json.dumps(curve))


def finish(model: Any, recipe: Recipe, out: Path) -> None:
    """Write the model in Hugging Face format: bf16 safetensors, sdpa attention, the window as its length."""
    model = as_phi3(model) if recipe.saved_as == "phi3" else model
    model.config._attn_implementation = "sdpa"
    model.to(torch.bfloat16).save_pretrained(out)
    assert model.config.max_position_embeddings == WINDOW


def as_phi3(model: Any) -> Any:
    """The same function as a Phi3: query, key and value in one matrix, gate and up in another."""
    from transformers import AutoConfig, AutoModelForCausalLM

    ours = model.config.to_dict()
    llamas = ("head_dim", "attention_bias", "mlp_bias", "pretraining_tp")
    shape = {name: value for name, value in ours.items() if name not in (*llamas, *NOT_A_SHAPE)}
    config = AutoConfig.for_model("phi3", **shape, original_max_position_embeddings=WINDOW)
    states: dict[str, Tensor] = dict(model.state_dict())
    for layer in range(config.num_hidden_layers):
        for place, one, parts in (
            ("self_attn", "qkv_proj", ("q_proj", "k_proj", "v_proj")),
            ("mlp", "gate_up_proj", ("gate_proj", "up_proj")),
        ):
            block = f"model.layers.{layer}.{place}"
            states[f"{block}.{one}.weight"] = torch.cat([states.pop(f"{block}.{name}.weight") for name in parts])
    fused = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fused.load_state_dict(states)
    return fused
