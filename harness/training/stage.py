"""The training stage of a run: methods × trainings → the same methods with trained weights, trained where missing.

A training is done for each seed of the experiment, and the cells of a seed use the weights of that seed. A method with
training `none` keeps its cells, keys and label.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extenders.base import RopeSpec
from extenders.search.searched import SearchedExtender
from extenders.training.planned import PlannedInside
from extenders.training.switched import OriginalInside
from harness.experiment.cells import Base, files_below, place_of
from harness.experiment.file import Experiment, Method, Test
from harness.experiment.trainings import NONE, Training
from harness.store import Store
from harness.training.job import Job, job_of

Jobs = Mapping[tuple[str, int], Job]  # by the label of the trained method and the seed


@dataclass(frozen=True)
class Stage:
    """A searched method as an earlier stage of a training needs it: searched for that stage's target as well."""

    base: str  # label of the method
    training: Training
    target: int  # tokens
    method: Method


def stages(methods: Sequence[Method], trainings: Sequence[Training | None], rope: RopeSpec) -> list[Stage]:
    """What has to be searched besides the methods: LongRoPE's two stages need factors for both lengths."""
    found = []
    for method in methods:
        extender = method.extender
        if not isinstance(extender, SearchedExtender) or extender.searched:
            continue
        for training in trainings:
            if training is None:
                continue
            reaches = {round(extender.target_length * stage.reach) for stage in training.recipe.stages}
            for target in sorted(reaches - {extender.target_length}):
                if target > rope.trained_length:
                    earlier = dataclasses.replace(extender, target_length=target)
                    label = f"{method.label} for a stage of {target} tokens"
                    found.append(Stage(method.label, training, target, Method(label, earlier)))
    return found


def factored(
    methods: Sequence[Method],
    trainings: Sequence[Training | None],
    waiting: Collection[tuple[str, str]] = (),
) -> tuple[Method, ...]:
    """Every method with every training; `none` also without one, because retention is measured against it.

    After a recipe with mixed windows a method runs the original RoPE inside the window, after any other its own plan,
    as it was trained. `waiting` names pairs of method and training that have no plan yet for one of their stages.
    """
    found = []
    for method in methods:
        untrained = () if None in trainings or method.extender.name != NONE else (None,)
        for training in (*untrained, *trainings) or (None,):
            if training is None:
                found.append(method)
                continue
            if (method.label, training.label) in waiting:
                continue
            wrapper = OriginalInside if training.recipe.original_inside else PlannedInside
            extender = wrapper(target_length=method.extender.target_length, inner=method.extender)
            label = training.labelled(method.label)
            found.append(dataclasses.replace(method, label=label, extender=extender, training=training))
    labels = [method.label for method in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"two methods are labelled {twice[0]!r} once trained; give one of them another 'label'")
    return tuple(found)


def jobs_of(
    methods: Sequence[Method], base: Base, experiment: Experiment, earlier: Sequence[Stage] = ()
) -> dict[tuple[str, int], Job]:
    """The trainings that these methods need, by label and seed. Raises ValueError for what cannot be trained.

    `earlier`: the searched methods of earlier stages, with their numbers.
    """
    trained = [method for method in methods if method.training is not None]
    if not trained:
        return {}
    from harness.training.corpus import identity

    tests = texts_of(experiment.tests)
    data: dict[str, Any] = {}
    found = {}
    for method in trained:
        training = method.training
        assert training is not None
        corpus = training.settings.corpus
        if corpus not in data:
            data[corpus] = identity(corpus, tests)
        assert isinstance(method.extender, OriginalInside | PlannedInside)
        inner = method.extender.inner
        own = {
            one.target: one.method.extender
            for one in earlier
            if one.training == training and training.labelled(one.base) == method.label
        }
        for seed in experiment.seeds:
            try:
                job = job_of(training, method.label, inner, base.weights_hash, base.rope, seed, data[corpus], own)
            except ValueError as error:
                raise ValueError(f"training of {method.label!r}: {error}") from error
            found[method.label, seed] = job
    return found


def texts_of(tests: Sequence[Test]) -> list[str]:
    """The texts that tests read from the user's files, which training must not contain."""
    texts = []
    for test in tests:
        for name, value in test.task.parameters().items():
            if (root := place_of(name, value)) is not None:
                texts += [file.read_text(encoding="utf-8", errors="replace") for file in files_below(root)]
    return texts


def missing(jobs: Jobs, store: Store) -> list[Job]:
    """The trainings that are not done, each once: methods with equal plans share theirs."""
    found: dict[str, Job] = {}
    for job in jobs.values():
        record = store.training(job.key)
        if record is None or record["status"] != "done":
            found.setdefault(job.key, job)
    return list(found.values())


def described(jobs: Jobs, store: Store) -> list[dict[str, Any]]:
    """The trainings as run.json lists them."""
    rows = []
    for (label, seed), job in jobs.items():
        record = store.training(job.key) or {"status": "missing", "error": ""}
        rows.append(
            {
                "method": label,
                "base_method": job.training.untrained(label),
                "recipe": job.training.label,
                "seed": seed,
                "key": job.key,
                "status": record["status"],
                "error": record["error"],
            }
        )
    return rows


def of_method(method: Method) -> dict[str, Any]:
    """What run.json says about a method's training: nothing when it has none."""
    if method.training is None:
        return {}
    training = method.training
    base, budget = training.untrained(method.label), training.settings.tokens
    return {"training": {"base_method": base, "recipe": training.label, "tokens": budget}}


def of_search(label: str, stages: Sequence[Stage]) -> dict[str, Any]:
    """What run.json says about a search that only trainings need: the trained methods that paid for it."""
    trained = [one.training.labelled(one.base) for one in stages if one.method.label == label]
    return {"stage_of": trained} if trained else {}


def outcome_words(job: Job, record: Mapping[str, Any]) -> str:
    """What came of a training, in a line."""
    if record["error"]:
        return f"{job.words}: FAILED: {record['error']}"
    cost = record["cost"]
    return f"{job.words}: trained on {cost['tokens']:,} tokens in {cost['seconds']:.0f} s"
