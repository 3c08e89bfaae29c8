"""What the numbers allow to say: differences from the leader, how far each method really gets, and whether the order of
the methods rests on one test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.numbers.grid import shown
from reports.numbers.over_lengths import OTHER_TESTS, shared
from reports.numbers.profiles import complete
from reports.numbers.scores import Scores, Test
from reports.numbers.tables import Summary, original
from reports.statistics import ranks
from reports.statistics.effective_length import RULES, EffectiveLength, Rule, effective_length
from reports.statistics.equivalence import Relation
from reports.statistics.paired import Comparison
from reports.statistics.power import would_settle

WORDS = {
    "better": "better",
    "worse": "worse",
    "same": "tied: within ±2 points",
    "open": "open: too little data to tell",
}


@dataclass(frozen=True)
class Difference:
    """A method minus the leader, on the same samples. `p` is corrected for all comparisons of the summary."""

    label: str
    gap: Comparison
    p: float
    relation: Relation
    comparisons: int  # of the summary, over which p is corrected

    @property
    def detectable(self) -> float:
        return self.gap.detectable(self.comparisons)

    @property
    def words(self) -> str:
        return WORDS[self.relation.word]

    @property
    def settle(self) -> str:
        if self.relation.word != "open":
            return ""
        return would_settle(self.gap, self.comparisons)


def differences(scores: Scores, found: Summary, column: int, leader: str) -> list[Difference]:
    """Every other method with a number at this length against the leader, nearest first."""
    if not found.lengths or not leader:
        return []
    tests = found.tests[column]
    made = []
    for line in found.grid.lines:
        if line.label == leader or line.numbers[column].estimate is None:
            continue
        pairs = scores.pairs(line.label, leader, tests)
        if not all(len(a) for a, _ in pairs):
            continue
        p = found.ranked.p(column, leader, line.label)
        relation = scores.relation(line.label, leader, tests, p)
        gap = scores.compare(line.label, leader, tests)
        made.append(Difference(line.label, gap, p, relation, len(found.ranked.adjusted)))
    return sorted(made, key=lambda one: -one.gap.difference)


@dataclass(frozen=True)
class Reach:
    """Effective lengths of all methods under one rule."""

    rule: Rule
    of: str  # the score that the rule is applied to
    found: tuple[tuple[str, EffectiveLength], ...]


def reaches(scores: Scores, found: Summary) -> list[Reach]:
    """One entry for each rule that fits what was measured, on the tests that all lengths share."""
    if found.grid.empty:
        return []
    tests = shared(found.tests)
    average = {label: [scores.average(label, one).estimate for one in tests] for label in scores.frames.labels}
    of = "average over long tests"
    made = []
    base, trained = original(scores), scores.frames.trained_length
    reference = None
    if base is not None and trained in found.lengths:
        reference = average[base][found.lengths.index(trained)]

    def reach(label: str, rule: Rule) -> EffectiveLength:
        if not any(tests):
            return EffectiveLength(rule, None, note=OTHER_TESTS)
        return effective_length(found.lengths, average[label], rule, reference)

    full = all(one and len(complete(one)) == len(one) for one in found.tests)
    for name in ("native", "own-85", "half", *(("ruler-base", "ruler-chat") if full else ())):
        rows = [(label, reach(label, RULES[name])) for label in average]
        made.append(Reach(RULES[name], of, tuple(rows)))
    keys = [test for test in scores.tests("score") if test[0].split("/")[-1].startswith("passkey")]
    task = keys[0][0] if keys else ""
    lengths = sorted(length for name, length in keys if name == task)
    for name in ("passkey-80", "passkey-20") if keys else ():
        rows = [
            (label, effective_length(lengths, [scores.number(label, (task, n)).estimate for n in lengths], RULES[name]))
            for label in scores.frames.labels
        ]
        made.append(Reach(RULES[name], task, tuple(rows)))
    return made


@dataclass(frozen=True)
class Ranks:
    """`chances` has one line for each method: the chance of rank 1, 2, …, if samples were drawn anew; empty
    where a test has one sample."""

    stability: ranks.Stability
    chances: pd.DataFrame
    methods: tuple[str, ...]


def rank_stability(scores: Scores, found: Summary, column: int) -> Ranks | None:
    """None where fewer than two methods were measured on the same tests."""
    if not found.lengths:
        return None
    tests = found.tests[column]
    labels = [line.label for line in found.grid.lines if line.numbers[column].estimate is not None]
    if len(labels) < 2 or not tests:
        return None
    tables = _complete(scores, labels, tests)
    if any(len(table) == 0 for table in tables):
        return None
    category = dict(zip(scores.frames.cells["task"], scores.frames.cells["category"], strict=True))
    names = [task for task, _ in tests]
    means = pd.DataFrame([table.mean(axis=0) for table in tables], index=names, columns=labels)
    stable = ranks.stability(means, {name: str(category[name]) for name in names})
    enough = all(len(table) > 1 for table in tables)
    chances = ranks.bootstrap_ranks(tables, labels, f"ranks {found.lengths[column]}") if enough else pd.DataFrame()
    return Ranks(stable, chances, tuple(labels))


def _complete(scores: Scores, labels: Sequence[str], tests: Sequence[Test]) -> list[np.ndarray]:
    """For each test the scores of all methods on the samples that all of them have; letters N samples, M methods."""
    return [scores.matrix[test][list(labels)].dropna().to_numpy(dtype=np.float64) for test in tests]


def points(gap: Comparison) -> str:
    """A difference with its interval, in points."""
    text = shown(gap.difference, "points")
    if gap.low is None or gap.high is None:
        return f"{text} no interval"
    return f"{text} [{shown(gap.low, 'points')}, {shown(gap.high, 'points')}]"
