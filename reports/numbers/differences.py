"""Which differences are real: every method against the leader at one length, on the same samples."""

from dataclasses import dataclass

from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
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
class LeaderGap:
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
        """What would close an open case, in words; '' for every other."""
        if self.relation.word != "open":
            return ""
        return would_settle(self.gap, self.comparisons)


def differences(scores: Scores, summary: Summary, column: int, leader: str) -> list[LeaderGap]:
    """Every other method with a number at this length against the leader, nearest first."""
    if not summary.lengths or not leader:
        return []
    tests = summary.tests[column]
    gaps = []
    for line in summary.grid.lines:
        if line.label == leader or line.numbers[column].estimate is None:
            continue
        pairs = scores.pairs(line.label, leader, tests)
        if not all(len(a) for a, _ in pairs):
            continue
        p = summary.ranked.p(column, leader, line.label)
        relation = scores.relation(line.label, leader, tests, p)
        gap = scores.compare(line.label, leader, tests)
        gaps.append(LeaderGap(line.label, gap, p, relation, len(summary.ranked.adjusted)))
    return sorted(gaps, key=lambda entry: -entry.gap.difference)
