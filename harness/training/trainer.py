"""A training job on a loaded model → trained weights in a store, with what they cost.

    DIR/trainings/<key>.json   what was trained on what, the curve, the cost; written whole once finished or failed
    DIR/trainings/<key>/       weights.safetensors, and a checkpoint while it is unfinished

Stopped at any moment, a training goes on where it was.
"""

import dataclasses
import os
import time
import traceback
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from extenders.training import loop
from extenders.training import lora as adapters
from extenders.training.loop import Diverged, TrainingOutcome, TrainingProgress
from extenders.training.processes import whole
from harness.experiment.trainings import Training
from harness.files_on_disk import ENDS_A_RUN, held, need_room, writing
from harness.progress import spoken
from harness.records.memory import PeakMemory
from harness.records.provenance import provenance
from harness.rope.applied import applied
from harness.signals import stop_asked
from harness.store import Store, Trained, TrainedFile, TrainingCost, TrainingRecord
from harness.training.batches import TrainingBatches
from harness.training.context_parallel import split_of
from harness.training.corpus import Encoder, corpus
from harness.training.distributed import World, decoder_layers, shard, world
from harness.training.job import TOKENS_PER_STEP, TrainingJob
from harness.training.memory_forecast import with_checkpointing
from harness.training.objective import Objective, Plans, attended, document_kernel, training_flops
from harness.training.weights import write_weights

CHECKPOINT = "checkpoint.pt"
ROOM = 16  # bytes a weight: itself, and a checkpoint of it with its two moments
SPOKEN_SECONDS = 15  # between two lines about a training
GIVEN_UP = 5.0  # seconds that a process without its parent may still hold what it had at work
ELSEWHERE: TrainedFile = {"file": "", "sha256": "", "bytes": 0}  # the first process writes it

Say = Callable[[str], None]


def run_job(
    job: TrainingJob, store: Store, model: Any, tokenizer: Any, tests: Sequence[str], say: Say
) -> TrainingRecord:
    """Train `model` (freshly loaded, it is changed in place) and store weights and record; gives the record.

    A training that diverges or breaks is recorded as failed, with its last good checkpoint beside it. Under torchrun
    all processes call this, and the first one writes. Raises ValueError for documents that do not fit, and while
    another run is at this training.
    """
    with stop_asked() as stop, _alone(job, store):
        return _recorded(job, store, model, tokenizer, tests, say, stop)


def _alone(job: TrainingJob, store: Store) -> AbstractContextManager[None]:
    """Holds the training; the processes of torchrun hold it together, as the first does."""
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    store.check_place()
    folder = store.training_folder(job.key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return held(folder.with_suffix(".lock"), f"the training {job.words} in {store.folder}", GIVEN_UP)


def _recorded(
    job: TrainingJob,
    store: Store,
    model: Any,
    tokenizer: Any,
    tests: Sequence[str],
    say: Say,
    stop: Callable[[], bool],
) -> TrainingRecord:
    """The training, done or failed, with its record written."""
    memory = PeakMemory()
    started = time.perf_counter()
    record: TrainingRecord = {
        "key": job.key,
        "identity": dict(job.identity),
        "recipe": {**dataclasses.asdict(job.training.recipe), "label": job.training.label},
        "status": "failed",
        "error": "",
        "traceback": "",
        "cost": {"seconds": 0.0, "peak_memory_bytes": 0},
        "provenance": provenance(),
    }
    first = True
    try:
        trained, first = _trained(job, store, model, tokenizer, tests, say, stop)
        record = {**record, **trained, "status": "done"}
    except ENDS_A_RUN:
        raise
    except Exception as problem:
        if stop():
            raise KeyboardInterrupt from problem
        if isinstance(problem, ValueError) and not isinstance(problem, Diverged):
            raise  # the user can mend it
        words = str(problem) if isinstance(problem, Diverged) else f"{type(problem).__name__}: {problem}"
        record["error"], record["traceback"] = " ".join(words.split())[:400], traceback.format_exc()
        record["cost"]["seconds"] = round(time.perf_counter() - started, 3)
    record["cost"]["peak_memory_bytes"] = memory.peak()
    record["provenance"] = provenance()
    if first:
        store.put_training(job.key, record)
        if record["status"] == "done":
            (store.training_folder(job.key) / CHECKPOINT).unlink(missing_ok=True)
    return record


def dtype_of(training: Training) -> str:
    """What a model is loaded in for a training: float32, but for LoRA the checkpoint's own on a GPU."""
    return "auto" if training.recipe.lora is not None and not training.settings.float32 else "float32"


@dataclass(frozen=True)
class TrainedSizes:
    """What of a model is trained: names with their numbers of weights, out of how many in all."""

    sizes: Mapping[str, int]
    of: int

    @property
    def parameters(self) -> int:
        return sum(self.sizes.values())


def _trained(
    job: TrainingJob,
    store: Store,
    model: Any,
    tokenizer: Any,
    tests: Sequence[str],
    say: Say,
    stop: Callable[[], bool],
) -> tuple[Trained, bool]:
    """(what is recorded, whether this process writes)."""
    folder = store.training_folder(job.key)
    with world() as here, applied(model, job.rope) as rotary, document_kernel(model):
        batches = _batches(job, tokenizer, tests, here)
        objective, trainable = _objective(job, model, here, say if here.first else _nothing)
        if here.first:  # a disk that is full at the end would have cost the whole training
            need_room(folder, ROOM * trainable.parameters)
        plans = Plans(rotary, job.plans())
        checkpoint = Checkpoint(folder / CHECKPOINT, job.key)
        state = checkpoint.read()
        if state is not None and here.first:
            say(f"{job.words}: going on after step {state['outcome']['steps']}")
        outcome = loop.train(
            objective,
            batches,
            job.training.recipe,
            prepare=plans,
            state=state,
            save=_in_place(store, checkpoint) if here.first else _nothing,  # all processes gather the state
            report=Reporter(job, say) if here.first else _nothing,
            half=not job.training.settings.float32,
            stop=stop,
        )
        plans.prove_again()
        model.eval()
        weights = _keep(job, folder, model, here)
        trained: Trained = {
            "data": {
                "corpus": job.training.settings.corpus,
                "order": outcome.order,
                "sequences": _sequences(job),
                **batches.facts(),
            },
            "trainable": {"parameters": trainable.parameters, "of": trainable.of, "names": list(trainable.sizes)},
            "plans": plans.proofs,
            "curve": [*outcome.curve],
            "weights": weights,
            "cost": _cost(job, model, trainable, outcome, here),
        }
        return trained, here.first


def _nothing(_: object) -> None: ...


def _in_place(store: Store, checkpoint: "Checkpoint") -> Callable[[Mapping[str, Any]], None]:
    """Writes a checkpoint while the store is where it was."""

    def save(state: Mapping[str, Any]) -> None:
        store.check_place()
        checkpoint.write(state)

    return save


def _batches(job: TrainingJob, tokenizer: Any, tests: Sequence[str], here: World) -> TrainingBatches:
    settings = job.training.settings
    source = corpus(settings.corpus, Encoder(tokenizer), job.seed, tests)
    micro = settings.micro_tokens or TOKENS_PER_STEP
    shared = settings.context_parallel
    return TrainingBatches(job.plan, source, job.rope.trained_length, job.seed, micro, here.rank, here.size, shared)


def _objective(
    job: TrainingJob, model: Any, here: World, say: Callable[[str], object]
) -> tuple[Objective, TrainedSizes]:
    """The model ready to train: adapters attached, layers spread over all processes."""
    recipe, settings = job.training.recipe, job.training.settings
    heads = model.config.get_text_config().num_attention_heads
    split = split_of(here.rank, here.size, settings.context_parallel, heads)
    model.train()
    total = sum(parameter.numel() for parameter in model.parameters())
    if recipe.lora is not None:
        adapters.attach(model, recipe.lora, f"lora {job.seed}")
    objective = Objective(model, recipe.group, split)
    sizes = {name: weight.numel() for name, weight in model.named_parameters() if weight.requires_grad}
    longest = max(sequence.size for step in job.plan for sequence in step)
    tokens = max(longest, settings.micro_tokens or TOKENS_PER_STEP) // settings.context_parallel
    asked = settings.checkpointing if here.size == 1 else bool(settings.checkpointing)  # shards are not forecast
    again, memory = with_checkpointing(asked, model, sum(sizes.values()), tokens)
    say(f"{job.words}: {memory}")
    if again:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if here.size > 1:
        shard(objective, decoder_layers(model))
    return objective, TrainedSizes(sizes, total)


def _keep(job: TrainingJob, folder: Path, model: Any, here: World) -> TrainedFile:
    """Write what was trained; in a single process adapters become part of the model."""
    lora = job.training.recipe.lora
    scale = lora.scale if lora is not None else 1.0
    tensors = {name: whole(weight) for name, weight in model.named_parameters() if weight.requires_grad}
    weights = write_weights(folder, tensors, scale) if here.first else ELSEWHERE
    if here.size == 1:
        adapters.merge_into(model, scale)
    return weights


def _sequences(job: TrainingJob) -> dict[str, int]:
    """How many sequences of every portion there were."""
    counts: dict[str, int] = {}
    for sequence in (sequence for step in job.plan for sequence in step):
        counts[sequence.portion.name] = counts.get(sequence.portion.name, 0) + 1
    return counts


def _cost(job: TrainingJob, model: Any, trainable: TrainedSizes, outcome: TrainingOutcome, here: World) -> TrainingCost:
    window, group = job.rope.trained_length, job.training.recipe.group
    parts = [(sequence.size, attended(sequence, window, group)) for step in job.plan for sequence in step]
    return {
        "seconds": round(outcome.seconds, 3),
        "peak_memory_bytes": 0,  # known at the end
        "tokens": outcome.tokens,
        "scored_weight": round(outcome.scored, 3),
        "flops": training_flops(model, parts, trainable.parameters, trainable.of),
        "tokens_per_second": round(outcome.tokens / max(outcome.seconds, 1e-9), 1),
        "processes": here.size,
        "context_parallel": job.training.settings.context_parallel,
        "threads": torch.get_num_threads(),
    }


class Reporter:
    """Says how a training goes, every now and then."""

    def __init__(self, job: TrainingJob, say: Say) -> None:
        self._job, self._say, self._said_at = job, say, 0.0

    def __call__(self, now: TrainingProgress) -> None:
        if time.monotonic() - self._said_at > SPOKEN_SECONDS or now.step == now.steps:
            self._said_at = time.monotonic()
            losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in now.losses.items())
            self._say(
                f"{self._job.words} · step {now.step}/{now.steps} · {now.tokens:,} tokens · loss {losses} nats · "
                f"{now.tokens_per_second:,.0f} tokens/s · {spoken(now.seconds_left)}"
            )


@dataclass(frozen=True)
class Checkpoint:
    """The state of an unfinished training on disk. `key` is the training's."""

    path: Path
    key: str

    def read(self) -> dict[str, Any] | None:
        """None where there is none, and where it is damaged or another training's: that begins anew."""
        if not self.path.is_file():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                if archive.testzip() is not None:  # PyTorch does not look at the checksums that it writes
                    return None
            state: dict[str, Any] = torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception:  # whatever torch finds wrong with a damaged file
            return None
        return state if state.pop("key", None) == self.key else None

    def write(self, state: Mapping[str, Any]) -> None:
        with writing(self.path) as partial, partial.open("wb") as file:
            torch.save({**state, "key": self.key}, file)
