"""One method, one recipe, one seed → trained weights in a store, with what they cost.

    DIR/trainings/<key>.json   what was trained on what, the curve, the cost; written whole once finished or failed
    DIR/trainings/<key>/       weights.safetensors, and a checkpoint while it is unfinished

The key covers all that changes the weights: the model's own, the plans, recipe, budget, documents and seed. It leaves
out names, paths and how many rows run together. Stopped at any moment, a training goes on where it was.
"""

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.search.searched import SearchedExtender
from extenders.training.schedule import Schedule, schedule
from harness.experiment.trainings import Training
from harness.files_on_disk import writing
from harness.store import Store, key_of

VERSION = 1  # raised when the same settings train otherwise
SKIPPING = 2  # raised when the same recipe skips positions otherwise
TOKENS_PER_STEP = 16_384


@dataclass(frozen=True)
class Job:
    """One training: a training for one method and one seed on one model. `stages`: what the method is when a stage
    trains towards another target, where that had to be searched."""

    training: Training
    label: str  # of the method with its training
    extender: Extender
    seed: int
    rope: RopeSpec
    plan: Schedule
    identity: Mapping[str, Any]
    key: str
    stages: Mapping[int, Extender] = field(default_factory=dict)  # by target length in tokens

    @property
    def words(self) -> str:
        return f"{self.label} · training seed {self.seed}"

    @property
    def budget_words(self) -> str:
        return f"{self.words}, {self.training.settings.tokens:,} tokens"

    def plans(self) -> dict[str, RopePlan]:
        """Every plan of the run by the name that its sequences say."""
        return plans_of(self.extender, self.rope, self.plan, self.stages)


def job_of(
    training: Training,
    label: str,
    extender: Extender,
    weights_hash: str,
    rope: RopeSpec,
    seed: int,
    data: Any,
    stages: Mapping[int, Extender] | None = None,
) -> Job:
    """The training of one method and seed; `data` identifies the documents (harness.training.corpus.identity), `stages`
    are the method for the targets of earlier stages, where it was searched for them.

    Raises ValueError for what cannot be trained: a budget under one step, a method without a plan for a stage.
    """
    settings, target = training.settings, extender.training_length
    per_step = settings.tokens_per_step or max(TOKENS_PER_STEP, target)
    plan = schedule(training.recipe, settings.tokens, per_step, rope.trained_length, target)
    stages = stages or {}
    recipe = {key: value for key, value in dataclasses.asdict(training.recipe).items() if key not in WORDS}
    identity = {
        "training": VERSION,
        "weights": weights_hash,
        "window": rope.trained_length,
        "target": target,
        "plans": {name: one.hash for name, one in plans_of(extender, rope, plan, stages).items()},
        "recipe": recipe,
        "tokens": settings.tokens,
        "tokens_per_step": per_step,
        "data": data,
        "seed": seed,
        "float32": settings.float32,
    }
    if any(portion.skipped for portion in training.recipe.portions):
        identity["skipping"] = SKIPPING
    return Job(training, label, extender, seed, rope, plan, identity, key_of(identity), stages)


WORDS = ("name", "source", "deviations", "original_inside")  # of a recipe; they change no weight


def plans_of(extender: Extender, rope: RopeSpec, plan: Schedule, stages: Mapping[int, Extender]) -> dict[str, RopePlan]:
    """Plans by the names that sequences say: the original RoPE, and the method's for every stage's target."""
    found: dict[str, RopePlan] = {}
    for place in (place for step in plan for place in step):
        if place.rope in found:
            continue
        if place.portion.rope == "original":
            found[place.rope] = RopePlan.as_trained(rope)
        elif place.target == extender.training_length:
            found[place.rope] = extender.plan(rope, place.target)
        else:
            found[place.rope] = _towards(extender, place.target, stages, rope).plan(rope, place.target)
    return found


def _towards(extender: Extender, target: int, stages: Mapping[int, Extender], rope: RopeSpec) -> Extender:
    if target in stages:
        return stages[target]
    if isinstance(extender, SearchedExtender) and target > rope.trained_length:
        raise ValueError(
            f"{extender.name} has numbers for {extender.target_length} tokens and no plan for a stage of {target}; an "
            "experiment that gives it none searches for both, and recipes of one stage need no other"
        )
    return dataclasses.replace(extender, target_length=target)


Say = Callable[[str], None]


def run_job(job: Job, store: Store, model: Any, tokenizer: Any, tests: Sequence[str], say: Say) -> dict[str, Any]:
    """Train `model` (freshly loaded, it is changed in place) and store weights and record; gives the record.

    A training that diverges or breaks is recorded as failed, with its last good checkpoint beside it. Under torchrun
    all processes call this, and the first one writes. Raises ValueError for documents that do not fit.
    """
    from extenders.training.loop import Diverged
    from harness.records.memory import PeakMemory
    from harness.records.provenance import provenance

    memory = PeakMemory()
    started = time.perf_counter()
    folder = store.training_folder(job.key)
    content: dict[str, Any] = {
        "identity": job.identity,
        "recipe": {**dataclasses.asdict(job.training.recipe), "label": job.training.label},
        "status": "failed",
        "error": "",
        "traceback": "",
    }
    first = True
    try:
        found, first = _trained(job, folder, model, tokenizer, tests, say)
        content |= found
        content["status"] = "done"
    except Exception as problem:
        if isinstance(problem, ValueError) and not isinstance(problem, Diverged):
            raise  # the user can mend it
        words = str(problem) if isinstance(problem, Diverged) else f"{type(problem).__name__}: {problem}"
        content |= {"error": " ".join(words.split())[:400], "traceback": traceback.format_exc()}
        content["cost"] = {"seconds": round(time.perf_counter() - started, 3)}
    content.setdefault("cost", {})["peak_memory_bytes"] = memory.peak()
    content["provenance"] = provenance()
    if first:
        store.put_training(job.key, content)
        if content["status"] == "done":
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return content


CHECKPOINT = "checkpoint.pt"


def dtype_of(training: Training) -> str:
    """What a model is loaded in for a training: float32, but for LoRA the checkpoint's own on a GPU."""
    return "auto" if training.recipe.lora is not None and not training.settings.float32 else "float32"


def _trained(
    job: Job, folder: Path, model: Any, tokenizer: Any, tests: Sequence[str], say: Say
) -> tuple[dict[str, Any], bool]:
    """(what is recorded, whether this process writes)."""
    import torch

    from extenders.training import lora as adapters
    from extenders.training.loop import train, whole
    from harness.progress import spoken
    from harness.rope.applied import applied
    from harness.training.context_parallel import split_of
    from harness.training.corpus import Encoder, TrainingBatches, corpus
    from harness.training.distributed import decoder_layers, shard, world
    from harness.training.objective import Objective, Plans, attended, document_kernel, training_flops
    from harness.training.weights import write_weights

    recipe, settings = job.training.recipe, job.training.settings
    with world() as here, applied(model, job.rope) as rotary, document_kernel(model):
        source = corpus(settings.corpus, Encoder(tokenizer), job.seed, tests)
        micro = settings.micro_tokens or TOKENS_PER_STEP
        shared, heads = settings.context_parallel, model.config.get_text_config().num_attention_heads
        split = split_of(here.rank, here.size, shared, heads)
        batches = TrainingBatches(
            job.plan, source, job.rope.trained_length, job.seed, micro, here.rank, here.size, shared
        )
        model.train()
        total = sum(parameter.numel() for parameter in model.parameters())
        if recipe.lora is not None:
            adapters.attach(model, recipe.lora, f"lora {job.seed}")
        if settings.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        objective = Objective(model, recipe.group, split)
        trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
        if here.size > 1:
            shard(objective, decoder_layers(model))
        plans = Plans(rotary, job.plans())
        checkpoint = folder / CHECKPOINT
        saved = _read_checkpoint(checkpoint, job.key)
        if saved is not None and here.first:
            say(f"{job.words}: going on after step {saved['outcome']['steps']}")
        shown = 0.0

        def report(now: Any) -> None:
            nonlocal shown
            if here.first and (time.monotonic() - shown > 15 or now.step == now.steps):
                shown = time.monotonic()
                losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in now.losses.items())
                say(
                    f"{job.words} · step {now.step}/{now.steps} · {now.tokens:,} tokens · loss {losses} nats · "
                    f"{now.tokens_per_second:,.0f} tokens/s · {spoken(now.seconds_left)}"
                )

        outcome = train(
            objective,
            batches,
            recipe,
            prepare=plans,
            state=saved,
            save=lambda state: _write_checkpoint(checkpoint, job.key, state) if here.first else None,
            report=report,
            half=not settings.float32,
        )
        plans.prove_again()
        model.eval()
        scale = recipe.lora.scale if recipe.lora is not None else 1.0
        tensors = {name: whole(p) for name, p in model.named_parameters() if p.requires_grad}
        weights = dict(write_weights(folder, tensors, scale)) if here.first else {}
        if here.size == 1:
            adapters.merge_into(model, scale)
        sequences: dict[str, int] = {}
        for place in (place for step in job.plan for place in step):
            sequences[place.portion.name] = sequences.get(place.portion.name, 0) + 1
        window = job.rope.trained_length
        parts = [(place.size, attended(place, window, recipe.group)) for step in job.plan for place in step]
        names = [name for name in trained]
        record = {
            "data": {"corpus": settings.corpus, "order": outcome.order, "sequences": sequences, **batches.facts()},
            "trainable": {"parameters": sum(trained.values()), "of": total, "names": names},
            "plans": plans.proofs,
            "curve": outcome.curve,
            "weights": weights,
            "cost": {
                "seconds": round(outcome.seconds, 3),
                "tokens": outcome.tokens,
                "scored_weight": round(outcome.scored, 3),
                "flops": training_flops(model, parts, sum(trained.values()), total),
                "tokens_per_second": round(outcome.tokens / max(outcome.seconds, 1e-9), 1),
                "processes": here.size,
                "context_parallel": shared,
                "threads": torch.get_num_threads(),
            },
        }
        return record, here.first


def _read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    import torch

    if not path.is_file():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # a damaged file: the training begins anew
        return None
    return saved if saved.pop("key", None) == key else None


def _write_checkpoint(path: Path, key: str, state: Mapping[str, Any]) -> None:
    import torch

    with writing(path) as partial:
        torch.save({**state, "key": key}, partial)
