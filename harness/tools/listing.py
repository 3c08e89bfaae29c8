"""What there is to choose from, for `ropebench list`: (name, one line, further lines) each."""

import dataclasses
import json
from collections.abc import Callable, Iterator

import extenders.base
import tasks.base
from extenders._published import published, published_names
from extenders.training.recipe import RECIPES
from harness.experiment import file as experiment
from harness.experiment import parameters
from harness.experiment.naming import user_folders
from harness.model.files import shipped_models
from harness.rope.configuration import read_spec

Entry = tuple[str, str, list[str]]


def methods() -> Iterator[Entry]:
    folders = user_folders()
    for name in extenders.base.names(folders):
        cls = extenders.base.load(name, folders)
        shown = parameters.described(cls, hidden=["target_length"])
        yield name, parameters.summary(cls), [f"{key}: {words}" for key, words in shown.items()]


def tests() -> Iterator[Entry]:
    for name in tasks.base.names():
        task = tasks.base.make(name)
        given = [f"{f.name}: {getattr(task, f.name)!r} unless given" for f in dataclasses.fields(task) if f.init]
        where = "at the trained length" if task.lengths == "window" else "at every length"
        unit = "score 0 to 1, higher is better" if task.unit == "score" else f"{task.unit} per token, lower is better"
        luck = f", guessing gives {task.chance:.2f}" if task.chance else ""
        yield name, parameters.summary(type(task)), [f"{task.category}, {unit}{luck}, {where}", *given]
    for name in tasks.base.needing_data():
        rows = tasks.base.expand(name)
        yield name, parameters.summary(type(tasks.base.make(rows[0]))), ["needs its data: the hub, or its cache", *rows]


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
    for name in published_names():
        entry = published(name)
        lists = "a short and a long list" if entry.short else "one list"
        reach = f"{entry.original_length} to {entry.target_length} tokens, {lists} of {entry.rotary_dims // 2}"
        yield f"published:{name}", f"{entry.method} for {entry.model}", [reach, entry.source]


def recipes() -> Iterator[Entry]:
    for name, recipe in RECIPES.items():
        portions = ", ".join(f"{portion.share:.0%} {portion.name}" for portion in recipe.portions)
        yield (
            name,
            f"{portions} of the tokens",
            [recipe.source, *(f"deviation: {words}" for words in recipe.deviations)],
        )


ALL: dict[str, Callable[[], Iterator[Entry]]] = {
    "extenders": methods,
    "tests": tests,
    "experiments": experiments,
    "models": models,
    "factors": factors,
    "recipes": recipes,
}
