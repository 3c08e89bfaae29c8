"""The training stage of a run: methods × trainings → the same methods with trained weights, trained where missing.

A training is done for each seed of the experiment, and the cells of a seed use the weights of that seed. A method with
training `none` keeps its cells, keys and label.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from extenders.base import Extender, RopeSpec
from extenders.search.searched import SearchedExtender
from extenders.training.planned import PlannedInside
from extenders.training.switched import OriginalInside
from harness.experiment.cells import Base, files_below, place_of
from harness.experiment.file import Experiment, Method, Test
from harness.experiment.trainings import NONE, Training
from harness.store import Store, TrainingLine, TrainingRecord
from harness.training.corpus import identity
from harness.training.job import TrainingJob, in_precision, job_of

TrainingJobs = Mapping[tuple[str, int], TrainingJob]  # by the label of the trained method and the seed


@dataclass(frozen=True)
class EarlierSearch:
    """A searched method as an earlier stage of a training needs it: searched for that stage's target as well."""

    base: str  # label of the method
    training: Training
    target: int  # tokens
    method: Method


def earlier_searches(
    methods: Sequence[Method], trainings: Sequence[Training | None], rope: RopeSpec
) -> list[EarlierSearch]:
    """What has to be searched besides the methods: LongRoPE's two stages need factors for both lengths."""
    searches = []
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
                    searches.append(EarlierSearch(method.label, training, target, Method(label, earlier)))
    return searches


def as_trained(extender: Extender, training: Training) -> Extender:
    """What a method's trained weights run under."""
    wrapper = OriginalInside if training.recipe.original_inside else PlannedInside
    return wrapper(target_length=extender.target_length, inner=extender)


def factored(
    methods: Sequence[Method],
    trainings: Sequence[Training | None],
    waiting: Collection[tuple[str, str]] = (),
) -> tuple[Method, ...]:
    """Every method with every training; `none` also without one, because retention is measured against it.

    After a recipe with mixed windows a method runs the original RoPE inside the window, after any other its own plan,
    as it was trained. `waiting` names pairs of method and training that have no plan yet for one of their stages.
    """
    made = []
    for method in methods:
        untrained = () if None in trainings or method.extender.name != NONE else (None,)
        for training in (*untrained, *trainings) or (None,):
            if training is None:
                made.append(method)
                continue
            if (method.label, training.label) in waiting:
                continue
            extender = as_trained(method.extender, training)
            label = training.labelled(method.label)
            made.append(dataclasses.replace(method, label=label, extender=extender, training=training))
    labels = [method.label for method in made]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"two methods are labelled {twice[0]!r} once trained; give one of them another 'label'")
    return tuple(made)


def jobs_of(
    methods: Sequence[Method], base: Base, experiment: Experiment, earlier: Sequence[EarlierSearch] = ()
) -> dict[tuple[str, int], TrainingJob]:
    """The trainings that these methods need, by label and seed. Raises ValueError for what cannot be trained.

    `earlier`: the searched methods of earlier stages, with their numbers.
    """
    tests = cache(lambda: texts_of(experiment.tests))
    data = cache(lambda corpus: identity(corpus, tests()))
    jobs = {}
    for method in methods:
        training = method.training
        if training is None:
            continue
        assert isinstance(method.extender, OriginalInside | PlannedInside)
        inner = method.extender.inner
        by_target = {
            search.target: search.method.extender
            for search in earlier
            if search.training == training and training.labelled(search.base) == method.label
        }
        corpus = data(training.settings.corpus)
        for seed in experiment.seeds:
            try:
                trained = in_precision(training, base.slow_in_half)
                job = job_of(trained, method.label, inner, base.weights_hash, base.rope, seed, corpus, by_target)
            except ValueError as error:
                raise ValueError(f"training of {method.label!r}: {error}") from error
            jobs[method.label, seed] = job
    return jobs


def texts_of(tests: Sequence[Test]) -> list[str]:
    """The texts that tests read from the user's files, which training must not contain."""
    texts = []
    for test in tests:
        for name, value in test.task.parameters().items():
            if (root := place_of(name, value)) is not None:
                texts += [file.read_text(encoding="utf-8", errors="replace") for file in files_below(root)]
    return texts


def missing(jobs: TrainingJobs, store: Store) -> list[TrainingJob]:
    """The trainings that are not done, each once: methods with equal plans share theirs."""
    by_key: dict[str, TrainingJob] = {}
    for job in jobs.values():
        record = store.training(job.key)
        if record is None or record["status"] != "done":
            by_key.setdefault(job.key, job)
    return list(by_key.values())


def described(jobs: TrainingJobs, store: Store) -> list[TrainingLine]:
    """The trainings as run.json lists them."""
    lines: list[TrainingLine] = []
    for (label, seed), job in jobs.items():
        record = store.training(job.key)
        lines.append(
            {
                "method": label,
                "base_method": job.training.untrained(label),
                "recipe": job.training.label,
                "seed": seed,
                "key": job.key,
                "status": record["status"] if record else "missing",
                "error": record["error"] if record else "",
            }
        )
    return lines


def users_of(label: str, earlier: Sequence[EarlierSearch]) -> list[str]:
    """The trained methods that need the search of that label for an earlier stage; none for a method's own search."""
    return [search.training.labelled(search.base) for search in earlier if search.method.label == label]


def outcome_words(job: TrainingJob, record: TrainingRecord) -> str:
    """What came of a training, in a line."""
    if record["error"]:
        return f"{job.words}: FAILED: {record['error']}"
    cost = record["cost"]
    return f"{job.words}: trained on {cost['tokens']:,} tokens in {cost['seconds']:.0f} s"
