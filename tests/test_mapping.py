"""Position mapping on live models: against float64, identity, cache, chunks, padding, read back; and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import extenders.base
from extenders.base import RopePlan, RopeSpec
from extenders.pieces import Piece, Positions, near_and_far
from harness.model.lm import ExtendedLM
from harness.model.spec import spec_from_config
from harness.rope import attention_kernels, piece_attention
from harness.rope.applied import applied
from harness.rope.attention_kernels import attend, plain
from harness.rope.mapping_proof import logits_of
from harness.rope.piece_attention import LivePiece, ManyQueries, OneQuery, TurnedPairs
from harness.rope.proof import NotApplied

WINDOW, LENGTH = 64, 150
SMALL = dict(
    vocab_size=97,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=WINDOW,
    pad_token_id=0,
)
HEADS = dict(head_dim=16)
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": HEADS,
    "phi3": {},
    "gemma": HEADS,
    "olmo2": {},
    "mistral": dict(sliding_window=None),
    "gpt_neox": {},
    "glm": HEADS,
    "cohere": {},
}
METHODS = ("rerope", "self_extend", "string", "dca", "jet_long", "jet_long_frequency", "lampe", "dpe")
CPU = torch.device("cpu")


def tiny(kind: str, **more: Any) -> tuple[Any, RopeSpec]:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **FAMILIES.get(kind, {}), **more})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.ndim == 2 else 1)  # attention that is not flat
    return model, spec_from_config(config)


def tokens(rows: int = 1, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(1, 97, (rows, length), generator=torch.Generator().manual_seed(1))


def plan_of(name: str, spec: RopeSpec, length: int = LENGTH) -> RopePlan:
    return extenders.base.load(name)(target_length=512).plan(spec, length)


def identity(spec: RopeSpec, window: int) -> RopePlan:
    pieces = near_and_far(window, Positions(), Positions()) if window else (Piece(),)
    return RopePlan(spec.inv_freq, spec.attention_factor, pieces=pieces)


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


# --- exact ------------------------------------------------------------------------------------------------------------


def per_pair(spec: RopeSpec) -> RopePlan:
    """Groups and shifts of each pair's own, frequencies of its own, and a factor: all that data can say."""
    pairs = len(spec.inv_freq)
    groups = tuple(1 + p for p in range(pairs))
    query = Positions(divide=groups, shift=tuple(9.5 - p for p in range(pairs)), plus=3)
    far = tuple(value / 2 for value in spec.inv_freq)
    near, beyond = near_and_far(10, query, Positions(divide=groups, times=2, most=40.0))
    return RopePlan(spec.inv_freq, 1.1, pieces=(near, Piece(beyond.region, query, beyond.key, far)))


@pytest.mark.parametrize("neighbours", [False, True], ids=["halves", "neighbours"])
@pytest.mark.parametrize("name", [*METHODS, "per_pair"])
def test_blocks_and_single_queries_are_the_softmax_in_float64(
    name: str, neighbours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece_attention, "QUERIES_AT_ONCE", {"cpu": 32})
    spec = RopeSpec(16, 1e4, WINDOW, tuple(1e4 ** (-i / 8) for i in range(8)))
    plan = per_pair(spec) if name == "per_pair" else plan_of(name, spec)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (2 * torch.randn(2, h, LENGTH, 20, generator=generator) for h in (4, 2, 2))  # 4 dimensions stay
    logits, _ = logits_of(plan, query.double(), key.double(), 0, torch.arange(LENGTH), 0.3, neighbours)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    shares = logits.masked_fill(~causal, -torch.inf).softmax(-1)
    exact = (shares @ value.double().repeat_interleave(2, 1)).transpose(1, 2)

    inv_freq = [torch.tensor(piece.inv_freq or plan.inv_freq) for piece in plan.pieces]
    pieces = [LivePiece(piece, w, plan.attention_factor) for piece, w in zip(plan.pieces, inv_freq, strict=True)]
    turn = TurnedPairs(neighbours, torch.float32)
    whole = ManyQueries(pieces, 0, LENGTH, turn, CPU)(query, key, value, 0.3)
    assert gap(whole, exact) < 1e-5
    later = ManyQueries(pieces, 70, LENGTH - 70, turn, CPU)(query[:, :, 70:], key, value, 0.3)
    assert gap(later, exact[:, 70:]) < 1e-5
    for place in (0, 5, 9, 10, 70, LENGTH - 1):
        keys = slice(0, place + 1)
        one = OneQuery([pieces] * 2, [place] * 2, turn, CPU)(
            query[:, :, place : place + 1], key[:, :, keys], value[:, :, keys], 0.3
        )
        assert gap(one[:, 0], exact[:, place]) < 1e-5


def wave(heads: int, rate: float) -> torch.Tensor:
    """Queries, keys or values [1, heads, 60, 16] that the goldens were made with."""
    return 2 * torch.sin(torch.arange(heads * 60 * 16, dtype=torch.float64).reshape(1, heads, 60, 16) * rate)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("rerope", dict(window=8)),
        ("self_extend", dict(window=8, group=4)),
        ("dca", {}),
        ("string", dict(shift=8, window=3)),
        ("dpe", dict(window=8, groups=(2, 8, 2, 8, 4, 4, 8, 1))),
    ],
)
def test_answers_are_those_of_the_authors_code(name: str, parameters: dict[str, Any]) -> None:
    goldens = json.loads((Path(__file__).parent / "goldens" / "position_mapping.json").read_text(encoding="utf-8"))
    spec = RopeSpec(16, 1e4, 32, tuple(1e4 ** (-i / 8) for i in range(8)))
    query, key, value = wave(2, 0.731), wave(1, 1.177), wave(1, 0.419)
    method = extenders.base.load(name)(target_length=64, **parameters)
    for place, answer in goldens[name].items():
        i = int(place)
        plan = method.plan(spec, i + 1)
        one = query[:, :, i : i + 1]
        logits, _ = logits_of(plan, one, key[:, :, : i + 1], i, torch.arange(i + 1), 0.25)
        exact = logits.softmax(-1) @ value[:, :, : i + 1]
        assert torch.allclose(exact[0, :, 0], torch.tensor(answer, dtype=torch.float64), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_give_the_log_sum_exp(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 16, generator=generator).to(dtype) for n in (5, 5000, 5000))
    seen = torch.rand(5, 5000, generator=generator) < 0.5
    seen[2] = False
    for mask in (None, seen):
        out, lse = attend(query, key, value, 0.25, mask)
        logits = query.double() @ key.double().transpose(-1, -2) * 0.25
        logits = logits if mask is None else logits.masked_fill(~mask, -torch.inf)
        wanted = logits.softmax(-1).nan_to_num() @ value.double()
        limit = 1e-5 if dtype == torch.float32 else 1e-2
        assert torch.allclose(lse.double(), logits.logsumexp(-1), atol=limit, rtol=0)
        assert (out - wanted).abs().max() < limit
        assert (plain(query, key, value, 0.25, mask)[0] - wanted).abs().max() < limit


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_has_kernels_for_it_and_they_are_right(dtype: torch.dtype) -> None:
    device = torch.device("cuda", 0)
    kernels = [attention_kernels._kernel(device, dtype, 64, masked) for masked in (False, True)]
    assert plain not in kernels
    spec = RopeSpec(64, 1e4, 512, tuple(1e4 ** (-i / 32) for i in range(32)))
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, h, 1300, 64, generator=generator).to(dtype) for h in (4, 2, 2))
    causal = torch.ones(1300, 1300, dtype=torch.bool).tril()
    for name in ("self_extend", "dca", "lampe"):
        plan = extenders.base.load(name)(target_length=4096).plan(spec, 1300)
        logits, _ = logits_of(plan, query.double(), key.double(), 0, torch.arange(1300), 0.3)
        exact = logits.masked_fill(~causal, -torch.inf).softmax(-1) @ value.double().repeat_interleave(2, 1)
        pieces = [LivePiece(piece, torch.tensor(plan.inv_freq), plan.attention_factor) for piece in plan.pieces]
        turn = TurnedPairs(False, dtype)
        run = ManyQueries(pieces, 0, 1300, turn, device)
        found = run(query.to(device), key.to(device), value.to(device), 0.3).cpu()
        assert gap(found, exact.transpose(1, 2)) < (1e-4 if dtype == torch.float32 else 0.05)
        last = OneQuery([pieces], [1299], turn, device)(
            query[:, :, -1:].to(device), key.to(device), value.to(device), 0.3
        )
        assert gap(last[:, 0].cpu(), exact[:, :, -1]) < (1e-4 if dtype == torch.float32 else 0.05)


# --- in a model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 20, 1])
@pytest.mark.parametrize("kind", FAMILIES)
def test_pieces_that_change_nothing_are_the_model_as_loaded(kind: str, window: int) -> None:
    model, spec = tiny(kind)
    ids = tokens(2)
    with torch.no_grad(), applied(model, spec) as rotary:
        before = model(ids).logits
        rotary.use(identity(spec, window))
        assert rotary.mapped_layers == "0-1"
        assert gap(model(ids).logits, before) <= 2e-6
        rotary.use(RopePlan.as_trained(spec))
        assert rotary.mapped_layers == ""
        assert torch.equal(model(ids).logits, before)
        rotary.use(plan_of("rerope", spec))
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("llama", name) for name in METHODS),
        *((kind, "dca") for kind in FAMILIES if kind != "llama"),
        *(
            pytest.param(kind, name, marks=pytest.mark.slow)
            for kind in FAMILIES
            for name in METHODS
            if kind != "llama" and name != "dca"
        ),
    ],
)
def test_cache_and_chunks_change_nothing(kind: str, name: str) -> None:
    model, spec = tiny(kind)
    ids = tokens()
    with torch.no_grad(), applied(model, spec) as rotary:
        before = model(ids).logits
        rotary.use(plan_of(name, spec))
        rotary.prove(LENGTH, plan_of(name, spec))
        full = model(ids, use_cache=False).logits
        assert gap(full, before) > 1e-3
        read = model(ids[:, :70], use_cache=True)
        more = model(ids[:, 70:135], past_key_values=read.past_key_values, use_cache=True)
        assert gap(more.logits, full[:, 70:135]) <= 1e-5
        for t in range(135, LENGTH):
            more = model(ids[:, t : t + 1], past_key_values=more.past_key_values, use_cache=True)
            assert gap(more.logits[:, 0], full[:, t]) <= 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_padded_rows_answer_as_they_do_alone(name: str) -> None:
    """Three rows, one of them short enough for a method that is off there, each under the plan of its own length."""
    model, spec = tiny("llama")
    sizes, rows = (LENGTH, 90, 50), tokens(3)
    mask = torch.stack([torch.arange(LENGTH) >= LENGTH - size for size in sizes]).long()
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    plans = [plan_of(name, spec, size + 10) for size in sizes]
    with torch.no_grad(), applied(model, spec) as rotary:
        alone = []
        for row, plan, size in zip(rows, plans, sizes, strict=True):
            rotary.use(plan)
            read = model(row[None, LENGTH - size :], use_cache=True)
            last = model(row[None, :1], past_key_values=read.past_key_values)
            alone.append((read.logits[0, -1], last.logits[0, -1]))
        rotary.use(plans)
        together = model(rows, attention_mask=mask, position_ids=places, use_cache=True)
        after = model(
            rows[:, :1],
            attention_mask=torch.cat((mask, torch.ones(3, 1, dtype=torch.long)), 1),
            position_ids=torch.tensor(sizes)[:, None],
            past_key_values=together.past_key_values,
        )
        for i, (first, second) in enumerate(alone):
            assert gap(together.logits[i, -1], first) <= 1e-5
            assert gap(after.logits[i, -1], second) <= 1e-5
        with pytest.raises(ValueError, match="needs position_ids that count the tokens"):
            model(rows, attention_mask=mask)


@pytest.mark.parametrize("name", ["dca", "jet_long"])
def test_prompts_are_answered_together_as_they_are_alone(name: str) -> None:
    """Through the harness: greedy answers and losses, prompts on both sides of the trained window in one batch."""
    model = fakes.tiny_llama()
    base: Any = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(True), spec=spec_from_config(model.config))
    prompts = ["one two three", "a longer prompt that goes on and on " * 4, "ten and one " * 9]
    with applied(model, base.spec) as rotary:
        lm = ExtendedLM(base, extenders.base.load(name)(target_length=256), rotary)
        together = [answer.text for answer in lm.generate(prompts, 8)]
        alone = [answer.text for prompt in prompts for answer in lm.generate([prompt], 8)]
        assert together == alone
        pairs = [(prompt, " and more") for prompt in prompts]
        both = list(lm.answer_losses(pairs))
        single = [loss for pair in pairs for loss in lm.answer_losses([pair])]
        assert [loss for loss, _ in both] == pytest.approx([loss for loss, _ in single], abs=1e-4)
        assert rotary.mapped_layers == "0-1"
    plain = ExtendedLM(base, extenders.base.load("none")(target_length=256), rotary)
    with applied(model, base.spec) as rotary:
        plain.rotary = rotary
        assert list(plain.answer_losses(pairs)) != both


def test_layers_with_a_window_keep_their_own_attention() -> None:
    types = ["sliding_attention", "full_attention"]
    for kind in ("qwen2", "gemma3_text"):
        more = dict(use_sliding_window=True) if kind == "qwen2" else HEADS
        model, spec = tiny(kind, layer_types=types, sliding_window=16, **more)
        ids = tokens()
        with torch.no_grad(), applied(model, spec) as rotary:
            before = model(ids).logits
            rotary.use(identity(spec, 20))
            assert rotary.mapped_layers == "1"
            assert gap(model(ids).logits, before) <= 2e-6
            rotary.use(plan_of("self_extend", spec))
            full = model(ids).logits
            read = model(ids[:, :140], use_cache=True)
            for t in range(140, LENGTH):
                read = model(ids[:, t : t + 1], past_key_values=read.past_key_values, use_cache=True)
                assert gap(read.logits[:, 0], full[:, t]) <= 1e-5


# --- read back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_proof_reads_logits_back(dtype: torch.dtype) -> None:
    model, spec = tiny("llama")
    model = model.to(dtype)
    plan = plan_of("self_extend", spec)
    with applied(model, spec) as rotary:
        with pytest.raises(NotApplied, match="maps no positions"):
            rotary.prove(LENGTH, plan)
        rotary.use(plan)
        assert rotary.prove(LENGTH, plan) < 1e-4
        assert rotary.prove(4096, plan) < 1e-3
        other = extenders.base.load("self_extend")(target_length=512, window=15).plan(spec, LENGTH)
        for wrong in (plan_of("string", spec), other):
            with pytest.raises(NotApplied, match="logits of queries up to position"):
                rotary.prove(LENGTH, wrong)


def test_the_proof_sees_layers_that_do_not_ask_and_modules_that_still_rotate() -> None:
    model, spec = tiny("llama")
    plan = plan_of("rerope", spec)
    with applied(model, spec) as rotary:
        rotary.use(plan)
        attention = model.model.layers[1].self_attn
        shared = attention.config
        attention.config = AutoConfig.for_model("llama", **SMALL)
        attention.config._attn_implementation = "sdpa"
        with pytest.raises(NotApplied, match="1 layers of LlamaForCausalLM asked for mapped attention, 2 should"):
            rotary.prove(LENGTH, plan)
        attention.config = shared
        rotary.prove(LENGTH, plan)
        del model.model.rotary_emb.__dict__["forward"]
        with pytest.raises(NotApplied, match="rotates by itself"):
            rotary.prove(LENGTH, plan)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", METHODS)
def test_on_a_gpu_logits_are_read_back_and_the_cache_changes_nothing(name: str, dtype: torch.dtype) -> None:
    model, spec = tiny("llama")
    model = model.to("cuda", dtype)
    ids, plan = tokens().to("cuda"), plan_of(name, spec)
    with torch.no_grad(), applied(model, spec) as rotary:
        rotary.use(plan)
        rotary.prove(LENGTH, plan)
        rotary.prove(20_000, plan)
        full = model(ids, use_cache=False).logits
        read = model(ids[:, :100], use_cache=True)
        for t in range(100, LENGTH):
            read = model(ids[:, t : t + 1], past_key_values=read.past_key_values, use_cache=True)
            assert gap(read.logits[:, 0], full[:, t]) <= (1e-4 if dtype == torch.float32 else 0.1)


# --- refused ----------------------------------------------------------------------------------------------------------

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


LLAMA4 = dict(num_local_experts=2, num_experts_per_tok=1, intermediate_size_mlp=32, head_dim=16)


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("deepseek_v3", LATENT, r"compressed and rotated apart \(MLA\)"),
        ("gemma2", HEADS, "soft caps"),
        ("llama4_text", LLAMA4, "complex numbers"),
        ("gpt_oss", dict(num_local_experts=2, num_experts_per_tok=1, **HEADS), "sinks"),
        ("mistral", dict(sliding_window=16), "have a sliding window or do not rotate"),
    ],
)
def test_models_that_cannot_be_mapped_are_refused_by_name(kind: str, more: dict[str, Any], words: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **more})
    model = AutoModelForCausalLM.from_config(config).eval()
    spec = spec_from_config(config)
    before = model.config._attn_implementation
    with applied(model, spec) as rotary:
        with pytest.raises(ValueError, match=f"positions of .*ForCausalLM cannot be mapped: .*{words}") as error:
            rotary.use(plan_of("rerope", spec))
        assert "\n" not in str(error.value)
    assert model.config._attn_implementation == before


def test_fused_kernels_and_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, spec = tiny("llama")
    with applied(model, spec) as rotary:
        rotary.use(plan_of("rerope", spec))
        with pytest.raises(ValueError, match="no gradient"):
            rotary.loosen()
        with pytest.raises(
            ValueError, match=r"no gradient through mapped positions; run the model under torch.no_grad"
        ):
            model(tokens())
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2")
    with applied(model, spec) as rotary, pytest.raises(ValueError, match="flash_attention_2 is fused"):
        rotary.use(plan_of("rerope", spec))


def test_a_layer_that_does_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, spec = tiny("llama")

    def scaled(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda module, query, *more, **named: call(module, query * 1.5, *more, **named)

    import transformers.models.llama.modeling_llama as llama

    before = llama.apply_rotary_pos_emb

    def other(query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> Any:
        return before(query, key, cos, sin) if bool((sin == 0).all()) else (query, key * 2)

    monkeypatch.setattr(llama, "apply_rotary_pos_emb", other)
    with applied(model, spec) as rotary, pytest.raises(ValueError, match="LlamaAttention changes queries or keys"):
        rotary.use(plan_of("rerope", spec))
