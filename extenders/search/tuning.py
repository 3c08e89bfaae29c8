"""Baselines with a few numbers of their own, tuned by the same searcher and budget as LongRoPE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from extenders.base import RopeSpec
from extenders.search.family import Axis, Family
from extenders.search.problem import Problem
from extenders.search.searched import SMOOTH, SearchedExtender


@dataclass(frozen=True, kw_only=True)
class TunedExtender(SearchedExtender):
    """A method whose `FINDS` are numbers with a range each; those that are given are not searched."""

    SETTINGS: ClassVar[tuple[str, ...]] = ("searcher",)

    searcher: Literal["fast", "cma"] = "fast"

    def axes(self, rope: RopeSpec) -> tuple[Axis, ...]:
        """One axis for each field of `FINDS`."""
        raise NotImplementedError

    def starts(self, rope: RopeSpec) -> Mapping[str, Mapping[str, float]]:
        """Values of these fields to begin with, by name."""
        raise NotImplementedError

    def search(self, problem: Problem) -> Self:
        missing = [axis for axis in self.axes(problem.rope) if getattr(self, axis.name) is None]
        if not missing:
            return self
        given = {axis.name: getattr(self, axis.name) for axis in self.axes(problem.rope) if axis not in missing}

        def parameters_of(values: Mapping[str, float]) -> dict[str, Any]:
            return {**values, **given}

        family = Family(tuple(missing), parameters_of, self.plan_of(problem), self.starts(problem.rope))
        return self.with_found(SMOOTH[self.searcher](problem, family, self.search_samples).parameters)
