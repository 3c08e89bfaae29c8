"""LongRoPE, Ding et al. 2024, arXiv:2402.13753: one rescale factor per pair and n̂ kept tokens, found by a search.

The plan: pair i turns with its trained frequency divided by λ_i, except at the first n̂ positions (eq. 3); λ_i ≥ 1 and
never falling with i. cos and sin are multiplied by sqrt(1 + ln s/ln L), which is in the released code and models and in
neither paper. Prompts within the trained length run as trained: there, all factors 1 are the optimum of the paper's
search for short lengths (§3.3) as long as the weights are untouched. Lists found for shorter prompts may serve these
(`recovery_lengths`), as the paper chooses lists by length; n̂ is the same for all.

The search (`searcher`): "paper" is Algorithm 1 with Table 4's bounds (λ up to 1.25·s), steps of 0.01, the n̂ set, and
PI, NTK and YaRN to start from. "released" is the code of microsoft/LongRoPE (main): one starting vector that blends
factors, λ up to s+1, no n̂. "fast" is ours (`extenders.search.fast`) over a family that holds PI, NTK and YaRN, then
single stretches of factors and n̂. "cma" searches that family with CMA-ES. The fitness is plain perplexity.

Progressive extension (§3.3): with `intermediate_length` the factors for that length are searched first, the model is
fine-tuned with them, and what a second search finds on the fine-tuned model multiplies them (`base_factors`).
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from extenders._check import check_positive, check_whole
from extenders._formulas import longrope_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.search import cmaes, fast, operators
from extenders.search.evolution import Sizes, affordable, evolve
from extenders.search.fast import Axis, Family
from extenders.search.operators import Genome
from extenders.search.problem import Candidate, Problem
from extenders.search.progressive import progressive
from extenders.search.searched import SearchedExtender
from extenders.search.shapes import monotone, power_ramp, released_start, seeds, upper_critical_pair

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
    attention_factor: float | None = None  # of cos and sin; None: sqrt(1 + ln s/ln L)
    fitness: Literal["needle", "perplexity"] = "perplexity"
    searcher: Literal["fast", "paper", "released", "cma"] = "fast"
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
            lists = tuple(checked_factors("recovery_factors", one) for one in self.recovery_factors)
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
        for own_reach, own in zip(self.recovery_lengths, self.recovery_factors or (), strict=False):
            if length <= own_reach:
                factors, reach = own, own_reach
                break
        attention = self.attention_factor
        if attention is None:
            attention = longrope_attention_factor(reach / rope.trained_length, rope.trained_length)
        return RopePlan.rescaled(rope, factors, attention, self.keep_first or 0)

    def search(self, problem: Problem) -> Self:
        if self.intermediate_length is not None:
            return progressive(self, problem)
        whole, budget = problem.budget, problem.budget // (1 + len(self.recovery_lengths))
        found = self
        if self.factors is None:
            problem.budget = budget
            found = self.with_found(self._searched(problem))
            problem.budget = whole
        if self.recovery_lengths and self.recovery_factors is None:
            found = dataclasses.replace(found, recovery_factors=tuple(found._recovered(problem, budget)))
        return found

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
        if self.searcher in ("fast", "cma"):
            module = fast if self.searcher == "fast" else cmaes
            return dict(
                module.search(problem, self, self.family(problem.rope, recovery), self.search_samples).parameters
            )
        return dict(self._evolved(problem, recovery).parameters)

    def scale(self, rope: RopeSpec, recovery: int | None = None) -> float:
        """The s that bounds a search: of the whole way, of what base_factors leave of it, or of a recovery length."""
        if recovery is not None and self.base_factors is None:
            return recovery / rope.trained_length
        if recovery is None and self.base_factors is not None and self.base_length is not None:
            return self.target_length / self.base_length
        return self.factor(rope)

    def family(self, rope: RopeSpec, recovery: int | None = None) -> Family:
        """The smooth family: a ramp from 1 to a top factor (see `extenders.search.shapes`)."""
        pairs, scale = len(rope.inv_freq), self.scale(rope, recovery)
        most = operators.MAXIMUM_MARGIN * scale
        last = max(pairs - 1, 1)
        axes = (
            Axis("low", 0.0, float(upper_critical_pair(rope))),
            Axis("width", 0.0, float(last)),
            Axis("top", 1.0, most),
            Axis("power", -1.0, 1.0),
        )

        def found(values: Mapping[str, float]) -> dict[str, Any]:
            ramp = power_ramp(pairs, values["low"], values["width"], values["top"], values["power"])
            return found_as(monotone(ramp, 1.0, most), self.keep_first or 0, recovery)

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            if recovery is not None:
                return found_as(stretch(before["recovery_factors"][0], 0, 1.0, most, rng, step), 0, recovery)
            if self.keep_first is None and rng.random() < 0.25:
                return {**before, "keep_first": rng.choice(operators.START_TOKENS)}
            return {**before, "factors": stretch(before["factors"], 0, 1.0, most, rng, step)}

        critical = max(rope.pair_of_period(rope.trained_length), 1.0)
        fastest = min(max(rope.pair_of_period(rope.trained_length / 32), 0.0), critical)
        whole = {"low": 0.0, "top": scale}
        starts = {
            "yarn": {**whole, "low": fastest, "width": critical - fastest, "power": -1.0},
            "ntk": {**whole, "width": float(last), "power": 0.0},
            "ntk-theoretical": {**whole, "width": critical, "power": 0.0},
            "pi": {**whole, "width": 0.0, "power": 0.0},
            "released": {**whole, "low": fastest, "width": critical - fastest, "power": 1.0},
        }
        return Family(axes, found, starts, nudge)

    def _evolved(self, problem: Problem, recovery: int | None = None) -> Candidate:
        rope, scale = problem.rope, self.scale(problem.rope, recovery)
        samples = SAMPLES if self.search_samples is None else self.search_samples
        size = affordable(problem.forwards, samples) if self.size is None else self.size
        sizes = Sizes().scaled(size)
        rng = problem.random("initial population")
        reach = max(round(scale * rope.trained_length), rope.trained_length + 1)
        rules: operators.Operators
        if self.searcher == "paper":
            extras = operators.START_TOKENS if self.keep_first is None and recovery is None else (self.keep_first or 0,)
            rules = operators.Paper(upper=operators.MAXIMUM_MARGIN * scale, extras=extras)
            start = [(Genome(one, extras[0]), name) for name, one in seeds(rope, reach).items()]
        else:
            rules = operators.Released(upper=1 + scale, tries=sizes.tries)
            start = [(Genome(released_start(rope, reach), self.keep_first or 0), "released")]

        def grow(
            number: int, population: list[tuple[Genome, Candidate]], history: operators.History
        ) -> tuple[Genome, Candidate] | None:
            genome, parent = population[rng.randrange(len(start))]
            child = rules.mutate(genome, rng, history)
            return None if child is None else (child, parent)

        def make(genome: Genome, operator: str, parent: Candidate | None) -> Candidate:
            found = found_as(genome.factors, genome.extra, recovery)
            return self.candidate(problem, found, operator, parent, self.searcher)

        return evolve(problem, start, grow, rules, make, sizes, samples)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        pairs = len(rope.inv_freq)
        return {"factors": [1 + i / pairs for i in range(pairs)], "keep_first": 4}


def found_as(factors: tuple[float, ...], keep_first: int, recovery: int | None) -> dict[str, Any]:
    """What a search found, as fields of the method."""
    if recovery is not None:
        return {"recovery_factors": (factors,)}
    return {"factors": factors, "keep_first": keep_first}


def stretch(
    factors: tuple[float, ...], first: int, lower: float, upper: float, rng: random.Random, step: float
) -> tuple[float, ...]:
    """The factors with one random stretch from `first` on scaled by a few percent, monotone and within bounds."""
    pairs = len(factors)
    start = rng.randrange(first, pairs)
    end = rng.randrange(start + 1, pairs + 1)
    scale = 2 ** rng.gauss(0, step)
    moved = list(factors)
    moved[start:end] = [value * scale for value in factors[start:end]]
    if scale < 1:  # lowering a stretch lowers what stands before it where it must
        for i in range(start - 1, first - 1, -1):
            moved[i] = min(moved[i], moved[i + 1])
    floor = max(lower, factors[first - 1] if first else lower)
    return (*factors[:first], *monotone(moved[first:], floor, upper))


def checked_factors(name: str, value: Any) -> tuple[float, ...]:
    """Numbers above 0 as floats. Raises ValueError for anything else."""
    if isinstance(value, str) or not hasattr(value, "__iter__") or not (values := list(value)):
        raise ValueError(f"{name} must be a list of numbers, one for each rotary pair, got {value!r}")
    for i, factor in enumerate(values):
        check_positive(f"{name}: factor {i}", factor)
    return tuple(float(factor) for factor in values)
