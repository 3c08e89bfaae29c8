"""LongRoPE2, Shang et al. 2025, arXiv:2502.20082: NTK up to the real critical pair, searched factors above it.

The plan (§3.1, Algorithm 2): with critical pair c and its factor λ_c, pairs below c get λ_c^(i/c), which is a new base;
pairs from c on get searched factors, never falling with i, all in [s, 2s]. Prompts within the trained length run
exactly as trained (Fig. 10); the released training code multiplies cos and sin there too (`short_attention`). Longer
prompts have cos and sin multiplied by sqrt(1 + ln s/ln L), which is in the released code and models, not in the paper.

The search (`searcher`): "paper" is Algorithms 1 and 2, where every candidate carries its own c between the pair that
turns ten times in training and the theoretical critical pair. "released" is the public code (microsoft/LongRoPE, branch
longrope2): a fixed c, by default one below the theoretical one. "fast" is ours (`extenders.search.fast`) over four
numbers: c, λ_c, the last factor and the bend between. "cma" searches these with CMA-ES. The fitness is the loss on
answers to hidden needles (§3.2).

Deviations from the paper's Algorithm 1: starting vectors are filled from c (it fills from the lower end of c's range,
which would not be monotone). From the released code: the eighth starting vector is clipped to 2s. The paper names no
numbers of mutations, crossovers and parents; they are LongRoPE's. Ablations: `fitness: perplexity`, a given
`critical_pair`, and `search_all` (all pairs searched, in [1, 2s]).
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from extenders._check import check_flag, check_positive
from extenders._formulas import longrope_attention_factor
from extenders.base import RopePlan, RopeSpec
from extenders.longrope import checked_factors, stretch
from extenders.search import cmaes, fast, operators
from extenders.search.evolution import Sizes, affordable, evolve
from extenders.search.fast import Axis, Family
from extenders.search.operators import Genome
from extenders.search.problem import Candidate, Problem
from extenders.search.searched import SearchedExtender
from extenders.search.shapes import (
    lower_critical_pair,
    monotone,
    ntk_then_tail,
    power_ramp,
    released_start,
    seeds,
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
    attention_factor: float | None = None  # of cos and sin; None: sqrt(1 + ln s/ln L)
    short_attention: bool = False  # also within the trained length, as the released code does
    searcher: Literal["fast", "paper", "released", "cma"] = "fast"
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
        if self.searcher in ("fast", "cma"):
            module = fast if self.searcher == "fast" else cmaes
            best = module.search(problem, self, self.family(problem.rope), self.search_samples)
        else:
            best = self._evolved(problem)
        return self.with_found(best.parameters)

    def family(self, rope: RopeSpec) -> Family:
        """The smooth families, with their local moves."""
        pairs, factor = len(rope.inv_freq), self.factor(rope)
        if self.search_all:
            return self._all_pairs(rope)
        fixed = self.critical_pair
        low, high = float(lower_critical_pair(rope)), float(upper_critical_pair(rope))
        if fixed is not None:
            low = high = float(fixed)
        axes = (
            Axis("critical", low, high),
            Axis("start", factor, 2 * factor, log=True),
            Axis("rise", 0.0, 1.0),  # the last factor, between the start and 2s
            Axis("bend", 1 / 3, 3.0, log=True),
        )

        def found(values: Mapping[str, float]) -> dict[str, Any]:
            start = values["start"]
            end = start + values["rise"] * (2 * factor - start)
            shape = ntk_then_tail(pairs, values["critical"], start, end, values["bend"])
            first = min(math.ceil(values["critical"]), pairs - 1)
            above = monotone(shape[first:], factor, 2 * factor)
            return {"factors": (*shape[:first], *above), "critical_pair": values["critical"]}

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            first = min(math.ceil(before["critical_pair"]), pairs - 1)
            return {**before, "factors": stretch(before["factors"], first, factor, 2 * factor, rng, step)}

        middle = (low + high) / 2
        flat = {"start": factor, "rise": 0.0, "bend": 1.0}
        starts = {
            "flat at theory": {**flat, "critical": high},
            "flat between": {**flat, "critical": middle},
            "flat at ten turns": {**flat, "critical": low},
            # the shape of the published LLaMA3-8B list: λ_c = 1.36·s two pairs below theory, 1.63·s at the end
            "published": {"critical": max(low, high - 2), "start": 1.36 * factor, "rise": 0.41, "bend": 1.0},
            "published, earlier": {"critical": middle, "start": 1.36 * factor, "rise": 0.41, "bend": 1.0},
        }
        return Family(axes, found, starts, nudge)

    def _all_pairs(self, rope: RopeSpec) -> Family:
        pairs, factor = len(rope.inv_freq), self.factor(rope)
        last = float(max(pairs - 1, 1))
        axes = (
            Axis("low", 0.0, float(upper_critical_pair(rope))),
            Axis("width", 0.0, last),
            Axis("top", 1.0, 2 * factor),
            Axis("power", -1.0, 1.0),
        )

        def found(values: Mapping[str, float]) -> dict[str, Any]:
            ramp = power_ramp(pairs, values["low"], values["width"], values["top"], values["power"])
            return {"factors": monotone(ramp, 1.0, 2 * factor)}

        def nudge(before: Mapping[str, Any], rng: random.Random, step: float) -> dict[str, Any]:
            return {"factors": stretch(before["factors"], 0, 1.0, 2 * factor, rng, step)}

        critical = max(rope.pair_of_period(rope.trained_length), 1.0)
        fastest = min(max(rope.pair_of_period(rope.trained_length / 32), 0.0), critical)
        starts = {
            "yarn": {"low": fastest, "width": critical - fastest, "top": factor, "power": -1.0},
            "ntk-theoretical": {"low": 0.0, "width": critical, "top": factor, "power": 0.0},
        }
        return Family(axes, found, starts, nudge)

    def _evolved(self, problem: Problem) -> Candidate:
        rope, factor = problem.rope, self.factor(problem.rope)
        samples = SAMPLES if self.search_samples is None else self.search_samples
        populations = 2 if self.searcher == "released" else 1
        size = affordable(problem.forwards, samples, populations) if self.size is None else self.size
        sizes = Sizes().scaled(size)
        rng = problem.random("initial population")
        rules, start = self._rules(rope, factor, sizes.tries, rng)

        def grow(
            number: int, population: list[tuple[Genome, Candidate]], history: operators.History
        ) -> tuple[Genome, Candidate] | None:
            # the code walks on from the individual eight places back; the paper mutates any starting vector
            place = number - STARTS if self.searcher == "released" and number >= STARTS else rng.randrange(len(start))
            genome, parent = population[place]
            child = rules.mutate(genome, rng, history)
            return None if child is None else (child, parent)

        def make(genome: Genome, operator: str, parent: Candidate | None) -> Candidate:
            found: dict[str, Any] = {"factors": genome.factors}
            if not self.search_all:
                found["critical_pair"] = float(genome.extra)
            return self.candidate(problem, found, operator, parent, self.searcher)

        return evolve(problem, start, grow, rules, make, sizes, samples, populations)

    def _rules(
        self, rope: RopeSpec, factor: float, tries: int, rng: random.Random
    ) -> tuple[operators.Operators, list[tuple[Genome, str]]]:
        """Operators and starting vectors of the chosen procedure."""
        pairs = len(rope.inv_freq)
        if self.search_all and self.searcher == "paper":
            named = seeds(rope, self.target_length)
            return operators.Paper(2 * factor, extras=()), [(Genome(one), name) for name, one in named.items()]
        if self.search_all:
            start = released_start(rope, self.target_length)
            return operators.Released(2 * factor, tries), [(Genome(start), "released")]
        if self.searcher == "released":
            fixed = upper_critical_pair(rope) - 1 if self.critical_pair is None else round(self.critical_pair)
            fixed = max(fixed, 1)
            rules = operators.Released2(fixed, factor, 2 * factor, tries)
            starts = []
            for q in range(STARTS):
                value = factor * (1 + q / STARTS)
                above = [min(value + 0.1 * i, 2 * factor) for i in range(pairs - fixed)]
                starts.append((Genome(rules.filled([value] * fixed + above), fixed), f"start {q}"))
            return rules, starts
        low, high = lower_critical_pair(rope), upper_critical_pair(rope)
        if self.critical_pair is not None:
            low = high = round(self.critical_pair)
        paper = operators.Paper2(factor, 2 * factor)
        starts = []
        for critical in range(low, high + 1):
            value = float(rng.randint(math.ceil(factor), math.floor(2 * factor)))
            starts.append((Genome(paper.filled([value] * pairs, critical), critical), f"flat at {critical}"))
        return paper, starts

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        pairs = len(rope.inv_freq)
        return {"factors": [1 + i / pairs for i in range(pairs)]}
