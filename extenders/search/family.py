"""A family of plans that a few smooth numbers describe: what `fast` and CMA-ES search."""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from extenders._formulas import yarn_attention_factor
from extenders.search.problem import PlanOf

Point = tuple[float, ...]  # one number in [0, 1] per axis
Nudge = Callable[[Mapping[str, Any], random.Random, float], Mapping[str, Any]]


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
    """Values of the axes → parameters of a method → its plan.

    `nudge(parameters, rng, step)` is a small move that the axes cannot make; None: the method has no other numbers.
    """

    axes: tuple[Axis, ...]
    parameters_of: Callable[[Mapping[str, float]], Mapping[str, Any]]  # from values of the axes, by their names
    plan_of: PlanOf
    starts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # known good values, by name
    nudge: Nudge | None = None

    def at(self, point: Point) -> Mapping[str, Any]:
        """The method's parameters at a point."""
        return self.parameters_of({axis.name: axis.value(unit) for axis, unit in zip(self.axes, point, strict=True)})

    def point(self, values: Mapping[str, float]) -> Point:
        """The point of these values, as near as the axes' ranges allow."""
        return tuple(axis.unit(values[axis.name]) for axis in self.axes)

    def with_attention(self, factor: float, own: float) -> "Family":
        """The same family with the attention factor as one more axis, from 1 to twice YaRN's excess over 1.

        `factor` is s. A start that names none has the method's `own`.
        """

        def parameters_of(values: Mapping[str, float]) -> dict[str, Any]:
            return {**self.parameters_of(values), "attention_factor": values["attention_factor"]}

        return dataclasses.replace(
            self,
            axes=(*self.axes, Axis("attention_factor", 1.0, 2 * yarn_attention_factor(factor) - 1)),
            parameters_of=parameters_of,
            starts={name: {"attention_factor": own, **values} for name, values in self.starts.items()},
        )
