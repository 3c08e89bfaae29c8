"""The search by gradient: slopes of a tiny model, projections, and descents on losses that are formulas."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import BEST, ROPE, TARGET, Losses, distance, problem
from test_search import method
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from extenders.base import RopePlan
from extenders.longrope import LongRope
from extenders.longrope2 import LongRope2
from extenders.pi import PositionInterpolation
from extenders.search.descent import Descent
from extenders.search.free_factors import FilledFactors, FreeFactors, Start
from extenders.search.problem import HELD_OUT, Pair, Slope
from extenders.search.shapes import isotonic
from extenders.yarn import Yarn
from harness import cli
from harness.model.lm import ExtendedLM
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.search.losses import plan_losses, plan_slopes
from harness.search.texts import SearchText


def slope(plan: RopePlan, sample: int, solved: float) -> Slope:
    """The slope of `noisy` without its noise, steeper or flatter on every text."""
    steep = random.Random(f"steep {sample}").uniform(3.0, 20.0)
    loss = steep * distance(plan)
    if loss < solved:
        return Slope(loss, None, 1)
    pairs = zip(plan.rescale_factors(ROPE), BEST, strict=True)
    return Slope(loss, (*(steep * 2 * math.log(a / b) / 32 for a, b in pairs), 0.1), 3)


def slopes(pairs: Sequence[Pair], solved: float, recompute: bool) -> list[Slope]:
    one_by_one = [slope(plan, sample, solved) for plan, sample in pairs]
    return [Slope(one.loss, one.gradient, one.forwards + recompute * (one.gradient is not None)) for one in one_by_one]


def smooth(plan: RopePlan, sample: int) -> float:
    return slope(plan, sample, math.inf).loss


def descended(seed: int = 0, forwards: int = 100, **parameters: Any) -> tuple[Any, Any, list[Any]]:
    """(the method with what was found, the problem, the lines of its trajectory)."""
    lines: list[Any] = []
    asked = problem(forwards, Losses(smooth), seed=seed, log=lines.append, differentiate=slopes)
    return method(parameters.pop("name", "longrope2"), searcher="gradient", **parameters).search(asked), asked, lines


# --- slopes of a model ----------------------------------------------------------------------------------------------


@pytest.fixture
def lm() -> Any:
    model = fakes.tiny_llama().double()
    base: Any = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(), spec=spec_from_config(model.config))
    with applied(model, base.spec) as rotary:
        yield ExtendedLM(base, PositionInterpolation(target_length=256), rotary)


TEXT = SearchText((256, *range(32, 122)), (5, 6, 90), "", "")


@pytest.mark.parametrize("keep_first", [0, 40])
def test_a_slope_is_what_finite_differences_say(lm: Any, keep_first: int) -> None:
    plan = RopePlan(Yarn(target_length=256).plan(lm.spec, 256).inv_freq, 1.2, keep_first)
    [measured] = plan_slopes(lm, [(plan, TEXT)], 0.0)
    assert measured.loss == pytest.approx(plan_losses(lm, [(plan, TEXT)])[0], abs=1e-12)
    assert measured.gradient is not None and len(measured.gradient) == len(plan.inv_freq) + 1
    step = 1e-3  # a loss of 5.5 nats in float32 is known to 6e-7, so the differences to 3e-4
    for i, derivative in enumerate(measured.gradient):
        ends = []
        for sign in (1, -1):
            moved, attention = list(plan.inv_freq), plan.attention_factor
            if i < len(moved):
                moved[i] /= math.exp(sign * step)
            else:
                attention *= math.exp(sign * step)
            ends.append(plan_losses(lm, [(RopePlan(tuple(moved), attention, keep_first), TEXT)])[0])
        assert derivative == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=3e-4)
    assert max(map(abs, measured.gradient)) > 1e-3


def test_a_slope_costs_a_backward_pass_only_where_there_is_something_to_learn(lm: Any) -> None:
    plan = Yarn(target_length=256).plan(lm.spec, 256)
    before = [parameter.requires_grad for parameter in lm.model.parameters()]
    tokens = len(TEXT.ids)
    solved = plan_slopes(lm, [(plan, TEXT)], math.inf)
    assert solved == [Slope(pytest.approx(plan_losses(lm, [(plan, TEXT)])[0]), None, 1)]
    assert lm.token_forwards == tokens + tokens
    assert plan_slopes(lm, [(plan, TEXT)], 0.0)[0].forwards == 3 and lm.token_forwards == (2 + 3) * tokens
    assert [parameter.requires_grad for parameter in lm.model.parameters()] == before
    assert all(parameter.grad is None for parameter in lm.model.parameters())
    with torch.no_grad():
        lm.model.lm_head.weight[100] = math.nan
    [broken] = plan_slopes(lm, [(plan, TEXT)], 0.0)
    assert broken.gradient is None and broken.forwards == 1


TEXTS = [TEXT, SearchText((256, *range(90, 150)), (3, 50), "", ""), SearchText((256, *range(40, 100)), (9, 20), "", "")]


def test_rows_of_a_batch_have_the_slopes_that_they_have_alone_and_computed_again(lm: Any) -> None:
    yarn = Yarn(target_length=256).plan(lm.spec, 256)
    rows = list(zip([yarn, RopePlan(yarn.inv_freq, 1.3), yarn], TEXTS, strict=True))
    alone = [plan_slopes(lm, [row], 0.0)[0] for row in rows]
    solved = (alone[0].loss + min(one.loss for one in alone[1:])) / 2  # the first text, or all but it
    batch = plan_slopes(lm, rows, solved)
    for one, other in zip(alone, batch, strict=True):
        assert other.loss == pytest.approx(one.loss, abs=1e-12)
        assert other.forwards == (1 if one.loss < solved else 3)
        if other.gradient is not None:
            assert other.gradient == pytest.approx(one.gradient, abs=1e-7)
    assert any(one.gradient for one in batch)
    before, names = lm.token_forwards, {name for name, module in lm.model.named_modules() if "forward" in vars(module)}
    again = plan_slopes(lm, rows, 0.0, recompute=True)
    assert lm.token_forwards - before == 4 * sum(len(text.ids) for text in TEXTS)
    for one, other in zip(alone, again, strict=True):
        assert other.gradient == pytest.approx(one.gradient, abs=1e-7) and other.forwards == 4
    assert {name for name, module in lm.model.named_modules() if "forward" in vars(module)} == names


def test_computing_again_keeps_less_in_memory(lm: Any) -> None:
    """Bytes that the way back holds: what goes into a layer, and not what is made inside it."""

    def held(recompute: bool) -> int:
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            plan_slopes(lm, [(Yarn(target_length=256).plan(lm.spec, 256), TEXT)], 0.0, recompute)
        return sum(kept.values())

    assert held(True) < 0.7 * held(False)


def test_a_pinned_plan_has_no_slope_by_accident(lm: Any) -> None:
    lm.rotary.use(Yarn(target_length=256).plan(lm.spec, 256))
    offsets = lm.rotary.loosen()
    assert lm.model(input_ids=torch.tensor([TEXT.ids])).logits.sum().grad_fn is not None and offsets.requires_grad
    plan_losses(lm, [(Yarn(target_length=256).plan(lm.spec, 256), TEXT)])
    lm.model.requires_grad_(False)
    assert lm.model(input_ids=torch.tensor([TEXT.ids])).logits.grad_fn is None


def test_kernels_without_a_gradient_are_one_clear_error(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def blind(*inputs: Any, **more: Any) -> Any:
        with torch.no_grad():
            return eager(*inputs, **more)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "blind", blind)
    monkeypatch.setattr(lm.model.config, "_attn_implementation_internal", "blind")
    with pytest.raises(ValueError, match=r"kernels of this model \(blind\) give no gradient .*attention sdpa") as error:
        plan_slopes(lm, [(Yarn(target_length=256).plan(lm.spec, 256), TEXT)], 0.0)
    assert "\n" not in str(error.value)


# --- projections ----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 100)), min_size=1, max_size=12), st.randoms())
def test_the_isotonic_projection_is_the_nearest_rising_vector(values: list[tuple[float, float]], rng: Any) -> None:
    wanted, weights = [value for value, _ in values], [weight for _, weight in values]
    nearest = isotonic(wanted, weights)
    assert all(a <= b + 1e-12 for a, b in zip(nearest, nearest[1:], strict=False))

    def far(vector: list[float]) -> float:
        return sum(w * (a - b) ** 2 for a, b, w in zip(vector, wanted, weights, strict=True))

    for _ in range(5):
        other = sorted(value + rng.uniform(-1, 1) for value in nearest)
        assert far(nearest) <= far(other) * (1 + 1e-9) + 1e-9
    rising = sorted(wanted)
    assert isotonic(rising, weights) == rising


def spaces() -> dict[str, FreeFactors]:
    asked = problem(100)
    made = {}
    for name, more in {"free": {"search_all": True}, "filled": {}, "fixed": {"critical_pair": 14.5}}.items():
        extender = LongRope2(target_length=TARGET, searcher="gradient", **more)  # type: ignore[arg-type]
        made[name] = extender._free(asked, extender.plan_of(asked))
    return made


@settings(max_examples=60)
@given(st.sampled_from(["free", "filled", "fixed"]), st.lists(st.floats(-4, 8), min_size=34, max_size=34))
def test_a_projection_is_within_the_methods_bounds_and_stays_where_it_is(name: str, point: list[float]) -> None:
    space = spaces()[name]
    wanted = point if name != "free" else point[:33]
    wanted[-1] = 20 + 5 * wanted[-1] if name != "free" else wanted[-1]
    reached = space.projected(wanted)
    assert space.projected(reached) == pytest.approx(reached, abs=1e-9)
    found = space.parameters(reached)
    factors, attention = found["factors"], found["attention_factor"]
    assert all(a <= b * (1 + 1e-12) for a, b in zip(factors, factors[1:], strict=False))
    assert 1 - 1e-9 <= factors[0] and factors[-1] <= 16 + 1e-9 and 1 <= attention <= space.most_attention + 1e-9
    if isinstance(space, FilledFactors):
        critical = found["critical_pair"]
        first = math.ceil(critical)
        assert space.critical_pairs[0] <= critical <= space.critical_pairs[1] and factors[first] >= 8 - 1e-9
        assert factors[:first] == pytest.approx([factors[first] ** (i / critical) for i in range(first)])


def test_the_constraints_slope_is_that_of_its_variables() -> None:
    """By finite differences through the filling, with a target so short that the trust region does not bite."""
    space = spaces()["filled"]
    space = FilledFactors(**{**vars(space), "target_length": 1})
    at = space.variables(Start(tuple(12.0 + i / 10 for i in range(32)), 1.2, 15.4))
    weights = [random.Random(f"{i}").uniform(-1, 1) for i in range(33)]

    def loss(variables: list[float]) -> float:
        return sum(w * value for w, value in zip(weights, space.projected(variables), strict=False))

    pulled = space.pulled(at, weights)
    for i in [*range(16, 32), 33]:
        ends = [loss([value + sign * 1e-6 * (j == i) for j, value in enumerate(at)]) for sign in (1, -1)]
        assert pulled[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)
    assert pulled[:16] == [0.0] * 16


def test_a_step_turns_no_pair_far() -> None:
    space = spaces()["free"]
    reach = space.reach(space.variables(space.starts["yarn"]))
    turned = [TARGET * rate / factor * unit for rate, factor, unit in
              zip(ROPE.inv_freq, space.starts["yarn"].factors, reach, strict=False)]  # fmt: skip
    assert max(turned) <= 2 + 1e-9 and max(reach) <= 1


# --- descents -------------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "longrope2": {"start": "flat at theory"},
    "longrope2, fixed": {"critical_pair": 14.5, "start": "flat at theory"},
    "longrope2, all": {"search_all": True},
    "longrope2, temperature given": {"search_all": True, "attention_factor": 1.1},
    "longrope": {"name": "longrope"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_descent_holds_its_budget_follows_its_seed_and_gets_nearer(way: str) -> None:
    found, asked, lines = descended(**WAYS[way])
    assert found.searched and asked.spent <= asked.budget
    again, _, lines_again = descended(**WAYS[way])
    assert again == found and lines_again == lines
    iterates = [line for line in lines if "iterate" in line]
    assert len(iterates) == asked.iterates >= 15
    assert len({line["sample"] for line in iterates[:60]}) == min(len(iterates), 60)  # a new text every step
    paid = sum(1 if line["gradient"] is None else 3 for line in iterates)
    others = asked.evaluations - len(iterates)
    tried = {line["plan"] for line in lines if "iterate" in line or "candidate" in line}
    assert asked.candidates == len(tried)
    assert asked.spent == (paid + others) * TARGET
    starts = [line for line in lines if line.get("stage") == "gradient"]
    plan = found.plan(ROPE, TARGET)
    assert distance(plan) < 0.8 * distance_of_first(starts)
    assert list(plan.rescale_factors(ROPE)) == pytest.approx(sorted(plan.rescale_factors(ROPE)))
    assert (found.attention_factor == 1.1) == ("given" in way)
    if way == "longrope2":
        assert found.critical_pair < 17  # the start's is 18, the best plan's 14.3


def distance_of_first(lines: list[Any]) -> float:
    return min(distance(RopePlan.rescaled(ROPE, line["factors"])) for line in lines)


def test_a_start_is_a_finalist_and_wins_where_the_descent_leads_astray() -> None:
    def uphill(pairs: Sequence[Pair], solved: float, recompute: bool) -> list[Slope]:
        return [Slope(one.loss, tuple(-value for value in one.gradient or ()), 3) for one in slopes(pairs, 0.0, False)]

    lines: list[Any] = []
    asked = problem(100, Losses(smooth), log=lines.append, differentiate=uphill)
    found = LongRope2(target_length=TARGET, searcher="gradient", search_all=True).search(asked)
    held_out = {line["held_out"]: line["loss"] for line in lines if "held_out" in line}
    assert len(held_out) == 3 and "mean of late steps" in held_out
    assert distance(found.plan(ROPE, TARGET)) == pytest.approx(
        min(distance(RopePlan.rescaled(ROPE, line["factors"])) for line in lines if line.get("operator") in held_out)
    )


def test_a_named_start() -> None:
    _, _, lines = descended(search_all=True, start="late")
    first = next(line for line in lines if "iterate" in line)
    start = next(line for line in lines if "candidate" in line)
    assert start["operator"] == "late" and first["factors"] == pytest.approx(start["factors"])
    with pytest.raises(ValueError, match="start must be one of yarn, late, .*, got 'never'"):
        descended(search_all=True, start="never")
    with pytest.raises(ValueError, match="start is for searcher 'gradient', and this is 'fast'"):
        LongRope2(target_length=TARGET, start="late")


def test_solved_texts_cost_a_forward_pass_and_make_no_step() -> None:
    asked = problem(
        100, Losses(lambda plan, sample: 0.01), differentiate=lambda pairs, *_: [Slope(0.01, None, 1)] * len(pairs)
    )
    found = LongRope(target_length=TARGET, searcher="gradient").search(asked)
    assert asked.spent <= asked.budget and found.searched and asked.iterates > 50


def test_the_recipes_numbers_are_read_and_refused() -> None:
    assert Descent.of(None) == Descent() and Descent.of("texts=2, check = 0.1") == Descent(texts=2, check=0.1)
    for words, error in {
        "speed=2": "descent has no number 'speed'; there are check, race",
        "": "descent has no number ''",
        "texts=1.5": "texts must be a whole number in 1 … 64, got 1.5",
        "check=2": "check must be a number in 0 … 0.9, got 2",
        "check=nan": "check must be a number",
        "check=": "check must be a number, got ''",
        "check=0.1,check=0.2": "descent has check twice",
    }.items():
        with pytest.raises(ValueError, match=error):
            LongRope2(target_length=TARGET, searcher="gradient", descent=words)
    with pytest.raises(ValueError, match="descent is for searcher 'gradient', and this is 'fast'"):
        LongRope2(target_length=TARGET, descent="texts=2")


@pytest.mark.parametrize(
    "descent", ["texts=3", "check=0", "late=0", "smooth=1", "radians=0", "weight=0", "recompute=1"]
)
def test_every_number_of_the_recipe_changes_the_search(descent: str) -> None:
    usual, _, _ = descended(search_all=True, start="yarn")
    found, asked, lines = descended(search_all=True, start="yarn", descent=descent)
    assert found.factors != usual.factors and asked.spent <= asked.budget
    iterates = [line for line in lines if "iterate" in line]
    if descent == "texts=3":
        assert len({line["plan"] for line in iterates}) * 3 == len(iterates)
        assert len({line["sample"] for line in iterates}) == len(iterates)
    if descent == "check=0":
        assert not any("held_out" in line for line in lines)
    if descent == "recompute=1":
        assert iterates[1]["spent"] - iterates[0]["spent"] == 4 * TARGET
    if descent == "smooth=1":
        assert bends(found) < 0.8 * bends(usual)


def bends(found: Any) -> float:
    logs = [math.log(factor) for factor in found.factors]
    return sum((a - 2 * b + c) ** 2 for a, b, c in zip(logs, logs[1:], logs[2:], strict=False))


def test_what_cannot_be_differentiated_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="searcher 'gradient' needs gradients of the loss, .*take searcher 'fast'"):
        LongRope2(target_length=TARGET, searcher="gradient").search(problem(100))
    asked = problem(100, Losses(lambda plan, sample: math.nan), differentiate=slopes)
    with pytest.raises(ValueError, match="NaN or infinite for every one of"):
        LongRope2(target_length=TARGET, searcher="gradient").search(asked)
    for forwards in (1, 2, 3, 4, 7, 20):
        found, asked, _ = descended(forwards=forwards)
        assert found.searched and asked.spent <= asked.budget


def test_no_step_sees_a_held_out_text() -> None:
    _, _, lines = descended()
    assert all(line["sample"] < HELD_OUT for line in lines if "iterate" in line)


def test_a_search_by_gradient_on_the_command_line(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["search", "longrope2", "--model", str(tiny_model_folder), "--target-length", "512", "--budget", "10240"]
    assert cli.answer([*asked, "-p", "searcher=gradient"]) == 0
    [path] = (tmp_path / "results/searches").glob("*[0-9a-f].json")
    record = json.loads(path.read_text())
    assert record["status"] == "done" and {"factors", "critical_pair", "attention_factor"} == set(record["found"])
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    iterates = [line for line in lines if "iterate" in line]
    assert len(iterates) >= 3 and any(max(map(abs, line["gradient"])) > 0 for line in iterates if line["gradient"])
    assert record["cost"]["token_forwards"] <= 10240
    assert cli.answer([*asked, "-p", "searcher=gradient", "-p", "start=never"]) == 2
    assert "start must be one of flat at theory" in capsys.readouterr().err
