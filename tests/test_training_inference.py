"""Where a generation crosses the window: the plan fixed by the prompt, or the cache computed again at the crossing."""

from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch

from extenders.base import RopePlan
from extenders.training.switched import OriginalInside
from extenders.yarn import Yarn
from harness.model.lm import ExtendedLM
from harness.model.spec import spec_from_config
from harness.rope.applied import applied

NEW = 12
PROMPTS = ["x" * 20 + "one two three", "a prompt of sixty bytes, so that its answer crosses the bound", "y" * 90]


@pytest.fixture(scope="module")
def base() -> Any:
    model = fakes.tiny_llama()
    model.generation_config.eos_token_id = None
    tokenizer = fakes.byte_tokenizer()
    tokenizer.eos_token = None
    return SimpleNamespace(model=model, tokenizer=tokenizer, spec=spec_from_config(model.config))


def by_full_forwards(base: Any, rotary: Any, ids: list[int], plan_at: Any) -> list[int]:
    """Greedy tokens, every one from a forward pass over everything so far under the plan for that many tokens."""
    ids = list(ids)
    for _ in range(NEW):
        rotary.use(plan_at(len(ids)))
        with torch.no_grad():
            ids.append(int(base.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[-NEW:]


@pytest.mark.parametrize("crossing", ["fixed", "recompute"])
def test_decoding_equals_full_forwards_under_the_policy(base: Any, crossing: Any) -> None:
    spec = base.spec
    method = OriginalInside(target_length=256, inner=Yarn(target_length=256))
    assert method.plan(spec, 64) != method.plan(spec, 65)
    with applied(base.model, spec) as rotary:
        lm = ExtendedLM(base, method, rotary, crossing=crossing)
        answers = list(lm.generate(PROMPTS, NEW))
        for prompt, answer in zip(PROMPTS, answers, strict=True):
            ids = [256, *lm.encode(prompt)]
            total = len(ids) + NEW
            crosses = len(ids) <= 64 < total
            fixed = by_full_forwards(base, rotary, ids, lambda length, total=total: method.plan(spec, total))
            switched = by_full_forwards(
                base, rotary, ids, lambda length, total=total: method.plan(spec, total if length > 64 else 64)
            )
            wanted = switched if crosses and crossing == "recompute" else fixed
            assert answer.text == lm.decode(wanted)
            assert answer.plan_hash == method.plan(spec, total).hash
            if crosses:
                assert switched != fixed  # the policies differ on this prompt, or the test says nothing


def test_a_method_with_one_plan_is_never_computed_again(base: Any) -> None:
    method = Yarn(target_length=256)
    with applied(base.model, base.spec) as rotary:
        counts = []
        for crossing in ("fixed", "recompute"):
            lm = ExtendedLM(base, method, rotary, crossing=crossing)
            list(lm.generate(PROMPTS, NEW))
            counts.append(lm.token_forwards)
    assert counts[0] == counts[1]


def test_identity_inside_the_window() -> None:
    spec = spec_from_config(fakes.tiny_llama().config)
    assert OriginalInside(target_length=256, inner=Yarn(target_length=256)).plan(spec, 1) == RopePlan.as_trained(spec)
