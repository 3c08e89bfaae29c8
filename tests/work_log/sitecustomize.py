"""Which units of work did a process do, and how much processor time did each of them take?

Python imports a file of this name when it starts. With its folder on PYTHONPATH every process of a run appends a line
of JSON to the file that ROPEBENCH_WORK_LOG names whenever a unit of work ends, or is broken off: process, kind, name,
seconds of its thread (those of units inside it are their own), whether it came to its end.
"""

import functools
import hashlib
import importlib.machinery
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

LOG = os.environ.get("ROPEBENCH_WORK_LOG", "")
_open = threading.local()  # of every unit at work in this thread .inside, the seconds of units inside it, and .kept
_training = [""]  # the key of the one at work
_steps: dict[int, int] = {}  # the step that batches belong to


@contextmanager
def unit(kind: str, *names: str) -> Iterator[None]:
    """One piece of work; under several names, where equal parts of it may come in other company another time."""
    inside, kept = vars(_open).setdefault("inside", []), vars(_open).setdefault("kept", [])
    inside.append(0.0)
    kept.append(False)
    started, whole = time.thread_time(), False
    try:
        yield
        whole = True
    finally:
        took = time.thread_time() - started
        own, whole = took - inside.pop(), kept.pop() or whole
        if inside:
            inside[-1] += took
        lines = [json.dumps([os.getpid(), kind, name, own / len(names), whole]) + "\n" for name in names]
        descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, "".join(lines).encode())
        os.close(descriptor)


def wrapped(place: Any, name: str, kind: str, names: Callable[..., Sequence[str]]) -> None:
    """The function of that name is a unit from now on; `names` is given what it is given, no name is no work."""
    function = getattr(place, name)

    @functools.wraps(function)
    def recorded(*given: Any, **named: Any) -> Any:
        asked = names(*given, **named)
        with unit(kind, *asked) if asked else nullcontext():
            return function(*given, **named)

    setattr(place, name, recorded)


def of_search(module: ModuleType) -> None:
    def pairs(work: Any, length: int, asked: Sequence[Any], *_: Any) -> list[str]:
        return [f"{work._line} {length} {plan.hash} {sample}" for plan, sample in asked]

    def beside(work: Any, rows: Sequence[Any]) -> list[str]:
        known = work._losses.get(module.BESIDE, {})
        names = [module._hashed(*row) for row in rows]
        return [f"{work._line} {name}" for name in names if (name, 0) not in known]

    write_down = module.Work._write_down

    def written(work: Any, *given: Any, **named: Any) -> None:
        write_down(work, *given, **named)
        _open.kept[-1] = True  # a stop that waited for it ends the unit, and nothing is lost

    module.Work._write_down = written
    wrapped(module.Work, "beside", "search: far use", beside)
    wrapped(module.Work, "_measure", "search: losses", pairs)
    wrapped(module.Work, "_differentiate", "search: slopes", pairs)


def of_search_texts(module: ModuleType) -> None:
    def name(texts: Any, sample: int) -> list[str]:
        return [f"{texts.length} {texts._fitness} {texts._needles} {texts._seed} {sample}"]

    wrapped(module.SearchTexts, "_make", "search: texts", name)


def of_search_stage(module: ModuleType) -> None:
    wrapped(module, "run_search", "search: rest", lambda search, *_, **named: [search.key])
    wrapped(module, "evaluation_passages", "search: passages of tests", lambda *_: ["all"])


def of_passes(module: ModuleType) -> None:
    once = module.Passes.once

    def recorded(passes: Any, asked: object, work: Callable[[], Any], forwards: Callable[[], int]) -> Any:
        name = hashlib.sha256(json.dumps([passes._key, asked]).encode()).hexdigest()[:16]

        def one() -> Any:
            with unit("cell: passes", name):
                return work()

        return once(passes, asked, one, forwards)

    module.Passes.once = recorded


def of_run(module: ModuleType) -> None:
    wrapped(module, "measure", "cell: rest", lambda cell, *_: [cell.key])


def of_engine(module: ModuleType) -> None:
    train = module.LocalEngine.train

    def recorded(engine: Any, job: Any, *given: Any) -> Any:
        _training[0] = job.key
        with unit("training: rest", job.key):
            return train(engine, job, *given)

    module.LocalEngine.train = recorded
    wrapped(module.LocalEngine, "_loaded", "to begin: loading the model", lambda *_: ["model"])


def of_batches(module: ModuleType) -> None:
    at = module.TrainingBatches.at

    def recorded(batches: Any, step: int) -> Any:
        with unit("training: batches", f"{_training[0]} {step}"):
            data = at(batches, step)
        _steps[id(data.batches)] = step
        return data

    module.TrainingBatches.at = recorded


def of_loop(module: ModuleType) -> None:
    wrapped(module, "_gradients", "training: steps", lambda _, batches, *__: [f"{_training[0]} {_steps[id(batches)]}"])
    wrapped(module, "_update", "training: updates", lambda *_: [_training[0]])


MODULES = {
    "extenders.training.loop": of_loop,
    "harness.records.passes": of_passes,
    "harness.runner.engine": of_engine,
    "harness.runner.run": of_run,
    "harness.search.stage": of_search_stage,
    "harness.search.texts": of_search_texts,
    "harness.search.work": of_search,
    "harness.training.batches": of_batches,
}


def listen() -> None:
    """From now on these modules record when they are imported."""
    execute = importlib.machinery.SourceFileLoader.exec_module

    def exec_module(loader: Any, module: ModuleType) -> None:
        execute(loader, module)
        if module.__name__ in MODULES:
            MODULES[module.__name__](module)

    importlib.machinery.SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign]


if LOG:
    listen()
