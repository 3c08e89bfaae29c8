"""Which number of a line is best, and which others are tied with it, corrected for all that a table compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from reports.numbers.frame import Test
from reports.numbers.grid import Number
from reports.numbers.scores import Scores
from reports.statistics.intervals import SIGNIFICANT
from reports.statistics.multiplicity import benjamini_hochberg, holm

MARKS_NOTE = (
    "Bold: better than every other method. =: not significantly below the highest. Paired tests on the same samples, "
    "5 % level, Holm's correction over the whole table. Brackets: 95 % interval."
)


@dataclass(frozen=True)
class Ranked:
    """Numbers of several lines (each an average over tests) for all methods, with marks and corrected p-values."""

    numbers: Mapping[tuple[int, str], Number]
    adjusted: Mapping[tuple[int, str, str], float]  # corrected over all lines and all pairs of methods

    def p(self, line: int, first: str, second: str) -> float:
        return self.adjusted.get((line, first, second), self.adjusted.get((line, second, first), 1.0))


def rank(scores: Scores, lines: Sequence[Sequence[Test]], lower_is_better: bool = False, strict: bool = True) -> Ranked:
    """Measure every method on every line, and mark what is best and what is tied with it.

    `strict` corrects with Holm's method: 5 % risk of even one mistake in the table. Otherwise Benjamini and Hochberg's,
    for tables with many lines: 5 % of what is called real is expected to be luck.

    All pairs of methods are tested, not only those with the winner: the winner was picked by looking, and Holm's
    correction over all pairs stays honest about that.
    """
    labels = scores.frames.labels
    numbers = {(i, label): scores.average(label, tests) for i, tests in enumerate(lines) for label in labels}
    p_values: dict[tuple[int, str, str], float] = {}
    for i, tests in enumerate(lines):
        done = [label for label in labels if numbers[i, label].estimate is not None]
        for first, second in combinations(done, 2):
            pairs = scores.pairs(first, second, tests)
            if all(len(a) for a, _ in pairs):
                p_values[i, first, second] = scores.p_value(first, second, tests)
    correct = holm if strict else benjamini_hochberg
    adjusted = dict(zip(p_values, correct(list(p_values.values())), strict=True))
    ranked = Ranked(numbers, adjusted)
    for i in range(len(lines)):
        means = {label: e.mean for label in labels if (e := numbers[i, label].estimate) is not None}
        if len(means) < 2:
            continue
        top = (min if lower_is_better else max)(means, key=lambda label: means[label])
        tied = [label for label in means if label != top and ranked.p(i, top, label) >= SIGNIFICANT]
        for label in [top, *tied]:
            numbers[i, label] = replace(numbers[i, label], mark="tie" if tied else "best")
    return ranked
