"""The contract of a method whose numbers are found on a model.

Such a method has fields that are None until a search fills them (`FINDS`), settings of the search, and a function
`search(problem)` that returns a copy with the fields filled. Without them it has no plan. Numbers that are given in
the experiment file are used as they are, and nothing is searched when none is missing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from extenders._check import check_whole
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.search import cmaes, fast
from extenders.search.descent import Descent
from extenders.search.family import Family
from extenders.search.problem import Candidate, PlanOf, Problem

SMOOTH: Mapping[str, Callable[[Problem, Family, int | None], Candidate]] = {"fast": fast.search, "cma": cmaes.search}
# raised when a searcher ends elsewhere; a method without a `searcher` is taken to use "fast"
SEARCHER_VERSIONS: Mapping[str, int] = {"fast": 2, "cma": 2, "paper": 2}
FORWARDS = 100  # the budget of a search unless one is given, in prompts of the target length


# Answers to hidden needles; all tokens of text (short pieces of the invented world, or documents); all tokens of long
# documents of the invented world; tokens alone that need what stands further back than the trained window.
Fitness = Literal["needle", "perplexity", "long_perplexity", "far_context"]


@dataclass(frozen=True, kw_only=True)
class SearchedExtender(Extender):
    """A method that is searched before it plans. The fields below are the settings that all searches share.

    `budget` counts token-forwards (tokens that go through the model); None: 100 prompts of the target length, the same
    for every method, so that tuned baselines and searched methods have had equal chances.
    """

    FINDS: ClassVar[tuple[str, ...]] = ()  # fields that a search fills
    SETTINGS: ClassVar[tuple[str, ...]] = ()  # further fields that only a search reads
    # left out of a search's key where None: younger than stored ones
    LATER: ClassVar[tuple[str, ...]] = ("start", "descent")

    fitness: Fitness = "needle"  # what is scored
    budget: int | None = None  # token-forwards
    search_samples: int | None = None  # texts a candidate is measured on in the end; None: as the searcher has it
    search_seed: int = 0
    needles: int = 1  # hidden in one text and asked for one after the other: more answers for one forward pass
    start: str | None = None  # of searcher "gradient": the closed form to begin at; None: the best on the first texts
    descent: str | None = None  # of searcher "gradient": what differs from its recipe, as in "texts=2, check=0.1"
    documents: str = ""  # folder of .txt and .md files to search on; "": the invented world

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fitness not in get_args(Fitness):
            raise ValueError(f"fitness must be one of {', '.join(get_args(Fitness))}, got {self.fitness!r}")
        if self.fitness == "long_perplexity" and self.documents:
            raise ValueError(
                "fitness long_perplexity is of the invented world; with documents of yours take perplexity"
            )
        for name in ("budget", "search_samples"):
            value = getattr(self, name)
            if value is not None:
                check_whole(name, value)
                if value < 1:
                    raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("start", "descent"):
            if getattr(self, name) is not None and getattr(self, "searcher", None) != "gradient":
                searcher = getattr(self, "searcher", "another")
                raise ValueError(f"{name} is for searcher 'gradient', and this is {searcher!r}")
        Descent.of(self.descent)
        check_whole("search_seed", self.search_seed)
        check_whole("needles", self.needles)
        if not 1 <= self.needles <= 20:
            raise ValueError(f"needles must be in 1 … 20, got {self.needles}")

    @property
    def searched(self) -> bool:
        """True when nothing is left to be found."""
        return all(getattr(self, name) is not None for name in self.FINDS)

    @property
    def searcher_version(self) -> int:
        return SEARCHER_VERSIONS.get(getattr(self, "searcher", "fast"), 1)

    @property
    def token_forwards(self) -> int:
        """The search's budget."""
        return FORWARDS * self.target_length if self.budget is None else self.budget

    def search(self, problem: Problem) -> Self:
        """A copy with every field of `FINDS` filled. Raises ValueError for a problem that cannot be searched."""
        raise NotImplementedError

    def with_found(self, values: Mapping[str, Any]) -> Self:
        """A copy with these fields, as a search or a stored result gives them (lists become tuples)."""
        return dataclasses.replace(self, **{name: _tuples(value) for name, value in values.items()})

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        missing = [name for name in self.FINDS if getattr(self, name) is None]
        if missing:
            raise ValueError(
                f"{self.name} has no {missing[0]} yet: they are searched on the model (ropebench search {self.name}, "
                "or name it in an experiment), or given as a parameter"
            )
        return self.planned(rope, length)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        """`plan` of a method that has all its numbers, for a target above the trained length."""
        raise NotImplementedError

    def plan_parameters(self) -> dict[str, Any]:
        settings = {field.name for field in dataclasses.fields(SearchedExtender)} | set(self.SETTINGS)
        return {name: value for name, value in self.parameters().items() if name not in settings}

    def plan_of(self, problem: Problem) -> PlanOf:
        """What a search measures: parameters → the plan of this method with them, at the problem's length."""
        return lambda parameters: self.with_found(parameters).plan(problem.rope, problem.target_length)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list | tuple) else value
