"""Better, worse, the same, or open: what a paired comparison allows to say.

"Not significantly different" is not "the same": with few samples nothing differs significantly. Two methods are called
the same when both one-sided tests at 5 % exclude a difference of a margin (TOST; Schuirmann 1987, Journal of
Pharmacokinetics and Biopharmaceutics 15, p. 657), which is when the 90 % interval lies inside ±margin.
"""

from dataclasses import dataclass

from reports.statistics.intervals import SIGNIFICANT
from reports.statistics.paired import Pairs, difference, p_value

TIE_MARGIN = 0.02  # two points


@dataclass(frozen=True)
class Relation:
    """First against second. `low` and `high` are the 90 % interval of the difference; None where it is not known."""

    word: str  # "better", "worse", "same" or "open"
    difference: float
    low: float | None
    high: float | None
    margin: float

    @property
    def small(self) -> bool:
        """The difference is real or not, but smaller than the margin for sure."""
        return self.low is not None and self.high is not None and -self.margin < self.low and self.high < self.margin


def relation(
    tests: Pairs,
    name: str,
    margin: float = TIE_MARGIN,
    adjusted_p: float | None = None,
    bounded: bool = True,
    lower_is_better: bool = False,
) -> Relation:
    """What can be said of the first method against the second on the same samples.

    `adjusted_p` replaces the p-value of this comparison alone where it is one of many. Margin and difference are in
    the unit of the scores. A real difference is named even where it is smaller than the margin (see `small`).
    """
    if not margin > 0:
        raise ValueError(f"a margin must be above 0, got {margin}; two methods are never equal to the last digit")
    p = p_value(tests, name, bounded) if adjusted_p is None else adjusted_p
    gap = difference(tests, name, bounded, level=1 - 2 * SIGNIFICANT)
    plain = Relation("open", gap.mean, gap.low, gap.high, margin)
    if p < SIGNIFICANT and gap.mean != 0:
        word = "better" if (gap.mean > 0) != lower_is_better else "worse"
    else:
        word = "same" if plain.small else "open"
    return Relation(word, gap.mean, gap.low, gap.high, margin)
