"""Running a preset for the gate: two methods, given by name or file, in one store."""

import dataclasses
from pathlib import Path

from harness.experiment import file as experiments
from harness.experiment.file import Experiment


def preset_experiment(preset: str, base: str, candidate: str, model: str | None = None) -> Experiment:
    """The preset's experiment with these two methods, each named or given as the path of its file.

    Raises ValueError for a name that is no method.
    """
    names, folders = [], [str(Path.cwd())]
    for one in (base, candidate):
        is_file = one.endswith(".py") and Path(one).is_file()
        names.append(Path(one).stem if is_file else one)
        folders += [str(Path(one).resolve().parent)] if is_file else []
    if names[0] == names[1]:
        raise ValueError(f"base and candidate are both {names[0]!r}; name two methods, or two result stores")
    changes = {"extenders": names, "extender_folders": list(dict.fromkeys(folders))}
    plan = experiments.read(experiments.find(preset), changes | ({"model": model} if model else {}))
    # The unextended model, which every experiment gets, decides nothing here and would cost half as much again.
    methods = tuple(method for method in plan.methods if method.label in names)
    return dataclasses.replace(plan, name=f"{preset}-{names[0]}-{names[1]}", methods=methods, notes=())


def is_store(name: str) -> bool:
    return (Path(name) / "run.json").is_file()
