"""Stand-ins for tests of searches: a model's shape, and losses with a known optimum and with noise of a known seed."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from extenders.base import RopePlan, RopeSpec
from extenders.search.problem import HELD_OUT, Pair, Problem
from extenders.search.shapes import ntk_then_tail

ROPE = RopeSpec(64, 3134.0, 512, tuple(3134.0 ** (-2 * i / 64) for i in range(32)))  # a pocket model's
TARGET = 4096
BEST = ntk_then_tail(32, 14.3, 10.5, 13.0, 0.8)


def textbook(rotary_dims: int, theta: float, trained_length: int) -> RopeSpec:
    inv_freq = tuple(theta ** (-2 * i / rotary_dims) for i in range(rotary_dims // 2))
    return RopeSpec(rotary_dims, theta, trained_length, inv_freq)


def distance(plan: RopePlan, rope: RopeSpec = ROPE, best: Sequence[float] = BEST) -> float:
    """Mean squared log ratio between a plan's factors and the best ones."""
    pairs = zip(plan.rescale_factors(rope), best, strict=True)
    return sum(math.log(a / b) ** 2 for a, b in pairs) / len(best)


def noisy(plan: RopePlan, sample: int) -> float:
    """A loss that every text shifts in its own way, by more where the plan is bad."""
    base = distance(plan)
    texts, both = random.Random(f"text {sample}"), random.Random(f"{plan.hash} {sample}")
    return 0.1 + base * (1 + 0.3 * texts.gauss(0, 1) + 0.05 * both.gauss(0, 1)) + 0.02 * texts.gauss(0, 1)


class Losses:
    """An evaluator that notes what it is asked; `loss(plan, sample)` is its truth."""

    def __init__(self, loss: Callable[[RopePlan, int], float] = noisy) -> None:
        self.loss, self.asked = loss, []  # type: ignore[var-annotated]

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        self.asked += [(plan.hash, sample) for plan, sample in pairs]
        return [self.loss(plan, sample) for plan, sample in pairs]

    @property
    def held_out(self) -> int:
        return sum(sample >= HELD_OUT for _, sample in self.asked)


def problem(
    forwards: int = 100, losses: Any = None, rope: RopeSpec = ROPE, target: int = TARGET, **more: Any
) -> Problem:
    return Problem(rope, target, losses or Losses(), budget=forwards * target, **more)
