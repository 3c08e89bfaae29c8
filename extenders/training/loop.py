"""The training loop: an objective and batches in, trained weights and loss curves out. It knows no files.

Everything that a run needs to go on is in its state: step, trainable weights, optimiser, generators, curve and the hash
of the data so far. The data of a step depend on the step alone, so a run that was stopped anywhere ends with the same
weights as one that was not. Under torch.distributed every process runs this loop on its own rows.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from extenders.training.batch import Batch
from extenders.training.recipe import Recipe

STREAK = 50  # steps in a row with a loss above the first step's before a run counts as diverged (our choice)
State = dict[str, Any]


class Diverged(ValueError):
    """The loss is NaN or stayed above its start; the state that was saved last is good."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"training diverged at step {step}: {reason}; lower the learning rate or clip more")
        self.step = step


@dataclass(frozen=True)
class StepData:
    """What one process runs in one step, and a hash for each sequence of all processes' rows that it made."""

    batches: Sequence[Batch]
    digests: Mapping[int, str]  # by the sequence's place in the step


class Batches(Protocol):
    """All data of a run, by step."""

    steps: int
    kinds: tuple[str, ...]

    def at(self, step: int) -> StepData: ...

    def tokens_until(self, step: int) -> int:
        """Tokens of all steps before this one, over all processes."""


@dataclass(frozen=True)
class Progress:
    """What is reported after every step."""

    step: int
    steps: int
    tokens: int
    losses: Mapping[str, float]  # nats per token, by sequence class
    tokens_per_second: float
    seconds_left: float


@dataclass
class Outcome:
    steps: int = 0
    tokens: int = 0
    scored: float = 0.0  # total weight of the targets
    seconds: float = 0.0  # over all sittings
    order: str = ""  # hash over the data in the order in which they were trained on
    curve: list[dict[str, Any]] = field(default_factory=list)


def train(
    objective: nn.Module,
    batches: Batches,
    recipe: Recipe,
    *,
    prepare: Callable[[Batch], AbstractContextManager[Any] | None],
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    every_seconds: float = 30.0,
    report: Callable[[Progress], None] = lambda _: None,
    half: bool = True,
) -> Outcome:
    """Train what requires a gradient in `objective`, a module that maps a Batch to the sum of its weighted losses.

    `prepare(batch)` pins the batch's RoPE plan before its forward pass; a context that it returns holds for forward
    and backward (context parallelism). `half`: bf16 autocast. `state` continues a run, `save` is given the state every
    `every_seconds` (0: every step), more seldom where saving is slow. Raises Diverged.
    """
    device = next(objective.parameters()).device
    world = _World(device)
    reshard = getattr(objective, "reshard", None)
    if reshard is not None:  # FSDP2 leaves weights whole after a forward pass without a backward one
        reshard()
    trained = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}
    if not trained:
        raise ValueError("nothing of this model is to be trained; name parameters or adapters that train")
    optimiser = torch.optim.AdamW(
        list(trained.values()), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    outcome = Outcome()
    if state is not None:
        _restore(state, trained, optimiser, outcome)
    began, before = time.monotonic(), outcome.tokens
    sat = outcome.seconds
    saved_at, took = began, 0.0
    streak = 0
    starts = {kind: value for point in reversed(outcome.curve) for kind, value in point["loss"].items()}
    total = batches.tokens_until(batches.steps)
    with ThreadPoolExecutor(1) as maker:  # makes the next step's data while this one is learned
        upcoming = maker.submit(batches.at, outcome.steps) if outcome.steps < batches.steps else None
        while upcoming is not None:
            step = outcome.steps
            data = upcoming.result()
            upcoming = maker.submit(batches.at, step + 1) if step + 1 < batches.steps else None
            rate = recipe.learning_rate * recipe.rate(batches.tokens_until(step) / total)
            # a state is of before this step, whose forward pass draws (dropout), so generators are noted before it
            generators = _generators() if save is not None else {}
            losses, weights = _gradients(objective, data.batches, batches.kinds, prepare, world, device, half)
            scored = sum(weights.values())
            loss = sum(losses[kind] * weights[kind] for kind in losses) / scored
            norm = _norm(trained.values(), recipe.clip)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise Diverged(step + 1, f"the loss is {loss:.4g} and the gradient's norm {norm:.4g}")
            for kind, value in losses.items():
                starts.setdefault(kind, value)
            above = all(value > starts[kind] + 0.1 + 0.25 * abs(starts[kind]) for kind, value in losses.items())
            streak = streak + 1 if above else 0
            if streak >= STREAK:
                raise Diverged(step + 1, f"the loss was above its start of {loss_words(starts)} for {STREAK} steps")
            # weights are kept once a loss has shown that they are good, so before this step changes them
            wait = max(every_seconds, 20 * took) if every_seconds else 0.0  # at most a twentieth of the time
            due = time.monotonic() - saved_at > wait
            if save is not None and streak == 0 and world.any(due):
                outcome.seconds = sat + time.monotonic() - began
                saved_at = time.monotonic()
                save({**_state(trained, optimiser, outcome), **generators})
                took = time.monotonic() - saved_at
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            outcome.steps = step + 1
            outcome.tokens = batches.tokens_until(step + 1)
            outcome.scored += scored
            outcome.order = _chained(outcome.order, world.gather(data.digests))
            now = time.monotonic()
            outcome.seconds = sat + now - began
            outcome.curve.append(
                {
                    "step": outcome.steps,
                    "tokens": outcome.tokens,
                    "loss": {kind: round(value, 5) for kind, value in losses.items()},
                    "learning_rate": rate,
                    "gradient_norm": round(norm, 5),
                }
            )
            speed = (outcome.tokens - before) / (now - began)
            left = (total - outcome.tokens) / speed
            report(Progress(outcome.steps, batches.steps, outcome.tokens, losses, speed, left))
    return outcome


def _gradients(
    objective: nn.Module,
    batches: Sequence[Batch],
    kinds: Sequence[str],
    prepare: Callable[[Batch], AbstractContextManager[Any] | None],
    world: "_World",
    device: torch.device,
    half: bool,
) -> tuple[dict[str, float], dict[str, float]]:
    """Gradients of the step's mean loss, and by sequence class its loss and its total weight over all processes."""
    sums = torch.zeros(len(kinds), 2, dtype=torch.float64)
    for batch in batches:
        sums[kinds.index(batch.kind), 1] += batch.weights_BS.double().sum().cpu()
    weights = world.sum(sums[:, 1].clone())
    scored = float(weights.sum())
    if not scored > 0:
        raise ValueError("no target of this step has a weight; the data hold nothing to learn")
    for given in batches:
        batch = given.to(device)
        with prepare(batch) or nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                loss: Tensor = objective(batch)
            # processes average their gradients: times their number it is the gradient of the sum
            (loss * (world.size / scored)).backward()
        sums[kinds.index(batch.kind), 0] += float(loss.detach())
    losses = world.sum(sums[:, 0].clone())
    seen = [i for i in range(len(kinds)) if float(weights[i]) > 0]
    return {kinds[i]: float(losses[i] / weights[i]) for i in seen}, {kinds[i]: float(weights[i]) for i in seen}


def _norm(parameters: Any, clip: float) -> float:
    """Clips the gradients; gives their norm before."""
    norm = torch.nn.utils.clip_grad_norm_(list(parameters), clip)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def loss_words(losses: Mapping[str, float]) -> str:
    """Losses as one says them."""
    return ", ".join(f"{kind} {value:.3f}" for kind, value in losses.items()) + " nats"


def _chained(before: str, digests: Mapping[int, str]) -> str:
    text = before + "".join(digests[place] for place in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _generators() -> State:
    """PyTorch's generators as they are now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"generator": torch.get_rng_state(), "generators_cuda": cuda}


def _state(trained: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, outcome: Outcome) -> State:
    """What a run needs to go on beside its generators, whole tensors on the CPU also where processes hold parts."""
    moments = {name: {key: whole(value) for key, value in optimiser.state[p].items()} for name, p in trained.items()}
    return {
        "weights": {name: whole(parameter) for name, parameter in trained.items()},
        "moments": moments,
        "outcome": {**vars(outcome), "curve": list(outcome.curve)},
    }


@torch.no_grad()
def _restore(state: State, trained: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, outcome: Outcome) -> None:
    if set(state["weights"]) != set(trained):
        raise ValueError("the state to continue from belongs to another training: it holds other parameters")
    for name, parameter in trained.items():
        parameter.copy_(like(state["weights"][name], parameter))
        moments = state["moments"][name]
        optimiser.state[parameter] = {
            key: like(value, parameter) if value.ndim else value.clone() for key, value in moments.items()
        }
    torch.set_rng_state(state["generator"])
    if state["generators_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["generators_cuda"])
    for name, value in state["outcome"].items():
        setattr(outcome, name, value)
    outcome.curve = list(outcome.curve)


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


class _World:
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
