"""What would change a tie: more samples, or more seeds."""

import math

from reports.statistics.paired import Comparison


def would_settle(gap: Comparison, comparisons: int = 1) -> str:
    """What would call a lead of this size real four times out of five, in words, in a table of so many comparisons.

    '' where there is nothing to say: no lead, no spread, or enough samples already. Where the degrees of freedom are
    those of a few trainings or searches, samples alone settle nothing.
    """
    if gap.n < 2 or gap.difference == 0 or not gap.error > 0:
        return ""
    needed = gap.n * (gap.detectable(comparisons) / abs(gap.difference)) ** 2
    if not gap.n < needed:
        return ""
    if math.isfinite(gap.freedom):
        return "more seeds of the training would be needed to settle a lead of that size"
    rounded = float(f"{needed:.2g}")
    return f"about {rounded:,.0f} samples would settle a lead of that size" if rounded < 1e7 else ""
