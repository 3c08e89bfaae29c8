"""Finding and loading lm-eval's tasks: a folder's index instead of all 15,000 names, errors in one line, no noise."""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import lm_eval.api.task
from lm_eval.tasks import TaskManager

NOISY = ("lm_eval", "huggingface_hub", "datasets")

# Set by the first look-up that does not reach the hub: it waits for half a minute, which need not happen twice.
_hub = {"reached": True}


def load(test: str, name: str, folder: Path | None, data: Path | None = None) -> dict[str, Any]:
    """lm-eval's task of that name, or every task of a group or tag, by name. `folder` holds tasks that are not its own,
    `data` the rows as .jsonl files named after their splits.

    Raises ValueError, one line that begins with `test`, for an unknown name and for data or packages out of reach.
    """
    for manager in _managers(name, folder):
        if name not in manager.all_tasks:
            continue
        try:
            with _offline(not _hub["reached"]), _rows_of(data):
                return dict(manager.load(name)["tasks"])
        except KeyError as error:
            if manager is _manager(None):
                raise ValueError(
                    f"{test}: lm-eval's task {name!r} names a part that does not exist: {error}"
                ) from error
            continue  # a group of one folder with tasks of others
        except ImportError as error:
            raise ValueError(f"{test} needs packages that are not installed: {_line(error)}") from error
        except NoRows as error:
            raise ValueError(f"{test}: {error}") from error
        except Exception as error:  # datasets and the hub raise dozens of kinds
            if isinstance(error, ConnectionError):
                _hub["reached"] = False
            raise ValueError(
                f"{test} cannot be loaded ({type(error).__name__}: {_line(error)}); run it once where the Hugging Face "
                "hub can be reached, or bring that machine's cache here (the folder that HF_HOME names), or name a "
                "folder of its rows (folder: …)"
            ) from error
    raise ValueError(f"{test}: lm-eval has no task named {name!r}; list them with: lm_eval ls tasks")


def _managers(name: str, folder: Path | None) -> Iterator[Any]:
    """Indices to look into, the smallest first; that of everything only for a name that is somewhere."""
    if folder is not None:
        yield _manager(folder)
        return
    near = [path.name for path in _own().iterdir() if path.is_dir() and name.startswith(path.name)]
    first = max(near, key=len, default="")
    found = False
    if first:
        found = name in _manager(_own() / first).all_tasks
        yield _manager(_own() / first)
    for one in _folders_with(name):
        if one != first:
            found = found or name in _manager(_own() / one).all_tasks
            yield _manager(_own() / one)
    if found:
        yield _manager(None)


@cache
def _folders_with(name: str) -> list[str]:
    """The folders of lm-eval in whose task files the name stands; a plain search, as parsing them takes minutes."""
    sought = name.encode()
    files = (path for path in _own().rglob("*.yaml") if sought in path.read_bytes())
    return sorted({path.relative_to(_own()).parts[0] for path in files})


@cache
def _manager(folder: Path | None) -> Any:
    """lm-eval's index of tasks: of one folder in milliseconds, of everything in ten seconds to minutes."""
    return TaskManager(include_path=folder, include_defaults=folder is None)


def _own() -> Path:
    spec = importlib.util.find_spec("lm_eval.tasks")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


class NoRows(ValueError):
    """A folder of a user's that holds no rows."""


@contextmanager
def _rows_of(data: Path | None) -> Iterator[None]:
    """Whatever a task asks the hub for is read from .jsonl files: of the folder itself, or of the one in it that has
    the name of the configuration (a subject of MMLU)."""
    if data is None:
        yield
        return
    before = datasets.load_dataset

    def local(path: str, name: str | None = None, **_: Any) -> Any:
        place = data / name if name and (data / name).is_dir() else data
        files = {file.stem: str(file) for file in sorted(place.glob("*.jsonl"))}
        if not files:
            raise NoRows(f"{place} holds no .jsonl files; name them after the splits, as in test.jsonl and train.jsonl")
        return before("json", data_files=files)

    datasets.load_dataset = local
    try:
        yield
    finally:
        datasets.load_dataset = before


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Look into the local cache only. Both libraries read the switch at their import, hence the attributes."""
    if not wanted:
        yield
        return
    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no remarks of the libraries; the harness shows progress by itself."""
    levels = {name: logging.getLogger(name).level for name in NOISY}
    bar = lm_eval.api.task.tqdm
    bars = datasets.utils.logging.is_progress_bar_enabled()
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    lm_eval.api.task.tqdm = lambda items, **_: items
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        lm_eval.api.task.tqdm = bar
        if bars:
            datasets.enable_progress_bars()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
