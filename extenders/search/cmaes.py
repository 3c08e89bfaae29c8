"""CMA-ES (Hansen, arXiv:1604.00772) over the smooth parameters of `fast`, by the library pycma, for comparison.

Every candidate is measured on all texts; there is no racing. It begins at the best of the known points, and the winner
is checked as that of `fast` is, against these points too. The library draws from NumPy's
global generator unless it is given another, so it is given one of its own.
"""

import importlib
import math
import warnings
from typing import Any

from extenders.search.family import Family, Point
from extenders.search.fast import CHECK, EXPLORE, STARTS, checked, fidelity_of, ranked
from extenders.search.problem import Candidate, Problem

PENALTY = 1e3  # nats; what an infinite loss counts as, because the library ranks finite numbers


def search(problem: Problem, family: Family, samples: int | None = None) -> Candidate:
    """The best candidate when the budget is spent. Raises ValueError where the library is missing."""
    import numpy  # here, because every searched method imports this file, also where only names are listed

    cma = _library()
    full = fidelity_of(problem, samples)
    problem.require(full)
    problem.reserve(CHECK, full)
    rng = problem.random("cma")
    axes = len(family.axes)
    points = [(family.point(values), name) for name, values in family.starts.items()]
    points = points[: max(1, int(EXPLORE * problem.forwards / full))] or [((0.5,) * axes, "middle")]
    starts = [_candidate(problem, family, point, name) for point, name in points]
    known = problem.measure(starts, full)
    best = problem.best(known)
    start = next(point for (point, _), candidate in zip(points, starts, strict=True) if candidate is best)
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
            proposed = [_candidate(problem, family, tuple(map(float, point[:axes])), "cma") for point in asked]
            measured = problem.measure(proposed, full)
            known += measured
            if len(measured) < len(proposed):
                break
            strategy.tell(asked, [min(candidate.loss, PENALTY) for candidate in proposed])
    return checked(problem, problem.best(known), known, ranked(known[: len(starts)])[:STARTS])


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("cma")
    except ImportError:
        raise ValueError("searcher 'cma' needs the package cma: pip install 'ropebench[cma]'") from None


def _candidate(problem: Problem, family: Family, point: Point, operator: str) -> Candidate:
    parameters = family.at(point)
    return problem.candidate(family.plan_of(parameters), operator, parameters, None, "cma")
