"""Operators of both papers and of their released code: what every child must hold, and where the variants differ."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import ROPE, TARGET, textbook

from extenders._formulas import ntk_fill
from extenders.search.evolution import Sizes, affordable
from extenders.search.operators import (
    START_TOKENS,
    STEP,
    Genome,
    History,
    LongRope2Paper,
    LongRope2Released,
    LongRopePaper,
    LongRopeReleased,
    first_legal,
    grid,
    rises,
)
from extenders.search.shapes import (
    flat,
    lower_critical_pair,
    monotone,
    ntk_then_tail,
    power_ramp,
    released_start,
    seeds,
    upper_critical_pair,
)

S = TARGET / ROPE.trained_length
LLAMA2, LLAMA3, PHI3 = textbook(128, 1e4, 4096), textbook(128, 5e5, 8192), textbook(96, 1e4, 2048)


def walk(operators: Any, start: Genome, seed: int, steps: int = 6) -> list[Genome]:
    """Children of children, by mutation and crossover in turn."""
    rng, history, family = random.Random(f"walk {seed}"), History(), [start]
    history.add(start)
    for step in range(steps):
        child = operators.mutate(family[-1], rng, history)
        assert child is not None and child not in history
        if step % 2 and len(family) > 1:
            child = operators.cross(family[-1], family[-2], rng, history) or child
        history.add(child)
        family.append(child)
    return family[1:]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(["pi", "ntk", "yarn"]))
def test_longropes_paper_stays_in_its_space(seed: int, name: str) -> None:
    start = Genome(seeds(ROPE, TARGET)[name], 0)
    for child in walk(LongRopePaper(1.25 * S), start, seed):
        assert rises(child.factors)
        assert 1 <= child.factors[0] and child.factors[-1] <= 1.25 * S
        assert child.extra in START_TOKENS


def test_the_papers_mutation_moves_every_gene_of_a_flat_vector() -> None:
    """Its own starting vectors are flat: PI everywhere, LongRoPE2's (arXiv:2502.20082, Algorithm 1) above c."""
    rng, history = random.Random("flat"), History()
    one, two = LongRopePaper(1.25 * S, extras=()), LongRope2Paper(S, 2 * S)
    flats = [(one, Genome((S,) * 32), 0), (two, Genome(two.filled([12.0] * 32, 18), 18), 18)]
    for rules, start, first in flats:
        children = [rules.mutate(start, rng, history) for _ in range(100)]
        moved = [
            sum(child is not None and child.factors[k] != start.factors[k] for child in children) for k in range(32)
        ]
        assert all(count >= 30 for count in moved[first:])  # p = 0.3, and what is pooled with a chosen gene moves too
        assert len({child.factors for child in children if child is not None}) == 100


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_longropes_released_code_stays_in_its_space(seed: int) -> None:
    for child in walk(LongRopeReleased(1 + S), Genome(released_start(ROPE, TARGET)), seed, 4):
        assert rises(child.factors)
        assert 1 <= child.factors[0] and child.factors[-1] <= 1 + S + STEP
        assert child.extra == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), critical=st.integers(9, 18), value=st.integers(8, 16))
def test_longrope2s_paper_stays_in_its_space(seed: int, critical: int, value: int) -> None:
    rules = LongRope2Paper(S, 2 * S)
    start = Genome(rules.filled([float(value)] * 32, critical), critical)
    for child in walk(rules, start, seed):
        above = child.factors[critical:]
        assert rises(above) and S <= above[0] and above[-1] <= 2 * S
        assert child.factors[:critical] == ntk_fill(critical, above[0], critical)
        assert child.extra == critical and rises(child.factors)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_longrope2s_released_code_stays_in_its_space(seed: int) -> None:
    rules = LongRope2Released(17, S, 2 * S)
    start = Genome(rules.filled([9.0] * 17 + [9 + 0.1 * i for i in range(15)]), 17)
    for child in walk(rules, start, seed, 4):
        assert rises(child.factors, strictly=True)
        assert S <= child.factors[17] and child.factors[-1] <= 2 * S
        assert child.factors[:17] == ntk_fill(17, child.factors[17], 17)


@pytest.mark.parametrize(
    "rules",
    [LongRopePaper(1.25 * S), LongRopeReleased(1 + S), LongRope2Paper(S, 2 * S), LongRope2Released(17, S, 2 * S)],
    ids=lambda one: type(one).__name__,
)
def test_operators_follow_their_seed(rules: Any) -> None:
    above = [9 + 0.1 * i for i in range(15)]
    start = Genome((*ntk_fill(17, 9.0, 17), *above), 17)
    assert walk(rules, start, 1) == walk(rules, start, 1) != walk(rules, start, 2)


def changed(before: Genome, after: Genome) -> int:
    return sum(a != b for a, b in zip(before.factors, after.factors, strict=True))


def test_the_released_mutation_changes_nearly_all_of_a_flat_vector_and_a_third_of_a_sloped_one() -> None:
    """The code's loop goes on until the vector rises and keeps what it has changed; the paper's p is 0.3."""
    flat_start = Genome((*[1.0] * 20, *(1 + (31 / 26) * i for i in range(26)), *[32.0] * 18))
    sloped = Genome(tuple(1 + 31 * i / 63 for i in range(64)))
    counts = {}
    for name, start in (("flat", flat_start), ("sloped", sloped)):
        children = []
        for i in range(12):
            history = History()
            history.add(start)
            children.append(LongRopeReleased(33.0).mutate(start, random.Random(f"{name} {i}"), history))
        counts[name] = sum(changed(start, child) for child in children if child) / 12
    assert counts["flat"] > 45
    assert 12 < counts["sloped"] < 32


def test_the_bounds_of_paper_and_code_differ() -> None:
    """Paper: up to 1.25·s. Code: up to s + 1. At s = 32 a last factor of 40 is legal in one of them only."""
    highest = {}
    for name, rules in (("paper", LongRopePaper(40.0)), ("released", LongRopeReleased(33.0))):
        rng, history, genome = random.Random("bounds"), History(), Genome((1.0, 16.0, 32.0))
        history.add(genome)
        top = 0.0
        for _ in range(300):
            genome = rules.mutate(genome, rng, history) or genome
            history.add(genome)
            top = max(top, genome.factors[-1])
        highest[name] = top
    assert 33.5 < highest["paper"] <= 40 and 32 < highest["released"] <= 33.01


def test_the_released_crossover_takes_the_first_legal_vector() -> None:
    """Parents that mix legally in every gene: the child differs from the first parent in very few of them."""
    first = Genome(tuple(1 + 0.5 * i for i in range(64)))
    second = Genome(tuple(1.1 + 0.5 * i for i in range(64)))
    counts = []
    for i in range(100):
        history = History()
        history.add(first), history.add(second)
        child = first_legal(first, second, random.Random(f"cross {i}"), history, 20, 0, rises)
        assert child is not None
        counts.append(changed(first, child))
    assert max(counts) <= 2 and sum(count == 1 for count in counts) > 90
    assert first_legal(first, first, random.Random("x"), History(), 20, 0, rises) is None


def test_grids_have_an_exclusive_end() -> None:
    assert [grid(1.0, 1.0), grid(1.0, 0.9), grid(8.0, 8.0 + STEP), grid(8.0, 8.045)] == [0, 0, 1, 5]
    assert grid(1.0, 1.0 + STEP) == 2  # as numpy.arange(1.0, 1.01, 0.01) has it


def test_sizes_are_the_papers_and_scale_as_the_code_does() -> None:
    assert Sizes().candidates() == 1344 and Sizes().candidates(populations=2) == 1408
    assert vars(Sizes().scaled(0.1)) == {
        "population": 6, "iterations": 4, "mutations": 1, "crossovers": 1, "parents": 3, "tries": 2,
    }  # fmt: skip
    assert vars(Sizes().scaled(0.01))["parents"] == 2
    assert affordable(6720, 5) == 1 and affordable(14080, 10, 2) == 1
    for forwards in (100, 700, 3000):
        size = affordable(forwards, 5)
        assert Sizes().scaled(size).candidates() * 5 <= forwards < Sizes().scaled(size + 0.05).candidates() * 5


def test_critical_pairs_of_the_papers_models() -> None:
    assert [lower_critical_pair(one) for one in (PHI3, textbook(96, 1e4, 4096), LLAMA3, LLAMA2)] == [19, 22, 24, 30]
    assert [upper_critical_pair(one) for one in (PHI3, LLAMA3, LLAMA2)] == [31, 35, 46]
    assert (lower_critical_pair(textbook(2, 1e4, 512)), upper_critical_pair(textbook(2, 1e4, 512))) == (1, 1)


def test_the_released_start_blends_factors_where_yarn_blends_frequencies() -> None:
    """LLaMA2 at s = 32: 16.5 in the middle of the ramp against 1.94 (20 ones, 18 times 32)."""
    ours = released_start(LLAMA2, 4096 * 32)
    assert ours[33] == pytest.approx(16.5) and seeds(LLAMA2, 4096 * 32)["yarn"][33] == pytest.approx(1.939, abs=5e-4)
    assert ours[:21] == (1.0,) * 21 and ours[46:] == pytest.approx([32.0] * 18)


def test_one_family_holds_pi_ntk_and_yarn() -> None:
    named = seeds(ROPE, TARGET)
    assert power_ramp(32, 0, 0, 8, 0)[1:] == pytest.approx(named["pi"][1:])
    assert power_ramp(32, 0, 31, 8, 0) == pytest.approx(named["ntk"])
    assert power_ramp(32, 3, 15, 8, -1) == pytest.approx(named["yarn"])


def test_four_numbers_reproduce_the_published_llama3_list() -> None:
    """Below its critical pair 33 to 5e-9, above it to 3.3 %; every factor above lies in [s, 2s]."""
    from extenders._published import published

    listed = published("llama3-8b-longrope2-128k").long
    ours = ntk_then_tail(64, 33, 21.81, 26.05, 1.0)
    assert ours[:33] == pytest.approx(listed[:33], rel=5e-9)
    assert ours[33:] == pytest.approx(listed[33:], rel=0.033)
    assert all(16 <= factor <= 32 for factor in ours[33:])


def test_shapes_are_monotone() -> None:
    assert monotone([3, 1, 5, 4, 99], 2, 10) == (3, 3, 5, 5, 10)
    least = flat(ROPE, TARGET, 17.49)
    assert rises(least) and least[0] == 1 and least[18:] == (8.0,) * 14
