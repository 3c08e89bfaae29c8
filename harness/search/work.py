"""One search at work: its texts, its losses on disk, its trajectory, and the problem that the searcher sees.

Every measured loss is on disk before the next is measured; losses that are there are not measured again: they are
given to the problem, which is the only one that remembers them.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from extenders.base import Extender, RopePlan
from extenders.search.problem import Losses, Pair, Problem, Report, Slope, Slopes, finite
from extenders.search.searched import SearchedExtender
from extenders.search.trajectory import Line
from harness.experiment.cells import Base
from harness.files_on_disk import mend_lines, room_in
from harness.seals import canonical, sealed
from harness.search.texts import SearchText, SearchTexts
from harness.signals import ShortPieces
from harness.store import is_losses_line, moved
from tasks.base import LM

BESIDE = 0  # stands in a file of losses where a length stands, for rows that are no samples of the search
MadeTexts = dict[tuple[Any, ...], SearchTexts]  # by all that they depend on beside the tokenizer


class Measures(Protocol):
    """What a search asks of a loaded model."""

    @property
    def lm(self) -> LM: ...

    @property
    def token_forwards(self) -> int: ...

    @property
    def start_ids(self) -> Sequence[int]:
        """What stands before every text (BOS)."""

    def plan_losses(self, rows: Sequence[tuple[RopePlan, SearchText]]) -> list[float]:
        """Mean loss of the scored tokens of every row under its own plan."""

    def plan_slopes(
        self, rows: Sequence[tuple[RopePlan, SearchText]], solved: float, recompute: bool = False
    ) -> list[Slope]:
        """The loss of every row under its own plan, and its gradient unless the loss is below `solved`."""

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
        made: MadeTexts | None = None,
    ) -> None:
        self._key, self._folder = key, folder
        self._extender, self._base, self._session = extender, base, session
        self._progress, self._avoid, self._tune = progress, avoid, tune
        self._losses_path = folder / f"{key}{suffix}.losses.jsonl"
        self._trajectory_path = folder / f"{key}{suffix}.jsonl"
        self._tuned: Work | None = None
        self._texts: dict[int, SearchTexts] = {}
        self._made: MadeTexts = {} if made is None else made
        self._problems: list[Problem] = []
        self._measured = False  # since the last report
        self._pieces = ShortPieces()  # passes of the model
        self.avoided: int | None = None  # passages of evaluation text that search texts were compared with
        self.seconds = 0.0  # of all sittings
        self.held_out: dict[str, float | None] = {}
        self.held_out_samples = 0
        self._losses: dict[int, Losses] = {}  # by length in tokens; every problem of that length works on them
        self._slopes: dict[int, Slopes] = {}
        self._line = f"{key}{suffix}"
        for sitting in mend_lines(self._losses_path, lambda line: is_losses_line(self._line, line)):
            self.seconds += sitting["seconds"]
            for length, plan, sample, loss in sitting["losses"]:
                self._losses.setdefault(length, {})[plan, sample] = math.inf if loss is None else loss
            for length, plan, sample, loss, gradient, forwards in sitting.get("slopes", []):
                values = None if gradient is None else tuple(gradient)
                slope = Slope(math.inf if loss is None else loss, values, forwards)
                self._slopes.setdefault(length, {})[plan, sample] = slope

    def __enter__(self) -> "Work":
        self._losses_file = self._losses_path.open("a", encoding="utf-8")
        self._trajectory = self._trajectory_path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._losses_file.close()
        self._trajectory.close()
        if self._tuned is not None:
            self._tuned.__exit__()
            self.seconds += self._tuned.seconds
            self._problems += self._tuned._problems
            self.held_out, self.held_out_samples = self._tuned.held_out, self._tuned.held_out_samples

    def loss_of(self, plan: RopePlan) -> float | None:
        """The winner's loss on the texts that it was searched on, in nats per scored token; None where it has none."""
        problems = (self._tuned or self)._problems
        reaching = [problem for problem in problems if problem.target_length == self._extender.target_length]
        return next((loss for problem in reaching if (loss := problem.loss_of(plan)) is not None), None)

    @property
    def tunes(self) -> bool:
        """Whether the model is trained on the way, so that what is found is for another model."""
        return self._tune is not None

    @property
    def spent(self) -> int:
        return sum(problem.spent for problem in self._problems)

    @property
    def candidates(self) -> int:
        return sum(problem.candidates for problem in self._problems)

    @property
    def evaluations(self) -> int:
        return sum(problem.evaluations for problem in self._problems)

    def _fine_tuned(self, method: Extender) -> Problem:
        """The same problem on the model trained with the method's plan; its losses and trajectory in files apart."""
        assert self._tune is not None and isinstance(method, SearchedExtender)
        session = self._tune(method)
        self._tuned = Work(
            self._extender, self._key, self._base, session, self._folder, self._avoid, self._progress, suffix=".tuned"
        ).__enter__()
        return self._tuned.problem(self._extender.target_length, 0)

    def problem(self, length: int, budget: int, recovery: bool = False) -> Problem:
        """The problem at one length, in tokens."""
        problem = Problem(
            self._base.rope,
            length,
            lambda pairs: self._measure(length, pairs),
            budget=budget,
            seed=self._extender.search_seed,
            batch=self._session.rows_at_once(length),
            known=self._losses.setdefault(length, {}),
            progress=self._report,
            log=lambda line: self._log(length, line),
            at=lambda other, share: self.problem(other, share, recovery=True),
            fine_tune=None if self._tune is None else self._fine_tuned,
            recovery=recovery,
            differentiate=lambda pairs, solved, recompute: self._differentiate(length, pairs, solved, recompute),
            known_slopes=self._slopes.setdefault(length, {}),
        )
        self._problems.append(problem)
        return problem

    def _measure(self, length: int, pairs: Sequence[Pair]) -> list[float]:
        """The losses of these pairs, written down before they are given."""
        texts = self.texts_of(length)
        rows = [(plan, texts[sample]) for plan, sample in pairs]
        with self._pieces.piece():
            started = time.perf_counter()
            losses = self._session.plan_losses(rows)
            seconds = time.perf_counter() - started
            lines = [[length, plan.hash, n, finite(loss)] for (plan, n), loss in zip(pairs, losses, strict=True)]
            self._write_down(seconds, losses=lines)
        return losses

    def _differentiate(self, length: int, pairs: Sequence[Pair], solved: float, recompute: bool) -> list[Slope]:
        """The slopes of these pairs, written down before they are given."""
        texts = self.texts_of(length)
        rows = [(plan, texts[sample]) for plan, sample in pairs]
        with self._pieces.piece():
            started = time.perf_counter()
            slopes = self._session.plan_slopes(rows, solved, recompute)
            seconds = time.perf_counter() - started
            lines = []
            for (plan, sample), slope in zip(pairs, slopes, strict=True):
                gradient = None if slope.gradient is None else list(slope.gradient)
                lines.append([length, plan.hash, sample, finite(slope.loss), gradient, slope.forwards])
            self._write_down(seconds, losses=[], slopes=lines)
        return slopes

    def beside(self, rows: Sequence[tuple[RopePlan, SearchText]]) -> list[float]:
        """The losses of rows that are no samples of the search and no part of what it costs, kept like others."""
        known = self._losses.setdefault(BESIDE, {})
        names = [_hashed(plan, row) for plan, row in rows]
        missing = [number for number, name in enumerate(names) if (name, 0) not in known]
        if missing:
            with self._pieces.piece():
                losses = self._session.plan_losses([rows[number] for number in missing])
                lines = [[BESIDE, names[n], 0, finite(loss)] for n, loss in zip(missing, losses, strict=True)]
                self._write_down(0.0, losses=lines)
            known |= {(names[n], 0): loss for n, loss in zip(missing, losses, strict=True)}
        return [known[name, 0] for name in names]

    def _write_down(self, seconds: float, **measured: list[Any]) -> None:
        sitting = sealed(f"losses {self._line}", {**measured, "seconds": round(seconds, 4)})
        with room_in(self._folder):
            self._losses_file.write(canonical(sitting) + "\n")
            self._losses_file.flush()
        if not self._losses_path.exists():
            raise moved(self._folder)
        self.seconds += seconds
        self._measured = True

    def texts_of(self, length: int) -> SearchTexts:
        """The texts of that length, in tokens."""
        if length not in self._texts:
            extender, avoid = self._extender, self._avoid()
            self.avoided = len(avoid)
            what = length, extender.fitness, extender.search_seed, extender.documents
            key = *what, extender.needles, avoid
            if key not in self._made:
                start = self._session.start_ids
                window = self._base.rope.trained_length
                self._made[key] = SearchTexts(self._session.lm, *what, start, extender.needles, avoid, window)
            self._texts[length] = self._made[key]
        return self._texts[length]

    def _report(self, report: Report) -> None:
        self._progress(report, self._measured)
        self._measured = False

    def _log(self, length: int, line: Line) -> None:
        if "held_out" in line:
            self.held_out[line["held_out"]] = line["loss"]
            self.held_out_samples = line["samples"]
        with room_in(self._folder):
            self._trajectory.write(canonical(sealed(f"trajectory {self._line}", {**line, "length": length})) + "\n")
            self._trajectory.flush()


def _hashed(plan: RopePlan, row: SearchText) -> str:
    return hashlib.sha256(canonical([plan.hash, row.ids, row.scored]).encode()).hexdigest()[:16]
