"""A prompt meets a plan: greedy decoding and losses against the slow and obvious way, and no memory between prompts."""

import string
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch

import extenders.base
from extenders.base import Extender
from harness.model import logits
from harness.model.joined_cache import can_join
from harness.model.lm import BrokenModel, ExtendedLM
from harness.model.spec import spec_from_config
from harness.rope.applied import applied

PROMPTS = ["one two three", "six", "ten and one", "a longer prompt that goes on and on " * 4, "six"]


def loaded(model: Any = None, bos: bool = True) -> Any:
    model = model or fakes.tiny_llama()
    return SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(bos), spec=spec_from_config(model.config))


def method(name: str = "none", target: int = 256, **parameters: Any) -> Extender:
    return extenders.base.load(name)(target_length=target, **parameters)


@pytest.fixture
def lm():
    base = loaded()
    with applied(base.model, base.spec) as rotary:
        yield ExtendedLM(base, method(), rotary)


def full_logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()


def naive_losses(model: Any, ids: list[int]) -> list[float]:
    scores = full_logits(model, ids).log_softmax(-1)
    return [-float(scores[i, token]) for i, token in enumerate(ids[1:])]


def test_cached_greedy_equals_the_argmax_of_full_forwards(lm):
    for prompt, answer in zip(PROMPTS, lm.generate(PROMPTS, 8), strict=True):
        ids = [256, *lm.encode(prompt)]
        for _ in range(8):
            ids.append(int(full_logits(lm.model, ids)[-1].argmax()))
            if ids[-1] == 257:
                break
        new = ids[1 + len(lm.encode(prompt)) :]
        assert answer.text == lm.decode(new)
        assert (answer.tokens, answer.finished) == (len(new), new[-1] == 257)


def test_answers_stop_at_the_end_token():
    model = fakes.tiny_llama()
    base = loaded(model)
    with applied(model, base.spec) as rotary:
        plain = ExtendedLM(base, method(), rotary)
        [answer] = plain.generate(["stop"], 6)
        first = plain.tokenizer(answer.text, add_special_tokens=False).input_ids
        model.generation_config.eos_token_id = [257, int(full_logits(model, [256, *plain.encode("stop")])[-1].argmax())]
        [stopped, other] = ExtendedLM(base, method(), rotary).generate(["stop", "else"], 6)
    assert first and (stopped.text, stopped.tokens, stopped.finished) == ("", 1, True)
    assert other.tokens == 6 or other.finished


def test_losses_equal_full_logits_in_float64(lm, monkeypatch):
    ids = lm.encode("the quick brown fox jumps over the lazy dog " * 3)
    expected = naive_losses(lm.model, [256, *ids])[1:]
    assert lm.losses(ids) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(logits, "LOGITS_AT_ONCE", 260 * 7)  # pieces of seven positions
    assert lm.losses(ids) == pytest.approx(expected, abs=1e-5)
    assert len(lm.losses(ids)) == len(ids) - 1


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("granite", {"logits_scaling": 8.0}),
        ("cohere", {"logit_scale": 0.25}),
        ("gemma2", {"final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}),
        ("qwen2", {}),
    ],
)
def test_families_that_change_their_logits(family, settings):
    model = fakes.tiny_model(family, **settings)
    base = loaded(model)
    ids = list(b"scaled and capped logits")
    with applied(model, base.spec) as rotary:
        expected = naive_losses(model, [256, *ids])[1:]
        assert ExtendedLM(base, method(), rotary).losses(ids) == pytest.approx(expected, abs=1e-5)


def test_answer_losses_equal_full_logits(lm):
    pairs = [("What is it?", " a dog"), ("Q", " a very much longer answer"), ("trailing space ", "x"), ("", "start")]
    for (context, continuation), (loss, greedy) in zip(pairs, lm.answer_losses(pairs), strict=True):
        ids = [256, *lm.encode(context + continuation)]
        count = len(ids) - 1 - len(lm.encode(context.rstrip()))
        assert loss == pytest.approx(sum(naive_losses(lm.model, ids)[-count:]), abs=1e-4)
        best = full_logits(lm.model, ids).argmax(-1)[:-1].tolist()
        assert greedy == (best[-count:] == ids[-count:])


def test_greedy_flag_is_true_for_what_decoding_writes(lm):
    """For every letter after which the model's next byte is a printable one."""
    cases = []
    for letter in string.ascii_letters:
        token = int(full_logits(lm.model, [256, *lm.encode(letter)])[-1].argmax())
        text = lm.decode([token])
        if lm.encode(letter + text) == [*lm.encode(letter), token]:
            cases.append((letter, text))
    assert len(cases) > 5
    assert all(greedy for _, greedy in lm.answer_losses(cases))
    assert not any(greedy for _, greedy in lm.answer_losses([(letter, text + "~~~") for letter, text in cases]))


@pytest.mark.parametrize("name", ["none", "dynamic_ntk", "yarn"])
def test_batches_and_order_change_nothing(name):
    base = loaded()
    with applied(base.model, base.spec) as rotary:
        many, single = ExtendedLM(base, method(name), rotary), ExtendedLM(base, method(name), rotary, batch_tokens=1)
        together = [answer.text for answer in many.generate(PROMPTS, 6)]
        alone = [next(iter(single.generate([prompt], 6))).text for prompt in reversed(PROMPTS)][::-1]
        assert together == alone
        pairs = [(prompt, " and so") for prompt in PROMPTS]
        batched = [loss for loss, _ in many.answer_losses(pairs)]
        assert batched == pytest.approx([loss for loss, _ in single.answer_losses(pairs)], abs=1e-5)


@pytest.mark.parametrize(("family", "together"), [("qwen2", True), ("granite", True), ("gemma2", False)])
def test_families_answer_in_batches_as_they_do_alone(family, together):
    """Gemma 2 forgets keys outside its sliding windows, so its prompts are answered one by one."""
    base = loaded(fakes.tiny_model(family))
    prompts = ["a", "b" * 30, "c" * 150, "a rather different one"]
    with applied(base.model, base.spec) as rotary:
        many, single = (
            ExtendedLM(base, method("dynamic_ntk"), rotary),
            ExtendedLM(base, method("dynamic_ntk"), rotary, 1),
        )
        assert can_join(base.model.config) == together
        both = [[(one.text, one.tokens, one.plan_hash) for one in lm.generate(prompts, 9)] for lm in (many, single)]
        assert both[0] == both[1] and len({plan for _, _, plan in both[0]}) == 2
        assert many.token_forwards == single.token_forwards and many.prompts == single.prompts == len(prompts)


def test_a_long_prompt_leaves_nothing_behind():
    base = loaded()
    long, short = "x" * 150, "a short one"
    with applied(base.model, base.spec) as rotary:
        fresh = ExtendedLM(base, method("dynamic_ntk"), rotary)
        alone, lone_losses = next(iter(fresh.generate([short], 8))), fresh.losses(fresh.encode(short))
        used = ExtendedLM(base, method("dynamic_ntk"), rotary)
        after = list(used.generate([long, short], 8))[1]
        used.losses(used.encode(long))
        losses = used.losses(used.encode(short))
    assert (after.text, after.plan_hash) == (alone.text, alone.plan_hash)
    assert losses == lone_losses
    assert len(used.plan_hashes) == 3  # 159 and 151 tokens; all lengths inside the window share one plan


def test_the_plan_covers_prompt_and_new_tokens_and_is_held():
    base = loaded()
    pinned = []
    with applied(base.model, base.spec) as rotary:
        use = rotary.use
        rotary.use = lambda plans, mapped=False: (pinned.append(plans), use(plans, mapped))[1]
        tested = ExtendedLM(base, method("dynamic_ntk"), rotary)
        [answer] = tested.generate(["x" * 99], 20)
        assert pinned == [tested.plan(1 + 99 + 20)] and answer.plan_hash == pinned[0].hash
        list(tested.generate(["x" * 99], 20, longest=119))
        assert pinned.pop() == tested.plan(119) != pinned[0]
        list(tested.generate(["x" * 99], 20, longest=121))
        assert pinned.pop() == pinned[0]
        tested.losses([1] * 49)
        tested.losses([1] * 49, length=200)
        assert pinned[1:] == [tested.plan(50), tested.plan(200)]
        list(tested.answer_losses([("a" * 80, "b"), ("a" * 90, "b")]))
        assert pinned[3] == [tested.plan(92), tested.plan(82)]
    assert tested.token_forwards == 3 * (100 + 19) + 50 + 50 + 92 + 82
    assert tested.prompts == 7


def test_bos_is_added_once_and_only_where_the_tokenizer_does():
    model = fakes.tiny_llama()
    with_bos, without = loaded(model), loaded(model, bos=False)
    with applied(model, with_bos.spec) as rotary:
        first, second = ExtendedLM(with_bos, method(), rotary), ExtendedLM(without, method(), rotary)
        assert (first.added_tokens, second.added_tokens) == (1, 0)
        assert first.encode("ab") == second.encode("ab")
        assert first.with_start(first.encode("<s>ab", special=True)) == [256, *first.encode("ab")]
        ids = second.encode("no start token here")
        assert second.losses(ids) == pytest.approx(naive_losses(model, ids), abs=1e-5)


def test_nan_weights_are_one_clear_line(lm):
    with torch.no_grad():
        lm.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    for ask in (
        lambda: list(lm.generate(["x"], 4)),
        lambda: lm.losses([1, 2, 3]),
        lambda: list(lm.answer_losses([("x", "y")])),
    ):
        with pytest.raises(BrokenModel, match="gives NaN at a length of") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_nothing_to_score_is_one_line(lm):
    with pytest.raises(ValueError, match="at least 2 tokens"):
        lm.losses([1])
    with pytest.raises(ValueError, match="nothing to score"):
        list(lm.answer_losses([("context", "")]))


def test_prefill_takes_the_causal_path_without_a_mask(lm, monkeypatch):
    calls = []
    real = torch.nn.functional.scaled_dot_product_attention

    def watched(query, *rest, attn_mask=None, is_causal=False, **settings):
        if query.shape[-2] > 1 and query.shape[1] == 4:  # decoded tokens have two key heads with two queries each
            calls.append((attn_mask is None, is_causal))
        return real(query, *rest, attn_mask=attn_mask, is_causal=is_causal, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    list(lm.generate(["prompt", "tpmorp"], 3))
    lm.losses([1] * 20)
    list(lm.answer_losses([("a", "b"), ("longer", "c")]))
    assert calls and set(calls) == {(True, True)}


def test_logits_stay_small(lm, monkeypatch):
    """Losses of a document never build logits of more positions than one piece."""
    monkeypatch.setattr(logits, "LOGITS_AT_ONCE", 260 * 16)
    shapes = []
    hook = lm.model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    lm.losses([7] * 100)
    hook.remove()
    assert max(shape[-2] for shape in shapes) == 16


def test_a_method_that_cuts_the_context_sees_the_last_window_alone() -> None:
    """Losses in windows of 64 tokens with BOS, 31 new ones in each; answers to the last tokens of a prompt."""
    base = loaded()
    window = base.spec.trained_length
    with applied(base.model, base.spec) as rotary:
        cut, whole = ExtendedLM(base, method("sliding_window"), rotary), ExtendedLM(base, method(), rotary)
        ids = cut.encode("the model reads this text in pieces, and no piece is longer than its window. " * 3)
        assert len(ids) > 3 * window > window == 64
        size, step = window - 1, 31
        expected = whole.losses(ids[:size], start=0)
        for begin in range(step, len(ids) - size + step, step):
            new = len(ids[begin : begin + size]) - (size - step)
            expected += whole.losses(ids[begin : begin + size])[-new:]
        assert cut.losses(ids, start=0) == pytest.approx(expected, abs=1e-5)
        assert cut.losses(ids, start=100) == pytest.approx(expected[100:], abs=1e-5)
        assert cut.losses(ids[:size]) == whole.losses(ids[:size])
        assert cut.losses(ids)[-20:] != pytest.approx(whole.losses(ids)[-20:], abs=1e-3), "the whole text is another"

        prompt = cut.decode(ids)
        [far], [near] = cut.generate([prompt], 8), whole.generate([cut.decode(ids[len(ids) - (size - 8) :])], 8)
        assert (far.text, far.tokens) == (near.text, near.tokens)
        [(far_loss, _)] = cut.answer_losses([(prompt, " end")])
        [(near_loss, _)] = whole.answer_losses([(cut.decode(ids[len(ids) - (size - 4) :]), " end")])
        assert far_loss == pytest.approx(near_loss, abs=1e-5)
        with pytest.raises(ValueError, match="an answer of 63 tokens leaves no room"):
            list(cut.generate([prompt], 63))
