"""Which tests can tell methods apart on this model? A test at its floor cannot, whatever a method does.

For every test: the unextended model at the longest length inside its window (is there anything to lose?), the same
model at the longest length of all (has it lost anything?), what the best extension brings back there, and how many
samples it takes to see a difference of five points between these two methods four times out of five.
"""

import math
from dataclasses import dataclass

from reports.numbers.frame import Test
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.numbers.scores import Scores
from reports.statistics.intervals import Estimate

POINTS = 0.05  # of a score: the difference to be seen, and what counts as nothing beside a chance of 0
APART, OPEN, FULL, FLOOR = (
    "Tell methods apart",
    "No difference seen",
    "At the ceiling: nothing is lost beyond the window",
    "At the floor: no better than chance inside the window",
)
COLUMNS = ("inside", "chance", "beyond", "brought back", "samples")


@dataclass(frozen=True)
class _Judged:
    group: str
    numbers: tuple[Number, ...]


def at_the_floor(scores: Scores) -> list[str]:
    """The long-context tests on which the unextended model is no better than chance inside its window.

    That is: the lower limit of its score is not above chance, or below five points where chance is 0. Tests that were
    not run inside the window are not judged.
    """
    inside = _inside(scores)
    return [task for task, test in inside.items() if _is_floor(scores, test)]


def telling_apart(scores: Scores) -> Grid | None:
    """The table; None without the unextended model, another method, or a length inside the window and one beyond."""
    original, inside = scores.frames.original, _inside(scores)
    if original is None or len(scores.frames.labels) < 2:
        return None
    lines = []
    for task, test in inside.items():
        longest = max(length for name, length in scores.tests("score") if name == task)
        if longest > scores.frames.trained_length:
            judged = _judged(scores, original, test, (task, longest))
            lines.append(Line(task, judged.numbers, judged.group))
    if not lines:
        return None
    order = [APART, OPEN, FULL, FLOOR, ""]
    lines.sort(key=lambda line: order.index(line.group))
    return Grid(
        "telling-apart",
        "Which tests can tell methods apart?",
        "Test",
        COLUMNS,
        tuple(lines),
        column_units=("percent", "percent", "percent", "points", "samples"),
        column_notes=(
            f"{original} at the longest length in its window of {tokens(scores.frames.trained_length)}",
            "what guessing gives",
            f"{original} at the longest length",
            "by the best other method there",
            "to see 5 points between the two",
        ),
        notes=(
            "Samples: for a paired test at 5 % to be significant four times out of five, from the spread of these two "
            "methods' differences. The best method is chosen on the same samples, so what it brings back is a little "
            "too high where there are several.",
        ),
        lines_are="judged tests",
    )


def _inside(scores: Scores) -> dict[str, Test]:
    """Every long test at its longest length inside the window."""
    trained = scores.frames.trained_length
    found: dict[str, Test] = {}
    for task, length in scores.tests("score"):
        if length <= trained and length > found.get(task, ("", 0))[1]:
            found[task] = (task, length)
    return found


def _is_floor(scores: Scores, test: Test) -> bool:
    original = scores.frames.original
    score = scores.number(original, test).estimate if original is not None else None
    return score is not None and score.low is not None and score.low <= max(scores.chance(test[0]), POINTS)


def _judged(scores: Scores, original: str, inside: Test, beyond: Test) -> _Judged:
    near, far = scores.number(original, inside), scores.number(original, beyond)
    others = [label for label in scores.frames.labels if label != original and scores.number(label, beyond).estimate]
    chance = Number(Estimate(scores.chance(inside[0]), None, None, 0), "done")
    if far.estimate is None or not others:
        nothing = Number(None, "missing", "no method has a result here")
        return _Judged(FLOOR if _is_floor(scores, inside) else "", (near, chance, far, nothing, nothing))
    best = max(others, key=lambda label: _mean(scores.number(label, beyond)))
    gap = scores.compare(best, original, [beyond])
    back = Number(Estimate(gap.difference, gap.low, gap.high, gap.n), "done", f"by {best}")
    needed = math.ceil(gap.n * (gap.detectable() / POINTS) ** 2) if gap.error > 0 else None
    samples = Number(None, "missing", "no sample differs")
    if needed is not None:
        samples = Number(Estimate(needed, None, None, 0), "done")
    if _is_floor(scores, inside):
        group = FLOOR
    elif far.estimate.low is not None and far.estimate.low >= 1 - POINTS:
        group = FULL
    else:
        group = APART if gap.low is not None and gap.high is not None and not gap.low <= 0 <= gap.high else OPEN
    return _Judged(group, (near, chance, far, back, samples))


def _mean(number: Number) -> float:
    return number.estimate.mean if number.estimate else -1.0
