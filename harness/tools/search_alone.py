"""`ropebench search`: one method on one model, apart from any experiment, with one or several seeds.

A progressive search (LongRoPE with `intermediate_length`) trains the model between its two searches. The trained model
lies beside the results, in DIR/<key>.model, and what was found is for that model.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from extenders.search.searched import SearchedExtender
from harness.experiment import parameters
from harness.experiment.cells import check, plain
from harness.experiment.file import Experiment, Method
from harness.experiment.naming import label_of, load_method, user_folders
from harness.progress import Progress
from harness.runner.engine import LocalEngine
from harness.search import stage as searching
from harness.search.far_use import far_use_in_words
from harness.search.progress_line import search_progress
from harness.search.result import entry_of, loss_in_words
from harness.search.work import Measures
from harness.store import SearchRecord, key_of, read_search
from harness.tools.train_alone import train_alone

PROGRESSIVE = 2  # raised when a search around the same training would end elsewhere


def search(
    extender: str,
    given: Mapping[str, Any],
    model: str,
    target_length: int,
    folder: Path,
    progress: Progress,
    seeds: Sequence[int] = (0,),
    trained_length: int | None = None,
    dtype: str = "auto",
    attention: str = "auto",
    fine_tune: tuple[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
) -> list[SearchRecord]:
    """The results of the searches, one per seed, finished ones read from the folder. Raises ValueError if one fails.

    `given` are the method's parameters as a user writes them; `search_seed` comes from `seeds`. `fine_tune` is the
    recipe of the training between two searches and its settings, as in an experiment.
    """
    experiment = Experiment(
        name="search",
        model=model,
        target_length=target_length,
        lengths=(target_length,),
        methods=_methods(extender, given, target_length, seeds),
        tests=(),
        dtype=dtype,
        attention=attention,
        trained_length=trained_length,
    )
    engine = LocalEngine(experiment, progress, device=device)
    base = engine.base()
    check(experiment, base.rope)
    planned = searching.planned(experiment.methods, base)
    if fine_tune is not None:
        planned = [_with_fine_tuning(search, fine_tune) for search in planned]
    waiting = [search for search in planned if not searching.finished(folder, search.key)]
    with engine.open() if waiting else nullcontext() as session_of:
        for search in waiting:
            assert session_of is not None
            with search_progress(search.method.label) as shown, ExitStack() as trained:
                tune = None
                if fine_tune is not None:
                    tune = _tuner(search, extender, experiment, folder, fine_tune, progress, trained, device)
                session = session_of(search.method)
                record = searching.run_search(search, base, session, folder, progress=shown, tune=tune)
            if record["error"]:
                raise ValueError(f"{search.method.label}: {record['error']}")
    records = [read_search(folder, search.key) for search in planned]
    return [record for record in records if record is not None]


def _methods(extender: str, given: Mapping[str, Any], target_length: int, seeds: Sequence[int]) -> tuple[Method, ...]:
    """The method once for every seed. Raises ValueError when there is nothing to search."""
    cls = load_method("search", extender, user_folders())
    if not issubclass(cls, SearchedExtender):
        raise ValueError(f"{extender} has nothing to search; its plan follows from the model's configuration")
    methods, label = [], label_of(extender)
    for seed in seeds:
        method = parameters.make(label, cls, {"search_seed": seed, **given}, {"target_length": target_length})
        if method.searched:
            raise ValueError(f"{extender} has all its numbers already; leave out those that are to be searched")
        methods.append(Method(label if len(seeds) == 1 else f"{label} seed {seed}", method))
    return tuple(methods)


def _with_fine_tuning(search: searching.Search, fine_tune: tuple[str, Mapping[str, Any]]) -> searching.Search:
    """The search under a key that covers the training in its middle."""
    identity = {**search.identity, "fine_tune": [fine_tune[0], dict(fine_tune[1])], "progressive": PROGRESSIVE}
    return dataclasses.replace(search, identity=identity, key=key_of(identity))


def model_folder(folder: Path, key: str) -> Path:
    """Where the model that a progressive search trained lies."""
    return folder / f"{key}.model"


def _tuner(
    search: searching.Search,
    extender: str,
    experiment: Experiment,
    folder: Path,
    fine_tune: tuple[str, Mapping[str, Any]],
    progress: Progress,
    opened: ExitStack,
    device: str,
) -> Callable[[SearchedExtender], Measures]:
    """Trains with a method's plan, saves the model and opens it. The untrained model stays loaded beside it."""

    def tune(method: SearchedExtender) -> Measures:
        given = {name: plain(value) for name, value in method.parameters().items() if value is not None}
        place = model_folder(folder, search.key)
        record, _ = train_alone(
            extender,
            given,
            *fine_tune,
            experiment.model,
            method.target_length,
            folder / "fine-tuning",
            seed=method.search_seed,
            trained_length=experiment.trained_length,
            save_model=place,
            device=device,
            plan_in_configuration=False,  # the second search multiplies the factors of the first
            say=progress.say,
        )
        if record["status"] != "done":
            raise ValueError(f"the fine-tuning to {method.target_length} tokens failed: {record['error']}")
        longer = dataclasses.replace(experiment, model=str(place))
        session: Measures = opened.enter_context(LocalEngine(longer, progress, device=device).open())(search.method)
        return session

    return tune


def table(record: SearchRecord, folder: Path, extender: str) -> list[str]:
    """What the search of that method, a name or a path, ended at, in lines for a terminal."""
    cost = record["cost"]
    lines = [
        f"{record['label']}: {cost['candidates']} candidates, {cost['evaluations']} forward passes, "
        f"{cost['token_forwards']:,} token-forwards, {cost['seconds']:.0f} s; {loss_in_words(record)}"
    ]
    lines += [f"  {name} = {_short(value)}" for name, value in record["found"].items()]
    if record["held_out"]:
        parts = [f"{name} {'NaN' if x is None else f'{x:.4f}'}" for name, x in record["held_out"].items()]
        lines.append(f"  on {record['held_out_samples']} held-out texts: {', '.join(parts)}")
    if "far_use" in record:
        lines.append(f"  {far_use_in_words(record['far_use'])}")
    lines.append(f"  {folder / record['key']}.json")
    target, entry = record["identity"]["target_length"], entry_of(record, extender)
    lines.append(f"  use it in an experiment with target_length {target}: extenders: [{entry}]")
    if "fine_tune" in record["identity"]:
        trained = model_folder(folder, record["key"])
        lines.append(f"  they are for the model that was trained on the way: model: {trained}")
        lines.append(
            "  (its config.json has the original RoPE, which they change; plan.json has what it was trained with)"
        )
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        return "[" + ", ".join(f"{number:.4g}" for number in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
