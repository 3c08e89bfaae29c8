"""Test by test: every long-context test at one length, all methods beside each other."""

from collections.abc import Sequence

from reports.numbers.best import MARKS_NOTE, rank
from reports.numbers.decided import stopping_notes
from reports.numbers.frame import CONTROL, Test
from reports.numbers.grid import Grid, Line, tokens
from reports.numbers.ruler_profiles import ROWS, by_profile
from reports.numbers.scores import Scores
from reports.numbers.summary import floor_notes

GROUPS = {
    "retrieval": "Retrieval",
    "tracking": "Tracking (held out)",
    "counting": "Counting (held out)",
    "qa": "Question answering (held out)",
    CONTROL: "Controls (in no average)",
}
MANY_NOTE = MARKS_NOTE.replace("Holm's correction", "Benjamini and Hochberg's correction")

SUBSTRINGS = (
    "RULER's rows count a right value wherever it stands in the answer, inside other words and numbers too, case "
    "ignored: 12345678 holds 1234567, and nothing holds no."
)


def by_test(scores: Scores, length: int) -> Grid:
    """Every long test at one length, grouped by what it asks; averages below."""
    lines = _lines(scores, length)
    ranked = rank(scores, [tests for _, _, tests in lines], strict=False)
    labels = scores.frames.labels
    made = tuple(
        Line(name, tuple(ranked.numbers[i, label] for label in labels), group)
        for i, (name, group, _) in enumerate(lines)
    )
    return Grid(
        f"by-test-{length}",
        f"Every test at {tokens(length)} tokens, %",
        "Test",
        tuple(labels),
        made,
        notes=(
            MANY_NOTE,
            *floor_notes(scores),
            *stopping_notes(scores.frames),
            *([SUBSTRINGS] if any(line.label.startswith("ruler-") for line in made) else []),
        ),
        lines_are="tests",
        at_length=length,
    )


def by_test_at_all_lengths(scores: Scores) -> list[Grid]:
    """One table for each length, longest first."""
    lengths = sorted({length for _, length in scores.tests("score")}, reverse=True)
    return [by_test(scores, length) for length in lengths]


def _lines(scores: Scores, length: int) -> list[tuple[str, str, Sequence[Test]]]:
    """(name, group, tests) of every line."""
    cells = scores.frames.cells
    category: dict[str, str] = dict(zip(cells["task"], cells["category"], strict=True))
    tests = [test for test in scores.tests("score") if test[1] == length]
    order = {name: place for place, name in enumerate(GROUPS)}
    tests.sort(key=lambda test: order.get(category[test[0]], len(order)))  # stable: planned order within a group
    lines: list[tuple[str, str, Sequence[Test]]] = [
        (task, GROUPS.get(category[task], str(category[task])), [(task, length)]) for task, _ in tests
    ]
    lines += [(task, GROUPS[CONTROL], [(task, n)]) for task, n in scores.controls() if n == length]
    held_out = [test for test in tests if category[test[0]] != "retrieval"]
    averages = {
        "search-aligned": [test for test in tests if test not in held_out],
        "held out": held_out,
        **{f"{profile}, {len(rows)} of {ROWS} tests": rows for profile, rows in by_profile(tests).items()},
    }
    return lines + [(name, "Averages", chosen) for name, chosen in averages.items() if len(chosen) > 1]
