"""LongRoPE, Ding et al. 2024, arXiv:2402.13753: one rescale factor per pair and n̂ kept tokens, found by a search.

The plan: pair i turns with its trained frequency divided by λ_i, except at the first n̂ positions (eq. 3); λ_i ≥ 1 and
never falling with i. cos and sin are multiplied by sqrt(1 + ln s/ln L), which is in the released code and models and in
neither paper. Prompts within the trained length run as trained: there, all factors 1 are the optimum of the paper's
search for short lengths (§3.3) as long as the weights are untouched. Lists found for shorter prompts may serve these
(`recovery_lengths`), as the paper chooses lists by length; n̂ is the same for all.

The search (`searcher`): "paper" is Algorithm 1 with Table 4's bounds (λ up to 1.25·s), steps of 0.01, the n̂ set, and
PI, NTK and YaRN to start from. "released" is the code of microsoft/LongRoPE (main): one starting vector that blends
factors, λ up to s+1, no n̂. "fast" is ours (`extenders.search.fast`) over a family that holds PI, NTK, YaRN and late
ramps, with λ up to 2s and the attention factor, then single stretches of factors and n̂. "cma" searches that family with
CMA-ES. "gradient" is ours too (`extenders.search.gradient`): all factors and the attention factor, by the slope of the
loss. The fitness is plain perplexity.

Progressive extension (§3.3): with `intermediate_length` the factors for that length are searched first, the model is
fine-tuned with them, and what a second search finds on the fine-tuned model multiplies them (`base_factors`).
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from extenders._check import check_positive, check_whole, checked_factors
from extenders._formulas import longrope_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.search import gradient, operators
from extenders.search.descent import Descent
from extenders.search.evolution import Procedure, evolve, sizes_of
from extenders.search.family import Family
from extenders.search.free_factors import FreeFactors, most_attention
from extenders.search.operators import Genome
from extenders.search.problem import PlanOf, Problem
from extenders.search.progressive import progressive
from extenders.search.ramp_family import Ramp
from extenders.search.searched import SMOOTH, Fitness, SearchedExtender
from extenders.search.shapes import released_start, seeds

SAMPLES = 5  # texts a candidate, the paper's up to 256k tokens


@dataclass(frozen=True, kw_only=True)
class LongRope(SearchedExtender):
    """`factors` and `keep_first` are searched unless they are given."""

    FINDS: ClassVar[tuple[str, ...]] = ("factors",)
    SETTINGS: ClassVar[tuple[str, ...]] = ("searcher", "size", "intermediate_length")

    factors: tuple[float, ...] | None = None  # λ_i, d/2 values
    keep_first: int | None = None  # n̂, tokens; None: searched with the factors, else 0
    base_factors: tuple[float, ...] | None = None  # those the weights were fine-tuned with; `factors` multiply them
    base_length: int | None = None  # tokens that base_factors reach
    recovery_lengths: tuple[int, ...] = ()  # tokens; factors are searched for each of them too
    recovery_factors: tuple[tuple[float, ...], ...] | None = None  # one list for each of these lengths
    attention_factor: float | None = None  # of cos and sin; None: searched by ours, else sqrt(1 + ln s/ln L)
    fitness: Fitness = "perplexity"
    searcher: Literal["fast", "gradient", "paper", "released", "cma"] = "fast"
    size: float | None = None  # of "paper" and "released": share of all six sizes; None: what the budget pays for
    intermediate_length: int | None = None  # tokens; the length of the first of two searches

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("factors", "base_factors"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else checked_factors(name, value))
        if self.keep_first is not None:
            check_whole("keep_first", self.keep_first)
        for name in ("attention_factor", "size"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.size is not None and self.size > 1:
            raise ValueError(f"size is a share of the full search, above 0 and at most 1, got {self.size}")
        lengths = tuple(self.recovery_lengths)
        object.__setattr__(self, "recovery_lengths", lengths)
        if list(lengths) != sorted(set(lengths)) or any(length >= self.target_length for length in lengths):
            raise ValueError(
                f"recovery_lengths must rise and lie below the target length {self.target_length}, got {list(lengths)}"
            )
        if self.recovery_factors is not None:
            lists = tuple(checked_factors("recovery_factors", factors) for factors in self.recovery_factors)
            object.__setattr__(self, "recovery_factors", lists)
            if len(lists) != len(lengths):
                raise ValueError(f"{len(lengths)} recovery_lengths need as many recovery_factors, got {len(lists)}")

    @property
    def searched(self) -> bool:
        return self.factors is not None and (not self.recovery_lengths or self.recovery_factors is not None)

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        assert self.factors is not None
        factors, reach = self.factors, self.target_length
        if self.base_factors is not None:
            if len(self.base_factors) != len(factors):
                raise ValueError(f"{len(self.base_factors)} base_factors do not fit {len(factors)} factors")
            factors = tuple(a * b for a, b in zip(factors, self.base_factors, strict=True))
        elif length <= rope.trained_length:
            return RopePlan.as_trained(rope)
        for recovery_length, listed in zip(self.recovery_lengths, self.recovery_factors or (), strict=False):
            if length <= recovery_length:
                factors, reach = listed, recovery_length
                break
        attention = self.attention_factor
        if attention is None:
            attention = longrope_attention_factor(reach / rope.trained_length, rope.trained_length)
        return RopePlan.rescaled(rope, factors, attention, self.keep_first or 0)

    def search(self, problem: Problem) -> Self:
        if self.intermediate_length is not None:
            searches = 2 + len(self.recovery_lengths)
            return progressive(problem, self.intermediate_length, searches, self._halfway, self._onward)
        whole, budget = problem.budget, problem.budget // (1 + len(self.recovery_lengths))
        complete = self
        if self.factors is None:
            problem.budget = budget
            complete = self.with_found(self._searched(problem))
            problem.budget = whole
        if self.recovery_lengths and self.recovery_factors is None:
            complete = dataclasses.replace(complete, recovery_factors=tuple(complete._recovered(problem, budget)))
        return complete

    def _halfway(self, problem: Problem) -> Self:
        """With factors for the intermediate length."""
        shorter = dataclasses.replace(
            self,
            target_length=problem.target_length,
            intermediate_length=None,
            recovery_lengths=(),
            recovery_factors=None,
        )
        return shorter.search(problem)

    def _onward(self, first: Self, problem: Problem) -> Self:
        """With factors for the rest of the way, on the model that was fine-tuned with the first ones."""
        rest = dataclasses.replace(
            self,
            intermediate_length=None,
            base_factors=first.factors,
            base_length=first.target_length,
            keep_first=first.keep_first,
        )
        return dataclasses.replace(rest.search(problem), intermediate_length=self.intermediate_length)

    def _recovered(self, problem: Problem, budget: int) -> Iterator[tuple[float, ...]]:
        """The lists for shorter prompts. On weights as they were trained, the window needs none: all ones."""
        if problem.at is None:
            raise ValueError("recovery_lengths need texts of other lengths, which this search was not given")
        for length in self.recovery_lengths:
            if length <= problem.rope.trained_length and self.base_factors is None:
                yield (1.0,) * len(problem.rope.inv_freq)
                continue
            alone = dataclasses.replace(self, recovery_lengths=(length,), recovery_factors=None)
            yield alone._searched(problem.at(length, budget), length)["recovery_factors"][0]

    def _searched(self, problem: Problem, recovery: int | None = None) -> dict[str, Any]:
        """`factors` and `keep_first` for the problem's length, or the list of one recovery length."""
        plan_of = self.plan_of(problem)
        if self.searcher == "gradient":
            free = self._free(problem, plan_of, recovery)
            return dict(gradient.search(problem, free, self.start).parameters)
        if self.searcher in SMOOTH:
            family = self.family(problem.rope, plan_of, recovery)
            return dict(SMOOTH[self.searcher](problem, family, self.search_samples).parameters)
        samples = SAMPLES if self.search_samples is None else self.search_samples
        sizes = sizes_of(problem, samples, self.size)
        procedure = self.procedure(problem.rope, plan_of, sizes.tries, recovery)
        return dict(evolve(problem, procedure, sizes, samples).parameters)

    def scale(self, rope: RopeSpec, recovery: int | None = None) -> float:
        """The s that bounds a search: of the whole way, of what base_factors leave of it, or of a recovery length."""
        if recovery is not None and self.base_factors is None:
            return recovery / rope.trained_length
        if recovery is None and self.base_factors is not None and self.base_length is not None:
            return self.target_length / self.base_length
        return self.factor(rope)

    def _free(self, problem: Problem, plan_of: PlanOf, recovery: int | None) -> FreeFactors:
        """What the search by gradient moves; n̂ stays as given, or 0."""
        rope, scale, steps = problem.rope, self.scale(problem.rope, recovery), Descent.of(self.descent)
        most = most_attention(self.factor(rope), steps.excess)
        moving = most if self.attention_factor is None and recovery is None else None
        own = self.attention_factor or longrope_attention_factor(self.factor(rope), rope.trained_length)
        upper = (2 if recovery is None else operators.MAXIMUM_MARGIN) * scale

        def parameters_of(factors: tuple[float, ...], attention: float, critical: float | None) -> dict[str, Any]:
            values = fields_of(factors, self.keep_first or 0, recovery)
            return values if moving is None else {**values, "attention_factor": attention}

        starts = Ramp(rope, upper).free_starts(scale, own, moving is not None)
        return FreeFactors(rope, problem.target_length, 1.0, upper, starts, parameters_of, plan_of, moving, steps)

    def family(self, rope: RopeSpec, plan_of: PlanOf, recovery: int | None = None) -> Family:
        """The smooth family of `fast`, with its local moves."""
        scale = self.scale(rope, recovery)
        ramp = Ramp(rope, (2 if recovery is None else operators.MAXIMUM_MARGIN) * scale)

        def parameters_of(values: Mapping[str, float]) -> dict[str, Any]:
            return fields_of(ramp.factors(values), self.keep_first or 0, recovery)

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            if recovery is not None:
                return fields_of(ramp.stretched(before["recovery_factors"][0], rng, step), 0, recovery)
            if self.keep_first is None and rng.random() < 0.25:
                return {**before, "keep_first": rng.choice(operators.START_TOKENS)}
            return {**before, "factors": ramp.stretched(before["factors"], rng, step)}

        family = Family(ramp.axes(), parameters_of, plan_of, ramp.starts(scale), nudge)
        if self.attention_factor is not None or recovery is not None:
            return family
        reach = self.factor(rope)
        return family.with_attention(reach, longrope_attention_factor(reach, rope.trained_length))

    def procedure(self, rope: RopeSpec, plan_of: PlanOf, tries: int, recovery: int | None = None) -> Procedure:
        """The official search that `searcher` names."""
        scale = self.scale(rope, recovery)
        reach = max(round(scale * rope.trained_length), rope.trained_length + 1)
        rules: operators.Operators
        if self.searcher == "paper":
            extras = operators.START_TOKENS if self.keep_first is None and recovery is None else (self.keep_first or 0,)
            rules = operators.LongRopePaper(upper=operators.MAXIMUM_MARGIN * scale, extras=extras)
            starts = [(Genome(factors, extras[0]), name) for name, factors in seeds(rope, reach).items()]
        else:
            rules = operators.LongRopeReleased(upper=1 + scale, tries=tries)
            starts = [(Genome(released_start(rope, reach), self.keep_first or 0), "released")]

        def parameters_of(genome: Genome) -> dict[str, Any]:
            return fields_of(genome.factors, genome.extra, recovery)

        return Procedure(self.searcher, rules, lambda rng: starts, parameters_of, plan_of)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        pairs = len(rope.inv_freq)
        return {"factors": [1 + i / pairs for i in range(pairs)], "keep_first": 4}


def fields_of(factors: tuple[float, ...], keep_first: int, recovery: int | None) -> dict[str, Any]:
    """What a search gives, as fields of the method."""
    if recovery is not None:
        return {"recovery_factors": (factors,)}
    return {"factors": factors, "keep_first": keep_first}
