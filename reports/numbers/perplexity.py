"""Perplexity: every method's loss over lengths, in nats per token; lower is better."""

from reports.numbers.best import MARKS_NOTE, rank
from reports.numbers.grid import Grid, Line, tokens
from reports.numbers.scores import Scores


def perplexity(scores: Scores) -> list[Grid]:
    """One table for each perplexity test."""
    planned = scores.tests("nats")
    return [_of_task(scores, task) for task in dict.fromkeys(task for task, _ in planned)]


def _of_task(scores: Scores, task: str) -> Grid:
    tests = sorted(test for test in scores.tests("nats") if test[0] == task)
    ranked = rank(scores, [[test] for test in tests], lower_is_better=True)
    lines = tuple(
        Line(label, tuple(ranked.numbers[i, label] for i in range(len(tests)))) for label in scores.frames.labels
    )
    return Grid(
        f"loss-{scores.frames.file_names[task]}",
        f"{task}: loss, nats per token (lower is better)",
        "Method",
        tuple(tokens(length) for _, length in tests),
        lines,
        unit="nats",
        notes=(
            MARKS_NOTE.replace("below the highest", "above the lowest"),
            "Perplexity is the exponential of the loss.",
        ),
        lengths=tuple(length for _, length in tests),
        shows_n=True,
    )
