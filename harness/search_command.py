"""`ropebench search`: one method on one model, apart from any experiment, with one or several seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from extenders.search.searched import SearchedExtender
from harness import parameters, searching
from harness.cells import check
from harness.engine import LocalEngine
from harness.experiment import Experiment, Method, load_method, user_folders
from harness.progress import Progress
from harness.search_progress import search_progress


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
) -> list[dict[str, Any]]:
    """The results of the searches, one per seed, finished ones read from the folder. Raises ValueError if one fails.

    `given` are the method's parameters as a user writes them; `search_seed` comes from `seeds`.
    """
    cls = load_method("search", extender, user_folders())
    if not issubclass(cls, SearchedExtender):
        raise ValueError(f"{extender} has nothing to search; its plan follows from the model's configuration")
    made = []
    for seed in seeds:
        method = parameters.make(extender, cls, {"search_seed": seed, **given}, {"target_length": target_length})
        made.append(Method(extender if len(seeds) == 1 else f"{extender} seed {seed}", method))
    if method.searched:
        raise ValueError(f"{extender} has all its numbers already; leave out those that are to be searched")
    experiment = Experiment(
        name="search",
        model=model,
        target_length=target_length,
        lengths=(target_length,),
        methods=tuple(made),
        tests=(),
        dtype=dtype,
        attention=attention,
        trained_length=trained_length,
    )
    engine = LocalEngine(experiment, progress)
    base = engine.base()
    check(experiment, base.rope)
    planned = searching.planned(experiment.methods, base)
    waiting = [one for one in planned if not searching.finished(folder, one.key)]
    if waiting:
        with engine.open() as session_of:
            for one in waiting:
                with search_progress(one.method.label) as shown:
                    content = searching.run_search(one, base, session_of(one.method), folder, progress=shown)
                if content["error"]:
                    raise ValueError(f"{one.method.label}: {content['error']}")
    results = [searching.result(folder, one.key) for one in planned]
    return [one for one in results if one is not None]


def table(content: Mapping[str, Any], folder: Path) -> list[str]:
    """What a search found, in lines for a terminal."""
    cost, found = content["cost"], content["found"]
    loss = "unknown" if content["loss"] is None else f"{content['loss']:.4f} nats per scored token"
    lines = [
        f"{content['label']}: {cost['candidates']} candidates, {cost['evaluations']} forward passes, "
        f"{cost['token_forwards']:,} token-forwards, {cost['seconds']:.0f} s; loss {loss}"
    ]
    lines += [f"  {name} = {_short(value)}" for name, value in found.items()]
    if content["held_out"]:
        parts = [f"{name} {'NaN' if x is None else f'{x:.4f}'}" for name, x in content["held_out"].items()]
        lines.append(f"  on {content['held_out_samples']} held-out texts: {', '.join(parts)}")
    path = folder / f"{content['key']}.json"
    lines.append(f"  {path}  (use it: extenders: [{{factors: {{factors: {path}}}}}])")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        return "[" + ", ".join(f"{one:.4g}" for one in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
