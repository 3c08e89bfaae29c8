"""The answer in two sentences with their certainty: who leads at the target, and what it costs in short context."""

from dataclasses import dataclass

from reports.numbers.frame import Frames
from reports.numbers.grid import Grid, interval, shown
from reports.numbers.scores import SIGNIFICANT, Scores
from reports.numbers.tables import ORIGINAL, SAME_PLAN, Summary, tokens
from reports.statistics.power import would_settle


@dataclass(frozen=True)
class Verdict:
    """`kind` is clear (one method leads, significantly), tie, or open (nothing to decide from)."""

    kind: str
    sentences: tuple[str, ...]
    column: int = 0  # of the summary, the length that was judged
    leader: str = ""


def verdict(scores: Scores, found: Summary, kept: Grid | None) -> Verdict:
    frames = scores.frames
    judged = [i for i in range(len(found.lengths)) if any(line.numbers[i].estimate for line in found.grid.lines)]
    if not judged:
        return Verdict("open", (_nothing(frames),))
    at_target = [i for i in judged if found.lengths[i] == frames.target_length]
    column = at_target[0] if at_target else judged[-1]
    length, tests = found.lengths[column], found.tests[column]
    means = {line.label: e for line in found.grid.lines if (e := line.numbers[column].estimate) is not None}
    order = sorted(means, key=lambda label: -means[label].mean)
    leader = order[0]
    where = f"At {tokens(length)} tokens"
    if length != frames.target_length:
        target = tokens(frames.target_length)
        none_yet = "Nothing is finished at" if frames.target_length in found.lengths else "No long test is planned at"
        where = f"{none_yet} the target of {target} tokens; at {tokens(length)} tokens"
    many = f"{len(tests)} long-context test{'s' * (len(tests) != 1)}"
    planned = sum(test[1] == length for test in scores.tests("score"))
    if planned > len(tests):
        many += f" that all methods finished ({planned} planned)"
    best = means[leader]
    value = f"{shown(best.mean, 'percent')} % {interval(best, 'percent')} over {many} ({best.n} samples)"
    if len(order) < 2:
        return Verdict(
            "open",
            (f"{where}, {leader} reaches {value}; no other method has a result to compare it with.",),
            column,
            leader,
        )
    tied = [label for label in order[1:] if found.ranked.p(column, leader, label) >= SIGNIFICANT]
    second = tied[0] if tied else order[1]
    difference = scores.compare(leader, second, tests)
    p = found.ranked.p(column, leader, second)
    lead = f"{shown(difference.difference, 'points').lstrip('+')} points"
    if difference.low is not None and difference.high is not None:
        lead += f" [{shown(difference.low, 'points')}, {shown(difference.high, 'points')}]"
    if tied:
        kind = "tie"
        names = ", ".join(tied)
        if difference.difference == 0:
            first = f"{leader} and {second} score the same, {value}; tied at the top: {leader}, {names}."
        else:
            settled = would_settle(difference, len(found.ranked.adjusted))
            first = (
                f"{leader} scores highest, {value}, but it is not significantly above {names} "
                f"(lead over {second} {lead}, corrected p = {_p(p)}{'; ' * bool(settled)}{settled})."
            )
        first = f"{where} there is no winner: {first}"
    else:
        kind = "clear"
        first = (
            f"{where}, {leader} wins: {value}, ahead of {second} by {lead}, a real difference "
            f"(paired test, corrected p = {_p(p)}) as against all others."
        )
    return Verdict(kind, (first, _short(scores, kept, leader)), column, leader)


def _p(p: float) -> str:
    return "1" if p >= 0.995 else f"{p:.2f}" if p >= 0.095 else f"{p:.2g}" if p >= 0.001 else "<0.001"


def _short(scores: Scores, kept: Grid | None, leader: str) -> str:
    if kept is None:
        return (
            "What that costs in short context was not measured: it needs a short-context test and the unextended "
            "model (none)."
        )
    line = next(line for line in kept.lines if line.label == leader)
    if line.numbers[0].why == SAME_PLAN:
        return f"In short context {leader} runs with the plan of the unextended model, so it costs nothing there."
    if line.numbers[0].why == ORIGINAL:
        return f"{leader} is the unextended model itself, so it costs nothing in short context."
    said = []
    percent = next((i for i in range(len(kept.columns)) if kept.unit_of(i) == "percent"), None)
    nats = next((i for i in range(len(kept.columns)) if kept.unit_of(i) != "percent"), None)
    if percent is not None and (e := line.numbers[percent].estimate) is not None:
        sure = _sure(e.low, e.high, 1.0)
        if scores.trained_once(leader):
            sure += ", of one training"
        said.append(
            f"keeps {shown(e.mean, 'percent')} % {interval(e, 'percent')} of the unextended model's short-context "
            f"score ({e.n} samples; {sure})"
        )
    if nats is not None and (e := line.numbers[nats].estimate) is not None:
        said.append(
            f"its short-context loss moves by {shown(e.mean, 'nats difference')} nats per token"
            + (f" {interval(e, 'nats difference')}" if e.low is not None else "")
        )
    if not said:
        return f"What {leader} costs in short context is not known yet: {line.numbers[0].why}."
    return f"{leader} {' and '.join(said)}."


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
