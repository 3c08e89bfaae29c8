"""The answer in two or three sentences with their certainty: who leads at the target, by answers and by loss, and what
it costs in short context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.numbers.beyond_window import WindowLosses
from reports.numbers.frame import Frames
from reports.numbers.grid import Grid, Line, interval, shown, tokens
from reports.numbers.retention import ORIGINAL, SAME_PLAN
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.statistics.intervals import SIGNIFICANT, Estimate
from reports.statistics.paired import Comparison
from reports.statistics.power import would_settle


@dataclass(frozen=True)
class Verdict:
    """`kind` is clear (one method leads, significantly), tie, or open (nothing to decide from)."""

    kind: str
    sentences: tuple[str, ...]
    column: int = 0  # of the summary, the length that was judged
    leader: str = ""


def verdict(scores: Scores, summary: Summary, retention: Grid | None, losses: Sequence[WindowLosses] = ()) -> Verdict:
    """Judged at the target length, or else at the longest length with a result.

    Where no long-context test has a score beyond the window, the first perplexity test is judged by its loss there;
    where one has, its loss is said after the answer.
    """
    frames, lengths = scores.frames, summary.lengths
    judged = [i for i in range(len(lengths)) if any(line.numbers[i].estimate for line in summary.grid.lines)]
    beyond = any(lengths[i] > frames.trained_length for i in judged)
    if not beyond and losses and len(losses[0].order) > 1:
        return _by_loss(losses[0])
    if not judged:
        return Verdict("open", (_nothing(frames),))
    at_target = [i for i in judged if lengths[i] == frames.target_length]
    column = at_target[0] if at_target else judged[-1]
    means = {line.label: e for line in summary.grid.lines if (e := line.numbers[column].estimate) is not None}
    order = sorted(means, key=lambda label: -means[label].mean)
    where, value = _where(frames, summary, column), _value(scores, summary, column, means[order[0]])
    if len(order) < 2:
        alone = f"{where}, {order[0]} reaches {value}; no other method has a result to compare it with."
        return Verdict("open", (alone,), column, order[0])
    kind, sentence = _leader(scores, summary, column, order, where, value)
    said = [
        sentence,
        *(_loss_too(one) for one in losses[:1] if len(one.order) > 1),
        _short(scores, retention, order[0]),
    ]
    return Verdict(kind, tuple(said), column, order[0])


def _where(frames: Frames, summary: Summary, column: int) -> str:
    """The length that is judged, and why it is not the target where it is another."""
    length = summary.lengths[column]
    if length == frames.target_length:
        return f"At {tokens(length)} tokens"
    none_yet = "Nothing is finished at" if frames.target_length in summary.lengths else "No long test is planned at"
    return f"{none_yet} the target of {tokens(frames.target_length)} tokens; at {tokens(length)} tokens"


def _value(scores: Scores, summary: Summary, column: int, best: Estimate) -> str:
    """The leader's score with its interval, over which tests and how many samples."""
    tests = summary.tests[column]
    many = f"{len(tests)} long-context test{'s' * (len(tests) != 1)}"
    planned = sum(test[1] == summary.lengths[column] for test in scores.tests("score"))
    if planned > len(tests):
        many += f" that all methods finished ({planned} planned)"
    return f"{shown(best.mean, 'percent')} % {interval(best, 'percent')} over {many} ({best.n} samples)"


def _leader(scores: Scores, summary: Summary, column: int, order: list[str], where: str, value: str) -> tuple[str, str]:
    """(kind, sentence) on the first of `order` against the others; it is tied where one of them may be as good."""
    leader = order[0]
    tied = [label for label in order[1:] if summary.ranked.p(column, leader, label) >= SIGNIFICANT]
    second = tied[0] if tied else order[1]
    difference = scores.compare(leader, second, summary.tests[column])
    p, lead = _p(summary.ranked.p(column, leader, second)), _lead(difference)
    if not tied:
        return "clear", (
            f"{where}, {leader} wins: {value}, ahead of {second} by {lead}, a real difference "
            f"(paired test, corrected p = {p}) as against all others."
        )
    names = ", ".join(tied)
    if difference.difference == 0:
        sentence = f"{leader} and {second} score the same, {value}; tied at the top: {leader}, {names}."
    else:
        settled = would_settle(difference, len(summary.ranked.adjusted))
        sentence = (
            f"{leader} scores highest, {value}, but it is not significantly above {names} "
            f"(lead over {second} {lead}, corrected p = {p}{'; ' * bool(settled)}{settled})."
        )
    return "tie", f"{where} there is no winner: {sentence}"


def _by_loss(losses: WindowLosses) -> Verdict:
    """By the loss beyond the window: the lowest, what is tied with it, and the unextended model beside it."""
    (task, length), order = losses.test, losses.order
    lowest, trained = order[0], losses.beyond.frames.trained_length
    tied = [label for label in order[1:] if losses.ranked.p(0, lowest, label) >= SIGNIFICANT]
    second = tied[0] if tied else order[1]
    estimate = losses.of(lowest)
    assert estimate is not None
    value = f"{shown(estimate.mean, 'nats')} nats per token {interval(estimate, 'nats')} ({estimate.n} documents)"
    where = f"At {tokens(length)} tokens, by {task} beyond the window of {tokens(trained)}"
    gap = losses.beyond.compare(second, lowest, [losses.test])
    behind = shown(gap.difference, "nats difference")
    if gap.low is not None and gap.high is not None:
        behind += f" [{shown(gap.low, 'nats difference')}, {shown(gap.high, 'nats difference')}]"
    p = _p(losses.ranked.p(0, lowest, second))
    if tied:
        kind, settled = "tie", would_settle(gap, len(losses.ranked.adjusted)).replace("samples", "documents")
        sentence = f"{where}, there is no winner: {lowest} is lowest, {value}, but not significantly below "
        sentence += f"{', '.join(tied)} ({second} {behind} nats, corrected p = {p}{'; ' * bool(settled)}{settled})."
    else:
        kind, sentence = "clear", f"{where}, {lowest} wins: {value}; {second} {behind} nats (corrected p = {p})."
    original = losses.beyond.frames.original
    cliff = losses.of(original) if original else None
    if cliff is not None and original not in (lowest, *tied):
        sentence += f" The unextended model has {shown(cliff.mean, 'nats')} there."
    sentence += _use_of_far_text(losses, lowest)
    return Verdict(
        kind, (sentence, "No test of answers has a result beyond the window, so this is about loss alone."), 0, lowest
    )


def _loss_too(losses: WindowLosses) -> str:
    """What the loss beyond the window says beside answers: few documents tell apart what few answers cannot."""
    (task, length), (lowest, *others) = losses.test, losses.order
    estimate = losses.of(lowest)
    assert estimate is not None
    same: list[str] = []
    above: list[str] = []
    for label in others:
        gap = shown(losses.beyond.compare(label, lowest, [losses.test]).difference, "nats difference")
        (same if losses.ranked.p(0, lowest, label) >= SIGNIFICANT else above).append(f"{label} ({gap})")
    words = (
        f"By loss, {task} at {tokens(length)} tokens, beyond the window ({estimate.n} documents): {lowest} is lowest, "
    )
    words += f"{shown(estimate.mean, 'nats')} nats per token"
    words += f"; not told apart from it: {', '.join(same)}" if same else ""
    words += f"; significantly above it: {', '.join(above)}" if above else ""
    return f"{words}.{_use_of_far_text(losses, lowest)}"


def _use_of_far_text(losses: WindowLosses, lowest: str) -> str:
    """Whether the lowest loss is below that of the last window alone; "" where that row was not run."""
    last = losses.beyond.frames.last_window
    cut = losses.of(last) if last else None
    if last is None or cut is None:
        return ""
    if lowest == last:
        return f" {last} reads the last window alone, so no method shows here that text further back helps."
    words = f" The unextended model on the last window alone has {shown(cut.mean, 'nats')}"
    if losses.ranked.p(0, lowest, last) >= SIGNIFICANT:
        return f"{words}, which is not significantly more: nothing here shows that {lowest} uses text further back."
    return f"{words}: text further back helps."


def _lead(difference: Comparison) -> str:
    lead = f"{shown(difference.difference, 'points').lstrip('+')} points"
    if difference.low is not None and difference.high is not None:
        lead += f" [{shown(difference.low, 'points')}, {shown(difference.high, 'points')}]"
    return lead


def _p(p: float) -> str:
    return "1" if p >= 0.995 else f"{p:.2f}" if p >= 0.095 else f"{p:.2g}" if p >= 0.001 else "<0.001"


def _short(scores: Scores, retention: Grid | None, leader: str) -> str:
    """What the leader costs in short context."""
    if retention is None:
        return (
            "What that costs in short context was not measured: it needs a short-context test and the unextended "
            "model (none)."
        )
    line = next(line for line in retention.lines if line.label == leader)
    if line.numbers[0].why == SAME_PLAN:
        return f"In short context {leader} runs with the plan of the unextended model, so it costs nothing there."
    if line.numbers[0].why == ORIGINAL:
        return f"{leader} is the unextended model itself, so it costs nothing in short context."
    parts = _parts(retention, line, scores.trained_once(leader))
    if not parts:
        return f"What {leader} costs in short context is not known yet: {line.numbers[0].why}."
    return f"{leader} {' and '.join(parts)}."


def _parts(retention: Grid, line: Line, trained_once: bool) -> list[str]:
    """On the first column of scores and on the first of losses, where the method has a number there."""
    first: Mapping[str, Estimate | None] = {
        retention.unit_of(i): line.numbers[i].estimate for i in reversed(range(len(retention.columns)))
    }
    parts = []
    if (e := first.get("percent")) is not None:
        sure = _sure(e.low, e.high, 1.0) + (", of one training" if trained_once else "")
        parts.append(
            f"keeps {shown(e.mean, 'percent')} % {interval(e, 'percent')} of the unextended model's short-context "
            f"score ({e.n} samples; {sure})"
        )
    if (e := first.get("nats difference")) is not None:
        parts.append(
            f"its short-context loss moves by {shown(e.mean, 'nats difference')} nats per token"
            + (f" {interval(e, 'nats difference')}" if e.low is not None else "")
        )
    return parts


def _sure(low: float | None, high: float | None, neutral: float) -> str:
    if low is None or high is None:
        return "too few to say whether that is a change"
    return "a real loss" if high < neutral else "a real gain" if low > neutral else "no significant change"


def _nothing(frames: Frames) -> str:
    states = frames.cells["status"].value_counts()
    if not len(frames.cells):
        return "This experiment plans no cells, so there is nothing to report."
    done = int(states.get("done", 0))
    if done:
        return f"No long-context average can be given yet: {done} of {len(frames.cells)} cells are finished."
    failed, missing = int(states.get("failed", 0)), int(states.get("missing", 0))
    return (
        f"No cell is finished yet ({failed} failed, {missing} missing of {len(frames.cells)}), so there is nothing to "
        "compare."
    )
