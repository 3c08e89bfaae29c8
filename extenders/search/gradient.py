"""Search by gradient: the loss of a text is differentiable in every rescale factor and in the attention factor.

1. Race (a few texts): known closed forms by successive halving, unless the start is named.
2. Descend (most of the budget): a new text every step, its loss and gradient (a forward pass counts 1, a backward pass
   2), a step by Adam, a projection onto what the method allows. A text that is solved already costs a forward pass and
   makes no step. The step size falls to a fifth.
3. Check (a quarter): the average of the later half of the points and the best closed forms, on held-out texts.

Ours, from trials on the pocket models. `Descent` has the numbers, and which of them matter is in docs/search-study.
"""

import math
from collections.abc import Sequence

from extenders.search.fast import furthest, race
from extenders.search.free_factors import FreeFactors, Variables
from extenders.search.problem import Candidate, Problem

SOLVED = 0.03  # nats per scored token
LAST_RATE = 0.2  # of the last step, in that of the first
MOMENTUM, VARIANCE = 0.8, 0.95  # Adam's rates
LOUD, CLIP = 0.8, 2.0  # gradients longer than twice their 80 % quantile are shortened to that
STARTS = 2  # closed forms that the check sees


def search(problem: Problem, factors: FreeFactors, start: str | None = None) -> Candidate:
    """The winner. Raises ValueError without gradients, for a budget too small, or when no loss is finite."""
    if start is not None and start not in factors.starts:
        raise ValueError(f"start must be one of {', '.join(factors.starts)}, got {start!r}")
    problem.require(1)
    problem.reserve(factors.steps.check, 2)
    starts = {name: _candidate(problem, factors, factors.variables(at), name) for name, at in factors.starts.items()}
    texts = max(1, round(factors.steps.race * problem.forwards))
    if start is None:
        race(problem, list(starts.values()), 1, texts)
    else:
        problem.measure([starts[start]], 1)
    problem.best(starts.values())  # raises where there is none
    ahead = sorted((known for known in starts.values() if known.samples), key=furthest)
    points = _descent(problem, factors, factors.variables(factors.starts[ahead[0].operator]), texts)
    ended = []
    if points:
        late = points[min(int((1 - factors.steps.late) * len(points)), len(points) - 1) :]
        mean = factors.projected([math.fsum(values) / len(late) for values in zip(*late, strict=True)])
        ended = [_candidate(problem, factors, mean, "mean of late steps", ahead[0])]
    return _checked(problem, [*ended, *ahead[:STARTS]])


def _candidate(
    problem: Problem, factors: FreeFactors, variables: Variables, operator: str, parent: Candidate | None = None
) -> Candidate:
    parameters = factors.parameters(variables)
    return problem.candidate(factors.plan_of(parameters), operator, parameters, parent, "gradient")


def _descent(problem: Problem, factors: FreeFactors, variables: Variables, sample: int) -> list[Variables]:
    """The points after each step, from text `sample` on."""
    points: list[Variables] = []
    steps, step = factors.steps, AdamStep(len(variables))
    began, left = problem.spent, max(problem.left * problem.target_length, 1)
    while True:
        plan = factors.plan_of(factors.parameters(variables))
        slopes = problem.slopes(plan, range(sample, sample + steps.texts), SOLVED, bool(steps.recompute))
        if not slopes:
            return points
        sample += steps.texts
        gradients = [slope.gradient for slope in slopes if slope.gradient is not None]
        if not gradients:
            continue
        mean = [math.fsum(values) / len(gradients) for values in zip(*gradients, strict=True)]
        if steps.smooth:
            mean = [value + more for value, more in zip(mean, factors.uneven(variables), strict=True)]
        rate = steps.rate * (1 - (1 - LAST_RATE) * min(1.0, (problem.spent - began) / left))
        moves = step(factors.pulled(variables, mean), factors.reach(variables), rate)
        variables = factors.projected([value - move for value, move in zip(variables, moves, strict=True)])
        points.append(variables)


class AdamStep:
    """Adam (Kingma and Ba, arXiv:1412.6980) in units of how far each variable may move, on shortened gradients."""

    def __init__(self, size: int) -> None:
        self._mean, self._variance = [0.0] * size, [0.0] * size
        self._lengths: list[float] = []

    def __call__(self, gradient: Sequence[float], reach: Sequence[float], rate: float) -> list[float]:
        """How much to take from each variable."""
        slopes = [value * unit for value, unit in zip(gradient, reach, strict=True)]
        length = math.hypot(*slopes)
        self._lengths.append(length)
        count = len(self._lengths)
        longest = CLIP * (sorted(self._lengths)[int(LOUD * count)] if count > 4 else length)
        shortened = min(1.0, longest / length) if length else 0.0
        moves = []
        for i, slope in enumerate(slopes):
            slope *= shortened
            self._mean[i] = MOMENTUM * self._mean[i] + (1 - MOMENTUM) * slope
            self._variance[i] = VARIANCE * self._variance[i] + (1 - VARIANCE) * slope * slope
            mean = self._mean[i] / (1 - MOMENTUM**count)
            deviation = math.sqrt(self._variance[i] / (1 - VARIANCE**count))
            moves.append(rate * reach[i] * mean / (deviation + 1e-3))
        return moves


def _checked(problem: Problem, finalists: Sequence[Candidate]) -> Candidate:
    """The finalist with the lowest mean on held-out texts, on a tie the first; the first where nothing is left."""
    problem.reserved = 0
    texts = min(problem.left // len(finalists), problem.held_out_samples)
    if texts < 1:
        return finalists[0]
    named = {finalist.operator: finalist for finalist in finalists}
    losses = problem.held_out({name: finalist.plan for name, finalist in named.items()}, texts)
    return min(finalists, key=lambda finalist: losses.get(finalist.operator, math.inf))
