"""Effective context length of every method, under each named rule that fits what was measured."""

from dataclasses import dataclass

from reports.numbers.over_lengths import OTHER_TESTS, shared
from reports.numbers.ruler_profiles import complete
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.statistics.effective_length import RULES, EffectiveLength, Rule, effective_length

AVERAGE = "average over long tests"


@dataclass(frozen=True)
class RuleLengths:
    """Effective lengths of all methods under one rule."""

    rule: Rule
    of: str  # the score that the rule is applied to
    lengths: dict[str, EffectiveLength]  # by method


def effective_lengths(scores: Scores, summary: Summary) -> list[RuleLengths]:
    """One entry for each rule: first those of averages, on the tests that all lengths share, then those of passkeys."""
    if summary.grid.empty:
        return []
    return _of_averages(scores, summary) + _of_passkeys(scores)


def _of_averages(scores: Scores, summary: Summary) -> list[RuleLengths]:
    tests = shared(summary.tests)
    average = {
        label: [scores.average(label, at_length).estimate for at_length in tests] for label in scores.frames.labels
    }
    base, trained = scores.frames.original, scores.frames.trained_length
    reference = None
    if base is not None and trained in summary.lengths:
        reference = average[base][summary.lengths.index(trained)]

    def length(label: str, rule: Rule) -> EffectiveLength:
        if not any(tests):
            return EffectiveLength(rule, None, note=OTHER_TESTS)
        return effective_length(summary.lengths, average[label], rule, reference)

    whole_ruler = all(at_length and len(complete(at_length)) == len(at_length) for at_length in summary.tests)
    rules = [
        RULES[name] for name in ("native", "own-85", "nolima-85", "half", *(("ruler-base", "ruler-chat") * whole_ruler))
    ]
    return [RuleLengths(rule, AVERAGE, {label: length(label, rule) for label in average}) for rule in rules]


def _of_passkeys(scores: Scores) -> list[RuleLengths]:
    """Of the first passkey test; empty where there is none."""
    planned = [test for test in scores.tests("score") if test[0].split("/")[-1].startswith("passkey")]
    if not planned:
        return []
    task = planned[0][0]
    lengths = sorted(length for name, length in planned if name == task)
    rules = [RULES["passkey-80"], RULES["passkey-20"]]
    estimates = {label: [scores.number(label, (task, n)).estimate for n in lengths] for label in scores.frames.labels}
    return [
        RuleLengths(rule, task, {label: effective_length(lengths, estimates[label], rule) for label in estimates})
        for rule in rules
    ]
