"""Attention that also gives its log-sum-exp, so that parts over disjoint keys can be merged into one softmax.

transformers' attention functions and torch's public one keep the log-sum-exp to themselves; the kernels below them give
it. Each kernel is tried against plain float64 once per device, dtype and head size, and replaced by plain operations
where it is missing or differs. Tensor suffixes: B rows, K key heads, S queries, N keys, D head dimension.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

Part = tuple[Tensor, Tensor]  # attention over some keys [B, K, S, D] in float32, and its log-sum-exp [B, K, S]
Kernel = Callable[[Tensor, Tensor, Tensor, float, Tensor | None], Part]
KEYS_AT_ONCE = 4096  # of plain operations
HALF = (torch.bfloat16, torch.float16)


def attend(query_BKSD: Tensor, key_BKND: Tensor, value_BKND: Tensor, scale: float, seen_SN: Tensor | None) -> Part:
    """Attention to the keys that `seen_SN` (bool) shows, to all of them with None. A query that sees no key gets 0 and
    a log-sum-exp of -infinity."""
    kernel = _kernel(query_BKSD.device, query_BKSD.dtype, query_BKSD.shape[-1], seen_SN is not None)
    out, lse = kernel(query_BKSD, key_BKND, value_BKND, scale, seen_SN)
    wide = torch.float64 if out.dtype == torch.float64 else torch.float32
    out, lse = out.to(wide), lse.to(wide)
    if seen_SN is not None:
        blind_S = ~seen_SN.any(-1)
        lse = lse.masked_fill(blind_S, -math.inf)
        out = out.masked_fill(blind_S[:, None], 0.0)
    return out, lse


def merged(parts: Sequence[Part]) -> Part:
    """Attention over all keys of parts that share none."""
    if len(parts) == 1:
        return parts[0]
    lse = torch.stack([part[1] for part in parts])
    total = torch.logsumexp(lse, 0)
    weights = torch.exp(lse - total).nan_to_num(nan=0.0)[..., None]
    return torch.stack([weight * part[0] for weight, part in zip(weights, parts, strict=True)]).sum(0), total


def plain(query: Tensor, key: Tensor, value: Tensor, scale: float, seen: Tensor | None) -> Part:
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    parts = []
    for start in range(0, key.shape[2], KEYS_AT_ONCE):
        some = slice(start, start + KEYS_AT_ONCE)
        logits = query.to(wide) @ key[:, :, some].to(wide).transpose(-1, -2) * scale
        if seen is not None:
            logits = logits.masked_fill(~seen[:, some], -math.inf)
        lse = logits.logsumexp(-1)
        shares = torch.exp(logits - lse[..., None]).nan_to_num(nan=0.0)
        parts.append((shares @ value[:, :, some].to(wide), lse))
    return merged(parts)


def _on_cpu(query: Tensor, key: Tensor, value: Tensor, scale: float, seen: Tensor | None) -> Part:
    bias = None if seen is None else _bias(seen, query.dtype, -math.inf)
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=bias, scale=scale
    )
    return out, lse


def _flash(query: Tensor, key: Tensor, value: Tensor, scale: float, seen: Tensor | None) -> Part:
    assert seen is None
    found = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False, scale=scale)
    return found[0], found[1][..., : query.shape[2]]


def _efficient(query: Tensor, key: Tensor, value: Tensor, scale: float, seen: Tensor | None) -> Part:
    bias = None
    if seen is not None:  # its rows must begin at multiples of 16 values; -infinity alone in a row would give NaN
        low = -3e4 if query.dtype == torch.float16 else -1e30
        room = seen.new_zeros(seen.shape[0], -(-seen.shape[1] // 16) * 16)
        room[:, : seen.shape[1]] = seen
        bias = _bias(room, query.dtype, low)[..., : seen.shape[1]].expand(*query.shape[:3], -1)
    found = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, True, 0.0, False, scale=scale
    )
    return found[0], found[1][..., : query.shape[2]]


def _bias(seen: Tensor, dtype: torch.dtype, hidden: float) -> Tensor:
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, hidden)[None, None]


@cache
def _kernel(device: torch.device, dtype: torch.dtype, size: int, masked: bool) -> Kernel:
    if device.type == "cpu":
        candidate: Kernel = _on_cpu
    elif device.type == "cuda":
        candidate = _flash if dtype in HALF and not masked else _efficient
    else:
        return plain
    with torch.inference_mode():
        return candidate if _agrees(candidate, device, dtype, size, masked) else plain


def _agrees(kernel: Kernel, device: torch.device, dtype: torch.dtype, size: int, masked: bool) -> bool:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, n, size, generator=generator).to(device, dtype) for n in (40, 50, 50))
    seen = (torch.arange(50, device=device) < torch.arange(40, device=device)[:, None]) if masked else None
    try:
        out, lse = kernel(query, key, value, size**-0.5, seen)
    except (RuntimeError, AttributeError, TypeError):  # not for this device, dtype, head size or version of torch
        return False
    right_out, right_lse = plain(query.double(), key.double(), value.double(), size**-0.5, seen)
    some = slice(1 if masked else 0, None)  # the first query sees no key
    allowed = 2e-2 if dtype in HALF else 1e-5
    gaps = ((out - right_out)[:, :, some].abs().max(), (lse - right_lse)[:, :, some].abs().max())
    return all(float(gap) <= allowed for gap in gaps)
