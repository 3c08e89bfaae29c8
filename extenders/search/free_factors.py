"""What the search by gradient moves: log rescale factors and the log attention factor, kept within a method's bounds.

A point is a list of variables: log λ_i of every pair, the log of the attention factor, and for LongRoPE2 its critical
pair. A step is taken in all of them and then projected back onto what the method allows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extenders._formulas import yarn_attention_factor
from extenders.base import RopeSpec
from extenders.search.descent import Descent
from extenders.search.problem import PlanOf
from extenders.search.shapes import isotonic

Variables = list[float]


@dataclass(frozen=True)
class Start:
    """Where a search by gradient may begin."""

    factors: Sequence[float]  # λ_i
    attention_factor: float
    critical_pair: float | None = None


@dataclass(frozen=True)
class FreeFactors:
    """Every pair for itself: lower ≤ λ_i ≤ upper, never falling with i.

    The attention factor moves from 1 to `most_attention`; None: it stays as given. `parameters_of` gets factors,
    attention factor and critical pair (None here).
    """

    rope: RopeSpec
    target_length: int
    lower: float
    upper: float
    starts: Mapping[str, Start]
    parameters_of: Callable[[tuple[float, ...], float, float | None], Mapping[str, Any]]
    plan_of: PlanOf
    most_attention: float | None
    steps: Descent

    @property
    def pairs(self) -> int:
        return len(self.rope.inv_freq)

    def variables(self, start: Start) -> Variables:
        return [*(math.log(factor) for factor in start.factors), math.log(start.attention_factor)]

    def parameters(self, variables: Variables) -> Mapping[str, Any]:
        """What the method is made of at this point."""
        factors = tuple(math.exp(value) for value in variables[: self.pairs])
        return self.parameters_of(factors, math.exp(variables[self.pairs]), self.critical_pair(variables))

    def critical_pair(self, variables: Variables) -> float | None:
        return None

    def reach(self, variables: Variables) -> list[float]:
        """How far a step of size 1 may move each variable.

        A pair moves by at most 1, and by no more than what turns its phase at the target length by so many radians:
        further away the slope of a fast pair says nothing, and its average over texts is noise.
        """
        radians = self.steps.radians or math.inf
        turns = [self.target_length * value for value in self.rope.inv_freq]
        moved = zip(variables, turns, strict=False)
        pairs = [min(1.0, radians * math.exp(value) / turn) if turn else 1.0 for value, turn in moved]
        return [*pairs, 0.0 if self.most_attention is None else 0.5]

    def pulled(self, variables: Variables, gradient: Sequence[float]) -> list[float]:
        """The gradient by the variables, from that by all log factors and the log attention factor."""
        return list(gradient)

    def uneven(self, variables: Variables) -> list[float]:
        """The gradient of what the recipe takes for an uneven list, by all log factors and the log attention factor."""
        slopes = [0.0] * (self.pairs + 1)
        for i in range(1, self.pairs - 1):
            bend = variables[i - 1] - 2 * variables[i] + variables[i + 1]
            for place, share in ((i - 1, 1), (i, -2), (i + 1, 1)):
                slopes[place] += 2 * self.steps.smooth * bend * share
        return slopes

    def projected(self, variables: Variables) -> Variables:
        """The nearest point that the method allows; a pair that may hardly move weighs more."""
        reach = self.reach(variables)
        weights = [max(value, 1e-6) ** (-2 * self.steps.weight) for value in reach[: self.pairs]]
        logs = isotonic(variables[: self.pairs], weights)
        low, high = math.log(self.lower), math.log(self.upper)
        return [*(min(max(value, low), high) for value in logs), self._attention(variables)]

    def _attention(self, variables: Variables) -> float:
        value = variables[self.pairs]
        return value if self.most_attention is None else min(max(value, 0.0), math.log(self.most_attention))


@dataclass(frozen=True)
class FilledFactors(FreeFactors):
    """LongRoPE2's constraint: λ_i within the bounds from the critical pair c on, and NTK below: λ_i = λ_c^(i/c).

    c is a variable too and may lie between two pairs; its bounds are `critical_pairs`, and c stands for the first pair
    at or after it. The paper compares candidates of several whole c; here it also moves by its own slope.
    """

    critical_pairs: tuple[float, float]

    def variables(self, start: Start) -> Variables:
        assert start.critical_pair is not None
        return self.projected([*super().variables(start), start.critical_pair])

    def critical_pair(self, variables: Variables) -> float:
        return variables[-1]

    def reach(self, variables: Variables) -> list[float]:
        low, high = self.critical_pairs
        return [*super().reach(variables[:-1]), min(4.0, high - low)]

    def pulled(self, variables: Variables, gradient: Sequence[float]) -> list[float]:
        """Filled pairs pull at λ_c and at c, a fast one only as far as its slope can be trusted."""
        critical, first = variables[-1], self._first(variables)
        reach = self.reach(variables)
        pulls = [reach[i] * gradient[i] for i in range(first)]
        moved = [0.0] * first + list(gradient[first:])
        moved[first] += sum(i / critical * pull for i, pull in enumerate(pulls))
        by_critical = -variables[first] / critical**2 * sum(i * pull for i, pull in enumerate(pulls))
        return [*moved, by_critical]

    def projected(self, variables: Variables) -> Variables:
        low, high = self.critical_pairs
        critical = min(max(variables[-1], low), high)
        first = self._first([critical])
        tail = isotonic(variables[first : self.pairs])
        bounds = math.log(self.lower), math.log(self.upper)
        tail = [min(max(value, bounds[0]), bounds[1]) for value in tail]
        return [*(i / critical * tail[0] for i in range(first)), *tail, self._attention(variables), critical]

    def _first(self, variables: Variables) -> int:
        return min(math.ceil(variables[-1]), self.pairs - 1)


def most_attention(factor: float, excess: float) -> float:
    """The attention factor's upper bound: 1 and so many times YaRN's excess over it."""
    return 1 + excess * (yarn_attention_factor(factor) - 1)
