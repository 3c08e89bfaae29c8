"""The training loop: an objective and batches in, trained weights and loss curves out. It knows no files.

Everything that a run needs to go on is in its state: step, trainable weights, optimiser, generators, curve and the hash
of the data so far. The data of a step depend on the step alone, so a run that was stopped anywhere ends with the same
weights as one that was not. Under torch.distributed every process runs this loop on its own rows.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

import torch
from torch import Tensor, nn

from extenders.training.batch import Batch
from extenders.training.processes import Processes, like, whole
from extenders.training.recipe import Recipe

STREAK = 50  # steps in a row with a loss above the first step's before a run counts as diverged (our choice)
State = dict[str, Any]
Prepare = Callable[[Batch], AbstractContextManager[Any] | None]


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


class BatchSource(Protocol):
    """All data of a run, by step."""

    steps: int
    kinds: tuple[str, ...]

    def at(self, step: int) -> StepData: ...

    def tokens_until(self, step: int) -> int:
        """Tokens of all steps before this one, over all processes."""


@dataclass(frozen=True)
class TrainingProgress:
    """What is reported after every step."""

    step: int
    steps: int
    tokens: int
    losses: Mapping[str, float]  # nats per token, by sequence class
    tokens_per_second: float
    seconds_left: float


class CurveStep(TypedDict):
    step: int
    tokens: int  # so far
    loss: dict[str, float]  # nats per token, by sequence class
    weight: NotRequired[dict[str, float]]  # of the step's targets in its loss, by sequence class
    learning_rate: float
    gradient_norm: float


@dataclass
class TrainingOutcome:
    steps: int = 0
    tokens: int = 0
    scored: float = 0.0  # total weight of the targets
    seconds: float = 0.0  # over all sittings
    order: str = ""  # hash over the data in the order in which they were trained on
    curve: list[CurveStep] = field(default_factory=list)


def train(
    objective: nn.Module,
    batches: BatchSource,
    recipe: Recipe,
    *,
    prepare: Prepare,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    every_seconds: float = 30.0,
    report: Callable[[TrainingProgress], None] = lambda _: None,
    half: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train what requires a gradient in `objective`, a module that maps a Batch to the sum of its weighted losses.

    `prepare(batch)` pins the batch's RoPE plan before its forward pass; a context that it returns holds for forward
    and backward (context parallelism). `half`: bf16 autocast. `state` continues a run, `save` is given the state every
    `every_seconds` (0: every step), more seldom where saving is slow. Once `stop` says so, the state is saved and the
    loop ends with a KeyboardInterrupt. Raises Diverged.
    """
    world = Processes(next(objective.parameters()).device)
    trained, optimiser = _optimiser(objective, recipe)
    outcome = TrainingOutcome()
    if state is not None:
        _restore(state, trained, optimiser, outcome)
    watch, saving, clock = _Watch(outcome.curve), _Saving(every_seconds), _Clock(outcome)
    total = batches.tokens_until(batches.steps)
    with ThreadPoolExecutor(1) as maker:
        for step, data in _made_ahead(maker, batches, outcome.steps):
            rate = recipe.learning_rate * recipe.rate(batches.tokens_until(step) / total)
            # a state is of before this step, whose forward pass draws (dropout), so generators are noted before it
            generators = _generators() if save is not None else {}
            losses, weights = _gradients(objective, data.batches, batches.kinds, prepare, world, half)
            norm = _norm(trained.values(), recipe.clip)
            watch.check(step + 1, losses, weights, norm)
            # weights are kept once a loss has shown that they are good, so before this step changes them; but who is
            # asked to stop keeps the step that was at work
            stopping = world.any(stop())
            good = save is not None and watch.above == 0
            if save is not None and good and not stopping and world.any(saving.due):
                outcome.seconds = clock.seconds
                with saving:
                    save({**_state(trained, optimiser, outcome), **generators})
            _update(optimiser, rate)
            outcome.steps = step + 1
            outcome.tokens = batches.tokens_until(step + 1)
            outcome.scored += sum(weights.values())
            outcome.order = _chained(outcome.order, world.gather(data.digests))
            outcome.seconds = clock.seconds
            outcome.curve.append(_point(outcome, losses, weights, rate, norm))
            speed, left = clock.speed(outcome.tokens, total)
            report(TrainingProgress(outcome.steps, batches.steps, outcome.tokens, losses, speed, left))
            if stopping and outcome.steps < batches.steps:
                if save is not None and good:  # this step is done, and would be done twice
                    with saving:
                        save({**_state(trained, optimiser, outcome), **_generators()})
                raise KeyboardInterrupt
    return outcome


def _optimiser(objective: nn.Module, recipe: Recipe) -> tuple[dict[str, Tensor], torch.optim.Optimizer]:
    """What is trained, by name, and its optimiser. Raises ValueError when nothing is."""
    reshard = getattr(objective, "reshard", None)
    if reshard is not None:  # FSDP2 leaves weights whole after a forward pass without a backward one
        reshard()
    trained: dict[str, Tensor] = {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}
    if not trained:
        raise ValueError("nothing of this model is to be trained; name parameters or adapters that train")
    return trained, torch.optim.AdamW(
        list(trained.values()), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )


def _made_ahead(maker: ThreadPoolExecutor, batches: BatchSource, first: int) -> Iterator[tuple[int, StepData]]:
    """Every step from `first` on with its data; the next step's are made while this one is learned."""
    upcoming = maker.submit(batches.at, first) if first < batches.steps else None
    for step in range(first, batches.steps):
        assert upcoming is not None
        data = upcoming.result()
        upcoming = maker.submit(batches.at, step + 1) if step + 1 < batches.steps else None
        yield step, data


def _update(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _point(
    outcome: TrainingOutcome, losses: Mapping[str, float], weights: Mapping[str, float], rate: float, norm: float
) -> CurveStep:
    """The step's point of the curve."""
    return {
        "step": outcome.steps,
        "tokens": outcome.tokens,
        "loss": {kind: round(value, 5) for kind, value in losses.items()},
        "weight": {kind: round(value, 3) for kind, value in weights.items()},
        "learning_rate": rate,
        "gradient_norm": round(norm, 5),
    }


class _Watch:
    """Sees when a run diverges. `curve` is what was trained so far. `above`: steps in a row above the start."""

    def __init__(self, curve: Sequence[CurveStep]) -> None:
        self._starts = {kind: value for point in reversed(curve) for kind, value in point["loss"].items()}
        self.above = 0

    def check(self, step: int, losses: Mapping[str, float], weights: Mapping[str, float], norm: float) -> None:
        """Raises Diverged."""
        loss = sum(losses[kind] * weights[kind] for kind in losses) / sum(weights.values())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(step, f"the loss is {loss:.4g} and the gradient's norm {norm:.4g}")
        for kind, value in losses.items():
            self._starts.setdefault(kind, value)
        starts = self._starts
        higher = all(value > starts[kind] + 0.1 + 0.25 * abs(starts[kind]) for kind, value in losses.items())
        self.above = self.above + 1 if higher else 0
        if self.above >= STREAK:
            raise Diverged(step, f"the loss was above its start of {loss_words(starts)} for {STREAK} steps")


class _Saving:
    """When a state is saved: every so many seconds, or more seldom where saving takes above a twentieth of the time."""

    def __init__(self, every_seconds: float) -> None:
        self._every = every_seconds
        self._saved_at, self._took = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        wait = max(self._every, 20 * self._took) if self._every else 0.0
        return time.monotonic() - self._saved_at > wait

    def __enter__(self) -> None:
        self._saved_at = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._took = time.monotonic() - self._saved_at


class _Clock:
    """Seconds of all sittings, and the speed of this one."""

    def __init__(self, outcome: TrainingOutcome) -> None:
        self._began, self._before, self._tokens = time.monotonic(), outcome.seconds, outcome.tokens

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def speed(self, tokens: int, total: int) -> tuple[float, float]:
        """(tokens per second, seconds left)."""
        speed = (tokens - self._tokens) / (time.monotonic() - self._began)
        return speed, (total - tokens) / speed


def _gradients(
    objective: nn.Module,
    batches: Sequence[Batch],
    kinds: Sequence[str],
    prepare: Prepare,
    world: Processes,
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
        batch = given.to(world.device)
        with prepare(batch) or nullcontext():
            with torch.autocast(world.device.type, torch.bfloat16, enabled=half):
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
    """Losses in words."""
    return ", ".join(f"{kind} {value:.3f}" for kind, value in losses.items()) + " nats"


def _chained(before: str, digests: Mapping[int, str]) -> str:
    text = before + "".join(digests[place] for place in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _generators() -> State:
    """PyTorch's generators as they are now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"generator": torch.get_rng_state(), "generators_cuda": cuda}


def _state(trained: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, outcome: TrainingOutcome) -> State:
    """What a run needs to go on beside its generators, whole tensors on the CPU also where processes hold parts."""
    moments = {name: {key: whole(value) for key, value in optimiser.state[p].items()} for name, p in trained.items()}
    return {
        "weights": {name: whole(parameter) for name, parameter in trained.items()},
        "moments": moments,
        "outcome": {**vars(outcome), "curve": list(outcome.curve)},
    }


@torch.no_grad()
def _restore(
    state: State, trained: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, outcome: TrainingOutcome
) -> None:
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
