"""Query heads that share key heads are answered in one reading of the keys, with the same result."""

from contextlib import nullcontext
from typing import Any

import fakes
import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import harness.model.grouped as grouped
from harness.model.grouped import KERNEL, grouped_decoding
from harness.model.joined_cache import joined, mask_of

SIZES = [(9, 9), (9, 5)]  # tokens of two prompts: without a mask and with one


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the queries that PyTorch's kernel gets."""
    seen: list[tuple[int, ...]] = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        seen.append(tuple(query.shape))
        return kernel(query, *rest, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    return seen


@torch.inference_mode()
def decoded(model: Any, sizes: tuple[int, ...], within: Any) -> torch.Tensor:
    """Logits of three tokens behind two prompts of those lengths."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 256, (1, size), generator=generator) for size in sizes]
    cache = joined([model(row, use_cache=True).past_key_values for row in rows], 3)
    mask = mask_of(list(sizes), "cpu") if len(set(sizes)) > 1 else None
    places, found = torch.tensor(sizes)[:, None], []
    with within:
        for step in range(3):
            if mask is not None:
                mask = torch.cat((mask, torch.ones_like(places)), dim=1)
            token = torch.full((2, 1), 65 + step)
            output = model(token, position_ids=places + step, attention_mask=mask, past_key_values=cache)
            found.append(output.logits[:, -1])
    return torch.stack(found)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", ["llama", "qwen3", "granite"])
def test_the_logits_are_the_same_and_keys_are_read_once(kind: str, sizes: tuple[int, ...], asked: list[Any]) -> None:
    model = fakes.tiny_model(kind)
    config = model.config
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    assert heads > key_heads, "the model has no grouped queries"
    plain = decoded(model, sizes, nullcontext())
    asked.clear()
    folded = decoded(model, sizes, grouped_decoding(model))
    assert (plain - folded).abs().max() < 1e-5
    single = [shape for shape in asked if shape[0] == 2]
    assert single and {shape[1:3] for shape in single} == {(key_heads, heads // key_heads)}
    assert config._attn_implementation == "sdpa"


def test_other_attention_and_ungrouped_heads_are_left_alone() -> None:
    eager, single = fakes.tiny_llama(), fakes.tiny_llama(num_key_value_heads=4, num_attention_heads=4)
    eager.config._attn_implementation = "eager"
    for model, name in ((eager, "eager"), (single, "sdpa")):
        with grouped_decoding(model):
            assert model.config._attn_implementation == name


def test_what_it_does_not_know_gets_the_library_s_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fakes.tiny_llama()
    calls: list[str] = []

    def library(*_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        calls.append("library")
        return torch.zeros(1, 1, 2, 4), None

    monkeypatch.setattr(grouped, "sdpa_attention_forward", library)
    with grouped_decoding(model):
        attention = ALL_ATTENTION_FUNCTIONS[KERNEL]
    query, key = torch.zeros(1, 2, 1, 4), torch.zeros(1, 1, 5, 4)
    attention(None, query, key, key, None, softcap=30.0)
    attention(None, torch.zeros(1, 2, 3, 4), key, key, None)  # several queries
    attention(None, query, key, key, torch.zeros(1, 2, 1, 5))  # a mask of its own for every head
    assert calls == ["library"] * 3
    attention(None, query, key, key, None)
    assert len(calls) == 3


def test_a_block_that_breaks_gives_the_attention_back() -> None:
    model = fakes.tiny_llama()
    with pytest.raises(KeyError), grouped_decoding(model):
        raise KeyError
    assert model.config._attn_implementation == "sdpa"
