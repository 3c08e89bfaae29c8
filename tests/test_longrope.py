"""LongRoPE and LongRoPE2 as methods: what runs at which length, wrong parameters, the progressive procedure."""

import dataclasses
import math
from typing import Any

import pytest
from searches import BEST, ROPE, TARGET, Losses, noisy, problem, textbook

from extenders._formulas import longrope_attention_factor
from extenders._published import published
from extenders.base import Extender, RopePlan
from extenders.longrope import LongRope
from extenders.longrope2 import LongRope2
from extenders.ntk import Ntk
from extenders.ntk_rcd import NtkRcd
from extenders.search.problem import Problem
from extenders.search.shapes import stretch
from extenders.yarn import Yarn
from extenders.yarn_rcd import YarnRcd

FACTORS = tuple(1 + i / 4 for i in range(32))
LLAMA3 = textbook(128, 5e5, 8192)


def test_longrope2_runs_as_trained_within_the_window_and_rescaled_beyond_it() -> None:
    extender = LongRope2(target_length=TARGET, factors=FACTORS)
    for length in (1, 511, 512):
        assert extender.plan(ROPE, length) == RopePlan.as_trained(ROPE)
    for length in (513, 4096):
        plan = extender.plan(ROPE, length)
        assert plan.rescale_factors(ROPE) == pytest.approx(FACTORS)
        assert plan.attention_factor == longrope_attention_factor(8, 512) == pytest.approx(math.sqrt(4 / 3))


def test_longrope2_as_released_scales_attention_within_the_window_too() -> None:
    extender = LongRope2(target_length=TARGET, factors=FACTORS, short_attention=True)
    short = extender.plan(ROPE, 512)
    assert short.inv_freq == ROPE.inv_freq
    assert short.attention_factor == extender.plan(ROPE, 513).attention_factor == pytest.approx(math.sqrt(4 / 3))
    fixed = LongRope2(target_length=TARGET, factors=FACTORS, attention_factor=1.5)
    assert (fixed.plan(ROPE, 512).attention_factor, fixed.plan(ROPE, 513).attention_factor) == (1.0, 1.5)


def test_longrope2_with_the_published_list_is_the_published_plan() -> None:
    """LLaMA3-8B 8k → 128k: logits are multiplied by 1.3077 in long mode."""
    from extenders.factors import Factors

    listed = published("llama3-8b-longrope2-128k")
    ours = LongRope2(target_length=131072, factors=listed.long).plan(LLAMA3, 131072)
    theirs = Factors(target_length=131072, factors="published:llama3-8b-longrope2-128k").plan(LLAMA3, 131072)
    assert ours.inv_freq == pytest.approx(theirs.inv_freq, rel=1e-12)
    assert ours.attention_factor == pytest.approx(1.1435437497937313, rel=1e-14) == theirs.attention_factor
    assert ours.attention_factor**2 == pytest.approx(1.3077, abs=5e-5)


def test_longrope_chooses_lists_by_the_prompts_length() -> None:
    extender = LongRope(
        target_length=TARGET, factors=FACTORS, keep_first=4, recovery_lengths=(1024, 2048),
        recovery_factors=([2.0] * 32, [3.0] * 32),
    )  # fmt: skip
    wanted = {512: 1.0, 513: 2.0, 1024: 2.0, 1025: 3.0, 2048: 3.0, 2049: FACTORS[-1], 4096: FACTORS[-1]}
    for length, last in wanted.items():
        plan = extender.plan(ROPE, length)
        assert plan.rescale_factors(ROPE)[-1] == pytest.approx(last)
        assert plan.keep_first == (0 if length <= 512 else 4)
    assert extender.plan(ROPE, 1024).attention_factor == longrope_attention_factor(2, 512)
    assert extender.plan(ROPE, 4096).attention_factor == longrope_attention_factor(8, 512)


def test_second_factors_multiply_the_first() -> None:
    extender = LongRope(target_length=TARGET, factors=[2.0] * 32, base_factors=FACTORS, base_length=2048)
    assert extender.plan(ROPE, TARGET).rescale_factors(ROPE) == pytest.approx([2 * one for one in FACTORS])
    # these weights were trained with factors, so as trained is not what they know within the window
    assert extender.plan(ROPE, 100).rescale_factors(ROPE) == pytest.approx([2 * one for one in FACTORS])


def test_searched_n_hat() -> None:
    """A loss that wants n̂ = 12 and YaRN's factors."""
    yarn = Yarn(target_length=TARGET).plan(ROPE, TARGET).rescale_factors(ROPE)

    def loss(plan: RopePlan, sample: int) -> float:
        pairs = zip(plan.rescale_factors(ROPE), yarn, strict=True)
        return sum(math.log(a / b) ** 2 for a, b in pairs) / 32 + 0.01 * abs(plan.keep_first - 12)

    found = LongRope(target_length=TARGET).search(problem(400, Losses(loss)))
    assert found.keep_first in (8, 12, 16)
    assert LongRope(target_length=TARGET, keep_first=2).search(problem(60, Losses(loss))).keep_first == 2


def test_recovery_lists_are_searched_at_their_lengths() -> None:
    asked: list[tuple[int, int]] = []

    def at(length: int, budget: int) -> Problem:
        asked.append((length, budget))
        return Problem(ROPE, length, Losses(), budget=budget, recovery=True)

    extender = LongRope(target_length=TARGET, recovery_lengths=(256, 1024))
    found = extender.search(problem(90, at=at))
    assert asked == [(1024, 30 * TARGET)]  # the window needs no search on weights as trained
    assert found.searched and found.recovery_factors is not None
    assert found.recovery_factors[0] == (1.0,) * 32 and max(found.recovery_factors[1]) <= 1.25 * 2
    with pytest.raises(ValueError, match="texts of other lengths"):
        extender.search(problem(90))


def progressive_problem(trained: list[Extender], forwards: int = 120) -> Problem:
    """A problem whose model, once trained, wants to be stretched by another 2 in every pair."""

    def tuned_loss(plan: RopePlan, sample: int) -> float:
        assert trained
        first = trained[0].plan(ROPE, 2048).rescale_factors(ROPE)
        pairs = zip(plan.rescale_factors(ROPE), first, strict=True)
        return sum(math.log(a / (2 * b)) ** 2 for a, b in pairs)

    def at(length: int, budget: int) -> Problem:
        return Problem(ROPE, length, Losses(tuned_loss if trained else noisy), budget=budget, recovery=True)

    def fine_tune(method: Extender) -> Problem:
        trained.append(method)
        return problem(forwards, Losses(tuned_loss), at=at)

    return problem(forwards, at=at, fine_tune=fine_tune)


def test_progressive_extension() -> None:
    """Search at 2,048, fine-tune, search again: factors multiply, and bounds are those of what is left to stretch."""
    trained: list[Extender] = []
    extender = LongRope(target_length=TARGET, intermediate_length=2048, recovery_lengths=(256,))
    found = extender.search(progressive_problem(trained))
    [first] = trained
    assert isinstance(first, LongRope) and first.target_length == 2048 and first.factors is not None
    assert found.searched and found.base_factors == first.factors and found.base_length == 2048
    assert found.factors is not None and max(found.factors) <= 1.25 * 2
    product = [a * b for a, b in zip(found.factors, first.factors, strict=True)]
    assert found.plan(ROPE, TARGET).rescale_factors(ROPE) == pytest.approx(product)
    assert sum(found.factors) / 32 == pytest.approx(2, abs=0.4)
    assert found.recovery_factors is not None
    short = found.plan(ROPE, 200).rescale_factors(ROPE)
    assert short == pytest.approx(found.recovery_factors[0]) and found.recovery_factors[0] != (1.0,) * 32


def test_the_second_search_keeps_the_tokens_that_the_first_found() -> None:
    trained: list[Extender] = []

    def keeping(plan: RopePlan, sample: int) -> float:
        return noisy(plan, sample) + (0.0 if plan.keep_first else 9.0)

    def forgetting(plan: RopePlan, sample: int) -> float:
        return noisy(plan, sample) + (9.0 if plan.keep_first else 0.0)

    def fine_tune(method: Extender) -> Problem:
        trained.append(method)
        return problem(120, Losses(forgetting))

    def at(length: int, budget: int) -> Problem:
        return Problem(ROPE, length, Losses(keeping), budget=budget)

    extender = LongRope(target_length=TARGET, intermediate_length=2048)
    found = extender.search(problem(240, at=at, fine_tune=fine_tune))
    [first] = trained
    assert isinstance(first, LongRope) and first.keep_first and found.keep_first == first.keep_first


def test_progressive_extension_without_training() -> None:
    with pytest.raises(ValueError, match="needs a training between its two searches"):
        LongRope(target_length=TARGET, intermediate_length=2048).search(problem())
    with pytest.raises(ValueError, match="between the trained length 512 and the target length 4096, got 256"):
        LongRope(target_length=TARGET, intermediate_length=256).search(problem())


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        (LongRope, {"factors": []}, "factors must be a list of numbers"),
        (LongRope, {"factors": [1.0, -2.0]}, "factors: factor 1 must be a number above 0"),
        (LongRope, {"keep_first": -1}, "keep_first must be a whole number"),
        (LongRope, {"size": 2.0}, "size is a share"),
        (LongRope, {"recovery_lengths": [2048, 1024]}, "recovery_lengths must rise"),
        (LongRope, {"recovery_lengths": [8192]}, "below the target length 4096"),
        (LongRope, {"recovery_lengths": [1024], "recovery_factors": []}, "need as many recovery_factors"),
        (LongRope, {"fitness": "beauty"}, "fitness must be"),
        (LongRope, {"budget": 0}, "budget must be at least 1"),
        (LongRope2, {"critical_pair": 0.0}, "critical_pair must be a number above 0"),
        (LongRope2, {"short_attention": 1}, "short_attention must be true or false"),
        (LongRope2, {"search_all": True, "critical_pair": 9.0}, "leave one of the two out"),
        (LongRope2, {"needles": 0}, "needles must be in 1 … 20"),
        (LongRope2, {"search_seed": -1}, "search_seed must be a whole number"),
        (YarnRcd, {"critical_pair": "x"}, "critical_pair must be a number above 0"),
    ],
    ids=str,
)
def test_wrong_parameters(cls: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        cls(target_length=TARGET, **parameters)
    assert "\n" not in str(error.value)


def test_numbers_that_do_not_fit_the_model() -> None:
    with pytest.raises(ValueError, match="32 rotary pairs and so needs 32 factors, got 4"):
        LongRope2(target_length=TARGET, factors=[1, 2, 3, 4]).plan(ROPE, TARGET)
    with pytest.raises(ValueError, match="4 base_factors do not fit 32 factors"):
        LongRope(target_length=TARGET, factors=FACTORS, base_factors=[1, 2, 3, 4]).plan(ROPE, TARGET)
    with pytest.raises(ValueError, match="critical_pair must be at most 31"):
        LongRope2(target_length=TARGET, critical_pair=40.0).search(problem())


def test_the_real_critical_pair_in_yarn_and_ntk() -> None:
    """With the theoretical one they are YaRN and LongRoPE2's NTK baseline."""
    assert YarnRcd(target_length=TARGET, critical_pair=18.0).plan(ROPE, 1).inv_freq == pytest.approx(
        Yarn(target_length=TARGET).plan(ROPE, 1).inv_freq, rel=1e-12
    )
    earlier = YarnRcd(target_length=TARGET, critical_pair=14.0).plan(ROPE, 1).rescale_factors(ROPE)
    assert earlier[13] < 8 == pytest.approx(earlier[14]) and earlier[3] == 1
    plan = NtkRcd(target_length=131072, critical_pair=30.0).plan(LLAMA3, 1)
    assert plan == Ntk(target_length=131072, critical_pair=30.0).plan(LLAMA3, 1)
    assert plan.rescale_factors(LLAMA3)[30] == pytest.approx(16)


def test_stretches_are_local_and_legal() -> None:
    import random

    for i in range(200):
        rng = random.Random(f"stretch {i}")
        moved = stretch(BEST, 15, 8.0, 16.0, rng, 0.3)
        assert moved[:15] == BEST[:15] and list(moved) == sorted(moved)
        assert max(8.0, BEST[14]) <= moved[15] and moved[-1] <= 16
    assert any(stretch(BEST, 15, 8.0, 16.0, random.Random(f"{i}"), 0.3) != BEST for i in range(5))


def test_a_searched_method_keeps_its_settings() -> None:
    extender = LongRope2(target_length=TARGET, search_seed=3, budget=60 * TARGET)
    found = extender.search(problem(60, seed=3))
    assert dataclasses.replace(found, factors=None, critical_pair=None, attention_factor=None) == extender
    values = {"critical_pair": found.critical_pair, "attention_factor": found.attention_factor}
    assert extender.with_found({**values, "factors": list(found.factors or ())}) == found
