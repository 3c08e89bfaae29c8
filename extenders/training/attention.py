"""Causal attention that never crosses documents, and LongLoRA's shifted sparse attention as a case of it.

Documents are given by where they start and never guessed from positions: positions with gaps (PoSE) or positions that
run on through a packed sequence are then no trap, and nothing is lost when a cache or an all-ones mask comes along.

Tensor suffixes: B rows, H query heads, K key heads, G query heads a key head, S positions, D head dimension, T all
positions of all rows in one line.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 256  # queries at a time on a CPU; keys after the block are never multiplied
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
    for row, row_starts in enumerate(starts):
        ends = [*row_starts[1:], length]
        only = slice(row, row + 1)
        parts = [
            _causal(query_BHSD[only, :, a:b], key_BKSD[only, :, a:b], value_BKSD[only, :, a:b], scale)
            for a, b in zip(row_starts, ends, strict=True)
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
    """One document a row. On a CPU with a backward pass of our own, which is faster there than PyTorch's."""
    if query_BHSD.device.type != "cpu":
        grouped = query_BHSD.shape[1] != key_BKSD.shape[1]
        return torch.nn.functional.scaled_dot_product_attention(
            query_BHSD, key_BKSD, value_BKSD, is_causal=True, scale=scale, enable_gqa=grouped
        )
    tensors = (query_BHSD, key_BKSD, value_BKSD)
    if torch.is_autocast_enabled("cpu"):  # as it does for PyTorch's own attention; rotated queries may be float32
        query_BHSD, key_BKSD, value_BKSD = (x.to(torch.get_autocast_dtype("cpu")) for x in tensors)
    output: Tensor = _Blocks.apply(query_BHSD, key_BKSD, value_BKSD, scale)
    return output


def _variable_length(query_BHSD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, starts: Starts, scale: float) -> Tensor:
    """All documents of all rows in one call of PyTorch's variable-length kernel."""
    from torch.nn.attention.varlen import varlen_attn

    B, H, S, D = query_BHSD.shape
    bounds = [row * S + start for row, row_starts in enumerate(starts) for start in row_starts] + [B * S]
    longest = max(b - a for a, b in zip(bounds, bounds[1:], strict=False))
    cumulative = torch.tensor(bounds, dtype=torch.int32, device=query_BHSD.device)
    if (grouped := H // key_BKSD.shape[1]) > 1:  # PyTorch 2.11's kernel has no grouped queries
        key_BKSD, value_BKSD = (x.repeat_interleave(grouped, dim=1) for x in (key_BKSD, value_BKSD))
    query_THD, key_THD, value_THD = (x.transpose(1, 2).flatten(0, 1) for x in (query_BHSD, key_BKSD, value_BKSD))
    output = varlen_attn(
        query_THD,
        key_THD,
        value_THD,
        cumulative,
        cumulative,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),  # causal
    )
    assert isinstance(output, Tensor)
    return output.view(B, S, H, D).transpose(1, 2)


class _Blocks(torch.autograd.Function):
    """Exact causal attention: PyTorch's own kernel forward, blocks of queries backward.

    The kernel keeps the logarithm of every softmax's sum; from it the shares are one product and one exponential: two
    more dimensions carry -log(sum) through the product, in two parts so that bf16 loses nothing, and two carry the
    mean slope likewise. Nothing of S x S is stored. Sums over queries are float32, products are in the dtype of the
    inputs (bf16 under autocast).
    """

    @staticmethod
    def forward(ctx, query_BHSD, key_BKSD, value_BKSD, scale):  # type: ignore[no-untyped-def]
        H, K = query_BHSD.shape[1], key_BKSD.shape[1]
        key, value = (x.repeat_interleave(H // K, dim=1) if H != K else x for x in (key_BKSD, value_BKSD))
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        output_BHSD, logsum_BHS = kernel(query_BHSD, key, value, 0.0, True, scale=scale)
        ctx.save_for_backward(query_BHSD, key_BKSD, value_BKSD, output_BHSD, logsum_BHS)
        ctx.scale = scale
        return output_BHSD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope_BHSD):  # type: ignore[no-untyped-def]
        query_BHSD, key_BKSD, value_BKSD, output_BHSD, logsum_BHS = ctx.saved_tensors
        B, H, S, D = query_BHSD.shape
        K = key_BKSD.shape[1]
        slope_BHSD = slope_BHSD.to(query_BHSD.dtype)
        query_slope = torch.empty_like(query_BHSD)
        key_slope = torch.zeros_like(key_BKSD, dtype=torch.float32)
        value_slope = torch.zeros_like(value_BKSD, dtype=torch.float32)
        scaled = _less(query_BHSD * ctx.scale, logsum_BHS)
        slopes = _less(slope_BHSD, (slope_BHSD.float() * output_BHSD.float()).sum(-1))
        ones = key_BKSD.new_ones(B, K, S, 2)
        keys, values = (torch.cat((x, ones), -1).transpose(-1, -2) for x in (key_BKSD, value_BKSD))
        for start in range(0, S, BLOCK):
            end = min(start + BLOCK, S)
            rows = (B, K, H // K * (end - start))
            shares = scaled[:, :, start:end].reshape(*rows, -1) @ keys[..., :end]
            future = torch.ones(end - start, end - start, dtype=torch.bool, device=shares.device).triu(1)
            shares.view(B, K, H // K, end - start, end)[..., start:].masked_fill_(future, float("-inf"))
            shares.exp_()
            slope = slopes[:, :, start:end].reshape(*rows, -1)
            value_slope[:, :, :end] += shares.transpose(-1, -2) @ slope[..., :D]
            change = (slope @ values[..., :end]).mul_(shares)
            query_slope[:, :, start:end] = (change @ key_BKSD[:, :, :end]).view(B, H, end - start, D)
            key_slope[:, :, :end] += change.transpose(-1, -2) @ query_BHSD[:, :, start:end].reshape(*rows, D)
        query_slope, key_slope = query_slope.mul_(ctx.scale), key_slope.mul_(ctx.scale)
        return query_slope, key_slope.to(key_BKSD.dtype), value_slope.to(value_BKSD.dtype), None


def _less(tensor_BHSD: Tensor, number_BHS: Tensor) -> Tensor:
    """The tensor with two dimensions more, which times (1, 1) subtract the number to the precision of float32."""
    coarse = number_BHS.to(tensor_BHSD.dtype)
    fine = (number_BHS - coarse.to(number_BHS.dtype)).to(tensor_BHSD.dtype)
    return torch.cat((tensor_BHSD, -coarse[..., None], -fine[..., None]), -1)
