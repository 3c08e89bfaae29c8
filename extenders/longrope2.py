"""LongRoPE2, Shang et al. 2025, arXiv:2502.20082: NTK up to the real critical pair, searched factors above it.

The plan (§3.1, Algorithm 2): with critical pair c and its factor λ_c, pairs below c get λ_c^(i/c), which is a new base;
pairs from c on get searched factors, never falling with i, all in [s, 2s]. Prompts within the trained length run
exactly as trained (Fig. 10); the released training code multiplies cos and sin there too (`short_attention`). Longer
prompts have cos and sin multiplied by sqrt(1 + ln s/ln L), which is in the released code and models, not in the paper.

The search (`searcher`): "paper" is Algorithms 1 and 2, where every candidate carries its own c between the pair that
turns ten times in training and the theoretical critical pair. "released" is the public code (microsoft/LongRoPE, branch
longrope2): a fixed c, by default one below the theoretical one. "fast" is ours (`extenders.search.fast`) over four
numbers: c, λ_c, the last factor and the bend between, and the attention factor. "cma" searches these with CMA-ES.
"gradient" is ours too (`extenders.search.gradient`): all factors from c on, c itself and the attention factor, by the
slope of the loss. The fitness is the loss on answers to hidden needles (§3.2).

Deviations from the paper's Algorithm 1: starting vectors are filled from c (it fills from the lower end of c's range,
which would not be monotone). From the released code: the eighth starting vector is clipped to 2s. The paper names no
numbers of mutations, crossovers and parents; they are LongRoPE's. Ablations: `fitness: perplexity`, a given
`critical_pair`, and `search_all` (all pairs searched, in [1, 2s]).
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from extenders._check import check_flag, check_positive, checked_factors
from extenders._formulas import longrope_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.search import gradient, operators
from extenders.search.descent import Descent
from extenders.search.evolution import Procedure, evolve, sizes_of
from extenders.search.family import Axis, Family
from extenders.search.free_factors import FilledFactors, FreeFactors, Start, most_attention
from extenders.search.operators import Genome
from extenders.search.problem import PlanOf, Problem
from extenders.search.ramp_family import Ramp
from extenders.search.searched import SMOOTH, SearchedExtender
from extenders.search.shapes import (
    lower_critical_pair,
    monotone,
    ntk_then_tail,
    released_start,
    seeds,
    stretch,
    upper_critical_pair,
)

SAMPLES = 10  # texts a candidate, of paper and code alike
STARTS = 8  # starting vectors of the released code


@dataclass(frozen=True, kw_only=True)
class LongRope2(SearchedExtender):
    """`factors` are searched unless they are given; `critical_pair` too unless it is given, and is for the record."""

    FINDS: ClassVar[tuple[str, ...]] = ("factors",)
    SETTINGS: ClassVar[tuple[str, ...]] = ("critical_pair", "searcher", "size", "search_all")

    factors: tuple[float, ...] | None = None  # λ_i, d/2 values, for prompts beyond the trained length
    critical_pair: float | None = None  # c; None: searched ("released": one below the theoretical one)
    attention_factor: float | None = None  # of cos and sin; None: searched by ours, else sqrt(1 + ln s/ln L)
    short_attention: bool = False  # also within the trained length, as the released code does
    searcher: Literal["fast", "gradient", "paper", "released", "cma"] = "fast"
    size: float | None = None  # of "paper" and "released": share of all six sizes; None: what the budget pays for
    search_all: bool = False  # ablation: search all pairs, from YaRN

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factors is not None:
            object.__setattr__(self, "factors", checked_factors("factors", self.factors))
        for name in ("critical_pair", "attention_factor", "size"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.size is not None and self.size > 1:
            raise ValueError(f"size is a share of the full search, above 0 and at most 1, got {self.size}")
        check_flag("short_attention", self.short_attention)
        check_flag("search_all", self.search_all)
        if self.search_all and self.critical_pair is not None:
            raise ValueError("search_all searches every pair and has no critical_pair; leave one of the two out")

    def planned(self, rope: RopeSpec, length: int) -> RopePlan:
        attention = self.attention_factor
        if attention is None:
            attention = longrope_attention_factor(self.factor(rope), rope.trained_length)
        if length <= rope.trained_length:
            short = RopePlan.as_trained(rope)
            return RopePlan(short.inv_freq, short.attention_factor * attention) if self.short_attention else short
        assert self.factors is not None
        return RopePlan.rescaled(rope, self.factors, attention)

    def search(self, problem: Problem) -> Self:
        pairs = len(problem.rope.inv_freq)
        if self.critical_pair is not None and self.critical_pair > pairs - 1:
            raise ValueError(f"critical_pair must be at most {pairs - 1}, the last pair, got {self.critical_pair:g}")
        plan_of = self.plan_of(problem)
        if self.searcher == "gradient":
            best = gradient.search(problem, self._free(problem, plan_of), self.start)
        elif self.searcher in SMOOTH:
            family = (self._all_pairs if self.search_all else self.family)(problem.rope, plan_of)
            best = SMOOTH[self.searcher](problem, family, self.search_samples)
        else:
            samples = SAMPLES if self.search_samples is None else self.search_samples
            sizes = sizes_of(problem, samples, self.size, self._populations)
            best = evolve(problem, self.procedure(problem.rope, plan_of, sizes.tries), sizes, samples)
        return self.with_found(best.parameters)

    def _free(self, problem: Problem, plan_of: PlanOf) -> FreeFactors:
        """What the search by gradient moves: factors within LongRoPE2's constraint, or all within [1, 2s]."""
        rope, length, steps = problem.rope, problem.target_length, Descent.of(self.descent)
        factor, pairs = self.factor(rope), len(rope.inv_freq)
        moving = most_attention(factor, steps.excess) if self.attention_factor is None else None
        own = self.attention_factor or longrope_attention_factor(factor, rope.trained_length)

        def parameters_of(factors: tuple[float, ...], attention: float, critical: float | None) -> dict[str, Any]:
            values = {"factors": factors} | ({} if critical is None else {"critical_pair": critical})
            return values if moving is None else {**values, "attention_factor": attention}

        if self.search_all:
            ramp = Ramp(rope, 2 * factor)
            named = ramp.free_starts(factor, own, moving is not None)
            return FreeFactors(rope, length, 1.0, 2 * factor, named, parameters_of, plan_of, moving, steps)
        low, high = self._critical_pairs(rope)
        starts = {}
        for name, values in known_shapes(low, high, factor).items():
            end = values["start"] + values["rise"] * (2 * factor - values["start"])
            shape = ntk_then_tail(pairs, values["critical"], values["start"], end, values["bend"])
            starts[name] = Start(shape, own, values["critical"])
        bounds = low, high
        return FilledFactors(rope, length, factor, 2 * factor, starts, parameters_of, plan_of, moving, steps, bounds)

    def _critical_pairs(self, rope: RopeSpec) -> tuple[float, float]:
        """The bounds of the critical pair, equal where it is given."""
        if self.critical_pair is not None:
            return float(self.critical_pair), float(self.critical_pair)
        return float(lower_critical_pair(rope)), float(upper_critical_pair(rope))

    def family(self, rope: RopeSpec, plan_of: PlanOf) -> Family:
        """LongRoPE2's shape in four numbers, with its local moves above the critical pair."""
        pairs, factor = len(rope.inv_freq), self.factor(rope)
        low, high = self._critical_pairs(rope)
        axes = (
            Axis("critical", low, high),
            Axis("start", factor, 2 * factor, log=True),
            Axis("rise", 0.0, 1.0),  # the last factor, between the start and 2s
            Axis("bend", 1 / 3, 3.0, log=True),
        )

        def parameters_of(values: Mapping[str, float]) -> dict[str, Any]:
            start = values["start"]
            end = start + values["rise"] * (2 * factor - start)
            shape = ntk_then_tail(pairs, values["critical"], start, end, values["bend"])
            first = min(math.ceil(values["critical"]), pairs - 1)
            above = monotone(shape[first:], factor, 2 * factor)
            return {"factors": (*shape[:first], *above), "critical_pair": values["critical"]}

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            first = min(math.ceil(before["critical_pair"]), pairs - 1)
            return {**before, "factors": stretch(before["factors"], first, factor, 2 * factor, rng, step)}

        return self._with_attention(Family(axes, parameters_of, plan_of, known_shapes(low, high, factor), nudge), rope)

    def _with_attention(self, family: Family, rope: RopeSpec) -> Family:
        """With the attention factor as an axis, unless it is given."""
        if self.attention_factor is not None:
            return family
        factor = self.factor(rope)
        return family.with_attention(factor, longrope_attention_factor(factor, rope.trained_length))

    def _all_pairs(self, rope: RopeSpec, plan_of: PlanOf) -> Family:
        """LongRoPE's family within LongRoPE2's bounds."""
        factor = self.factor(rope)
        ramp = Ramp(rope, 2 * factor)
        starts = ramp.starts(factor)

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            return {**before, "factors": ramp.stretched(before["factors"], rng, step)}

        family = Family(
            ramp.axes(),
            lambda values: {"factors": ramp.factors(values)},
            plan_of,
            {name: starts[name] for name in ("yarn", "late", "yarn, higher", "ntk-theoretical")},
            nudge,
        )
        return self._with_attention(family, rope)

    @property
    def _populations(self) -> int:
        """The released code starts with two populations."""
        return 2 if self.searcher == "released" else 1

    def procedure(self, rope: RopeSpec, plan_of: PlanOf, tries: int) -> Procedure:
        """The official search that `searcher` names. The code's mutations walk on from the member eight places back."""

        def parameters_of(genome: Genome) -> dict[str, Any]:
            critical = {} if self.search_all else {"critical_pair": float(genome.extra)}
            return {"factors": genome.factors, **critical}

        rules, starts = self._rules(rope, tries)
        back = STARTS if self.searcher == "released" else None
        return Procedure(self.searcher, rules, starts, parameters_of, plan_of, self._populations, back)

    def _rules(
        self, rope: RopeSpec, tries: int
    ) -> tuple[operators.Operators, Callable[[random.Random], list[tuple[Genome, str]]]]:
        """Operators and starting vectors of the chosen procedure."""
        factor = self.factor(rope)
        if self.search_all and self.searcher == "paper":
            named = [(Genome(factors), name) for name, factors in seeds(rope, self.target_length).items()]
            return operators.LongRopePaper(2 * factor, extras=()), lambda rng: named
        if self.search_all:
            start = [(Genome(released_start(rope, self.target_length)), "released")]
            return operators.LongRopeReleased(2 * factor, tries), lambda rng: start
        if self.searcher == "released":
            fixed = upper_critical_pair(rope) - 1 if self.critical_pair is None else round(self.critical_pair)
            released = operators.LongRope2Released(max(fixed, 1), factor, 2 * factor, tries)
            starts = released_starts(released, len(rope.inv_freq))
            return released, lambda rng: starts
        low, high = lower_critical_pair(rope), upper_critical_pair(rope)
        if self.critical_pair is not None:
            low = high = round(self.critical_pair)
        paper = operators.LongRope2Paper(factor, 2 * factor)
        return paper, lambda rng: paper_starts(paper, range(low, high + 1), len(rope.inv_freq), rng)

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        pairs = len(rope.inv_freq)
        return {"factors": [1 + i / pairs for i in range(pairs)]}


def known_shapes(low: float, high: float, factor: float) -> dict[str, dict[str, float]]:
    """Values of the axes to begin with; the critical pair lies between `low` and `high`."""
    middle = (low + high) / 2
    flat = {"start": factor, "rise": 0.0, "bend": 1.0}
    # the shape of the published LLaMA3-8B list: λ_c = 1.36·s two pairs below theory, 1.63·s at the end
    published = {"start": 1.36 * factor, "rise": 0.41, "bend": 1.0}
    return {
        "flat at theory": {**flat, "critical": high},
        "flat between": {**flat, "critical": middle},
        "flat at ten turns": {**flat, "critical": low},
        "published": {**published, "critical": max(low, high - 2)},
        "published, earlier": {**published, "critical": middle},
    }


def released_starts(rules: operators.LongRope2Released, pairs: int) -> list[tuple[Genome, str]]:
    """The code's starting vectors: from s to 2s, each rising by 0.1 a pair from the critical pair on."""
    starts = []
    for q in range(STARTS):
        value = rules.lower * (1 + q / STARTS)
        above = [min(value + 0.1 * i, rules.upper) for i in range(pairs - rules.critical)]
        factors = rules.filled([value] * rules.critical + above)
        starts.append((Genome(factors, rules.critical), f"start {q}"))
    return starts


def paper_starts(
    rules: operators.LongRope2Paper, critical_pairs: Iterable[int], pairs: int, rng: random.Random
) -> list[tuple[Genome, str]]:
    """The paper's starting vectors: for every critical pair one that is flat above it, at a whole factor in [s, 2s]."""
    starts = []
    for critical in critical_pairs:
        value = float(rng.randint(math.ceil(rules.lower), math.floor(rules.upper)))
        starts.append((Genome(rules.filled([value] * pairs, critical), critical), f"flat at {critical}"))
    return starts
