"""What is to be trained: one method, one recipe, one seed on one model, under a key.

The key covers all that changes the weights: the model's own, the plans, recipe, budget, documents and seed. It leaves
out names, paths and how many rows run together.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.search.searched import SearchedExtender
from extenders.training.schedule import Schedule, schedule
from harness.experiment.trainings import Training
from harness.store import key_of

VERSION = 1  # raised when the same settings train otherwise
SKIPPING = 2  # raised when the same recipe skips positions otherwise
TOKENS_PER_STEP = 16_384


@dataclass(frozen=True)
class TrainingJob:
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
        settings = self.training.settings
        return f"{self.words}, {settings.tokens:,} tokens" + (", in float32" if settings.float32 else "")

    def plans(self) -> dict[str, RopePlan]:
        """Every plan of the run by the name that its sequences say."""
        return plans_of(self.extender, self.rope, self.plan, self.stages)


def in_precision(training: Training, slow_in_half: bool) -> Training:
    """The training with its products' precision said, where its settings leave it to the machine."""
    if training.settings.float32 is not None:
        return training
    return dataclasses.replace(training, settings=dataclasses.replace(training.settings, float32=slow_in_half))


def job_of(
    training: Training,
    label: str,
    extender: Extender,
    weights_hash: str,
    rope: RopeSpec,
    seed: int,
    data: Any,
    stages: Mapping[int, Extender] | None = None,
) -> TrainingJob:
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
        "plans": {name: towards.hash for name, towards in plans_of(extender, rope, plan, stages).items()},
        "recipe": recipe,
        "tokens": settings.tokens,
        "tokens_per_step": per_step,
        "data": data,
        "seed": seed,
        "float32": bool(settings.float32),
    }
    if any(portion.skipped for portion in training.recipe.portions):
        identity["skipping"] = SKIPPING
    return TrainingJob(training, label, extender, seed, rope, plan, identity, key_of(identity), stages)


WORDS = ("name", "source", "deviations", "original_inside")  # of a recipe; they change no weight


def plans_of(extender: Extender, rope: RopeSpec, plan: Schedule, stages: Mapping[int, Extender]) -> dict[str, RopePlan]:
    """Plans by the names that sequences say: the original RoPE, and the method's for every stage's target."""
    plans: dict[str, RopePlan] = {}
    for sequence in (sequence for step in plan for sequence in step):
        if sequence.rope in plans:
            continue
        if sequence.portion.rope == "original":
            plans[sequence.rope] = RopePlan.as_trained(rope)
        elif sequence.target == extender.training_length:
            plans[sequence.rope] = extender.plan(rope, sequence.target)
        else:
            plans[sequence.rope] = _towards(extender, sequence.target, stages, rope).plan(rope, sequence.target)
    if extender.cuts_context:
        raise ValueError(f"{extender.name} cuts prompts to the trained window, so there is nothing to train it for")
    if any(plan.pieces for plan in plans.values()):
        raise ValueError(
            f"{extender.name} maps positions, and nothing is trained under mapped positions yet; compare it untrained, "
            "in an experiment without trainings"
        )
    return plans


def _towards(extender: Extender, target: int, stages: Mapping[int, Extender], rope: RopeSpec) -> Extender:
    if target in stages:
        return stages[target]
    if isinstance(extender, SearchedExtender) and target > rope.trained_length:
        raise ValueError(
            f"{extender.name} has numbers for {extender.target_length} tokens and no plan for a stage of {target}; an "
            "experiment that gives it none searches for both, and recipes of one stage need no other"
        )
    return dataclasses.replace(extender, target_length=target)
