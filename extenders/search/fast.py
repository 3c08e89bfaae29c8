"""Our own searcher: few smooth numbers first, races instead of full measurements, a held-out check at the end.

Published LongRoPE2 lists lie within a few smooth parameters, and most candidates of an evolution are bad enough to be
told from a single text. So:

1. Explore (40 % of the budget): known good points and a Latin hypercube over the smooth parameters race by successive
   halving: one text for all, two for the better half, four for the better half of those, always the same texts.
2. Refine (25 %): small steps around the best, in the smooth parameters and, where the method has free factors, in
   single stretches of them; a proposal is dropped as soon as it is behind the best on the texts that it has seen.
3. Check (35 %): the finalists, three known points, NTK, YaRN and the flat vector on held-out texts. The best finalist
   has the lowest mean over search and held-out texts together. It was chosen on the search texts and looks better there
   than it is, and few texts hold nearly all of the loss, so that a race may drop the best of all: a known point wins
   where its loss on the held-out texts alone is lower.

LongRoPE2's pairs below the critical pair are filled by NTK from its factor at every start and step, as in the paper. A
local move changes factors from the critical pair on and leaves the pairs below: the fill is decoupled after local moves
(ours; the official procedures fill again).
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from extenders.base import RopePlan, RopeSpec
from extenders.ntk import Ntk
from extenders.search.family import Family, Point
from extenders.search.problem import Candidate, Problem
from extenders.search.shapes import flat, upper_critical_pair
from extenders.yarn import Yarn

EXPLORE, CHECK = 0.4, 0.35  # shares of the budget
FINALISTS = 2
STARTS = 3  # known points that the check sees
PROPOSALS = 6  # of one round of refinement
FIRST_STEP, LAST_STEP = 0.15, 0.01  # in units of an axis


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
        alive = ranked(alive)
        if reference is not None:
            alive = [candidate for candidate in alive if candidate.loss < problem.on_samples(reference, samples)]
        if samples >= last or not alive:
            return alive
        if reference is None or len(alive) > 2:
            alive = alive[: math.ceil(len(alive) / 2)]
        samples = min(last, 2 * samples)
        grown = problem.measure(alive, samples)
        if len(grown) < len(alive):  # the budget is spent
            return ranked(grown) or alive
        alive = grown


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first."""
    return sorted(candidates, key=lambda candidate: candidate.rank)


class Proposals:
    """Candidates of a family; a plan that was proposed before is none."""

    def __init__(self, problem: Problem, family: Family) -> None:
        self._problem, self._family = problem, family
        self._points: dict[int, Point] = {}
        self._proposed: set[str] = set()

    def start(self, count: int, rng: random.Random) -> list[Candidate]:
        """The known good points, then points of a hypercube, `count` in all at most."""
        points = [(self._family.point(values), name) for name, values in self._family.starts.items()]
        spread = hypercube(rng, len(self._family.axes), max(0, count - len(points)))
        points += [(point, "hypercube") for point in spread]
        return [new for point, operator in points for new in self._at(point, operator, None, "explore")][:count]

    def around(self, best: Candidate, rng: random.Random, step: float) -> list[Candidate]:
        """Steps in the smooth parameters and moves that these cannot make, in turn where the family has both."""
        proposed = []
        for i in range(PROPOSALS):
            point, nudge = self._points.get(best.number), self._family.nudge
            if nudge is not None and (point is None or i % 2):
                proposed += self._new(nudge(best.parameters, rng, step), "nudge", best, "refine")
            elif point is not None:
                moved = tuple(min(max(unit + rng.gauss(0, step), 0.0), 1.0) for unit in point)
                proposed += self._at(moved, "step", best, "refine")
        return proposed

    def _at(self, point: Point, operator: str, parent: Candidate | None, stage: str) -> list[Candidate]:
        new = self._new(self._family.at(point), operator, parent, stage)
        self._points |= {candidate.number: point for candidate in new}
        return new

    def _new(
        self, parameters: Mapping[str, Any], operator: str, parent: Candidate | None, stage: str
    ) -> list[Candidate]:
        plan = self._family.plan_of(parameters)
        candidate = self._problem.candidate(plan, operator, parameters, parent, stage)
        if plan.hash in self._proposed:
            return []
        self._proposed.add(plan.hash)
        return [candidate]


def search(problem: Problem, family: Family, samples: int | None = None) -> Candidate:
    """The winner. Raises ValueError when the budget is too small or no candidate has a finite loss."""
    full = fidelity_of(problem, samples)
    problem.require(full)
    problem.reserve(CHECK, full)
    rng = problem.random("fast")
    proposals = Proposals(problem, family)
    count = max(2, int(EXPLORE * problem.forwards / (1 + 0.5 * math.log2(full))))
    pool = proposals.start(count, rng)
    known = by_number(race(problem, pool, 1, full))
    starts = [candidate for candidate in pool if candidate.operator in family.starts]
    starts = sorted((start for start in starts if math.isfinite(start.loss)), key=furthest)[:STARTS]
    best = problem.best(known.values())
    step = FIRST_STEP
    while problem.left:
        before = problem.made
        ahead = race(problem, proposals.around(best, rng, step), max(1, full // 4), full, best)
        ahead = [candidate for candidate in ahead if candidate.samples >= best.samples]
        known |= by_number(ahead)
        if ahead and ahead[0].loss < best.loss:
            best, step = ahead[0], min(1.3 * step, 0.5)
        else:
            step *= 0.6
        if step < LAST_STEP or problem.made == before:
            if samples is not None or 2 * full > problem.samples:
                break
            full, step = 2 * full, FIRST_STEP / 2  # the texts cannot tell the neighbours apart any more: take more
            best = problem.best(problem.measure(ranked(known.values())[:FINALISTS], full) or [best])
    return checked(problem, best, list(known.values()), starts)


def furthest(candidate: Candidate) -> tuple[float, float, int]:
    """A rank for candidates that a race dropped at different times: measured on more texts first, then by loss."""
    return (-candidate.samples, *candidate.rank)


def by_number(candidates: Iterable[Candidate]) -> dict[int, Candidate]:
    return {candidate.number: candidate for candidate in candidates}


def checked(
    problem: Problem, best: Candidate, known: Iterable[Candidate], starts: Sequence[Candidate] = ()
) -> Candidate:
    """The winner among the best known candidates and the starts; baselines are measured beside them."""
    deepest = [other for other in known if other.samples == best.samples and math.isfinite(other.loss)]
    finalists = ranked(by_number([best, *deepest]).values())[:FINALISTS]
    contenders = by_number([*finalists, *starts])
    problem.reserved = 0
    others = baselines(problem.rope, problem.target_length)
    texts = min(problem.left // (len(contenders) + len(others)), problem.held_out_samples)
    if texts < 1:
        return best
    plans = {f"candidate {number}": contender.plan for number, contender in contenders.items()}
    losses = problem.held_out(plans | others, texts)

    def apart(contender: Candidate) -> float:
        return losses.get(f"candidate {contender.number}", math.inf)

    def pooled(finalist: Candidate) -> float:
        return (finalist.samples * finalist.loss + texts * apart(finalist)) / (finalist.samples + texts)

    winner = min(finalists, key=lambda finalist: (pooled(finalist), *finalist.rank))
    winner = winner if math.isfinite(pooled(winner)) else best
    return min([winner, *starts], key=apart)  # the first of equals


def baselines(rope: RopeSpec, target_length: int) -> dict[str, RopePlan]:
    """Closed forms that a winner must be compared with.

    `flat` is the least that LongRoPE2's theory asks for, but with YaRN's attention factor, so that it differs from
    `yarn` in frequencies alone (ours).
    """
    factors = flat(rope, target_length, upper_critical_pair(rope))
    yarn = Yarn(target_length=target_length).plan(rope, target_length)
    return {
        "ntk": Ntk(target_length=target_length).plan(rope, target_length),
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
