"""One number for all lengths of a method, under three rules that papers use beside effective length.

- RULER's weighted averages (arXiv:2404.06654, section 4): wAvg(inc) weighs the i-th of n lengths with i, wAvg(dec) the
  other way round, over n (n + 1) / 2.
- LongScore (100-LongBench, arXiv:2505.19293): how much is lost beyond the base ability, (score - base) / base, averaged
  over the longer lengths. Its base is the mean over short lengths; here over those inside the trained window. Its
  authors' script calls a task that gains more than half of its base unchanged; that is not done here.
"""

from collections.abc import Sequence

from reports.numbers.grid import Grid, Line, Number
from reports.numbers.over_lengths import OTHER_TESTS, shared
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.statistics.intervals import Estimate, combined

INC, DEC, LONG = "wAvg(inc)", "wAvg(dec)", "LongScore"


def across_lengths(scores: Scores, summary: Summary) -> Grid | None:
    """The table; None with fewer than two lengths."""
    if len(summary.lengths) < 2 or summary.grid.empty:
        return None
    tests, trained = shared(summary.tests), scores.frames.trained_length
    short = sum(length <= trained for length in summary.lengths)
    lines = []
    for label in scores.frames.labels:
        averages = [scores.average(label, at_length) for at_length in tests]
        parts = [number.estimate for number in averages if number.estimate]
        if not any(tests) or len(parts) < len(averages):
            why = next((number.why for number in averages if not number.estimate), "") if any(tests) else OTHER_TESTS
            lines.append(Line(label, (Number(None, "missing", why),) * 3))
        else:
            weighted = (_number(weighted_average(parts, growing)) for growing in (True, False))
            lines.append(Line(label, (*weighted, _number(long_score(parts, short)))))
    inside = f"{short} length{'s' * (short != 1)} inside the trained window"
    return Grid(
        "across-lengths",
        "One number for all lengths, by named rules",
        "Method",
        (INC, DEC, LONG),
        tuple(lines),
        column_units=("percent", "percent", "points"),
        column_notes=(
            "long lengths weigh more; RULER, arXiv:2404.06654",
            "short lengths weigh more; RULER, arXiv:2404.06654",
            "% of the base lost (−) or gained beyond the window; 100-LongBench, arXiv:2505.19293",
        ),
        notes=(f"Of the average over the tests that all lengths share. LongScore's base: the mean of {inside}.",),
    )


def weighted_average(parts: Sequence[Estimate], growing: bool) -> Estimate:
    """RULER's weighted average of one score for each length, shortest first."""
    ranks = range(1, len(parts) + 1)
    total = sum(ranks)
    return combined(parts, [(rank if growing else len(parts) + 1 - rank) / total for rank in ranks])


def long_score(parts: Sequence[Estimate], short: int) -> Estimate | str:
    """LongScore of one score for each length, whose first `short` lengths are the base; or why there is none.

    The interval spreads the ratio to first order: a long score weighs 1 / (long lengths · base), a short one
    - mean of the long ones / base² / short.
    """
    if not 0 < short < len(parts):
        return "it needs a length inside the trained window and one beyond it"
    base = sum(part.mean for part in parts[:short]) / short
    if base <= 0:
        return "the base is 0"
    far = len(parts) - short
    ratio = sum(part.mean for part in parts[short:]) / far / base
    spread = combined(parts, [-ratio / base / short] * short + [1 / far / base] * far)
    low, high = (None if end is None else ratio - 1 + end for end in (spread.low, spread.high))
    return Estimate(ratio - 1, low, high, spread.n)


def _number(found: Estimate | str) -> Number:
    return Number(None, "missing", found) if isinstance(found, str) else Number(found, "done")
