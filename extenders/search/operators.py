"""Mutation and crossover of LongRoPE and LongRoPE2, as the papers say and as the released code does.

A genome is a vector of rescale factors and one whole number beside it (LongRoPE's n̂, LongRoPE2's critical pair).
Grids are those of the code: start, start + step, … below an exclusive end.

Where the papers are silent (how a gene is redrawn, how two parents are crossed) the choice is ours and marked so.
History is a set of vectors rounded to 1e-6, where the code compares every pair of vectors to within 1e-5. Grid values
are start + i·step, as many as numpy's `arange` gives the code; its values differ in their last digits, because it
multiplies by (start + step) - start.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from extenders._formulas import ntk_fill
from extenders.search.shapes import isotonic, monotone

GENE_RATE = 0.3  # p of both papers
STEP = 0.01  # search step of LongRoPE's Table 4, list_step of the code
PASSES = 10_000  # then a mutation has failed; the code would go on for ever
START_TOKENS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 64, 128, 256)  # n̂, LongRoPE's Table 4
MAXIMUM_MARGIN = 1.25  # LongRoPE's Table 4: factors up to 1.25·s
TRIES = 20


@dataclass(frozen=True)
class Genome:
    factors: tuple[float, ...]
    extra: int = 0


class History:
    """Vectors that were made before."""

    def __init__(self) -> None:
        self._seen: set[tuple[float, ...]] = set()

    def __contains__(self, genome: Genome) -> bool:
        return self._rounded(genome) in self._seen

    def add(self, genome: Genome) -> None:
        self._seen.add(self._rounded(genome))

    @staticmethod
    def _rounded(genome: Genome) -> tuple[float, ...]:
        return (*(round(value, 6) for value in genome.factors), float(genome.extra))


class Operators(Protocol):
    """What an evolution needs. None: nothing legal and unseen was found."""

    def mutate(self, parent: Genome, rng: random.Random, history: History) -> Genome | None: ...

    def cross(self, first: Genome, second: Genome, rng: random.Random, history: History) -> Genome | None: ...


def grid(start: float, end: float, step: float = STEP) -> int:
    """How many points start, start + step, … lie below `end`, counted in floats as numpy.arange does.

    The rounding matters: from 1.0 to 1.0 + step there are two points, which is how the released mutation gets away
    from a flat vector.
    """
    return max(0, math.ceil((end - start) / step))


def drawn(rng: random.Random, start: float, end: float, step: float = STEP) -> float | None:
    """One of the points of that grid, or None where it is empty."""
    count = grid(start, end, step)
    return start + step * rng.randrange(count) if count else None


def redrawn(factors: Sequence[float], lower: float, upper: float, rng: random.Random) -> tuple[float, ...]:
    """Every gene with probability `GENE_RATE` drawn anew from [lower, upper] in steps; the nearest vector that rises.

    Genes that fall are pooled into their mean, to whole steps; all others keep their values.
    """
    count = grid(lower, upper + 1e-9)
    wanted = [lower + STEP * rng.randrange(count) if rng.random() < GENE_RATE else factor for factor in factors]
    nearest = [
        value if value == own else lower + STEP * round((value - lower) / STEP)
        for value, own in zip(isotonic(wanted), wanted, strict=True)
    ]
    return monotone(nearest, lower, upper)


def rises(factors: Sequence[float], strictly: bool = False) -> bool:
    pairs = zip(factors, factors[1:], strict=False)
    return all(a < b for a, b in pairs) if strictly else all(a <= b for a, b in pairs)


@dataclass(frozen=True)
class LongRopePaper:
    """LongRoPE's Algorithm 1: factors in [1, 1.25·s], steps of 0.01, never falling; n̂ is a gene too.

    A chosen gene is drawn from its whole range, as Table 4 has it. Hardly any child would rise then, and the paper
    rejects those that fall; ours: the child is the nearest vector that rises (`redrawn`). Redrawn between its
    neighbours, as we had it before, a gene of a flat vector cannot move, and the paper's starting vectors are flat over
    long stretches. n̂ is redrawn with the same probability. Crossover takes every gene from either parent, up to 20
    times until the child is monotone and new.
    """

    upper: float  # 1.25·s
    lower: float = 1.0
    extras: tuple[int, ...] = START_TOKENS

    def mutate(self, parent: Genome, rng: random.Random, history: History) -> Genome | None:
        for _ in range(PASSES):
            factors, extra = redrawn(parent.factors, self.lower, self.upper, rng), parent.extra
            if self.extras and rng.random() < GENE_RATE:
                extra = rng.choice(self.extras)
            child = Genome(factors, extra)
            if child not in history:
                return child
        return None

    def cross(self, first: Genome, second: Genome, rng: random.Random, history: History) -> Genome | None:
        for _ in range(TRIES):
            genes = zip(first.factors, second.factors, strict=True)
            factors = tuple(a if rng.random() < 0.5 else b for a, b in genes)
            child = Genome(factors, rng.choice((first.extra, second.extra)))
            if rises(factors) and child not in history:
                return child
        return None


@dataclass(frozen=True)
class LongRopeReleased:
    """The released code of LongRoPE (microsoft/LongRoPE, branch main, `dim_mono`): factors in [1, s + 1], no n̂.

    A gene may go one grid step beyond its right neighbour; then the vector falls, and the loop runs again over what it
    has changed so far, so a nominal rate of 0.3 may change nearly every gene. Crossover accepts the first vector that
    rises and is new, often after a single gene.
    """

    upper: float  # s + 1
    tries: int = TRIES

    def mutate(self, parent: Genome, rng: random.Random, history: History) -> Genome | None:
        factors, last = list(parent.factors), len(parent.factors) - 1
        for _ in range(PASSES):
            if rises(factors) and Genome(tuple(factors)) not in history:
                return Genome(tuple(factors))
            for k in range(last + 1):
                if rng.random() < GENE_RATE:
                    low = factors[k - 1] if k else 1.0
                    end = self.upper + STEP if k == last else factors[k + 1] + (STEP if k else 0.0)
                    value = drawn(rng, low, end)
                    factors[k] = factors[k] if value is None else value
        return None

    def cross(self, first: Genome, second: Genome, rng: random.Random, history: History) -> Genome | None:
        return first_legal(first, second, rng, history, self.tries, 0, rises)


@dataclass(frozen=True)
class LongRope2Paper:
    """LongRoPE2's Algorithm 2: the genome's number is its critical pair c; pairs from c on are searched in [s, 2s].

    Pairs below c are NTK's for the factor at c. Redrawing as in `LongRopePaper`, where Algorithm 1's starting vectors
    are flat above c. No crossover is described, so children of two parents take every gene above the larger c from
    either parent (ours).
    """

    lower: float  # s
    upper: float  # 2s

    def filled(self, factors: Sequence[float], critical: int) -> tuple[float, ...]:
        return (*ntk_fill(critical, factors[critical], critical), *factors[critical:])

    def mutate(self, parent: Genome, rng: random.Random, history: History) -> Genome | None:
        fixed, free = parent.factors[: parent.extra], parent.factors[parent.extra :]
        for _ in range(PASSES):
            factors = (*fixed, *redrawn(free, self.lower, self.upper, rng))
            child = Genome(self.filled(factors, parent.extra), parent.extra)
            if child not in history:
                return child
        return None

    def cross(self, first: Genome, second: Genome, rng: random.Random, history: History) -> Genome | None:
        start = max(first.extra, second.extra)
        for _ in range(TRIES):
            factors = list(first.factors if first.extra == start else second.factors)
            for k in range(start, len(factors)):
                factors[k] = (first if rng.random() < 0.5 else second).factors[k]
            child = Genome(self.filled(factors, start), start)
            if rises(child.factors[start:]) and child.factors[start] >= self.lower and child not in history:
                return child
        return None


@dataclass(frozen=True)
class LongRope2Released:
    """The released code of LongRoPE2 (microsoft/LongRoPE, branch longrope2): a fixed critical pair, strictly rising.

    The interval of a gene is that of its neighbours, clipped to [s, 2s] and to whole steps; the last gene reaches at
    most 4 beyond its neighbour. The pairs below the critical one are filled after every change.
    """

    critical: int
    lower: float  # s
    upper: float  # 2s, the code's length scale
    tries: int = TRIES

    def filled(self, factors: Sequence[float]) -> tuple[float, ...]:
        return (*ntk_fill(self.critical, factors[self.critical], self.critical), *factors[self.critical :])

    def legal(self, factors: Sequence[float]) -> bool:
        return rises(factors, strictly=True)

    def mutate(self, parent: Genome, rng: random.Random, history: History) -> Genome | None:
        factors, last = list(parent.factors), len(parent.factors) - 1
        for _ in range(PASSES):
            child = Genome(tuple(factors), self.critical)
            if self.legal(factors) and child not in history:
                return child
            for k in range(self.critical, last + 1):
                if rng.random() < GENE_RATE:
                    low = self._up(factors[k - 1] if k else self.lower)
                    high = self._down(factors[k + 1] if k < last else factors[k - 1] + 4)
                    value = drawn(rng, low, high + STEP)
                    if value is not None:
                        factors[k] = min(value, self.upper)
                        factors = list(self.filled(factors))
        return None

    def cross(self, first: Genome, second: Genome, rng: random.Random, history: History) -> Genome | None:
        made = first_legal(first, second, rng, history, self.tries, self.critical, self.legal)
        return None if made is None else Genome(self.filled(made.factors), self.critical)

    def _up(self, value: float) -> float:
        value = min(max(value, self.lower), self.upper)
        return min(math.ceil(value / STEP - 1e-6) * STEP, self.upper)

    def _down(self, value: float) -> float:
        value = min(max(value, self.lower), self.upper)
        return max(math.floor(value / STEP + 1e-6) * STEP, self.lower)


def first_legal(
    first: Genome,
    second: Genome,
    rng: random.Random,
    history: History,
    tries: int,
    start: int,
    legal: Callable[[Sequence[float]], bool],
) -> Genome | None:
    """The crossover of the released code: copy genes at random until the vector is legal and new for the first time."""
    if all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-8) for a, b in zip(first.factors, second.factors, strict=True)):
        return None
    factors = list(first.factors)
    for _ in range(tries):
        for k in range(start, len(factors)):
            if rng.random() < GENE_RATE:
                if rng.random() < 0.5:
                    factors[k] = second.factors[k]
                child = Genome(tuple(factors), first.extra)
                if legal(factors) and child not in history:
                    return child
    return None
