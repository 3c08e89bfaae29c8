"""Which experiment does the gate run? A preset with two methods, each given by its name or its file."""

import dataclasses
from pathlib import Path
from typing import Any

import extenders.base
from harness.experiment import file as experiments
from harness.experiment.file import Experiment
from harness.experiment.naming import check_name, label_of, user_folders


def preset_experiment(
    preset: str, base: str, candidate: str, model: str | None = None, dtype: str = "auto"
) -> Experiment:
    """The preset's experiment with these two methods, each named or given as the path of its file.

    Raises ValueError for a name that is no method.
    """
    named = [str(Path(name).resolve()) if name.endswith(".py") else name for name in (base, candidate)]
    labels = preset_labels(base, candidate)
    changes: dict[str, Any] = {"extenders": named, "extender_folders": [str(Path.cwd())]}
    changes |= ({"model": model} if model else {}) | ({"dtype": dtype} if dtype != "auto" else {})
    plan = experiments.read(experiments.find(preset), changes)
    # The unextended model, which every experiment gets, decides nothing here and would cost half as much again.
    methods = tuple(method for method in plan.methods if method.label in labels)
    return dataclasses.replace(plan, name=preset_name(preset, base, candidate), methods=methods, notes=())


def preset_labels(base: str, candidate: str) -> tuple[str, str]:
    """What tables call the two methods. Raises ValueError where both have one name."""
    labels = label_of(base), label_of(candidate)
    if labels[0] == labels[1]:
        raise ValueError(f"base and candidate are both {labels[0]!r}; name two methods, or two result stores")
    return labels


def preset_name(preset: str, base: str, candidate: str) -> str:
    return "-".join((preset, *preset_labels(base, candidate)))


def foreign(name: str) -> bool:
    """Whether a method's name means a file of a user, whose code may do anything and is not run here. Raises ValueError
    for a name that is no method."""
    check_name("extenders", name, user_folders(Path.cwd()))
    return name not in extenders.base.names()


def is_store(name: str) -> bool:
    return (Path(name) / "run.json").is_file()
