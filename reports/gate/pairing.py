"""What the gate decides on: scores of base and candidate on the same samples, in groups of tests.

Seeds of an evaluation are pooled; seeds of a training are models of their own and also counted as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.gate.conditions import Side
from reports.statistics.intervals import Array
from reports.statistics.noninferiority import Group
from reports.statistics.seeds import TwoLevel, side_by_side, two_level


@dataclass(frozen=True)
class PairedScores:
    """One test under one seed."""

    seed: int
    seeded: bool  # False where every seed asks the same samples
    samples: tuple[int, ...]
    candidate: Array
    base: Array


def groups(base: Side, candidate: Side) -> list[Group]:
    """One group for each category, unit and length; inside it one test for each task, seeds together."""
    tests: dict[tuple[str, str, int], dict[str, list[PairedScores]]] = {}
    for place, cell in base.cells.items():
        if place not in candidate.cells:
            continue
        task, length, seed = place
        ours, theirs = base.rows[place]["score"], candidate.rows[place]["score"]
        shared = ours.index.intersection(theirs.index)
        pair = (theirs.loc[shared].to_numpy(dtype=np.float64), ours.loc[shared].to_numpy(dtype=np.float64))
        key = (cell.category, cell.unit, length)
        paired = PairedScores(seed, cell.seeded, tuple(shared), *pair)
        tests.setdefault(key, {}).setdefault(task, []).append(paired)
    label = base.label if base.label == candidate.label else f"{candidate.label} against {base.label}"
    trained = base.trained or candidate.trained
    return [
        Group(
            label,
            category,
            length,
            unit,
            [_pooled(seeds) for seeds in named.values()],
            tuple(named),
            _of_seeds(list(named.values())) if trained else None,
        )
        for (category, unit, length), named in tests.items()
    ]


def _same_samples(seeds: Sequence[PairedScores]) -> bool:
    return all(not scores.seeded and scores.samples == seeds[0].samples for scores in seeds)


def _pooled(seeds: Sequence[PairedScores]) -> tuple[Array, Array]:
    """Scores of all seeds; where they answer the same samples, each sample once with its mean."""
    both = [[scores.candidate for scores in seeds], [scores.base for scores in seeds]]
    join = (lambda of: np.mean(of, axis=0)) if _same_samples(seeds) else np.concatenate
    return join(both[0]), join(both[1])


def _of_seeds(tests: Sequence[Sequence[PairedScores]]) -> TwoLevel | None:
    """Candidate minus base over the seeds of a training, tests with equal weight; None for a single seed."""
    seeds = sorted(set.intersection(*({scores.seed for scores in of_test} for of_test in tests)))
    if len(seeds) < 2:
        return None
    kept = [
        sorted((scores for scores in of_test if scores.seed in seeds), key=lambda scores: scores.seed)
        for of_test in tests
    ]
    if all(map(_same_samples, kept)):
        table_SN = side_by_side([np.stack([scores.candidate - scores.base for scores in of_test]) for of_test in kept])
        return two_level(table_SN, "gate", bounded=False)
    means_TS = [[float(np.mean(scores.candidate - scores.base)) for scores in of_test] for of_test in kept]
    return two_level(np.mean(means_TS, axis=0)[:, None], "gate", same_samples=False, bounded=False)
