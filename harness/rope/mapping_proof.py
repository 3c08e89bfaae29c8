"""Does a model really run with its pieces? Logits are read back from the live attention and compared in float64.

The attention function that the model has now is asked with keys of which some are marked: a marked key has a vector of
its own and a value that only it has, every other key is 0. So the answer's columns are the shares of the marked keys,
and their logarithms are their logits. Marked are keys at the borders of regions, the first, the last and some between,
for queries at borders and at the end of the length, read in blocks and one by one. What must come out is computed here
from the plan alone.

Besides: the rotary modules give cos 1 and sin 0, and in a forward pass every mapped layer asks the attention function.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from extenders.base import RopePlan, RopeSpec
from extenders.pieces import Piece
from harness.rope.mapping import MappedAttention
from harness.rope.proof import NotApplied
from harness.rope.rotation import PlannedForward

BLOCK = 16  # queries that are read at once
BLOCKS = 12


@torch.no_grad()
def proved_pieces(
    model: torch.nn.Module,
    mapping: MappedAttention | None,
    forwards: list[tuple[torch.nn.Module, PlannedForward]],
    spec: RopeSpec,
    plans: Sequence[RopePlan],
    length: int,
    dtype: torch.dtype,
) -> float:
    """The greatest difference of logits, read in float32, from those of the plans up to `length` tokens.

    The plans are those that are pinned. Raises NotApplied beyond what rounding explains, or where the model's layers do
    not ask for the attention that was read.
    """
    name = type(model).__name__
    if mapping is None or not mapping.active:
        raise NotApplied(f"{name} does not run with the plan: its attention maps no positions")
    device = next(model.parameters()).device
    for module, _ in forwards:
        _check_still(module, spec, device)
    worst = 0.0
    for kind in dict.fromkeys((torch.float32, dtype)):
        for query, count in _questions(plans, length):
            found, allowed = _read_back(model, mapping, plans, query, count, kind, device)
            if not found <= allowed:
                raise NotApplied(
                    f"{name} does not run with the plan: logits of queries up to position {query + count - 1} differ "
                    f"by {found:.3g} ({kind})"
                )
            worst = max(worst, found) if kind == torch.float32 else worst
    _check_layers(model, mapping, len(plans), device)
    return worst


def _check_still(module: torch.nn.Module, spec: RopeSpec, device: torch.device) -> None:
    live = module(
        torch.zeros(1, 1, 8, device=device),
        torch.arange(4, device=device)[None],
        *([spec.layer_type] if spec.layer_type else []),
    )
    if not (isinstance(live, tuple) and bool((live[0] == 1).all()) and bool((live[1] == 0).all())):
        raise NotApplied(f"{type(module).__name__} rotates by itself, and the attention function would rotate again")


def _check_layers(model: torch.nn.Module, mapping: MappedAttention, rows: int, device: torch.device) -> None:
    before = mapping.calls
    model(input_ids=torch.zeros((rows, 2), dtype=torch.long, device=device), use_cache=False)
    if mapping.calls - before != len(mapping.layers):
        raise NotApplied(
            f"{mapping.calls - before} layers of {type(model).__name__} asked for mapped attention, "
            f"{len(mapping.layers)} should"
        )


def _questions(plans: Sequence[RopePlan], length: int) -> list[tuple[int, int]]:
    """(first query, number of queries): at borders of regions and at the end, in blocks; the last one also alone."""
    borders = {length}
    for plan in plans:
        for piece in plan.pieces:
            for edge in (piece.region.start, piece.region.stop or 0):
                borders |= {edge * piece.region.chunk + BLOCK // 2, (edge + 1) * piece.region.chunk + BLOCK // 2}
    places = sorted({min(max(border, 1), length) for border in borders})[-BLOCKS:]
    blocks = [(max(0, place - BLOCK), min(BLOCK, place)) for place in places]
    return [*(block for block in blocks if block[1] > 1), (length - 1, 1)]


def _read_back(
    model: torch.nn.Module,
    mapping: MappedAttention,
    plans: Sequence[RopePlan],
    first: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[float, float]:
    """(greatest difference of log shares, what rounding explains) of queries first … first + count - 1."""
    heads, key_heads, size, scale = mapping.shape
    total = first + count
    marked = _marked(plans, first, total, size)
    generator = torch.Generator().manual_seed(first)
    # whole numbers of eighths are exact in every dtype
    query, vectors = (
        (torch.randint(-8, 9, (1, h, n, size), generator=generator) / part).to(device)
        for h, n, part in ((heads, count, 2), (key_heads, len(marked), 8))
    )
    key, value = (torch.zeros(1, key_heads, total, size, device=device, dtype=dtype) for _ in range(2))
    key[:, :, marked] = vectors.to(dtype)
    value[:, :, marked, torch.arange(len(marked), device=device)] = 1.0
    mapping.begin(torch.arange(first, total, device=device)[None])
    live = ALL_ATTENTION_FUNCTIONS[model.config._attn_implementation]  # type: ignore[union-attr, index]
    rows = len(plans)
    shares = live(
        mapping.example, *(x.to(dtype).expand(rows, -1, -1, -1) for x in (query, key, value)), None, scaling=scale
    )[0]
    shares = shares.transpose(1, 2)[..., : len(marked)].double()
    mapping.begin(torch.zeros((1, 1), dtype=torch.long, device=device))
    worst, most = 0.0, 0.0
    for row, plan in enumerate(plans):
        logits, slack = logits_of(
            plan, query.double(), vectors.double(), first, torch.tensor(marked), scale, mapping.neighbours
        )
        i = torch.arange(first, total, device=device)[:, None]
        seen = torch.tensor(marked, device=device) <= i
        others = (i + 1 - seen.sum(-1, keepdim=True)).double()
        logits = logits.masked_fill(~seen, -math.inf)
        wanted = logits - torch.logaddexp(logits.logsumexp(-1, keepdim=True), others.log())
        if bool((shares[row].masked_select(~seen) != 0).any()):
            return math.inf, 0.0
        gap = (shares[row].log() - wanted).masked_fill(~seen, 0.0).abs().nan_to_num(nan=math.inf)
        worst, most = max(worst, float(gap.max())), max(most, float(slack))
    rounding = torch.finfo(dtype).eps * (2 + 3 * size * scale) * (1 if dtype != torch.float32 else 8)
    return worst, 2 * most + rounding


def _marked(plans: Sequence[RopePlan], first: int, total: int, size: int) -> list[int]:
    """At most `size` keys below `total`: those around the borders of what the middle query sees, and some between."""
    middle = (first + total - 1) // 2
    ends = [key for plan in plans for piece in plan.pieces for key in piece.region.keys(middle)]
    wanted = [
        total - 1,
        0,
        *(key + more for more in (0, 1, -1) for key in ends),
        *(total * i // 7 for i in range(1, 7)),
    ]
    kept = [key for key in dict.fromkeys(wanted) if 0 <= key < total]
    return sorted(kept[:size])


def logits_of(
    plan: RopePlan,
    query_BHSD: Tensor,
    key_BKND: Tensor,
    first: int,
    keys_N: Tensor,
    scale: float,
    neighbours: bool = False,
) -> tuple[Tensor, float]:
    """Logits [B, H, S, N] in float64 of queries from position `first` on and of keys at positions `keys_N`, without the
    causal mask, and by how much phases that are rounded to float32 can move one of them."""
    heads = query_BHSD.shape[1] // key_BKND.shape[1]
    key_BHND = key_BKND.repeat_interleave(heads, 1)
    queries = range(first, first + query_BHSD.shape[2])
    keys = keys_N.tolist()
    pairs = len(plan.inv_freq)
    logits = torch.zeros(*query_BHSD.shape[:3], len(keys), dtype=torch.float64, device=query_BHSD.device)
    slack = 0.0
    for piece in plan.pieces or (Piece(),):
        inv_freq = plan.inv_freq if piece.inv_freq is None else piece.inv_freq
        at_query = torch.tensor([[piece.query.at(i, p) for p in range(pairs)] for i in queries], dtype=torch.float64)
        at_key = torch.tensor([[piece.key.at(j, p) for p in range(pairs)] for j in keys], dtype=torch.float64)
        turns = torch.tensor(inv_freq, dtype=torch.float64)
        turned_query = _turned(query_BHSD, (at_query * turns).to(query_BHSD.device), plan.attention_factor, neighbours)
        turned_key = _turned(key_BHND, (at_key * turns).to(query_BHSD.device), plan.attention_factor, neighbours)
        owned = torch.tensor([[piece.region.owns(i, j) for j in keys] for i in queries], device=query_BHSD.device)
        multiplier = [1.0 if piece.logit_scale is None else piece.logit_scale.at(i) for i in queries]
        ours = (
            turned_query
            @ turned_key.transpose(-1, -2)
            * scale
            * torch.tensor(multiplier, dtype=torch.float64, device=logits.device)[:, None]
        )
        logits = torch.where(owned, ours, logits)
        longest = float(query_BHSD.norm(dim=-1).max() * key_BHND.norm(dim=-1).max()) * scale * plan.attention_factor**2
        phase = max(float((at_query.abs() * turns).max()), float((at_key.abs() * turns).max()))
        slack = max(slack, longest * max(multiplier) * phase * 2.0**-22)
    return logits, slack


def _turned(x: Tensor, phase: Tensor, factor: float, neighbours: bool) -> Tensor:
    """x (…, D) with its first 2 · pairs dimensions rotated, as complex numbers."""
    pairs = phase.shape[-1]
    first, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    real, imaginary = (first[..., 0::2], first[..., 1::2]) if neighbours else (first[..., :pairs], first[..., pairs:])
    turned = torch.complex(real, imaginary) * torch.polar(torch.full_like(phase, factor), phase)
    parts = (
        torch.stack((turned.real, turned.imag), -1).flatten(-2)
        if neighbours
        else torch.cat((turned.real, turned.imag), -1)
    )
    return torch.cat((parts, rest), -1)
