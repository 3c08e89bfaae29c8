"""The tables of a report: methods over lengths, test by test, perplexity and short-context retention."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.numbers.best import Ranked, rank
from reports.numbers.grid import Grid, Line, Number
from reports.numbers.profiles import ROWS, by_profile
from reports.numbers.scores import CONTROL, Scores, Test
from reports.statistics import intervals, paired
from reports.statistics.intervals import Estimate
from reports.statistics.seeds import two_level

GROUPS = {
    "retrieval": "Retrieval",
    "tracking": "Tracking (held out)",
    "counting": "Counting (held out)",
    "qa": "Question answering (held out)",
    CONTROL: "Controls (in no average)",
}
ORIGINAL, SAME_PLAN = "original", "same plan as the original"
MARKS_NOTE = (
    "Bold: better than every other method. =: not significantly below the highest. Paired tests on the same samples, "
    "5 % level, Holm's correction over the whole table. Brackets: 95 % interval."
)

MANY_NOTE = MARKS_NOTE.replace("Holm's correction", "Benjamini and Hochberg's correction")


@dataclass(frozen=True)
class Summary:
    """Methods over lengths, and what the answer in words is made from."""

    grid: Grid
    lengths: tuple[int, ...]
    tests: tuple[tuple[Test, ...], ...]  # for each length, the tests that the average is over
    ranked: Ranked


def tokens(length: int) -> str:
    return f"{length:,}"


def summary(scores: Scores) -> Summary:
    """Average over the long tests at each length.

    All methods are averaged over the same tests: those that every method with at least half of the tests has
    finished. A method with fewer has no average.
    """
    labels = scores.frames.labels
    planned = scores.tests("score")
    lengths = sorted({length for _, length in planned})
    common, notes = [], []
    for length in lengths:
        tests = [test for test in planned if test[1] == length]
        done = {label: {test for test in tests if scores.number(label, test).estimate} for label in labels}
        enough = [label for label in labels if done[label] and 2 * len(done[label]) >= len(tests)]
        shared = tuple(test for test in tests if enough and all(test in done[label] for label in enough))
        common.append(shared or tuple(tests))
        notes.append(
            f"{len(shared)} test{'s' * (len(shared) != 1)}"
            if len(shared) == len(tests)
            else f"{len(shared)} of {len(tests)} tests"
        )
    ranked = rank(scores, common)
    lines = tuple(Line(label, tuple(ranked.numbers[i, label] for i in range(len(lengths)))) for label in labels)
    grid = Grid(
        "summary",
        "Average over the long-context tests, %",
        "Method",
        tuple(tokens(length) for length in lengths),
        lines,
        column_notes=tuple(notes),
        notes=(
            MARKS_NOTE,
            "Every test has equal weight; all methods are averaged over the same tests.",
            *_luck(scores, common),
        ),
    )
    return Summary(grid, tuple(lengths), tuple(common), ranked)


def _luck(scores: Scores, lines: Sequence[Sequence[Test]]) -> list[str]:
    """What the intervals of trained methods know of the luck of training."""
    trained = [str(m["label"]) for m in scores.frames.run["methods"] if isinstance(m.get("training"), dict)]
    several = [label for label in trained if scores.by_seed(label)]
    said = []
    if several:
        named = ", ".join(several) if len(several) < len(trained) else "the trained methods"
        said.append(f"Intervals of {named} go by the means of the trained seeds.")
    if ratios := [100 * luck.ratio for tests in lines if (luck := scores.luck(tuple(tests)))]:
        said.append(
            "Their differences are tested with an error pooled over the trained methods: the luck of training adds "
            f"{_range(ratios)} % to the variance between seeds that samples explain (taken to be alike for all, unless "
            "a pair's own seeds vary more)."
        )
    if len(several) < len(trained):
        said.append("Trained with one seed, a method's interval knows nothing of the luck of training.")
    return said


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def by_test(scores: Scores, length: int) -> Grid:
    """Every long test at one length, grouped by what it asks; averages below."""
    frames = scores.frames
    category: dict[str, str] = dict(zip(frames.cells["task"], frames.cells["category"], strict=True))
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
    lines += [(name, "Averages", chosen) for name, chosen in averages.items() if len(chosen) > 1]
    ranked = rank(scores, [chosen for _, _, chosen in lines], strict=False)
    made = tuple(
        Line(name, tuple(ranked.numbers[i, label] for label in frames.labels), group)
        for i, (name, group, _) in enumerate(lines)
    )
    return Grid(
        f"by-test-{length}",
        f"Every test at {tokens(length)} tokens, %",
        "Test",
        tuple(frames.labels),
        made,
        notes=(MANY_NOTE,),
    )


def perplexity(scores: Scores) -> list[Grid]:
    """Loss in nats per token, one table for each perplexity test; lower is better."""
    grids = []
    planned = scores.tests("nats")
    for task in dict.fromkeys(task for task, _ in planned):
        tests = sorted(test for test in planned if test[0] == task)
        ranked = rank(scores, [[test] for test in tests], lower_is_better=True)
        lines = tuple(
            Line(label, tuple(ranked.numbers[i, label] for i in range(len(tests)))) for label in scores.frames.labels
        )
        grids.append(
            Grid(
                f"loss-{task}".replace("/", "-"),
                f"{task}: loss, nats per token (lower is better)",
                "Method",
                tuple(tokens(length) for _, length in tests),
                lines,
                unit="nats",
                notes=(
                    MARKS_NOTE.replace("below the highest", "above the lowest"),
                    "Perplexity is the exponential of the loss.",
                ),
            )
        )
    return grids


def original(scores: Scores) -> str | None:
    """The label of the unextended model, or None where it was not run."""
    return next((m["label"] for m in scores.frames.run["methods"] if m.get("extender") == "none"), None)


def retention(scores: Scores) -> Grid | None:
    """What an extended model keeps in short context: extended ÷ original in percent, or the difference of losses.

    Samples are paired. None where no short test or no unextended model is part of the experiment.
    """
    base = original(scores)
    scored, losses = scores.tests("score", short=True), scores.tests("nats", short=True)
    if base is None or not (scored or losses):
        return None
    columns: list[tuple[str, list[Test], str]] = []
    if len(scored) > 1:
        columns.append((f"all {len(scored)} tests", scored, "percent"))
    columns += [(_column(test, scored), [test], "percent") for test in scored]
    columns += [(_column(test, losses), [test], "nats difference") for test in losses]
    lines = tuple(
        Line(label, tuple(_kept(scores, label, base, tests, unit) for _, tests, unit in columns))
        for label in scores.frames.labels
    )
    return Grid(
        "retention",
        f"Short-context retention against the unextended model ({base})",
        "Method",
        tuple(name for name, _, _ in columns),
        lines,
        column_units=tuple(unit for _, _, unit in columns),
        column_notes=tuple("% of original" if unit == "percent" else "nats per token more" for _, _, unit in columns),
        notes=(
            "Extended ÷ original, paired by sample; for losses the difference (above 0 is worse). "
            "Brackets: 95 % interval.",
        ),
    )


def _column(test: Test, tests: Sequence[Test]) -> str:
    lengths = {length for task, length in tests if task == test[0]}
    return test[0] if len(lengths) == 1 else f"{test[0]} {tokens(test[1])}"


def _kept(scores: Scores, label: str, base: str, tests: Sequence[Test], unit: str) -> Number:
    own, reference = scores.average(label, tests), scores.average(base, tests)
    if own.estimate is None:
        return own
    if reference.estimate is None:
        return Number(None, "missing", f"the unextended model has no result: {reference.why}", own.keys)
    pairs = scores.pairs(label, base, tests)
    n = sum(len(a) for a, _ in pairs)
    if not all(len(a) for a, _ in pairs):
        return Number(None, "missing", "no sample was answered by both models", own.keys)
    if label == base:
        return Number(Estimate(1.0 if unit == "percent" else 0.0, None, None, n), "done", ORIGINAL, own.keys)
    keys = [(scores.number(label, test).keys, scores.number(base, test).keys) for test in tests]
    if all(mine == theirs for mine, theirs in keys):
        return Number(Estimate(1.0 if unit == "percent" else 0.0, None, None, n), "done", SAME_PLAN, own.keys)
    if unit == "nats difference":
        result = scores.compare(label, base, tests)
        return Number(Estimate(result.difference, result.low, result.high, n), "done", _same(pairs), own.keys)
    if scores.by_seed(label):
        ratio = _ratio_by_seeds(scores, label, base, tests)
        return Number(replace(ratio, n=n), "done", "", own.keys) if ratio else _no_ratio(own)
    above, below = (sum(float(np.mean(pair[side])) for pair in pairs) for side in (0, 1))
    if below <= 0:
        return _no_ratio(own)
    low, high = paired.ratio_interval(pairs)
    return Number(Estimate(above / below, low, high, n), "done", _same(pairs), own.keys)


def _no_ratio(own: Number) -> Number:
    return Number(None, "missing", "the unextended model scores 0, so there is no ratio", own.keys)


def _ratio_by_seeds(scores: Scores, label: str, base: str, tests: Sequence[Test]) -> Estimate | None:
    """Trained ÷ original with an interval that knows the luck of training; None where the original scores 0.

    The ratio r is spread over seeds and samples to first order: the part of one answer is
    r + (trained - r · original) / average(original).
    """
    trained_SN, original_SN = scores.seed_tables([label, base], tests)
    below = float(original_SN.mean())
    if below <= 0:
        return None
    ratio = float(trained_SN.mean()) / below
    parts_SN = ratio + (trained_SN - ratio * original_SN) / below
    return two_level(parts_SN, f"retention {label} {tests}", scores.same_samples(tests), bounded=False).estimate


def _same(pairs: Sequence[tuple[intervals.Array, intervals.Array]]) -> str:
    return "no sample differs" if all(np.array_equal(a, b) for a, b in pairs) else ""
