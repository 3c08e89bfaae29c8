"""One search at work: its texts, its losses on disk, its trajectory, and the problem that the searcher sees.

Every measured loss is on disk before the next is measured; losses that are there are not measured again.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from extenders.base import RopePlan
from extenders.search.problem import CandidateLine, HeldOutLine, Pair, Problem, Report, finite
from extenders.search.searched import SearchedExtender
from harness.experiment.cells import Base
from harness.files_on_disk import mend_lines
from harness.search.texts import Document, Documents
from harness.store import canonical
from tasks.base import LM


class Measures(Protocol):
    """What a search asks of a loaded model."""

    @property
    def lm(self) -> LM: ...

    @property
    def token_forwards(self) -> int: ...

    @property
    def start_ids(self) -> Sequence[int]:
        """What stands before every text (BOS)."""

    def plan_losses(self, rows: Sequence[tuple[RopePlan, Document]]) -> list[float]:
        """Mean loss of the scored tokens of every row under its own plan."""

    def rows_at_once(self, length: int) -> int:
        """How many rows of that length go through the model together."""


class Work:
    """One search at work: its texts, its stored losses, its trajectory."""

    def __init__(
        self,
        extender: SearchedExtender,
        key: str,
        base: Base,
        session: Measures,
        folder: Path,
        avoid: Callable[[], frozenset[int]],
        progress: Callable[[Report, bool], None],
        tune: Callable[[SearchedExtender], Measures] | None = None,
        suffix: str = "",
    ) -> None:
        self._key, self._folder = key, folder
        self._extender, self._base, self._session = extender, base, session
        self._progress, self._avoid, self._tune = progress, avoid, tune
        self._cache_path = folder / f"{key}{suffix}.losses.jsonl"
        self._trajectory_path = folder / f"{key}{suffix}.jsonl"
        self._tuned: Work | None = None
        self._documents: dict[int, Documents] = {}
        self._problems: list[Problem] = []
        self._measured = False
        self.avoided: int | None = None  # passages of evaluation text that search texts were compared with
        self.seconds = 0.0  # of all sittings
        self.held_out: dict[str, float | None] = {}
        self.held_out_samples = 0
        self.losses: dict[str, float | None] = {}  # by plan, at its last measurement
        self._known = self._read()

    def __enter__(self) -> "Work":
        self._cache = self._cache_path.open("a", encoding="utf-8")
        self._trajectory = self._trajectory_path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.close()
        self._trajectory.close()
        if self._tuned is not None:
            self._tuned.__exit__()
            self.seconds += self._tuned.seconds
            self._problems += self._tuned._problems
            self.held_out, self.held_out_samples = self._tuned.held_out, self._tuned.held_out_samples
            self.losses = self._tuned.losses

    @property
    def spent(self) -> int:
        return sum(problem.spent for problem in self._problems)

    @property
    def candidates(self) -> int:
        return sum(problem.candidates for problem in self._problems)

    @property
    def evaluations(self) -> int:
        return sum(problem.evaluations for problem in self._problems)

    def _fine_tuned(self, method: Any) -> Problem:
        """The same problem on the model trained with the method's plan; its losses and trajectory in files apart."""
        assert self._tune is not None
        session = self._tune(method)
        self._tuned = Work(
            self._extender, self._key, self._base, session, self._folder, self._avoid, self._progress, suffix=".tuned"
        ).__enter__()
        return self._tuned.problem(self._extender.target_length, 0)

    def problem(self, length: int, budget: int, recovery: bool = False) -> Problem:
        """The problem at one length, in tokens."""
        made = Problem(
            self._base.rope,
            length,
            lambda pairs: self._evaluate(length, pairs),
            budget=budget,
            seed=self._extender.search_seed,
            batch=self._session.rows_at_once(length),
            progress=self._report,
            log=lambda line: self._log(length, line),
            at=lambda other, share: self.problem(other, share, recovery=True),
            fine_tune=None if self._tune is None else self._fine_tuned,
            recovery=recovery,
        )
        self._problems.append(made)
        return made

    def _evaluate(self, length: int, pairs: Sequence[Pair]) -> list[float]:
        missing = [pair for pair in pairs if (length, pair[0].hash, pair[1]) not in self._known]
        self._measured = bool(missing)
        if missing:
            texts = self._texts(length)
            rows = [(plan, texts[sample]) for plan, sample in missing]
            started = time.perf_counter()
            losses = self._session.plan_losses(rows)
            seconds = time.perf_counter() - started
            lines = [[length, plan.hash, n, finite(x)] for (plan, n), x in zip(missing, losses, strict=True)]
            self._cache.write(canonical({"losses": lines, "seconds": round(seconds, 4)}) + "\n")
            self._cache.flush()
            self.seconds += seconds
            self._remember(lines)
        return [self._known[length, plan.hash, sample] for plan, sample in pairs]

    def _texts(self, length: int) -> Documents:
        if length not in self._documents:
            one, avoid = self._extender, self._avoid()
            self.avoided = len(avoid)
            self._documents[length] = Documents(
                self._session.lm,
                length,
                one.fitness,
                one.search_seed,
                one.documents,
                self._session.start_ids,
                one.needles,
                avoid,
            )
        return self._documents[length]

    def _report(self, report: Report) -> None:
        self._progress(report, self._measured)

    def _log(self, length: int, line: CandidateLine | HeldOutLine) -> None:
        if "held_out" in line:
            self.held_out[line["held_out"]] = line["loss"]
            self.held_out_samples = line["samples"]
        else:
            self.losses[line["plan"]] = line["loss"]
        self._trajectory.write(canonical({**line, "length": length}) + "\n")
        self._trajectory.flush()

    def _read(self) -> dict[tuple[int, str, int], float]:
        """Stored losses. A line that was cut off by a kill is as good as never written, and is cut away."""
        self._known = {}
        for content in mend_lines(self._cache_path):
            self.seconds += content["seconds"]
            self._remember(content["losses"])
        return self._known

    def _remember(self, lines: Sequence[Sequence[Any]]) -> None:
        for length, plan, sample, loss in lines:
            self._known[length, plan, sample] = math.inf if loss is None else loss
