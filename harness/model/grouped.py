"""A token of each prompt, decoded by a model whose query heads share key heads: keys and values are read once.

transformers' own attention repeats keys and values for every query head that shares them as soon as there is a mask,
and prompts of several lengths have one: a copy of the whole cache, several times over, for each token. PyTorch's kernel
without a mask reads them once for each query head. Here query heads that share a key head stand as further queries of
it; nothing is copied. Where a layer asks for what that does not know, it gets transformers' attention. The sums are the
same, in another order.

Tensor suffixes: B rows, H query heads, K key heads, S queries, N keys, D head dimension.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

KERNEL = "ropebench_grouped"
UNKNOWN = ("softcap", "s_aux", "position_bias")  # what a layer may ask for beside plain attention


@contextmanager
def grouped_decoding(model: Any) -> Iterator[None]:
    """Single queries of the block read keys and values once; leaving it gives the model its own attention back."""
    config = model.config.get_text_config()
    shared = (getattr(config, "num_key_value_heads", None) or 0) < config.num_attention_heads
    if config._attn_implementation != "sdpa" or not shared:
        yield
        return
    ALL_ATTENTION_FUNCTIONS.register(KERNEL, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(KERNEL, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    config._attn_implementation = KERNEL
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def _attention(
    module: Any, query_BHSD: Tensor, key_BKND: Tensor, value_BKND: Tensor, mask: Tensor | None, **rest: Any
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in every layer; gives [B, S, H, D]."""
    B, H, S, D = query_BHSD.shape
    K = key_BKND.shape[1]
    plain = not any(rest.get(name) is not None for name in UNKNOWN) and not rest.get("dropout")
    if S != 1 or H == K or not plain or (mask is not None and mask.shape[1:3] != (1, 1)):
        return sdpa_attention_forward(module, query_BHSD, key_BKND, value_BKND, mask, **rest)  # type: ignore[no-any-return]
    output = torch.nn.functional.scaled_dot_product_attention(
        query_BHSD.reshape(B, K, H // K, D), key_BKND, value_BKND, attn_mask=mask, scale=rest.get("scaling")
    )
    return output.reshape(B, 1, H, value_BKND.shape[-1]), None
