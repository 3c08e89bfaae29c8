"""Effective context length: how far a model really gets, under a rule that is named, and how sure that is.

Papers quote this number under rules that range from 20 % to 90 %, so it means nothing without its rule. Two readings
are given, as both are in use:

- `value`: the longest tested length up to which every tested length passes, as RULER's leaderboard reports it;
- `crossing`: where the score, drawn as straight lines over the logarithm of the length, first falls below the
  threshold. It moves smoothly with the scores, so it is what carries the interval (all lengths that the data cannot
  tell from the crossing, Fieller's construction); the interval of `value` is the same one in tested lengths.

Nothing is said beyond what was tested: a model that passes everywhere has "at least" the longest length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import Estimate

STEPS = 96  # between two tested lengths; the crossing is then exact to 0.7 % for a doubling
OWN, NATIVE, ABSOLUTE = "own short score", "unextended at its trained length", "absolute"
BASE, SHORT = "best own score at short lengths", 1024  # tokens; NoLiMa takes the best of 250, 500 and 1,000


@dataclass(frozen=True)
class Rule:
    """`share` of what `of` says; for ABSOLUTE it is the threshold itself, in [0, 1]."""

    name: str
    words: str
    share: float
    of: str
    test: str  # which scores it is meant for; others get it at their own risk
    source: str


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "ruler-chat",
            "85.6 % (Llama-2-7B-chat at 4k)",
            0.856,
            ABSOLUTE,
            "average of RULER's 13 tasks",
            "RULER, arXiv:2404.06654, Table 3",
        ),
        Rule(
            "ruler-base",
            "79.4 % (Llama-2-7B at 4k)",
            0.794,
            ABSOLUTE,
            "average of RULER's 13 tasks",
            "RULER, arXiv:2404.06654, Table 12",
        ),
        Rule(
            "native",
            "the unextended model's score at its trained length",
            1.0,
            NATIVE,
            "any",
            "RULER's rule with the own base in the place of Llama-2-7B",
        ),
        Rule("own-85", "85 % of the own score at the shortest length", 0.85, OWN, "any", "ours, after NoLiMa's"),
        Rule(
            "nolima-85",
            "85 % of the best own score at 1,024 tokens or less",
            0.85,
            BASE,
            "any",
            "NoLiMa, arXiv:2502.05167",
        ),
        Rule("half", "half of the own short score", 0.5, OWN, "any", "ours: where half of the ability is lost"),
        Rule("passkey-80", "80 % of passkeys", 0.8, ABSOLUTE, "passkey", "YaRN, arXiv:2309.00071"),
        Rule("passkey-20", "20 % of passkeys (k_max)", 0.2, ABSOLUTE, "passkey", "PI, arXiv:2306.15595"),
    )
}


@dataclass(frozen=True)
class EffectiveLength:
    """Lengths in tokens. `value`, `low` and `high` are tested lengths: `value` None means below the shortest, or not
    known when `note` says so; `low` None means that it may be below the shortest tested; `high_open` that it may be
    more than was tested. The crossings are None where the score does not cross within what was tested."""

    rule: Rule
    threshold: float | None
    value: int | None = None
    low: int | None = None
    high: int | None = None
    high_open: bool = False
    crossing: float | None = None
    crossing_low: float | None = None
    crossing_high: float | None = None
    at_least: bool = False  # passes at every tested length
    below_shortest: bool = False
    shortest: int = 0
    sure: bool = True  # False where the scores have no intervals
    note: str = ""

    @property
    def words(self) -> str:
        """For a table: 8,192 [4,096, 16,384]."""
        if self.note and self.value is None and not self.below_shortest:
            return f"not known: {self.note}"
        if self.below_shortest:
            head = f"below {self.shortest:,} (the shortest tested)"
        elif self.at_least:
            head = f"at least {self.value:,} (not tested further)"
        else:
            head = f"{self.value:,}"
        if not self.sure:
            return f"{head}, no interval"
        low = f"{self.low:,}" if self.low is not None else f"below {self.shortest:,}"
        high = f"{self.high:,}" if self.high is not None else f"below {self.shortest:,}"
        if (self.at_least or self.below_shortest) and low == high:
            return head
        return f"{head} [{low}, {high}{' or more' if self.high_open else ''}]"


def effective_length(
    lengths: Sequence[int],
    estimates: Sequence[Estimate | None],
    rule: Rule,
    reference: Estimate | None = None,
) -> EffectiveLength:
    """The effective length of one method on one score (a test, or an average over tests).

    `lengths` ascend; an estimate is None where nothing was measured, and that length counts as untested. The own short
    score is the one at the shortest tested length, the base the best one at up to SHORT tokens. `reference` is the
    unextended model's score at its trained length, for the rule that asks for it. Raises ValueError for lengths that do
    not ascend.
    """
    if len(lengths) != len(estimates) or list(lengths) != sorted(set(lengths)) or any(n < 1 for n in lengths):
        raise ValueError("effective length needs ascending lengths of at least 1 token, and one estimate for each")
    tested = [(n, e) for n, e in zip(lengths, estimates, strict=True) if e is not None]
    if not tested:
        return EffectiveLength(rule, None, note="no length has a result")
    if rule.of == NATIVE and reference is None:
        return EffectiveLength(rule, None, note="the unextended model has no result at its trained length")
    places, parts = [n for n, _ in tested], [e for _, e in tested]
    short = [i for i, place in enumerate(places) if place <= SHORT]
    if rule.of == BASE and not short:
        return EffectiveLength(rule, None, note=f"no length of at most {SHORT:,} tokens was tested")
    base = max(short, key=lambda i: parts[i].mean) if rule.of == BASE else 0
    against = {ABSOLUTE: None, NATIVE: reference, OWN: parts[0], BASE: parts[base]}[rule.of]
    threshold = rule.share if against is None else rule.share * against.mean
    if rule.of != ABSOLUTE and threshold <= 0:
        return EffectiveLength(rule, threshold, note="the score that the rule compares with is 0")
    if rule.of in (OWN, BASE) and len(places) < 2:
        return EffectiveLength(rule, threshold, note="only one length was tested, and it is the rule's own reference")
    return _reached(places, parts, rule, threshold, reference, base)


def _reached(
    places: list[int], parts: list[Estimate], rule: Rule, threshold: float, reference: Estimate | None, base: int
) -> EffectiveLength:
    """Where scores `parts` at tested lengths `places` pass the threshold, and how sure that is. `base` is the number of
    the own score that a rule of the own score compares with."""
    passes = [part.mean >= threshold for part in parts]
    good = passes.index(False) if False in passes else len(passes)
    grid, mean, low, high = _curve(places, parts, rule, reference, base)
    crossing = _first(grid, mean)
    sure = low is not None and high is not None
    # Confidently passing up to the lower end, not yet confidently failing up to the upper one.
    crossing_low = _first(grid, low) if low is not None else None
    crossing_high = _first(grid, high) if high is not None else None
    start = float(places[0])
    note = "a longer length passes again" if True in passes[good:] else ""
    return EffectiveLength(
        rule=rule,
        threshold=threshold,
        value=places[good - 1] if good else None,
        low=_tested(places, crossing_low) if sure else None,
        high=_tested(places, crossing_high) if sure else None,
        high_open=sure and crossing_high is None,
        crossing=None if crossing == start and not passes[0] else crossing,
        crossing_low=None if crossing_low == start else crossing_low,
        crossing_high=None if crossing_high == start else crossing_high,
        at_least=good == len(passes),
        below_shortest=not good,
        shortest=places[0],
        sure=sure,
        note=note,
    )


def _curve(
    places: list[int], parts: list[Estimate], rule: Rule, reference: Estimate | None, base: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """(lengths on a fine grid, score minus threshold there, its lower and its upper limit).

    Each is a weighted sum of the estimates: two neighbours, minus the share of the reference. Limits as in
    `intervals.combined`. Letters: G grid points, K estimates.
    """
    logs = np.log(places)
    pieces = [np.linspace(a, b, STEPS, endpoint=False) for a, b in zip(logs, logs[1:], strict=False)]
    x_G = np.concatenate([*pieces, logs[-1:]])
    weights_GK = np.stack([np.interp(x_G, logs, row) for row in np.eye(len(places))], axis=1)
    fixed = 0.0
    if rule.of == ABSOLUTE:
        fixed = rule.share
    elif rule.of in (OWN, BASE):
        weights_GK[:, base] -= rule.share
    else:
        assert reference is not None
        parts = [*parts, reference]
        weights_GK = np.concatenate([weights_GK, np.full((len(x_G), 1), -rule.share)], axis=1)
    mean_G = weights_GK @ np.array([part.mean for part in parts]) - fixed
    lengths_G = np.exp(x_G)
    lengths_G[0] = places[0]  # to the last digit: below it nothing was tested
    if any(part.low is None or part.high is None for part in parts):
        return lengths_G, mean_G, None, None
    below_K = np.array([part.mean - part.low for part in parts if part.low is not None])
    above_K = np.array([part.high - part.mean for part in parts if part.high is not None])
    plus_GK, minus_GK = np.maximum(weights_GK, 0), np.minimum(weights_GK, 0)
    low_G = mean_G - np.sqrt(((plus_GK * below_K) ** 2 + (minus_GK * above_K) ** 2).sum(axis=1))
    high_G = mean_G + np.sqrt(((plus_GK * above_K) ** 2 + (minus_GK * below_K) ** 2).sum(axis=1))
    return lengths_G, mean_G, low_G, high_G


def _first(grid: np.ndarray, values: np.ndarray) -> float | None:
    """Where the values first fall below 0, between grid points by a straight line; None where they never do."""
    below = np.flatnonzero(values < -1e-12)
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return float(grid[0])
    part = values[i - 1] / (values[i - 1] - values[i])
    return float(grid[i - 1] * (grid[i] / grid[i - 1]) ** part)


def _tested(places: list[int], crossing: float | None) -> int | None:
    """The longest tested length up to a crossing; None for below the shortest."""
    if crossing is None:
        return places[-1]
    fitting = [n for n in places if n <= crossing * (1 + 1e-9)]
    return fitting[-1] if fitting and crossing > places[0] else None
