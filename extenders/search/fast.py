"""Our own searcher: few smooth numbers first, races instead of full measurements, a held-out check at the end.

Published LongRoPE2 lists lie within a few smooth parameters, and most candidates of an evolution are bad enough to be
told from a single text. So:

1. Explore (40 % of the budget): known good points and a Latin hypercube over the smooth parameters race by successive
   halving: one text for all, two for the better half, four for the better half of those, always the same texts.
2. Refine (30 %): small steps around the best, in the smooth parameters and, where the method has free factors, in
   single stretches of them; a proposal is dropped as soon as it is behind the best on the texts that it has seen.
3. Check (30 %): the finalists, NTK, YaRN and the flat vector on held-out texts. The winner is the finalist with the
   lowest mean over search and held-out texts together.

LongRoPE2's pairs below the critical pair are filled by NTK from its factor at every start and step, as in the paper. A
local move changes factors from the critical pair on and leaves the pairs below: the fill is decoupled after local moves
(ours; the official procedures fill again).
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from extenders.base import RopePlan
from extenders.ntk import Ntk
from extenders.search.problem import Candidate, Problem
from extenders.search.searched import SearchedExtender
from extenders.search.shapes import flat, upper_critical_pair
from extenders.yarn import Yarn

EXPLORE, REFINE = 0.4, 0.7  # shares of the budget when these stages end
FINALISTS = 3
PROPOSALS = 6  # of one round of refinement
FIRST_STEP, LAST_STEP = 0.15, 0.01  # in units of an axis

Point = tuple[float, ...]  # one number in [0, 1] per axis


@dataclass(frozen=True)
class Axis:
    """A smooth parameter and its range; `log` spaces it geometrically."""

    name: str
    low: float
    high: float
    log: bool = False

    def value(self, unit: float) -> float:
        if self.log:
            return self.low * (self.high / self.low) ** unit
        return self.low + (self.high - self.low) * unit

    def unit(self, value: float) -> float:
        if self.high <= self.low:
            return 0.0
        if self.log:
            return min(max(math.log(value / self.low) / math.log(self.high / self.low), 0.0), 1.0)
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True)
class Family:
    """What is searched: axes, the method's fields at a point, points to begin with, and a local move of the fields."""

    axes: tuple[Axis, ...]
    found: Callable[[Mapping[str, float]], Mapping[str, Any]]
    starts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    nudge: Callable[[Mapping[str, Any], random.Random, float], Mapping[str, Any]] | None = None

    def at(self, point: Point) -> Mapping[str, Any]:
        return self.found({axis.name: axis.value(unit) for axis, unit in zip(self.axes, point, strict=True)})

    def point(self, values: Mapping[str, float]) -> Point:
        return tuple(axis.unit(values[axis.name]) for axis in self.axes)


def fidelity_of(problem: Problem, samples: int | None) -> int:
    """Texts of a full measurement: what was asked for, else about 0.8·sqrt(forwards), between 2 and 32."""
    if samples is not None:
        return samples
    return min(max(round(0.8 * math.sqrt(problem.forwards)), 2), 32, problem.samples, max(1, problem.forwards))


def race(
    problem: Problem, candidates: list[Candidate], first: int, last: int, reference: Candidate | None = None
) -> list[Candidate]:
    """Successive halving from `first` to `last` texts; returns who got furthest, best first.

    With a reference, who is not ahead of it on the same texts is dropped at once.
    """
    samples = max(1, min(first, last))
    alive = problem.measure(candidates, samples)
    while True:
        alive.sort(key=lambda one: (one.loss, one.number))
        if reference is not None:
            alive = [one for one in alive if one.loss < problem.on_samples(reference, samples)]
        if samples >= last or not alive:
            return alive
        if reference is None or len(alive) > 2:
            alive = alive[: math.ceil(len(alive) / 2)]
        samples = min(last, 2 * samples)
        grown = problem.measure(alive, samples)
        if len(grown) < len(alive):  # the budget is spent
            return sorted(grown, key=lambda one: (one.loss, one.number)) or alive
        alive = grown


def search(problem: Problem, extender: SearchedExtender, family: Family, samples: int | None = None) -> Candidate:
    """The winner. Raises ValueError when the budget is too small or no candidate has a finite loss."""
    full = fidelity_of(problem, samples)
    problem.require(full)
    rng = problem.random("fast")
    points: dict[int, Point] = {}
    tried: set[str] = set()

    def make(found: Mapping[str, Any], operator: str, parent: Candidate | None, stage: str) -> Candidate | None:
        one = extender.candidate(problem, found, operator, parent, stage)
        if one.plan.hash in tried:
            return None
        tried.add(one.plan.hash)
        return one

    def make_at(point: Point, operator: str, parent: Candidate | None, stage: str) -> Candidate | None:
        one = make(family.at(point), operator, parent, stage)
        if one is not None:
            points[one.number] = point
        return one

    count = max(2, int(EXPLORE * problem.forwards / (1 + 0.5 * math.log2(full))))
    pool = [make_at(family.point(values), name, None, "explore") for name, values in family.starts.items()]
    spread = hypercube(rng, len(family.axes), max(0, count - len(pool)))
    pool += [make_at(point, "hypercube", None, "explore") for point in spread]
    reached = race(problem, [one for one in pool if one is not None][:count], 1, full)
    best = problem.best(reached)
    known = {one.number: one for one in reached}

    step = FIRST_STEP
    while problem.spent < REFINE * problem.budget and problem.left:
        before = problem.made
        made: list[Candidate | None] = []
        for i in range(PROPOSALS):
            point = points.get(best.number)
            if family.nudge is not None and (point is None or i % 2):
                made.append(make(family.nudge(best.parameters, rng, step), "nudge", best, "refine"))
            elif point is not None:
                moved = tuple(min(max(unit + rng.gauss(0, step), 0.0), 1.0) for unit in point)
                made.append(make_at(moved, "step", best, "refine"))
        ahead = race(problem, [one for one in made if one is not None], max(1, full // 4), full, best)
        ahead = [one for one in ahead if one.samples >= best.samples]
        known |= {one.number: one for one in ahead}
        if ahead and ahead[0].loss < best.loss:
            best = ahead[0]
            step = min(1.3 * step, 0.5)
        else:
            step *= 0.6
        if step < LAST_STEP or problem.made == before:
            if samples is not None or 2 * full > problem.samples:
                break
            full, step = 2 * full, FIRST_STEP / 2  # the texts cannot tell the neighbours apart any more: take more
            top = problem.measure(sorted(known.values(), key=lambda one: (one.loss, one.number))[:FINALISTS], full)
            best = problem.best(top or [best])
    return checked(problem, best, list(known.values()))


def checked(problem: Problem, best: Candidate, known: list[Candidate]) -> Candidate:
    """The finalist with the lowest mean over search and held-out texts; baselines are measured beside them."""
    deepest = [one for one in known if one.samples == best.samples and math.isfinite(one.loss)]
    finalists = sorted({one.number: one for one in [best, *deepest]}.values(), key=lambda one: (one.loss, one.number))
    finalists = finalists[:FINALISTS]
    others = baselines(problem)
    texts = min(problem.left // (len(finalists) + len(others)), problem.held_out_samples)
    if texts < 1:
        return best
    names = {f"candidate {one.number}": one for one in finalists}
    losses = problem.held_out({name: one.plan for name, one in names.items()} | others, texts)

    def pooled(one: Candidate) -> float:
        apart = losses.get(f"candidate {one.number}", math.inf)
        return (one.samples * one.loss + texts * apart) / (one.samples + texts)

    winner = min(finalists, key=lambda one: (pooled(one), one.loss, one.number))
    return winner if math.isfinite(pooled(winner)) else best


def baselines(problem: Problem) -> dict[str, RopePlan]:
    """Closed forms that a winner must be compared with.

    `flat` is the least that LongRoPE2's theory asks for, but with YaRN's attention factor, so that it differs from
    `yarn` in frequencies alone (ours).
    """
    rope, target = problem.rope, problem.target_length
    factors = flat(rope, target, upper_critical_pair(rope))
    yarn = Yarn(target_length=target).plan(rope, target)
    return {
        "ntk": Ntk(target_length=target).plan(rope, target),
        "yarn": yarn,
        "flat": RopePlan.rescaled(rope, factors, yarn.attention_factor / rope.attention_factor),
    }


def hypercube(rng: random.Random, axes: int, count: int) -> list[Point]:
    """A Latin hypercube: every axis is cut into `count` parts and each part holds one point."""
    columns = []
    for _ in range(axes):
        order = list(range(count))
        rng.shuffle(order)
        columns.append([(place + rng.random()) / count for place in order])
    return list(zip(*columns, strict=True)) if axes else []
