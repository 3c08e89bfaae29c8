"""What each part of a method adds (critical dimension, searched factors, mixed training), each on top of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.store import StoredMethod
from reports.numbers.grid import Number
from reports.numbers.methods import critical_of, recipe_of
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.statistics.paired import Comparison


@dataclass(frozen=True)
class GainStep:
    """One part of a method and what it adds: `label` minus `before`, on the same samples."""

    part: str
    before: str
    label: str
    gain: Comparison


def gain_steps(scores: Scores, summary: Summary, column: int) -> tuple[Number | None, list[GainStep]]:
    """What critical dimension, searched factors and mixed training each add, where the store has such methods.

    The chain: YaRN or NTK as published → the same with the critical pair that was found → searched factors → the same
    with mixed training. Links that no method fills are left out; a chain needs two methods that were all measured.
    """
    if not summary.lengths:
        return None, []
    measured = {line.label: line.numbers[column] for line in summary.grid.lines if line.numbers[column].estimate}
    methods = [method for method in scores.frames.run["methods"] if method["label"] in measured]
    recipes = list(dict.fromkeys(recipe for method in methods if (recipe := recipe_of(method)) != "mixed"))
    chains = [_chain(methods, base, recipe) for base in ("yarn", "ntk") for recipe in recipes]
    chain = max(chains, key=len, default=[])
    if len(chain) < 2:
        return None, []
    steps = [
        GainStep(part, before, label, scores.compare(label, before, summary.tests[column]))
        for (part, label), (_, before) in zip(chain[1:], chain, strict=False)
    ]
    return measured[chain[0][1]], steps


def _chain(methods: Sequence[StoredMethod], base: str, recipe: str) -> list[tuple[str, str]]:
    """(part, label) from the plain method on, all trained alike but the last; '' is the part of the first."""
    wanted = [("", base, recipe), ("critical dimension", f"{base}_rcd", recipe)]
    wanted += [("searched factors", "longrope2", recipe), ("mixed training", "longrope2", "mixed")]
    chain = []
    for part, extender, training in wanted:
        fits = [m["label"] for m in methods if _kind(m) == extender and recipe_of(m) == training]
        if fits:
            chain.append((part, str(fits[0])))
    return chain if chain and chain[0][0] == "" else []


def _kind(method: StoredMethod) -> str:
    """The extender; a plain method that was given a critical pair of its own counts as the one that has found it."""
    name = str(method.get("extender", ""))
    return f"{name}_rcd" if name in ("yarn", "ntk") and critical_of(method) is not None else name
