"""A loaded model under a method, and a test asked of it: what a run does, without a store. For `import ropebench`.

Samples, prompts, plans and scores are those of a run: the same cells are made, and each is proved before it is asked.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from extenders.base import Extender
from harness.experiment.cells import Base, Cell, cells_of, plan_of
from harness.experiment.file import CROSSING, Experiment, Method, named_method, parse
from harness.experiment.parameters import hint
from harness.files_on_disk import cache_folder
from harness.model.lm import ExtendedLM
from harness.model.load import LoadedModel
from harness.prompts.cache import PromptCache
from harness.prompts.kept import KeptPrompts
from harness.rope.applied import applied
from harness.runner.engine import LocalSession
from harness.runner.measure import checked
from tasks.base import Row


@contextmanager
def under(
    loaded: LoadedModel,
    method: str | type[Extender],
    target_length: int,
    given: Mapping[str, Any],
    crossing: str = "fixed",
) -> Iterator[ExtendedLM]:
    """The model under a method, by name, file or class; leaving the block restores the model, also after an error.

    Raises ValueError for an unknown method or parameter, and for a target (tokens) not above the trained length.
    """
    if crossing not in CROSSING:
        raise ValueError(f"under: crossing is {crossing!r}; {hint(crossing, CROSSING)}")
    named = named_method("under", method, given, target_length)
    if target_length <= loaded.spec.trained_length:
        raise ValueError(
            f"under: target_length {target_length} must be above the {loaded.spec.trained_length} tokens that "
            f"{loaded.source} was trained with"
        )
    plan_of(named, loaded.spec, target_length)
    with applied(loaded.model, loaded.spec) as rotary:
        yield ExtendedLM(loaded, named.extender, rotary, crossing=crossing)


def ask(
    lm: ExtendedLM, test: str, length: int, samples: int | None, seed: int, given: Mapping[str, Any]
) -> Iterator[tuple[Cell, Row]]:
    """Rows of a test, or of all tests that the name stands for, each with the cell that a run would keep it in.

    Raises ValueError for an unknown test or parameter, a length (tokens) beyond the method's target, and a block that
    was left.
    """
    if not lm.rotary.live:
        raise ValueError("ask: the block of this model was left, and the model is as loaded; ask inside `with under`")
    session = LocalSession(_method(lm), lm, lm.rotary, lm.spec)
    tokenizer = lm.loaded.tokenizer_hash
    kept = KeptPrompts(PromptCache(cache_folder()), tokenizer) if tokenizer else None
    for cell in _cells(lm, test, length, samples, seed, given):
        session.prove(cell.length)
        asked = (lm, cell.length, cell.seed, cell.samples)
        for row in kept.rows(cell.test.task, *asked) if kept else cell.test.task.run(*asked):
            yield cell, checked(row, cell)


def _cells(
    lm: ExtendedLM, test: str, length: int, samples: int | None, seed: int, given: Mapping[str, Any]
) -> list[Cell]:
    """The cells that an experiment with this test alone would have; what is wrong is said as for an experiment."""
    content: dict[str, Any] = {
        "model": "asked",
        "target_length": lm.extender.target_length,
        "lengths": [length],
        "extenders": ["none"],
        "tests": [{test: dict(given)}],
        "seeds": [seed],
    }
    content |= {} if samples is None else {"samples": samples}
    read: Experiment = parse(content, "ask", Path.cwd())
    experiment = dataclasses.replace(read, methods=(_method(lm),))
    return cells_of(experiment, Base(lm.loaded.weights_hash, lm.spec, lm.loaded.dtype, lm.loaded.attention))


def _method(lm: ExtendedLM) -> Method:
    """A class that was written in a notebook has no file to be named after."""
    extender = lm.extender
    return Method(type(extender).__name__ if extender.name == "__main__" else extender.name, extender)
