"""CMA-ES (Hansen, arXiv:1604.00772) over the smooth parameters of `fast`, by the library pycma, for comparison.

Every candidate is measured on all texts; there is no racing and no held-out check. The library draws from NumPy's
global generator unless it is given another, so it is given one of its own.
"""

import importlib
import math
import warnings
from typing import Any

from extenders.search.family import Family, Point
from extenders.search.fast import fidelity_of
from extenders.search.problem import Candidate, Problem

PENALTY = 1e3  # nats; what an infinite loss counts as, because the library ranks finite numbers


def search(problem: Problem, family: Family, samples: int | None = None) -> Candidate:
    """The best candidate when the budget is spent. Raises ValueError where the library is missing."""
    import numpy  # here, because every searched method imports this file, also where only names are listed

    cma = _library()
    full = fidelity_of(problem, samples)
    problem.require(full)
    rng = problem.random("cma")
    axes = len(family.axes)
    start = [0.5] * axes
    if family.starts:
        start = list(family.point(next(iter(family.starts.values()))))
    known: list[Candidate] = []
    padding = [0.5] if axes == 1 else []  # the library wants two dimensions at least
    options = {"bounds": [0, 1], "verbose": -9, "CMA_stds": [1.0] * max(2, axes)}
    generator = numpy.random.RandomState(rng.randrange(1, 2**31))
    # no seed: with one, the library seeds NumPy's global generator
    options |= {"seed": math.nan, "randn": generator.randn}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = cma.CMAEvolutionStrategy([*start, *padding], 0.2, options)
        while not strategy.stop() and problem.left >= full:
            asked = strategy.ask()
            points: list[Point] = [tuple(float(value) for value in point[:axes]) for point in asked]
            proposed = [_candidate(problem, family, point) for point in points]
            measured = problem.measure(proposed, full)
            known += measured
            if len(measured) < len(proposed):
                break
            strategy.tell(asked, [min(candidate.loss, PENALTY) for candidate in proposed])
    return problem.best(known)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("cma")
    except ImportError:
        raise ValueError("searcher 'cma' needs the package cma: pip install 'ropebench[cma]'") from None


def _candidate(problem: Problem, family: Family, point: Point) -> Candidate:
    parameters = family.at(point)
    return problem.candidate(family.plan_of(parameters), "cma", parameters, None, "cma")
