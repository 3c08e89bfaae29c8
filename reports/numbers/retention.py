"""Short-context retention: what an extended model keeps of the unextended model's scores in short context."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.numbers.frame import Test
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.numbers.scores import Scores
from reports.statistics import paired
from reports.statistics.intervals import Array, Estimate
from reports.statistics.seeds import two_level

ORIGINAL, SAME_PLAN = "original", "same plan as the original"


def retention(scores: Scores) -> Grid | None:
    """What an extended model keeps in short context: extended ÷ original in percent, or the difference of losses.

    Samples are paired. Where no short-context suite is part of the experiment, the long tests speak that were run
    inside the window. None without either, or without the unextended model.
    """
    base = scores.frames.original
    scored, losses = scores.tests("score", short=True), scores.tests("nats", short=True)
    suite = bool(scored or losses)
    if not suite:
        scored, losses = (_inside(scores, unit) for unit in ("score", "nats"))
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
            *([] if suite else ["No short-context suite was run: these are the long tests inside the trained window."]),
        ),
    )


def _inside(scores: Scores, unit: str) -> list[Test]:
    """The long-context tests that were run at lengths of the trained window."""
    return [test for test in scores.tests(unit) if test[1] <= scores.frames.trained_length]


def _column(test: Test, tests: Sequence[Test]) -> str:
    lengths = {length for task, length in tests if task == test[0]}
    return test[0] if len(lengths) == 1 else f"{test[0]} {tokens(test[1])}"


def _kept(scores: Scores, label: str, base: str, tests: Sequence[Test], unit: str) -> Number:
    extended, reference = scores.average(label, tests), scores.average(base, tests)
    if extended.estimate is None:
        return extended
    if reference.estimate is None:
        return Number(None, "missing", f"the unextended model has no result: {reference.why}", extended.keys)
    pairs = scores.pairs(label, base, tests)
    n = sum(len(a) for a, _ in pairs)
    if not all(len(a) for a, _ in pairs):
        return Number(None, "missing", "no sample was answered by both models", extended.keys)
    if label == base:
        return Number(Estimate(1.0 if unit == "percent" else 0.0, None, None, n), "done", ORIGINAL, extended.keys)
    keys = [(scores.number(label, test).keys, scores.number(base, test).keys) for test in tests]
    if all(mine == theirs for mine, theirs in keys):
        return Number(Estimate(1.0 if unit == "percent" else 0.0, None, None, n), "done", SAME_PLAN, extended.keys)
    if unit == "nats difference":
        result = scores.compare(label, base, tests)
        return Number(Estimate(result.difference, result.low, result.high, n), "done", _same(pairs), extended.keys)
    if scores.by_seed(label):
        ratio = _ratio_by_seeds(scores, label, base, tests)
        return Number(replace(ratio, n=n), "done", "", extended.keys) if ratio else _no_ratio(extended)
    above, below = (sum(float(np.mean(pair[side])) for pair in pairs) for side in (0, 1))
    if below <= 0:
        return _no_ratio(extended)
    low, high = paired.ratio_interval(pairs)
    return Number(Estimate(above / below, low, high, n), "done", _same(pairs), extended.keys)


def _no_ratio(extended: Number) -> Number:
    return Number(None, "missing", "the unextended model scores 0, so there is no ratio", extended.keys)


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


def _same(pairs: Sequence[tuple[Array, Array]]) -> str:
    return "no sample differs" if all(np.array_equal(a, b) for a, b in pairs) else ""
