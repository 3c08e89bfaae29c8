"""Scores of all methods side by side on the same samples.

Seeds of an evaluation only draw more samples, which are pooled. Seeds of a training are models of their own: where a
trained method has several, its interval and its tests go by the seeds' means, which hold the luck of samples and of
training alike (`reports.statistics.seeds`); for differences all trained methods tell together how large the latter is
(`reports.statistics.pooled_luck`). Some tests draw nothing: every seed of a training answers the same samples there,
and an untrained method answers them once, which counts for all seeds.

Letters: L methods, S seeds, N samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from reports.numbers.frame import CONTROL, Frames, Test
from reports.numbers.grid import Number
from reports.statistics import equivalence, intervals, paired
from reports.statistics.equivalence import TIE_MARGIN, Relation
from reports.statistics.intervals import SIGNIFICANT, Array, Estimate
from reports.statistics.paired import Comparison
from reports.statistics.pooled_luck import PooledLuck, pooled_luck
from reports.statistics.seeds import TwoLevel, side_by_side, two_level


@dataclass(frozen=True)
class Scores:
    """Numbers of single tests; a test is a task at a length, all its seeds together."""

    frames: Frames

    @cached_property
    def matrix(self) -> dict[Test, pd.DataFrame]:
        """For every test one table: lines are samples (seed, sample), columns are methods."""
        return {
            (str(task), int(length)): rows.pivot(index=["seed", "sample"], columns="label", values="score")
            for (task, length), rows in self.frames.rows.groupby(["task", "length"], sort=False)
        }

    @cached_property
    def _cells(self) -> dict[tuple[str, str, int], pd.DataFrame]:
        return {
            (str(label), str(task), int(length)): cells
            for (label, task, length), cells in self.frames.cells.groupby(["label", "task", "length"], sort=False)
        }

    @cached_property
    def _units(self) -> dict[str, str]:
        return dict(zip(self.frames.cells["task"], self.frames.cells["unit"], strict=True))

    def chance(self, task: str) -> float:
        """The score of guessing, 0 where the store does not say it."""
        return self._chances.get(task, 0.0)

    @cached_property
    def _chances(self) -> dict[str, float]:
        return {cell["task"]: float(cell.get("chance", 0.0)) for cell in self.frames.run["cells"]}

    @cached_property
    def _numbers(self) -> dict[tuple[str, Test], Number]:
        return {}

    @cached_property
    def _columns(self) -> dict[Test, dict[str, Array]]:
        """The columns of `matrix` as arrays, NaN where a method lacks a sample."""
        return {
            test: {str(label): scores[label].to_numpy(dtype=np.float64) for label in scores.columns}
            for test, scores in self.matrix.items()
        }

    @cached_property
    def _trainings(self) -> dict[str, int]:
        """The trained methods with the number of their seeds."""
        trained = {str(m["label"]) for m in self.frames.run.get("methods", []) if isinstance(m.get("training"), dict)}
        seeds = self.frames.cells.groupby("label")["seed"].nunique()
        return {label: int(seeds.get(label, 0)) for label in trained}

    def by_seed(self, *labels: str) -> bool:
        """True where intervals and tests of these methods must go by the seeds of their training."""
        return any(self._trainings.get(label, 0) > 1 for label in labels)

    def trained_once(self, label: str) -> bool:
        """True for a trained method whose numbers know nothing of the luck of training."""
        return self._trainings.get(label, 0) == 1

    @cached_property
    def _drawn(self) -> dict[str, bool]:
        """Whether a task draws other samples under every seed."""
        return dict(zip(self.frames.cells["task"], self.frames.cells["seeded"], strict=True))

    def seed_tables(self, labels: Sequence[str], tests: Sequence[Test]) -> list[Array]:
        """For each method a table [S, N]: a line is a seed, and the tests stand side by side (`seeds.side_by_side`).

        Of tests that draw nothing, a column is one sample under all seeds; of others each seed has samples of its own
        (`same_samples` says which). Samples and seeds that a method lacks are left out for all.
        """
        tables = [[self._seed_table(label, test) for label in labels] for test in tests]
        several = [set(table.columns) for of_test in tables for table in of_test if len(table.columns) > 1]
        seeds = sorted(set.intersection(*several)) if several else []
        parts: list[list[Array]] = [[] for _ in labels]
        for of_test in tables:
            wide = [
                table[seeds] if len(table.columns) > 1 else table.iloc[:, [0] * max(1, len(seeds))] for table in of_test
            ]
            values_LSN = np.stack([table.to_numpy(dtype=np.float64).T for table in wide])
            everywhere = ~np.isnan(values_LSN).any(axis=(0, 1))
            for part, values_SN in zip(parts, values_LSN[:, :, everywhere], strict=True):
                part.append(values_SN)
        return [side_by_side(part) for part in parts]

    def _seed_table(self, label: str, test: Test) -> pd.DataFrame:
        """One test of one method: lines are samples, columns the seeds that the method has."""
        if (label, test) not in self._of_seeds:
            self._of_seeds[label, test] = self.matrix[test][label].unstack("seed").dropna(axis=1, how="all")
        return self._of_seeds[label, test]

    @cached_property
    def _of_seeds(self) -> dict[tuple[str, Test], pd.DataFrame]:
        return {}

    def same_samples(self, tests: Sequence[Test]) -> bool:
        """Whether every seed answers the same samples of these tests."""
        return not any(self._drawn[task] for task, _ in tests)

    def _over_seeds(self, label: str, tests: Sequence[Test], minus: str = "") -> TwoLevel:
        """Mean over seeds and samples of a method, or of its difference to another."""
        bounded, name, same = self.bounded(tests) and not minus, f"{label} {minus} {tests}", self.same_samples(tests)
        tables_SN = self.seed_tables([label, minus] if minus else [label], tests)
        if not tables_SN[0].size:  # no sample that all seeds have
            return TwoLevel(Estimate(math.nan, None, None, 0), math.nan, 0.0, 1.0)
        if not minus:
            return two_level(tables_SN[0], name, same, bounded)
        luck = self.luck(tuple(tests)) if min(tables_SN[0].shape) > 1 else None
        pooled = None
        if luck is not None and not (self.trained_once(label) or self.trained_once(minus)):
            trained = sorted(zip((label, minus), tables_SN, strict=True), key=lambda named: not self.by_seed(named[0]))
            pooled = luck.between(trained[0][1], trained[1][1], self.by_seed(trained[1][0]))
        return two_level(tables_SN[0] - tables_SN[1], name, same, bounded, pooled)

    def luck(self, tests: tuple[Test, ...]) -> PooledLuck | None:
        """The luck of training on these tests, from all methods that have finished them.

        Of scores only: losses have no bounds that would tie the luck of training to the luck of samples. And not where
        some tests draw other samples for every seed and some do not, which one mean square cannot hold.
        """
        if not self.bounded(tests) or len({self._drawn[task] for task, _ in tests}) > 1:
            return None
        if tests not in self._lucks:
            done = [label for label in self.frames.labels if all(self._finished(label, test) for test in tests)]
            trained = [label for label in done if self.by_seed(label)]
            untrained = [label for label in done if label not in self._trainings]
            tables_LSN = self.seed_tables(trained + untrained, tests) if len(trained) > 2 else []
            luck = None
            if tables_LSN and tables_LSN[0].size:
                all_LSN, first = np.stack(tables_LSN), len(trained)
                luck = pooled_luck(all_LSN[:first], all_LSN[first:], self.same_samples(tests))
            self._lucks[tests] = luck
        return self._lucks[tests]

    @cached_property
    def _lucks(self) -> dict[tuple[Test, ...], PooledLuck | None]:
        return {}

    def _finished(self, label: str, test: Test) -> bool:
        cells = self._cells.get((label, *test))
        return cells is not None and bool((cells["status"] == "done").all())

    def tests(self, unit: str | None = None, short: bool = False) -> list[Test]:
        """All planned tests in the planned order; `short` asks for the short-context ones, else the long ones.

        Controls (a needle test without its needle, say) are in neither: they show what luck gives, and count nowhere.
        """
        cells = self.frames.cells
        chosen = cells[((cells["category"] == "short") == short) & ((cells["unit"] == unit) | (unit is None))]
        chosen = chosen[chosen["category"] != CONTROL]
        return list(dict.fromkeys(zip(chosen["task"].astype(str), chosen["length"].astype(int), strict=True)))

    def controls(self) -> list[Test]:
        """The planned controls, in the planned order."""
        chosen = self.frames.cells[self.frames.cells["category"] == CONTROL]
        return list(dict.fromkeys(zip(chosen["task"].astype(str), chosen["length"].astype(int), strict=True)))

    def number(self, label: str, test: Test) -> Number:
        """One test of one method. Where only some of its seeds are finished it counts as missing."""
        if (label, test) not in self._numbers:
            self._numbers[label, test] = self._number(label, test)
        return self._numbers[label, test]

    def _number(self, label: str, test: Test) -> Number:
        cells = self._cells.get((label, *test))
        if cells is None:
            return Number(why="not part of this experiment")
        keys = tuple(cells["key"])
        for status in ("failed", "missing"):
            wrong = cells[cells["status"] == status]
            if len(wrong):
                seeds = f" ({len(wrong)} of {len(cells)} seeds)" if len(cells) > 1 else ""
                return Number(None, status, f"{status}{seeds}: {wrong['reason'].iloc[0]}", keys)
        planned, n = int(cells["samples"].sum()), int(cells["n"].sum())
        why = "" if n >= planned else f"only {n} of {planned} samples"
        values = self._columns[test][label]
        bounded = self._units[test[0]] == "score"
        values = values[~np.isnan(values)]
        if self.by_seed(label):
            over = self._over_seeds(label, [test]).estimate
            if over.low is not None or (over.n and not bounded):
                return Number(replace(over, n=n), "done", why, keys)
            # Trainings that are alike to the last answer: the doubt of their samples is left.
            values = self.seed_tables([label], [test])[0][0] if over.n and self.same_samples([test]) else values
        mean = intervals.estimate(values, f"{label} {test}", bounded)
        return Number(replace(mean, n=n), "done", why, keys)

    def average(self, label: str, tests: Sequence[Test]) -> Number:
        """Mean over tests, every test with equal weight; missing as soon as one of them is."""
        if len(tests) == 1:
            return self.number(label, tests[0])
        numbers = [self.number(label, test) for test in tests]
        absent = [(test, number) for test, number in zip(tests, numbers, strict=True) if number.estimate is None]
        if absent or not tests:
            status = "failed" if any(number.status == "failed" for _, number in absent) else "missing"
            first = f", first {absent[0][0][0]} ({absent[0][1].why})" if absent else ""
            return Number(None, status, f"{len(absent)} of {len(tests)} tests have no result{first}")
        parts = [number.estimate for number in numbers if number.estimate]
        if self.by_seed(label):
            over = self._over_seeds(label, tests).estimate
            if over.low is not None or (over.n and not self.bounded(tests)):
                return Number(replace(over, n=sum(part.n for part in parts)), "done")
        return Number(intervals.average(parts), "done")

    def pairs(self, first: str, second: str, tests: Sequence[Test]) -> list[tuple[Array, Array]]:
        """Scores of two methods on the samples that both have; one pair of arrays for each test."""
        pairs = []
        for test in tests:
            a, b = self._columns[test][first], self._columns[test][second]
            both = ~(np.isnan(a) | np.isnan(b))
            pairs.append((a[both], b[both]))
        return pairs

    def p_value(self, first: str, second: str, tests: Sequence[Test]) -> float:
        """Two-sided, not yet corrected for many comparisons."""
        if self.by_seed(first, second):
            return self.compare(first, second, tests).p
        return paired.p_value(self.pairs(first, second, tests), f"{first} {second} {tests}", self.bounded(tests))

    def relation(self, first: str, second: str, tests: Sequence[Test], adjusted_p: float) -> Relation:
        """What can be said of the first method against the second."""
        if not self.by_seed(first, second):
            pairs, name = self.pairs(first, second, tests), f"{first} {second} {tests}"
            return equivalence.relation(pairs, name, adjusted_p=adjusted_p, bounded=self.bounded(tests))
        gap = self.compare(first, second, tests)
        # Of a 95 % interval where 90 would do: on the safe side.
        plain = Relation("open", gap.difference, gap.low, gap.high, TIE_MARGIN)
        if adjusted_p < SIGNIFICANT and gap.difference != 0:
            return replace(plain, word="better" if gap.difference > 0 else "worse")
        return replace(plain, word="same" if plain.small else "open")

    def compare(self, first: str, second: str, tests: Sequence[Test]) -> Comparison:
        pairs, name = self.pairs(first, second, tests), f"{first} {second} {tests}"
        if not self.by_seed(first, second):
            return paired.compare(pairs, name, self.bounded(tests))
        over, n = self._over_seeds(first, tests, minus=second), sum(len(a) for a, _ in pairs)
        mean = over.estimate
        if not mean.n:
            return replace(paired.compare(pairs, name, self.bounded(tests)), low=None, high=None, p=1.0)
        if over.error == 0 and self.bounded(tests):
            # All answers differ by the same: samples are the doubt that is left, each once where all seeds answer it.
            if self.same_samples(tests):
                both = [self.seed_tables([first, second], [test]) for test in tests]
                pairs = [(tables_SN[0][0], tables_SN[1][0]) for tables_SN in both]
            return replace(paired.compare(pairs, name, True), n=n)
        return Comparison(mean.mean, mean.low, mean.high, over.p, n, over.error, over.freedom)

    def bounded(self, tests: Sequence[Test]) -> bool:
        """True for scores in [0, 1], False for losses."""
        return all(self._units[task] == "score" for task, _ in tests)
