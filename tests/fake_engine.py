"""A run without torch: an engine whose model is a table, and a test that asks it nothing but arithmetic."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from fakes import FakeLM

from extenders.base import RopeSpec
from extenders.none import NoExtension
from extenders.pi import PositionInterpolation
from harness.experiment.cells import Base
from harness.experiment.file import Experiment, Method, Test
from harness.records.passes import Passes
from harness.store import Proof
from tasks.base import LM, Row, Task

ROPE = RopeSpec(8, 10_000.0, 64, tuple(10_000.0 ** (-i / 4) for i in range(4)))


@dataclass(frozen=True, kw_only=True)
class Count(Task):
    """Sample i scores i modulo 2; `broken_at` raises at that length, `nap` seconds pass before every sample."""

    new_tokens: ClassVar[int] = 3

    broken_at: int = 0
    empty: bool = False
    value: float | None = None
    nap: float = 0.0
    plan_hash: str = ""
    prompt_tokens: int = 0

    @property
    def name(self) -> str:
        return "count"

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        for i in range(0 if self.empty else samples):
            time.sleep(self.nap)
            if length == self.broken_at:
                raise RuntimeError("out of\nmemory")
            score = float(i % 2) if self.value is None else self.value
            prompt = f"{length} {seed} {i}"
            made = Row(sample=i, score=score, prompt=prompt, generation=str(i), references=(str(i),))
            yield replace(made, plan_hash=self.plan_hash, prompt_tokens=self.prompt_tokens)


class Quiet:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.closed = False

    def say(self, line: str) -> None:
        self.said.append(line)

    def start(self, missing: Any, total: int, at_once: int = 1, known: Any = ()) -> None:
        self.missing, self.total = len(missing), total

    def begin(self, cell: Any) -> None:
        self.current = cell

    def end(self, cell: Any, seconds: float, error: str) -> None:
        self.ended.append((cell.method.label, error))

    def close(self) -> None:
        self.closed = True


class FakeSession:
    def __init__(self, method: Method, trained: Path | None = None) -> None:
        self.lm = FakeLM()
        self.token_forwards = 0
        self._method = method

    def prove(self, length: int) -> Proof:
        self.token_forwards += length
        return {"plan_hash": self._method.extender.plan(ROPE, length).hash, "max_difference": 0.0}

    def keep(self, passes: Passes | None) -> None:
        """Its answers cost nothing."""


class FakeEngine:
    name = "fake"

    def __init__(self, weights: str = "w" * 16) -> None:
        self.weights = weights
        self.opened = 0

    def base(self) -> Base:
        return Base(self.weights, ROPE, "float32", "sdpa", 1234)

    def tokenizer(self) -> Any:
        return None

    @contextmanager
    def open(self) -> Iterator[Any]:
        self.opened += 1
        yield FakeSession


def methods(*labels: str, target: int = 256) -> tuple[Method, ...]:
    made = {"none": NoExtension, "pi": PositionInterpolation}
    return tuple(Method(label, made[label](target_length=target)) for label in labels)


def experiment(**changes: Any) -> Experiment:
    """none and pi, one test, three lengths, two seeds: twelve cells."""
    plain: dict[str, Any] = {
        "name": "made-up",
        "model": "fake",
        "target_length": 256,
        "lengths": (64, 128, 256),
        "methods": methods("none", "pi"),
        "tests": (Test("count", Count(), 4),),
        "seeds": (0, 1),
        "folder": Path("."),
    }
    return Experiment(**(plain | changes))
