"""The first weights of a pocket model: random, but its first heads already look back.

Looking a key up takes two layers that must be found together: one that tells every token what stands before it, one
that compares. From random weights a small model needs many millions of tokens to find the pair. Here the heads of the
first layer attend 1, 2, 3, … tokens back from the start, by RoPE alone: all tokens share one constant coordinate, from
which queries and keys get fixed vectors whose rotation agrees at that distance only. Half of the second layer's heads
look further back the same way. Everything is trained from there on.

Tensor suffixes: O rows of a projection (heads times D), M width of the model, P pairs of a head, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

CONSTANT = 4.0  # the coordinate that all tokens share; the others are N(0, 1)
SHARPNESS = 2.0  # length of the fixed vectors per pair: nine tenths of the attention or more at the distance
FAST_PAIRS = 12  # as many of the fastest pairs carry them; the slow ones cannot tell neighbours apart
COPIED = 4.0  # gain of the first layer's output matrix, so that neighbours weigh as much as the token itself


def start(model: Any, generator: torch.Generator) -> None:
    """Set all weights of a Llama-shaped model in place, from the generator alone."""
    config = model.config
    dims = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    inv_freq_P = config.rope_parameters["rope_theta"] ** (-torch.arange(dims // 2) / (dims // 2))
    embedding_VM = model.model.embed_tokens.weight.data.normal_(0, 1, generator=generator)
    embedding_VM[:, 0] = CONSTANT
    model.lm_head.weight.data.normal_(0, 0.02, generator=generator)
    for depth, layer in enumerate(model.model.layers):
        for matrix in layer.parameters():
            if matrix.ndim == 2:
                matrix.data.normal_(0, 0.02, generator=generator)
        layer.mlp.down_proj.weight.data.zero_()  # a layer adds nothing before it has learned something
        attention = layer.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        query_OM, key_OM, value_OM = (projection.weight.data for projection in projections)
        output_MO = attention.o_proj.weight.data
        if depth == 0:
            distances = list(range(1, heads + 1))
            torch.nn.init.orthogonal_(value_OM, generator=generator)
            torch.nn.init.orthogonal_(output_MO, gain=COPIED, generator=generator)
        else:
            group = heads // key_heads
            distances = [heads * (i + 1) for i in range(group * (key_heads // 2))] if depth == 1 else []
            output_MO.zero_()
        for head, distance in enumerate(distances):
            look_back(query_OM, key_OM, head, head * key_heads // heads, distance, inv_freq_P)


def look_back(query_OM: Tensor, key_OM: Tensor, head: int, key_head: int, distance: int, inv_freq_P: Tensor) -> None:
    """Let a head attend `distance` tokens back: its query is its key, turned back by that many positions."""
    pairs = len(inv_freq_P)
    fixed_P = torch.zeros(pairs)
    fixed_P[:FAST_PAIRS] = SHARPNESS
    queries, keys = query_OM[2 * pairs * head :, 0], key_OM[2 * pairs * key_head :, 0]
    queries[:pairs] = fixed_P * torch.cos(distance * inv_freq_P)
    queries[pairs : 2 * pairs] = -fixed_P * torch.sin(distance * inv_freq_P)
    keys[:pairs] = fixed_P
    keys[pairs : 2 * pairs] = 0
