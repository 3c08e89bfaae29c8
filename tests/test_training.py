"""Recipes, schedule, loss, adapters and the loop: budgets hold, a killed run ends as an undisturbed one."""

import contextlib
import dataclasses
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch

from extenders.base import RopePlan
from extenders.dynamic_ntk import DynamicNtk
from extenders.longrope import LongRope
from extenders.none import NoExtension
from extenders.sliding_window import SlidingWindow
from extenders.training import loop, lora
from extenders.training.batch import Batch
from extenders.training.loop import Diverged, StepData, train
from extenders.training.losses import weighted_loss
from extenders.training.planned import PlannedInside
from extenders.training.recipe import (
    LONGLORA,
    MIXED,
    MIXED_CODE,
    MIXED_TEXT,
    PLAIN,
    POSE,
    RECIPES,
    TWO_STAGE,
    Lora,
    Recipe,
)
from extenders.training.schedule import schedule
from extenders.training.switched import OriginalInside
from extenders.yarn import Yarn
from harness.experiment.file import Method
from harness.experiment.trainings import Settings, training_of
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.training import stage as training_stage
from harness.training.job import in_precision, job_of
from harness.training.memory_forecast import forecast, free_memory, with_checkpointing
from harness.training.objective import Objective, Plans, attended, document_kernel, training_flops

# recipes


def test_every_recipe_says_where_it_is_from_and_can_be_scheduled() -> None:
    assert len(RECIPES) == 8
    for name, recipe in RECIPES.items():
        assert recipe.name == name and len(recipe.source) > 20
        assert schedule(recipe, 400_000, 8192, 512, 4096)


def test_the_published_mixes() -> None:
    assert [p.share for p in MIXED.portions] == [0.3, 0.3, 0.4]
    assert [p.share for p in MIXED_TEXT.portions] == [0.1, 0.9]
    assert [p.share for p in MIXED_CODE.portions] == [0.444, 0.556]  # 4.19 and 5.24 of 9.44
    bounds = [(p.above.tokens(8192, 131072), p.up_to.tokens(8192, 131072)) for p in MIXED.portions]
    assert bounds == [(0, 8192), (8192, 102400), (102400, 204800)]  # 8k, 100k, 200k
    assert [p.rope for p in MIXED.portions] == ["original", "planned", "planned"]
    assert [p.masked for p in MIXED.portions] == [True, False, False]
    assert LONGLORA.lora == Lora(8, 16.0, also=("embed", "norm")) and LONGLORA.group == 0.25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"portions": (dataclasses.replace(PLAIN.portions[0], share=0.9),)}, "sum to 1, got 0.9"),
        ({"portions": (*PLAIN.portions, *PLAIN.portions)}, "sum to 1, got 1, 1"),
        ({"warmup": 1.0}, "warmup is a share"),
        ({"learning_rate": 0.0}, "learning rate must be above 0"),
        ({"schedule": "zigzag"}, "cosine, linear or constant"),
    ],
)
def test_wrong_recipes_are_one_line(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PLAIN, **change)


def test_another_mix() -> None:
    assert [p.share for p in MIXED.with_mix({"short": 0.5, "long": 0.5}).portions] == [0.5, 0.0, 0.5]
    with pytest.raises(ValueError, match="sum to 1, got 0.5, 0, 0.2"):
        MIXED.with_mix({"short": 0.5, "long": 0.2})
    with pytest.raises(ValueError, match="no portion 'medium'; there are short, middle, long"):
        MIXED.with_mix({"medium": 1.0})


def test_the_learning_rate_by_hand() -> None:
    recipe = dataclasses.replace(PLAIN, warmup=0.1)
    assert recipe.rate(0.1) == 1 and recipe.rate(1) == pytest.approx(0)
    assert recipe.rate(0.55) == pytest.approx(0.5) and 0 < recipe.rate(0) < 0.02
    assert recipe.rate(0.05) == pytest.approx(0.5, abs=0.01)
    assert dataclasses.replace(recipe, schedule="linear").rate(0.325) == pytest.approx(0.75)
    assert dataclasses.replace(recipe, schedule="constant").rate(0.99) == 1


# schedule


def test_a_schedule_by_hand() -> None:
    steps = schedule(MIXED.with_mix({"short": 0.5, "long": 0.5}), 1000, 256, 64, 128)
    assert [[(place.portion.name, place.index) for place in step] for step in steps] == [
        [("short", 0), ("long", 0)],
        [("short", 1), ("long", 1)],
        [("short", 2), ("long", 2)],
        [("short", 3)],  # 7 · 128 = 896; an eighth would pass the budget
    ]
    assert [place.rope for place in steps[0]] == ["original", "planned for 128"]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_budget_holds_and_every_beginning_has_the_mix(name: str) -> None:
    recipe, budget = RECIPES[name], 300_000
    steps = schedule(recipe, budget, 10_000, 512, 4096)
    places = [place for step in steps for place in step]
    total = sum(place.size for place in places)
    assert budget - 4096 < total <= budget
    assert all(sum(place.size for place in step) <= 10_000 for step in steps)
    given = dict.fromkeys((p.name for p in recipe.portions), 0)
    so_far = 0
    for place in places:
        given[place.portion.name] += place.size
        so_far += place.size
        for portion in recipe.portions:
            assert abs(given[portion.name] - portion.share * so_far) <= 4096
    for portion in recipe.portions:
        mine = [place.index for place in places if place.portion.name == portion.name]
        assert mine == list(range(len(mine)))


def test_two_stages_reach_half_and_all_of_the_target() -> None:
    places = [place for step in schedule(TWO_STAGE, 400_000, 8192, 512, 4096) for place in step]
    reached = [place.target for place in places]
    assert reached == sorted(reached) and set(reached) == {2048, 4096}
    assert all(place.size == place.target for place in places)
    tokens = sum(place.size for place in places if place.target == 2048)
    assert tokens == pytest.approx(100_000, abs=4096)
    assert {place.rope for place in places} == {"planned for 2048", "planned for 4096"}


def test_pose_trains_on_windows() -> None:
    places = [place for step in schedule(POSE, 20_000, 4096, 512, 4096) for place in step]
    assert {place.size for place in places} == {512} and len(places) == 20_000 // 512


@pytest.mark.parametrize(
    ("tokens", "per_step", "target", "said"),
    [
        (4000, 4096, 4096, "a budget of 4000 tokens is under one step of 4096"),
        (100_000, 4000, 4096, "a step of 4000 tokens is under one sequence of 4096"),
        (100_000, 4096, 512, "above the trained 512 tokens, got 512"),
    ],
)
def test_budgets_that_train_nothing_are_errors(tokens: int, per_step: int, target: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schedule(PLAIN, tokens, per_step, 512, target)


# loss


def test_the_loss_in_pieces_is_the_whole_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 8, generator=generator).requires_grad_()
    weight = torch.randn(20, 8, generator=generator).requires_grad_()
    targets = torch.randint(20, (50,), generator=generator)
    weights = torch.rand(50, generator=generator) * (torch.rand(50, generator=generator) < 0.5)
    asked: list[int] = []

    def head(part: torch.Tensor) -> torch.Tensor:
        asked.append(len(part))
        return part @ weight.T

    got = weighted_loss(hidden, targets, weights, head, piece=8)
    got_gradients = torch.autograd.grad(got, (hidden, weight))
    wanted = (torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="none") * weights).sum()
    wanted_gradients = torch.autograd.grad(wanted, (hidden, weight))
    assert got.item() == pytest.approx(wanted.item(), rel=1e-5)
    for a, b in zip(got_gradients, wanted_gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert max(asked) == 8 and sum(asked) < 2 * 50  # in pieces, without most of what has no weight


# adapters


def test_lora_trains_only_what_it_says_and_merges_exactly() -> None:
    model = fakes.tiny_llama()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.arange(20)[None]
    plain = model(input_ids=ids).logits
    lora.attach(model, Lora(rank=2, also=("norm",)), "seed")
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    layers = [f"model.layers.{i}.self_attn.{part}_proj" for i in range(2) for part in "qkvo"]
    norms = [name for name in before if "norm" in name]
    assert sorted(names) == sorted([f"{one}.lora_{m}" for one in layers for m in "AB"] + norms)
    assert torch.equal(model(input_ids=ids).logits, plain)  # an adapter starts as nothing
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    trained = model(input_ids=ids).logits
    assert (trained - plain).abs().max() > 1e-2
    lora.merge_into(model, Lora(rank=2).scale)
    assert set(model.state_dict()) == set(before)
    assert torch.allclose(model(input_ids=ids).logits, trained, atol=1e-4)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{one}.weight" for one in layers}


def test_lora_names_what_it_cannot_find() -> None:
    with pytest.raises(ValueError, match="no linear layer of this model is named nothing"):
        lora.attach(fakes.tiny_llama(), Lora(targets=("nothing",)), "seed")
    with pytest.raises(ValueError, match="no parameter of this model has 'bias'"):
        lora.attach(fakes.tiny_llama(), Lora(also=("norm", "bias")), "seed")


# the loop

QUICK = dataclasses.replace(MIXED, learning_rate=1e-2, warmup=0.0)


class Made:
    """Six steps of a short and a long row each, from a generator of each step's own."""

    kinds = ("short", "long")

    def __init__(self, steps: int = 6) -> None:
        self.steps = steps

    def tokens_until(self, step: int) -> int:
        return step * 64

    def at(self, step: int) -> StepData:
        rng = random.Random(f"step {step}")
        batches = []
        for kind, starts in (("short", (0, 10)), ("long", (0,))):
            ids = torch.tensor([[rng.randrange(16) for _ in range(33)]])
            positions = torch.tensor([[i - max(s for s in starts if s <= i) for i in range(32)]])
            rope = "original" if kind == "short" else "planned"
            batches.append(Batch(kind, rope, ids[:, :-1], positions, ids[:, 1:], torch.ones(1, 32), (starts,)))
        return StepData(batches, {0: f"{step}a", 1: f"{step}b"})


class Killed(Exception):
    pass


def run(recipe: Recipe = QUICK, made: Any = None, kill: int = -1, adapters: bool = False, **given: Any) -> Any:
    """(outcome or None when it was killed, weights, the state that was saved last)."""
    model = fakes.tiny_llama().train()
    if adapters:
        lora.attach(model, Lora(rank=2, also=("norm",)), "seed")
    spec = spec_from_config(model.config)
    saved: list[Any] = []

    def report(now: loop.TrainingProgress) -> None:
        if now.step == kill:
            raise Killed

    outcome = None
    with applied(model, spec) as rotary, document_kernel(model):
        planned = RopePlan.rescaled(spec, [2.0] * len(spec.inv_freq))
        plans = Plans(rotary, {"original": RopePlan.as_trained(spec), "planned": planned})
        try:
            outcome = train(
                Objective(model),
                made or Made(),
                recipe,
                prepare=plans,
                report=report,
                save=saved.append,
                every_seconds=0,
                **given,
            )
        except Killed:
            pass
    return outcome, model.state_dict(), saved[-1] if saved else None


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    return run()


def test_a_run_learns_and_keeps_its_curves_apart(undisturbed: Any) -> None:
    outcome, _, _ = undisturbed
    assert (outcome.steps, outcome.tokens, len(outcome.curve)) == (6, 384, 6)
    assert set(outcome.curve[0]["loss"]) == {"short", "long"}
    assert outcome.curve[-1]["loss"]["short"] < outcome.curve[0]["loss"]["short"]
    assert outcome.curve[-1]["learning_rate"] < outcome.curve[0]["learning_rate"] <= 1e-2
    assert outcome.scored == 384 and len(outcome.order) == 16


@pytest.mark.parametrize("kill", [1, 4, 5])
def test_a_killed_run_ends_with_the_same_weights(undisturbed: Any, kill: int) -> None:
    _, _, state = run(kill=kill)  # its step was done and not saved yet
    assert state["outcome"]["steps"] == kill - 1
    outcome, weights, _ = run(state=state)
    for name, value in undisturbed[1].items():
        assert torch.equal(weights[name], value), name
    assert (outcome.order, outcome.tokens) == (undisturbed[0].order, undisturbed[0].tokens)
    assert [p["loss"] for p in outcome.curve] == [p["loss"] for p in undisturbed[0].curve]


class Dropping(torch.nn.Module):
    """An objective that drops out half of its weights, with PyTorch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(16))

    def forward(self, batch: Batch) -> torch.Tensor:
        return torch.nn.functional.dropout(self.weight, 0.5)[batch.ids_BS].square().sum()


def test_a_run_with_dropout_goes_on_with_the_same_weights() -> None:
    def run_on(state: Any) -> tuple[torch.Tensor, Any]:
        torch.manual_seed(0)
        objective, saved = Dropping(), []
        train(objective, Made(), QUICK, prepare=lambda _: None, state=state, save=saved.append, every_seconds=0)
        return objective.weight.detach(), saved

    whole, saved = run_on(None)
    for state in saved[1:]:
        assert torch.equal(run_on(state)[0], whole), state["outcome"]["steps"]


def test_a_run_that_is_asked_to_stop_keeps_the_step_at_work_and_goes_on_with_the_same_weights() -> None:
    def run_on(state: Any, stop_at: int = -1) -> tuple[torch.Tensor, Any]:
        torch.manual_seed(0)
        objective, saved, asked = Dropping(), [], iter(range(100))
        given = {"prepare": lambda _: None, "state": state, "save": saved.append, "every_seconds": 1000}
        stop = lambda: next(asked) == stop_at  # noqa: E731
        with contextlib.suppress(KeyboardInterrupt):
            train(objective, Made(), QUICK, stop=stop, **given)
            assert stop_at < 0
        return objective.weight.detach().clone(), saved

    whole, never_saved = run_on(None)
    assert not never_saved
    for stop_at in (0, 2):
        _, saved = run_on(None, stop_at)
        assert [state["outcome"]["steps"] for state in saved] == [stop_at + 1]  # the step that was at work is done
        assert torch.equal(run_on(saved[0])[0], whole)


def test_a_state_of_another_training_is_refused(undisturbed: Any) -> None:
    with pytest.raises(ValueError, match="belongs to another training"):
        run(state=undisturbed[2], adapters=True)


def test_adapters_train_alone(undisturbed: Any) -> None:
    _, weights, state = run(adapters=True)
    fresh = fakes.tiny_llama().state_dict()
    for name, value in fresh.items():
        now = weights.get(name, weights.get(name.replace(".weight", ".base.weight")))
        assert torch.equal(now, value) == ("norm" not in name), name
    assert all("lora_" in name or "norm" in name for name in state["weights"])


def test_order_is_hashed(undisturbed: Any) -> None:
    class Other(Made):
        def at(self, step: int) -> StepData:
            data = super().at(step)
            return StepData(data.batches, {0: data.digests[1], 1: data.digests[0]})

    assert run(made=Other())[0].order != undisturbed[0].order


def test_nan_stops_before_it_reaches_the_weights() -> None:
    model = fakes.tiny_llama().train()
    spec = spec_from_config(model.config)
    saved: list[Any] = []
    with applied(model, spec) as rotary, document_kernel(model):
        trained = RopePlan.as_trained(spec)
        plans = Plans(rotary, {"original": trained, "planned": trained})
        bad = Made()
        bad.at = lambda step: _poisoned(Made().at(step), step == 3)  # type: ignore[method-assign]
        with pytest.raises(Diverged, match="diverged at step 4: the loss is nan") as caught:
            train(Objective(model), bad, QUICK, prepare=plans, save=saved.append, every_seconds=0)
    assert caught.value.step == 4 and saved[-1]["outcome"]["steps"] == 2
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def _poisoned(data: StepData, poison: bool) -> StepData:
    if not poison:
        return data
    first = data.batches[0]
    bad = dataclasses.replace(first, weights_BS=torch.full_like(first.weights_BS, math.inf))
    return StepData([bad, *data.batches[1:]], data.digests)


class Rising(torch.nn.Module):
    """An objective whose loss rises by a fifth of a nat at every step, from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.passes = 0

    def forward(self, batch: Batch) -> torch.Tensor:
        self.passes += 1
        return batch.weights_BS.sum() * (self.weight * 1e-3 + 1 + 0.2 * max(0, (self.passes + 1) // 2 - 2))


def test_a_loss_above_its_start_for_long_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STREAK", 3)
    saved: list[Any] = []
    said = "diverged at step 6: the loss was above its start of short 1.000, long 1.000 nats for 3 steps"
    with pytest.raises(Diverged, match=said):
        train(Rising(), Made(steps=30), QUICK, prepare=lambda _: None, save=saved.append, every_seconds=0, half=False)
    assert saved[-1]["outcome"]["steps"] == 2  # the last state whose loss was not too high


def test_nothing_to_train_is_an_error() -> None:
    model = fakes.tiny_llama().requires_grad_(False)
    with pytest.raises(ValueError, match="nothing of this model is to be trained"):
        train(Objective(model), Made(), QUICK, prepare=lambda _: None)


# cost


def test_flops_by_hand() -> None:
    """Attention reaches over a sequence, over half of it in a first stage, over a document, over a group."""
    model = fakes.tiny_llama()
    total = sum(p.numel() for p in model.parameters())
    config = model.config
    heads = config.num_attention_heads * config.head_dim
    attention = 12 * config.num_hidden_layers * heads / 2
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    multiplying = total - (0 if tied else model.get_input_embeddings().weight.numel())
    assert training_flops(model, [(10, 4.0)], total, total) == 10 * (6 * multiplying + 4 * attention)
    assert training_flops(model, [(10, 4.0), (6, 2.0)], 0, total) == 16 * 4 * multiplying + 52 * attention

    def lengths(recipe: Recipe) -> dict[str, set[float]]:
        found: dict[str, set[float]] = {}
        for place in (place for step in schedule(recipe, 100_000, 8192, 512, 4096) for place in step):
            found.setdefault(place.portion.name, set()).add(attended(place, 512, recipe.group))
        return found

    assert lengths(PLAIN) == {"long": {4096}} and lengths(TWO_STAGE) == {"long": {2048, 4096}}
    assert lengths(MIXED) == {"short": {512}, "middle": {4096}, "long": {4096}}
    assert lengths(LONGLORA) == {"long": {1024}} and lengths(POSE) == {"skipped": {512}}


# inference


def test_the_original_rope_inside_the_window_and_the_methods_beyond() -> None:
    spec = spec_from_config(fakes.tiny_llama().config)
    yarn = Yarn(target_length=256)
    switched = OriginalInside(target_length=256, inner=yarn)
    assert switched.plan(spec, 64) == RopePlan.as_trained(spec) != yarn.plan(spec, 64)
    assert switched.plan(spec, 65) == yarn.plan(spec, 65)
    assert switched.name == "yarn" and switched.parameters() == yarn.parameters()


def test_weights_that_saw_one_plan_run_under_it_inside_the_window_too() -> None:
    """LongRoPE's own switch is taken away; methods that do not switch once, at the window, stay as they are."""
    spec = spec_from_config(fakes.tiny_llama().config)
    factors = tuple(1.0 + i / 4 for i in range(len(spec.inv_freq)))
    longrope = LongRope(target_length=256, factors=factors)
    planned = PlannedInside(target_length=256, inner=longrope)
    assert longrope.plan(spec, 64) == RopePlan.as_trained(spec)
    assert planned.plan(spec, 1) == planned.plan(spec, 64) == planned.plan(spec, 256) == longrope.plan(spec, 256)
    for inner in (Yarn(target_length=256), DynamicNtk(target_length=256), NoExtension(target_length=256)):
        same = PlannedInside(target_length=256, inner=inner)
        assert all(same.plan(spec, n) == inner.plan(spec, n) for n in (1, 63, 64, 65, 128, 256))
    assert planned.name == "longrope" and planned.parameters() == longrope.parameters()


@pytest.mark.parametrize("training", ["plain", "mixed"])
def test_a_trained_method_runs_inside_the_window_as_its_recipe_trained_it(training: str) -> None:
    spec = spec_from_config(fakes.tiny_llama().config)
    longrope = LongRope(target_length=256, factors=tuple(2.0 for _ in spec.inv_freq))
    given = training_of(training, Settings(tokens=100_000, corpus="pocket"))
    [method] = training_stage.factored([Method("longrope", longrope)], [given])
    inside = RopePlan.as_trained(spec) if training == "mixed" else longrope.plan(spec, 256)
    assert method.label == f"longrope + {training}" and method.extender.plan(spec, 32) == inside


def test_how_weights_run_inside_the_window_may_be_chosen_and_trains_nothing_again() -> None:
    spec = spec_from_config(fakes.tiny_llama().config)
    yarn, budget = Yarn(target_length=256), {"tokens": 100_000, "corpus": "pocket"}
    for name, other in (("plain_same_data", True), ("mixed", False)):
        usual = training_of(name, Settings(**budget))
        chosen = training_of(name, Settings(**budget, original_inside=other), "chosen")
        first, second = (job_of(one, "x", yarn, "w", spec, 0, None).key for one in (usual, chosen))
        assert first == second
        plans = [training_stage.as_trained(yarn, one).plan(spec, 32) for one in (usual, chosen)]
        assert plans == [yarn.plan(spec, 32), RopePlan.as_trained(spec)][:: 1 if other else -1]


# memory


def test_the_forecast_of_memory_decides_whether_activations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 135 million weights: 4.2 GB were measured at 1,024 tokens, 0.54 of them the weights."""
    config = SimpleNamespace(num_hidden_layers=30, hidden_size=576, intermediate_size=1536)
    config.get_text_config = lambda: config
    model, weights = SimpleNamespace(config=config, device=torch.device("cpu")), 134_515_008
    assert forecast(model, weights, 1024, False) + 4 * weights == pytest.approx(4.2e9, rel=0.1)
    assert forecast(model, weights, 16_384, True) < 0.3 * forecast(model, weights, 16_384, False)
    free = {"bytes": 30e9}
    monkeypatch.setattr("harness.training.memory_forecast.free_memory", lambda device: int(free["bytes"]))
    assert with_checkpointing(None, model, weights, 16_384)[0] is False
    free["bytes"] = 8e9
    again, words = with_checkpointing(None, model, weights, 16_384)
    assert again and "8.0 GB are free" in words and "activations again" in words and "micro_tokens" not in words
    assert with_checkpointing(False, model, weights, 16_384)[0] is False
    free["bytes"] = 1e9
    assert "lower micro_tokens" in with_checkpointing(None, model, weights, 16_384)[1]
    free["bytes"] = 0  # a system that does not say
    assert with_checkpointing(None, model, weights, 16_384) == (False, "about 23.5 GB of memory beside the weights")


def test_free_memory_is_some() -> None:
    if Path("/proc/meminfo").exists():
        assert 10**7 < free_memory(torch.device("cpu")) < 2**50


def test_a_method_that_cuts_the_context_is_not_trained() -> None:
    spec = spec_from_config(fakes.tiny_llama().config)
    training = training_of("plain", Settings(tokens=100_000, corpus="stories"))
    with pytest.raises(ValueError, match="sliding_window cuts prompts to the trained window"):
        job_of(training, "x", SlidingWindow(target_length=128), "w", spec, 0, None)


def test_products_are_in_the_precision_that_the_machine_multiplies() -> None:
    """On a CPU without bfloat16 a step took 87 s in it and 13 s in float32. Who says nothing gets what is fast, and the
    key tells them apart; keys of machines that multiply it are as they were."""
    spec = spec_from_config(fakes.tiny_llama().config)
    keys = {}
    for said in (None, False, True):
        training = training_of("plain", Settings(tokens=16_384, tokens_per_step=4096, corpus="pocket", float32=said))
        for slow in (False, True):
            job = job_of(in_precision(training, slow), "x", Yarn(target_length=128), "w", spec, 0, None)
            assert job.training.settings.float32 is job.identity["float32"]
            assert ("in float32" in job.budget_words) == job.identity["float32"]
            keys[said, slow] = job.key
    assert keys[None, False] == keys[False, False] == keys[False, True]
    assert keys[None, True] == keys[True, True] == keys[True, False] != keys[None, False]
