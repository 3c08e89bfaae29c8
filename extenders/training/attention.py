"""Causal attention that never crosses documents, and LongLoRA's shifted sparse attention as a case of it.

Documents are given by where they start and never guessed from positions: positions with gaps (PoSE) or positions that
run on through a packed sequence are then no trap, and nothing is lost when a cache or an all-ones mask comes along.

Tensor suffixes: B rows, H query heads, K key heads, G query heads a key head, S positions, D head dimension, T all
positions of all rows in one line.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 128  # queries at a time on a CPU; keys after the block are never multiplied
Starts = Sequence[Sequence[int]]


def document_attention(
    query_BHSD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, starts: Starts, scale: float
) -> Tensor:
    """Causal attention inside every document, [B, H, S, D]. `starts` holds every row's document starts, 0 first."""
    length = query_BHSD.shape[2]
    if len(starts) != query_BHSD.shape[0] or any(row[0] != 0 or row[-1] >= length for row in starts):
        raise ValueError(f"documents start at {starts} in {query_BHSD.shape[0]} rows of {length} positions")
    if len(starts[0]) == 1 and all(len(row) == 1 for row in starts):
        return _causal(query_BHSD, key_BKSD, value_BKSD, scale)
    if query_BHSD.is_cuda and query_BHSD.dtype in (torch.bfloat16, torch.float16):
        return _variable_length(query_BHSD, key_BKSD, value_BKSD, starts, scale)
    rows = []
    for row, own in enumerate(starts):
        ends = [*own[1:], length]
        one = slice(row, row + 1)
        parts = [
            _causal(query_BHSD[one, :, a:b], key_BKSD[one, :, a:b], value_BKSD[one, :, a:b], scale)
            for a, b in zip(own, ends, strict=True)
        ]
        rows.append(torch.cat(parts, dim=2))
    return torch.cat(rows)


def shifted_attention(
    query_BHSD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, starts: Starts, scale: float, group: int
) -> Tensor:
    """Shifted sparse attention (LongLoRA, arXiv:2309.12307, §3.2), [B, H, S, D]; for training only.

    Half of the heads attend inside groups of `group` tokens, the other half inside groups shifted by half of one, so
    information flows between neighbours. Deviation: the published code rolls the sequence, so that its last shifted
    group holds the end and the beginning and early tokens see late ones; here the two half groups at the ends stand
    alone. Documents inside a row are kept apart as well. With an odd number of key heads they are repeated first.
    """
    H, K, S = query_BHSD.shape[1], key_BKSD.shape[1], query_BHSD.shape[2]
    if H < 2 or group < 2:
        raise ValueError(
            f"shifted attention needs two heads and groups of two tokens, got {H} heads, groups of {group}"
        )
    if K % 2:
        key_BKSD, value_BKSD = (x.repeat_interleave(H // K, dim=1) for x in (key_BKSD, value_BKSD))
        K = H
    upright = [sorted({*row, *range(0, S, group)}) for row in starts]
    shifted = [sorted({*row, *range(group // 2, S, group)}) for row in starts]
    first = document_attention(query_BHSD[:, : H // 2], key_BKSD[:, : K // 2], value_BKSD[:, : K // 2], upright, scale)
    last = document_attention(query_BHSD[:, H // 2 :], key_BKSD[:, K // 2 :], value_BKSD[:, K // 2 :], shifted, scale)
    return torch.cat((first, last), dim=1)


def _causal(query_BHSD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, scale: float) -> Tensor:
    """One document a row. On a CPU in blocks of queries, which trains faster there than PyTorch's own kernel."""
    if query_BHSD.device.type != "cpu":
        grouped = query_BHSD.shape[1] != key_BKSD.shape[1]
        return torch.nn.functional.scaled_dot_product_attention(
            query_BHSD, key_BKSD, value_BKSD, is_causal=True, scale=scale, enable_gqa=grouped
        )
    output: Tensor = _Blocks.apply(query_BHSD, key_BKSD, value_BKSD, scale)
    return output


def _variable_length(query_BHSD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, starts: Starts, scale: float) -> Tensor:
    """All documents of all rows in one call of PyTorch's variable-length kernel."""
    from torch.nn.attention.varlen import varlen_attn

    B, H, S, D = query_BHSD.shape
    bounds = [row * S + start for row, own in enumerate(starts) for start in own] + [B * S]
    longest = max(b - a for a, b in zip(bounds, bounds[1:], strict=False))
    cumulative = torch.tensor(bounds, dtype=torch.int32, device=query_BHSD.device)
    query_THD, key_TKD, value_TKD = (x.transpose(1, 2).flatten(0, 1) for x in (query_BHSD, key_BKSD, value_BKSD))
    output = varlen_attn(
        query_THD,
        key_TKD,
        value_TKD,
        cumulative,
        cumulative,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),  # causal
        enable_gqa=H != key_BKSD.shape[1],
    )
    assert isinstance(output, Tensor)
    return output.view(B, S, H, D).transpose(1, 2)


class _Blocks(torch.autograd.Function):
    """Exact causal attention in blocks of queries; keeps no scores and computes them again in the backward pass.

    Softmax and its sums are float32, products are in the dtype of the inputs (bf16 under autocast).
    """

    @staticmethod
    def forward(ctx, query_BHSD, key_BKSD, value_BKSD, scale):  # type: ignore[no-untyped-def]
        output_BHSD = torch.empty_like(query_BHSD)
        total_BHS = query_BHSD.new_empty(query_BHSD.shape[:3], dtype=torch.float32)
        for start, end in _blocks(query_BHSD.shape[2]):
            scores = _scores(query_BHSD, key_BKSD, start, end, scale)
            total = torch.logsumexp(scores, -1, keepdim=True)
            shares = scores.sub_(total).exp_().to(value_BKSD.dtype)
            block = shares.flatten(2, 3) @ value_BKSD[:, :, :end]
            output_BHSD[:, :, start:end] = block.view(output_BHSD[:, :, start:end].shape)
            total_BHS[:, :, start:end] = total.view(total_BHS[:, :, start:end].shape)
        ctx.save_for_backward(query_BHSD, key_BKSD, value_BKSD, output_BHSD, total_BHS)
        ctx.scale = scale
        return output_BHSD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope_BHSD):  # type: ignore[no-untyped-def]
        query_BHSD, key_BKSD, value_BKSD, output_BHSD, total_BHS = ctx.saved_tensors
        B, H, S, D = query_BHSD.shape
        K = key_BKSD.shape[1]
        query_slope = torch.empty_like(query_BHSD)
        key_slope = torch.zeros_like(key_BKSD, dtype=torch.float32)
        value_slope = torch.zeros_like(value_BKSD, dtype=torch.float32)
        slope_BHSD = slope_BHSD.to(value_BKSD.dtype)
        mean_BHS = (slope_BHSD.float() * output_BHSD.float()).sum(-1)
        for start, end in _blocks(S):
            shape = (B, K, H // K, end - start)
            query = query_BHSD[:, :, start:end].reshape(B, K, -1, D)
            slope = slope_BHSD[:, :, start:end].reshape(B, K, -1, D)
            scores = _scores(query_BHSD, key_BKSD, start, end, ctx.scale)
            shares = scores.sub_(total_BHS[:, :, start:end].reshape(*shape, 1)).exp_()
            value_slope[:, :, :end] += shares.to(slope.dtype).flatten(2, 3).transpose(-1, -2) @ slope
            wanted = (slope @ value_BKSD[:, :, :end].transpose(-1, -2)).view(*shape, end).float()
            change = shares.mul_(wanted.sub_(mean_BHS[:, :, start:end].reshape(*shape, 1))).mul_(ctx.scale)
            change = change.to(query.dtype).flatten(2, 3)
            query_slope[:, :, start:end] = (change @ key_BKSD[:, :, :end]).view(B, H, end - start, D)
            key_slope[:, :, :end] += change.transpose(-1, -2) @ query
        return query_slope, key_slope.to(key_BKSD.dtype), value_slope.to(value_BKSD.dtype), None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def _scores(query_BHSD: Tensor, key_BKSD: Tensor, start: int, end: int, scale: float) -> Tensor:
    """Scaled float32 scores [B, K, G, block, keys up to the block's end], -inf for keys after their query."""
    B, H, _, D = query_BHSD.shape
    K = key_BKSD.shape[1]
    query = query_BHSD[:, :, start:end].reshape(B, K, -1, D)
    products = query @ key_BKSD[:, :, :end].transpose(-1, -2)
    scores = products.view(B, K, H // K, end - start, end).float().mul_(scale)
    future = torch.ones(end - start, end - start, dtype=torch.bool, device=scores.device).triu(1)
    scores[..., start:].masked_fill_(future, float("-inf"))
    return scores
