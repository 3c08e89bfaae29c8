"""ropebench in Python: the door for notebooks and scripts.

    import ropebench

    model = ropebench.load("pocket-llama")
    with ropebench.under(model, "yarn", target_length=4096) as lm:
        answers = ropebench.ask(lm, "needle", length=2048, samples=20)
    answers.score.mean()

Words are read as on the command line: an unknown method, parameter, test, model or keyword is a ValueError of one
line. Methods are named alike everywhere: a name (`ropebench list extenders`), or a path that ends in `.py`; where
nothing is stored, a class does as well. Importing this takes no model library; what a function needs, it imports.
"""

import importlib
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _import_packages() -> None:
    """Our four packages have common names: they are imported before a tasks.py of the working folder can be.

    Raises ImportError where another module of such a name was imported before.
    """
    home = Path(__file__).resolve().parent
    sys.path.insert(0, str(home))
    try:
        for name in ("extenders", "harness", "reports", "tasks"):
            file = importlib.import_module(name).__file__
            if file is None or Path(file).resolve().parent != home / name:
                raise ImportError(f"{file} was imported as {name!r}, which is a package of ropebench; rename that file")
    finally:
        sys.path.remove(str(home))


_import_packages()

from extenders.base import Extender, RopePlan, RopeSpec
from harness import __version__
from harness.experiment.parameters import strict

if TYPE_CHECKING:
    import pandas

    from harness.model.lm import ExtendedLM
    from harness.model.load import LoadedModel
    from harness.runner.run import Outcome
    from harness.store import Store
    from harness.tools.show_plan import PlannedModel
    from reports.gate.gate import GateResult

__all__ = [
    "Extender",
    "RopePlan",
    "RopeSpec",
    "__version__",
    "ask",
    "compare",
    "experiments",
    "load",
    "methods",
    "models",
    "plan",
    "report",
    "rows",
    "run",
    "tests",
    "under",
]


@strict
def load(
    model: str | Path,
    *,
    dtype: str = "auto",
    attention: str = "sdpa",
    device: str = "auto",
    trained_length: int | None = None,
) -> "LoadedModel":
    """A shipped model, a folder or a hub name, loaded once for as many methods as you like.

    `dtype` "auto" is the checkpoint's own on a GPU and float32 on a CPU; `device` "auto" is the first GPU, else the
    CPU; `trained_length` in tokens, where the configuration says it wrong.

        model = ropebench.load("pocket-llama")
        model.spec.trained_length                   # 512
    """
    from harness.model.load import load_model

    return load_model(str(model), dtype, attention, device, local_files_only=False, trained_length=trained_length)


@strict
@contextmanager
def under(
    model: "LoadedModel",
    method: str | Path | type[Extender],
    *,
    target_length: int,
    crossing: str = "fixed",
    **parameters: Any,
) -> "Iterator[ExtendedLM]":
    """The model under a method that is to reach `target_length` tokens; leaving the block restores the model.

    What it gives can be asked tests, and has `generate`, `losses` and `plan(length)`. `crossing` "recompute" computes
    the cache anew where an answer crosses the trained window. One block at a time on one model.

        with ropebench.under(model, "yarn", target_length=4096, beta_fast=16) as lm:
            [answer] = lm.generate(["The grass is"], new_tokens=8)
    """
    from harness.tools import ask as asking

    named = method if isinstance(method, type) else str(method)
    with asking.under(model, named, target_length, parameters, crossing) as lm:
        yield lm


@strict
def ask(
    lm: "ExtendedLM", test: str, *, length: int, samples: int | None = None, seed: int = 0, **parameters: Any
) -> "pandas.DataFrame":
    """A test asked of a model under a method: one row a sample, with the columns of `rows`.

    `test` may stand for several, as "ruler-pocket" does. `length` is prompt plus new tokens, at most the method's
    target; tests of short context run at the trained length whatever it says. Prompts, answers and scores are those of
    `ropebench run` with the same samples and seed.

        ropebench.ask(lm, "needle", length=2048, samples=20)[["score", "depth", "generation", "references"]]
    """
    import pandas

    from harness.tools import ask as asking
    from reports.numbers.frame import SampleLine

    columns = [name for name in SampleLine.__annotations__ if name != "key"]
    asked = asking.ask(lm, test, length, samples, seed, parameters)
    lines = [{**cell.planned(), **vars(row)} for cell, row in asked]
    return pandas.DataFrame(lines, columns=columns).astype({"depth": float})


@strict
def plan(
    method: str | Path | type[Extender],
    *,
    model: "str | Path | LoadedModel",
    target_length: int,
    length: int | None = None,
    trained_length: int | None = None,
    **parameters: Any,
) -> "PlannedModel":
    """The frequencies a model would run with, as `ropebench plan --json` prints them. Needs no weights.

    `length` is that of the prompt, in tokens; the target unless given. "trained" and "planned" hold `inv_freq` in
    radians per token, and "planned" the rescale factor of every pair, None for a pair that is stopped.

        ropebench.plan("yarn", model="pocket-llama", target_length=4096)["planned"]["rescale_factors"]
    """
    from harness.tools.show_plan import planned

    named = method if isinstance(method, type) else str(method)
    of = str(model) if isinstance(model, Path) else model
    return planned(named, parameters, of, target_length, length, trained_length)


@strict
def run(
    experiment: str | Path | Mapping[str, Any] = "quick", out: str | Path | None = None, **changes: Any
) -> "Outcome":
    """Run an experiment, or what its store misses: a file, a shipped name, or a mapping with the keys of a file.

    `out` is the folder of the results, results/NAME unless given; `changes` take the place of the experiment's keys.
    What failed is in `failed`. It runs in this process alone: `ropebench run` shares the work among several.

        outcome = ropebench.run("smoke", samples=4)
        ropebench.rows(outcome)
    """
    from harness.experiment import file
    from harness.progress import progress
    from harness.runner.engine import LocalEngine
    from harness.runner.run import run as run_cells
    from reports.statistics import sequential

    if isinstance(experiment, Mapping):
        planned = file.parse({**experiment, **changes}, "experiment", Path.cwd())
    else:
        planned = file.read(file.find(str(experiment)), changes)
    shown = progress()
    for note in planned.notes:
        shown.say(note)
    folder = Path("results") / planned.name if out is None else Path(out)
    return run_cells(planned, folder, LocalEngine(planned, shown), shown, judge=sequential)


@strict
def rows(store: "str | Path | Store | Outcome", *, prompts: bool = False) -> "pandas.DataFrame":
    """Every sample of a result store: label, task, length, seed, score and what was answered.

    `prompt` is the name of a prompt's file; with `prompts` it is the whole text. Failed and missing cells have no rows.

        ropebench.rows("results/smoke").groupby(["label", "task", "length"]).score.mean()
    """
    from reports.numbers.frame import read

    opened = _store(store)
    frame = read(opened).rows.astype({"depth": float})
    return frame.assign(prompt=frame.prompt.map(opened.prompt)) if prompts else frame


@strict
def compare(
    base: "str | Path | Store | Outcome",
    candidate: "str | Path | Store | Outcome",
    *,
    margin: float | None = None,
    base_label: str | None = None,
    candidate_label: str | None = None,
    allow: Collection[str] = (),
) -> "GateResult":
    """The gate: is the candidate as good as its base, up to a margin (in points; 1 unless given)?

    Two stores, or two methods of one by their labels. `passed` is the answer, `decisions` has one for every category
    and length. Raises ValueError with the reasons where the two cannot be compared.

        ropebench.compare("results/smoke", "results/smoke", base_label="none", candidate_label="yarn").passed
    """
    from reports.gate import gate

    folders = _store(base).folder, _store(candidate).folder
    allowed = gate.MARGIN if margin is None else margin
    return gate.compare(*folders, allowed, base_label, candidate_label, allow)


@strict
def report(store: "str | Path | Store | Outcome", *, out: str | Path | None = None, date: str | None = None) -> Path:
    """Write the report of a result store, beside it unless `out` is given; gives the path of its page.

    ropebench.report("results/smoke")
    """
    from reports.page.page import write_report

    return write_report(_store(store), None if out is None else Path(out), date)


def methods() -> list[str]:
    """Names of the methods that ship, and of those in the folders of $ROPEBENCH_EXTENDERS.

    "yarn" in ropebench.methods()               # True
    """
    from extenders.base import names
    from harness.experiment.naming import user_folders

    return names(user_folders())


def tests() -> list[str]:
    """Names of the tests, and of the rows of suites.

    "needle" in ropebench.tests()               # True
    """
    from tasks.base import names

    return names()


def models() -> list[str]:
    """Names of the models that ship.

    ropebench.models()                          # ['pocket-llama', 'pocket-phi']
    """
    from harness.model.files import shipped_models

    return list(shipped_models())


def experiments() -> list[str]:
    """Names of the experiments that ship.

    "quick" in ropebench.experiments()          # True
    """
    from harness.experiment.file import shipped

    return list(shipped())


def _store(named: "str | Path | Store | Outcome") -> "Store":
    from harness.store import Store

    if isinstance(named, str | Path):
        return Store.open(Path(named))
    return named if isinstance(named, Store) else named.store


if __name__ == "__main__":
    from harness.cli import main

    main()
