"""Plans in place: on every supported family, against native types, per row, with a cache, and away again."""

import copy
import functools
import math
import warnings
from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from extenders.base import RopePlan, RopeSpec
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.rope.proof import NotApplied
from harness.rope.rotation import PlannedForward

WINDOW = 64
SMALL = dict(
    vocab_size=96,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=WINDOW,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
TWO_TYPES = dict(layer_types=["sliding_attention", "full_attention"], sliding_window=16)
EXPERTS = dict(num_local_experts=2, num_experts_per_tok=1)
LATENT = dict(
    kv_lora_rank=16,
    q_lora_rank=16,
    qk_rope_head_dim=16,
    qk_nope_head_dim=16,
    v_head_dim=16,
    n_routed_experts=2,
    num_experts_per_tok=1,
    n_shared_experts=1,
    moe_intermediate_size=32,
    first_k_dense_replace=1,
    n_group=1,
    topk_group=1,
    num_key_value_heads=4,
)
FAMILIES: dict[str, dict] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": dict(head_dim=32),
    "phi3": {},
    "gpt_neox": {},
    "gemma": dict(head_dim=16),
    "gemma2": dict(head_dim=16),
    "gemma3_text": dict(head_dim=16, **TWO_TYPES),
    "phi": {},
    "glm": dict(head_dim=16),
    "cohere": {},
    "stablelm": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": dict(**TWO_TYPES),
    "gpt_oss": dict(head_dim=16, **EXPERTS, **TWO_TYPES),
    "smollm3": dict(no_rope_layers=[1, 1]),
    "mixtral": EXPERTS,
    "starcoder2": {},
    "granite": {},
    "falcon": dict(num_attention_heads=4, multi_query=False, new_decoder_architecture=False),
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "llama4_text": dict(
        head_dim=16,
        intermediate_size_mlp=96,
        moe_layers=[],
        no_rope_layers=[1, 1],
        attention_chunk_size=512,
        num_local_experts=2,
    ),
    "exaone4": {},
    "ernie4_5": {},
    "nemotron": {},
}


@functools.cache
def _made(family: str, rope: tuple[tuple[str, object], ...] | None, layer_type: str) -> torch.nn.Module:
    values = {**SMALL, **FAMILIES.get(family, {})}
    if rope is not None:
        parameters = {"rope_theta": 10000.0, **{key: list(v) if isinstance(v, tuple) else v for key, v in rope}}
        both = {"full_attention": parameters, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
        values["rope_parameters"] = both if layer_type else parameters
        original = parameters.get("original_max_position_embeddings")
        if original:  # trained with the scaling, so with its length; else it would be one that was put in for inference
            values["max_position_embeddings"] = int(original * parameters["factor"])
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = AutoConfig.for_model(family, **values)
        model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # larger than at initialisation, so that attention is not flat
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def build(family: str = "llama", layer_type: str = "", **rope: object) -> torch.nn.Module:
    """A tiny random model; the same weights for every rope. Made once, so tests must leave it as it was."""
    return _made(family, tuple(rope.items()) or None, layer_type)


def ids(length: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(3, 90, (rows, length), generator=torch.Generator().manual_seed(length))


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens, use_cache=False).logits


def stretched(spec: RopeSpec, factor: float = 4.0, **more: float) -> RopePlan:
    return RopePlan.rescaled(spec, [factor] * len(spec.inv_freq), **more)


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str) -> None:
    model = build(family)
    spec = spec_from_config(model.config)
    tokens = ids(40, rows=2)
    before, state = logits(model, tokens), copy.deepcopy(model.state_dict())
    one, two = stretched(spec), stretched(spec, 2.0, attention_factor=1.2)

    with applied(model, spec) as rotary:
        assert gap(logits(model, tokens), before) <= 2e-7
        assert rotary.prove(40, RopePlan.as_trained(spec)) < 1e-5
        rotary.use(one)
        rotary.prove(40, one)
        alone = logits(model, tokens)[:1]
        assert gap(alone, before[:1]) > 1e-4, "the plan has no effect"
        rotary.use(two)
        other = logits(model, tokens)[1:]
        rotary.use([one, two])
        rotary.prove(40, [one, two])
        together = logits(model, tokens)
        # batch rows of a mixture of experts are multiplied in one matrix product, so the last bits may differ
        assert gap(together, torch.cat((alone, other))) <= 1e-6
        assert not set(model.state_dict()) - set(state)

    assert torch.equal(logits(model, tokens), before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())


NATIVE = {
    "linear": dict(rope_type="linear", factor=4.0),
    "llama3": dict(
        rope_type="llama3",
        factor=4.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=WINDOW,
    ),
    "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=WINDOW),
    "longrope": dict(
        rope_type="longrope",
        factor=4.0,
        original_max_position_embeddings=16,
        short_factor=(1.0,) * 8,
        long_factor=(1.0, 1.1, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0),
    ),
}


@pytest.mark.parametrize("family, layer_type", [("llama", ""), ("cohere", ""), ("gemma3_text", "full_attention")])
@pytest.mark.parametrize("kind", NATIVE)
def test_a_plan_equal_to_a_native_type_gives_its_logits(family: str, layer_type: str, kind: str) -> None:
    native, plain = build(family, layer_type, **NATIVE[kind]), build(family, layer_type, rope_type="default")
    tokens = ids(48)
    wanted = logits(native, tokens)
    spec = spec_from_config(plain.config)
    if kind == "longrope":  # 48 tokens are above its 16: natively the long list
        factor = math.sqrt(1 + math.log(4) / math.log(16))
        plan = RopePlan.rescaled(spec, NATIVE[kind]["long_factor"], attention_factor=factor)
    else:
        scaled = spec_from_config(native.config)
        plan = RopePlan(scaled.inv_freq, scaled.attention_factor)
    assert gap(logits(plain, tokens), wanted) > 1e-3
    with applied(plain, spec) as rotary:
        rotary.use(plan)
        rotary.prove(48, plan)
        assert gap(logits(plain, tokens), wanted) <= 5e-6


@pytest.mark.parametrize("kind", NATIVE)
def test_identity_on_a_scaled_checkpoint(kind: str) -> None:
    model = build(**NATIVE[kind])
    tokens = ids(16)  # longrope: inside its short range
    before = logits(model, tokens)
    with applied(model, spec_from_config(model.config)):
        assert gap(logits(model, tokens), before) <= 2e-7


@pytest.mark.parametrize(
    "rope", [NATIVE["longrope"], dict(rope_type="dynamic", factor=4.0)], ids=["longrope", "dynamic"]
)
def test_types_that_switch_by_length_hold_still(rope: dict) -> None:
    model = build(**rope)
    spec = spec_from_config(model.config)
    short, long = ids(12), ids(90)
    fresh = logits(model, short)
    native_long = logits(model, long)  # leaves its long frequencies in the module
    with applied(model, spec) as rotary:
        assert gap(logits(model, short), fresh) <= 2e-7
        pinned_long = logits(model, long)
        rotary.prove(90, RopePlan.as_trained(spec))
        assert gap(logits(model, short), fresh) <= 2e-7, "a long prompt changed the short one after it"
    assert gap(pinned_long, native_long) > 1e-3
    assert torch.equal(logits(model, long), native_long)


@pytest.mark.parametrize(
    "rope", [NATIVE["longrope"], dict(rope_type="dynamic", factor=4.0)], ids=["longrope", "dynamic"]
)
def test_finding_the_layout_leaves_the_module_alone(rope: dict) -> None:
    model = copy.deepcopy(_made.__wrapped__("llama", tuple(rope.items()), ""))  # never run before
    module = model.model.rotary_emb
    before, buffers = set(module.__dict__), {name: value.clone() for name, value in module.named_buffers()}
    with applied(model, spec_from_config(model.config)):
        logits(model, ids(90))
    assert set(module.__dict__) == before
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())


def test_a_longer_prompt_before_changes_nothing() -> None:
    model = build()
    spec = spec_from_config(model.config)
    with applied(model, spec) as rotary:
        rotary.use(stretched(spec, 2.0))
        own = logits(model, ids(20))
        rotary.use(stretched(spec, 8.0))
        logits(model, ids(90))
        rotary.use(stretched(spec, 2.0))
        assert torch.equal(logits(model, ids(20)), own)


@pytest.mark.parametrize("keep_first", [0, 5, 30])
def test_generation_with_cache_equals_a_full_forward(keep_first: int) -> None:
    model = build()
    spec = spec_from_config(model.config)
    prompt = ids(20)
    with applied(model, spec) as rotary:
        rotary.use(stretched(spec, 3.0, attention_factor=1.1, keep_first=keep_first))
        out = model.generate(
            prompt,
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_logits=True,
        )
        full = logits(model, out.sequences)
    assert gap(torch.stack(out.logits, dim=1), full[:, 19:-1]) < 1e-5


def test_keep_first_rotates_the_first_positions_as_trained() -> None:
    model = build(**NATIVE["yarn"])  # a checkpoint with an attention factor of its own
    spec = spec_from_config(model.config)
    plan = stretched(spec, 4.0, attention_factor=1.3, keep_first=3)
    with applied(model, spec) as rotary:
        rotary.use(plan)
        rotary.prove(10, plan)
        cos, sin = model.model.rotary_emb(torch.zeros(1, 10, 8), torch.arange(10)[None])
    for position in range(10):
        inv_freq, factor = (
            (spec.inv_freq, spec.attention_factor) if position < 3 else (plan.inv_freq, plan.attention_factor)
        )
        wanted = [math.cos(position * value) * factor for value in inv_freq] * 2
        assert cos[0, position].tolist() == pytest.approx(wanted, abs=1e-6)
        wanted = [math.sin(position * value) * factor for value in inv_freq] * 2
        assert sin[0, position].tolist() == pytest.approx(wanted, abs=1e-6)


def test_keep_first_goes_by_absolute_position_and_by_row() -> None:
    model = build()
    spec = spec_from_config(model.config)
    kept, plain = stretched(spec, keep_first=6), stretched(spec)
    with applied(model, spec) as rotary:
        rotary.use([kept, plain])
        cos, _ = model.model.rotary_emb(torch.zeros(2, 1, 8), torch.tensor([[5], [5]]))
        assert cos[0, 0, 0].item() == pytest.approx(math.cos(5 * spec.inv_freq[0]), abs=1e-6)
        assert cos[1, 0, 0].item() == pytest.approx(math.cos(5 * spec.inv_freq[0] / 4), abs=1e-6)
        rotary.prove(20, [kept, plain])
        with pytest.raises(NotApplied):
            rotary.prove(20, [plain, kept])


def test_other_layer_types_stay_as_trained() -> None:
    model = build("gemma3_text")
    spec = spec_from_config(model.config)
    module = model.model.rotary_emb
    probe = (torch.zeros(1, 30, 8), torch.arange(30)[None], "sliding_attention")
    before = module(*probe)
    with applied(model, spec) as rotary:
        rotary.use(stretched(spec))
        assert all(torch.equal(a, b) for a, b in zip(module(*probe), before, strict=True))


def test_positions_of_several_axes() -> None:
    model = build()
    spec = spec_from_config(model.config)
    with applied(model, spec):
        place = torch.arange(9)[None]
        flat = model.model.rotary_emb(torch.zeros(1, 9, 8), place)
        axes = model.model.rotary_emb(torch.zeros(1, 9, 8), place.expand(3, 1, 9))
    assert all(torch.equal(a, b) for a, b in zip(flat, axes, strict=True))


def test_bf16_model_has_float32_phases() -> None:
    model = copy.deepcopy(build()).to(torch.bfloat16)  # rounds its own frequencies, which we must not use
    spec = spec_from_config(model.config)
    plan = stretched(spec, 1.7)
    with applied(model, spec) as rotary:
        rotary.use(plan)
        assert rotary.prove(20000, plan) < 0.01
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cos, _ = model.model.rotary_emb(torch.zeros(1, 1, 8, dtype=torch.bfloat16), torch.tensor([[20000]]))
            assert rotary.prove(20000, plan) < 0.01
        assert cos.dtype == torch.bfloat16
        assert cos[0, 0, 0].item() == pytest.approx(math.cos(20000 * plan.inv_freq[0]), abs=0.01)
        assert logits(model, ids(30)).isfinite().all()


def test_training_inference_mode_and_checkpointing() -> None:
    model = copy.deepcopy(build())
    spec = spec_from_config(model.config)
    tokens = ids(24)
    with applied(model, spec) as rotary:
        with torch.inference_mode():  # tables made here serve the training below
            rotary.use(stretched(spec, keep_first=4))
            model(tokens)
        model.train()
        model(tokens, labels=tokens).loss.backward()
        plain = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        model.gradient_checkpointing_enable()
        model(tokens, labels=tokens, use_cache=False).loss.backward()
        assert all(torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(plain, model.parameters(), strict=True))


def test_a_deep_copy_runs_by_itself() -> None:
    model = build()
    spec = spec_from_config(model.config)
    tokens = ids(24)
    before = logits(model, tokens)
    with applied(model, spec) as rotary:
        rotary.use(stretched(spec))
        planned = logits(model, tokens)
        twin = copy.deepcopy(model)
        rotary.use(stretched(spec, 9.0))
        assert torch.equal(logits(twin, tokens), planned)
    assert torch.equal(logits(model, tokens), before)


def test_an_exception_restores_the_model_and_nesting_is_refused() -> None:
    model = build()
    spec = spec_from_config(model.config)
    with pytest.raises(KeyError), applied(model, spec):
        raise KeyError("anything")
    assert "forward" not in model.model.rotary_emb.__dict__
    with applied(model, spec):
        with pytest.raises(RuntimeError, match="already"), applied(model, spec):
            pass
        assert isinstance(model.model.rotary_emb.forward, PlannedForward), "the refused block took the outer one away"


def test_a_forward_that_was_there_comes_back() -> None:
    model = copy.deepcopy(build())
    module = model.model.rotary_emb
    own = functools.partial(type(module).forward, module)  # as accelerate's hooks do it
    module.forward = own
    with applied(model, spec_from_config(model.config)):
        assert module.forward is not own
    assert module.forward is own


def _forward_put_back(module: torch.nn.Module) -> None:
    del module.forward


def _other_shape(module: torch.nn.Module) -> None:
    module.forward = lambda x, positions: (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))


def _one_pair_changed(module: torch.nn.Module) -> None:
    _tables(module)[0][..., 3] *= 1.0001


def _cast_to_bf16(module: torch.nn.Module) -> None:
    _tables(module)[0].copy_(_tables(module)[0].bfloat16())


def _nan(module: torch.nn.Module) -> None:
    _tables(module)[0][..., 0] = math.nan


def _factor_lost(module: torch.nn.Module) -> None:
    _tables(module)[1].fill_(1.0)


def _tables(module: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    """The live frequencies and factors, as the forward pass reads them."""
    return module.forward.rotations[""]._tables(torch.device("cpu"))


@pytest.mark.parametrize(
    "damage", [_forward_put_back, _other_shape, _one_pair_changed, _cast_to_bf16, _nan, _factor_lost]
)
def test_the_proof_fails_when_the_plan_is_broken(damage: Callable[[torch.nn.Module], None]) -> None:
    model = build()
    spec = spec_from_config(model.config)
    plan = stretched(spec, 3.0, attention_factor=1.001)
    with applied(model, spec) as rotary:
        rotary.use(plan)
        rotary.prove(256, plan)
        damage(model.model.rotary_emb)
        with pytest.raises(NotApplied, match="LlamaRotaryEmbedding does not run with the plan"):
            rotary.prove(256, plan)


def test_the_proof_reads_long_prompts_and_the_seam() -> None:
    model = build()
    spec = spec_from_config(model.config)
    plan, other = stretched(spec, 32.0, keep_first=70001), stretched(spec, 32.0, keep_first=70000)
    with applied(model, spec) as rotary:
        rotary.use(plan)
        assert rotary.prove(131072, plan) < 0.03
        with pytest.raises(NotApplied):
            rotary.prove(131072, other)


def test_frequencies_changed_before_are_refused() -> None:
    model = copy.deepcopy(build())
    spec = spec_from_config(model.config)
    model.model.rotary_emb.inv_freq[2] *= 1.01
    with pytest.raises(ValueError, match="pair 2"), applied(model, spec):
        pass


def test_a_wrong_spec_is_refused() -> None:
    model = build()
    spec = spec_from_config(model.config)
    theirs = spec_from_config(build("qwen3").config)
    with pytest.raises(ValueError, match="pairs"), applied(model, theirs):
        pass
    hotter = RopeSpec(spec.rotary_dims, spec.rope_theta, spec.trained_length, spec.inv_freq, 1.2)
    with pytest.raises(ValueError, match="scales cos and sin"), applied(model, hotter):
        pass


def test_wrong_plans_are_refused() -> None:
    model = build()
    spec = spec_from_config(model.config)
    with applied(model, spec) as rotary:
        with pytest.raises(ValueError, match="8 pairs"):
            rotary.use(RopePlan((1.0,) * 4))
        with pytest.raises(ValueError, match="no plan"):
            rotary.use([])
        rotary.use([stretched(spec)] * 3)
        with pytest.raises(ValueError, match="batch has 2 rows"):
            logits(model, ids(8, rows=2))


SPEC = RopeSpec(16, 10000.0, WINDOW, tuple(10000.0 ** (-i / 8) for i in range(8)))


@pytest.mark.parametrize("family", ["gptj", "gpt2"])
def test_models_without_a_rotary_module_are_refused(family: str) -> None:
    config = AutoConfig.for_model(family, n_embd=64, n_layer=1, n_head=4, vocab_size=96, n_positions=64, rotary_dim=16)
    with (
        pytest.raises(ValueError, match="not supported: none of its modules"),
        applied(AutoModelForCausalLM.from_config(config), SPEC),
    ):
        pass


def test_an_unknown_layout_is_refused_by_name() -> None:
    class OddRotary(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("inv_freq", torch.tensor(SPEC.inv_freq))

        def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            phase = position_ids[..., None] * self.inv_freq
            return phase.sin(), phase.cos()  # the wrong way round

    model = torch.nn.Sequential(OddRotary(), torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="OddRotary is not supported"), applied(model, SPEC):
        pass
