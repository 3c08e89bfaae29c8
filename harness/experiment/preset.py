"""Which experiment does the gate run? A preset with two methods, each given by its name or its file."""

import dataclasses
from pathlib import Path

from harness.experiment import file as experiments
from harness.experiment.file import Experiment
from harness.experiment.naming import label_of


def preset_experiment(preset: str, base: str, candidate: str, model: str | None = None) -> Experiment:
    """The preset's experiment with these two methods, each named or given as the path of its file.

    Raises ValueError for a name that is no method.
    """
    named = [str(Path(name).resolve()) if name.endswith(".py") else name for name in (base, candidate)]
    labels = [label_of(name) for name in named]
    if labels[0] == labels[1]:
        raise ValueError(f"base and candidate are both {labels[0]!r}; name two methods, or two result stores")
    changes = {"extenders": named, "extender_folders": [str(Path.cwd())]}
    plan = experiments.read(experiments.find(preset), changes | ({"model": model} if model else {}))
    # The unextended model, which every experiment gets, decides nothing here and would cost half as much again.
    methods = tuple(method for method in plan.methods if method.label in labels)
    return dataclasses.replace(plan, name=f"{preset}-{labels[0]}-{labels[1]}", methods=methods, notes=())


def is_store(name: str) -> bool:
    return (Path(name) / "run.json").is_file()
