"""What there is to choose from, for `ropebench list`: (name, one line, further lines) each."""

import dataclasses
import json
from collections.abc import Callable, Iterator

import extenders.base
import tasks.base
from harness.experiment import file as experiment
from harness.experiment import parameters
from harness.model.files import shipped_models
from harness.rope.configuration import read_spec
from harness.runner.run import summary

Entry = tuple[str, str, list[str]]


def methods() -> Iterator[Entry]:
    folders = experiment.user_folders()
    for name in extenders.base.names(folders):
        cls = extenders.base.load(name, folders)
        shown = parameters.described(cls, hidden=["target_length"])
        yield name, summary(cls), [f"{key}: {words}" for key, words in shown.items()]


def tests() -> Iterator[Entry]:
    for name in tasks.base.names():
        task = tasks.base.make(name)
        given = [f"{f.name}: {getattr(task, f.name)!r} unless given" for f in dataclasses.fields(task) if f.init]
        where = "at the trained length" if task.lengths == "window" else "at every length"
        unit = "score 0 to 1, higher is better" if task.unit == "score" else f"{task.unit} per token, lower is better"
        yield name, summary(type(task)), [f"{task.category}, {unit}, {where}", *given]
    for name in tasks.base.needing_data():
        rows = tasks.base.expand(name)
        yield name, summary(type(tasks.base.make(rows[0]))), ["needs its data: the hub, or its cache", *rows]


def experiments() -> Iterator[Entry]:
    for name, path in experiment.shipped().items():
        comments = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        yield name, comments[0] if comments else "", [str(path)]


def models() -> Iterator[Entry]:
    for name, path in shipped_models().items():
        rope = read_spec(json.loads((path / "config.json").read_text(encoding="utf-8")))
        pairs = f"{rope.rotary_dims // 2} rotary pairs, critical pair {rope.critical_pair}"
        yield name, f"trained length {rope.trained_length} tokens, rope_theta {rope.rope_theta:g}, {pairs}", [str(path)]


def factors() -> Iterator[Entry]:
    from extenders._published import published, published_names

    for name in published_names():
        one = published(name)
        lists = "a short and a long list" if one.short else "one list"
        reach = f"{one.original_length} to {one.target_length} tokens, {lists} of {one.rotary_dims // 2}"
        yield f"published:{name}", f"{one.method} for {one.model}", [reach, one.source]


def recipes() -> Iterator[Entry]:
    from extenders.training.recipe import RECIPES

    for name, recipe in RECIPES.items():
        portions = ", ".join(f"{one.share:.0%} {one.name}" for one in recipe.portions)
        yield name, f"{portions} of the tokens", [recipe.source, *(f"deviation: {one}" for one in recipe.deviations)]


ALL: dict[str, Callable[[], Iterator[Entry]]] = {
    "extenders": methods,
    "tests": tests,
    "experiments": experiments,
    "models": models,
    "factors": factors,
    "recipes": recipes,
}
