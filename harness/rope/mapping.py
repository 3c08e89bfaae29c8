"""Position mapping in a live transformers model: attention under the pieces of a plan, for any model whose attention
goes through the library's attention interface.

While pieces are pinned the rotary module gives cos 1 and sin 0, so queries and keys arrive un-rotated, the cache holds
un-rotated keys, and `MappedAttention`, registered as an attention function, turns both as the owning piece says. Which
layers can be mapped is found out by `harness.rope.mapping_probe`.

Layers with a sliding window, and layers that do not rotate, keep their own attention.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from extenders.base import RopePlan, RopeSpec
from extenders.pieces import Piece
from harness.rope.piece_attention import LivePiece, ManyQueries, OneQuery, TurnedPairs
from harness.rope.rotation import Rotation

MAPPED, OWN_ROTATION, UNTOUCHED = "mapped", "own rotation", "untouched"


class MappedAttention:
    """An attention function with the plans pinned now. Made by `harness.rope.mapping_probe.mapped_attention`."""

    def __init__(self, model: Any, spec: RopeSpec, rotation: Rotation) -> None:
        self.layer_type = spec.layer_type
        self.active = False
        self.calls = 0  # of mapped layers since the plans were pinned
        self.kinds: dict[int, str] = {}  # by the id of the attention module
        self.neighbours = False  # which dimensions make a pair: see `TurnedPairs`
        self.example: torch.nn.Module | None = None  # one of the mapped layers, and its
        self.shape: tuple[int, int, int, float] = (0, 0, 0, 0.0)  # query heads, key heads, head dimension, scale
        self.spec = spec
        self._model, self._rotation, self._registered, self._each_row = model, rotation, False, False
        self._before = model.config._attn_implementation
        self._name = f"ropebench_pieces_{id(self)}"
        self._rows: list[tuple[LivePiece, ...]] = []
        self._positions: Tensor | None = None
        self._passes: dict[torch.device, list[PassRows]] = {}
        self.examine: Callable[..., Tensor] | None = None  # in the place of all layers, while a model is examined

    # --- plans --------------------------------------------------------------------------------------------------------

    def pin(self, plans: Sequence[RopePlan], each_row: bool) -> None:
        self._rows = [self._live(plan) for plan in plans]
        self._each_row = each_row
        self._positions, self._passes, self.calls = None, {}, 0
        self.register()
        self.active = True

    def off(self) -> None:
        """The model's own attention again."""
        self.active = False
        if self._registered:
            self._registered = False
            self._model.set_attn_implementation(self._before)
            del ALL_ATTENTION_FUNCTIONS[self._name], AttentionMaskInterface._global_mapping[self._name]

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers that are mapped, among all that have attention."""
        return tuple(i for i, kind in enumerate(self.kinds.values()) if kind == MAPPED)

    def register(self) -> None:
        """Every layer asks this object for its attention from now on."""
        if not self._registered:
            ALL_ATTENTION_FUNCTIONS[self._name] = self
            # masks are made for names in the class's own mapping only, and silently left out for others
            AttentionMaskInterface.register(self._name, sdpa_mask)
            self._model.set_attn_implementation(self._name)
            self._registered = True

    def _live(self, plan: RopePlan) -> tuple[LivePiece, ...]:
        """A plan without pieces is one piece: every key, at its own position."""
        if plan.keep_first:
            raise ValueError("a plan that keeps first tokens cannot run in one batch with plans that map positions")
        return tuple(
            LivePiece(
                piece,
                self._rotation.as_the_model(plan.inv_freq if piece.inv_freq is None else piece.inv_freq, self.spec),
                plan.attention_factor,
            )
            for piece in plan.pieces or (Piece(),)
        )

    # --- a forward pass -----------------------------------------------------------------------------------------------

    def begin(self, position_ids: Tensor) -> None:
        """Called by the rotary module at the start of each forward pass with positions [batch or 1, queries]."""
        self._positions, self._passes = position_ids[0] if position_ids.ndim == 3 else position_ids, {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """transformers' attention function: [B, H, S, D], [B, K, N, D] twice → [B, S, H, D]."""
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if self.examine is not None:
            return self.examine(module, query, key, value, attention_mask, scale, others), None
        if id(module) not in self.kinds:
            raise RuntimeError(
                f"{type(module).__name__} was not there when the model was examined for position mapping"
            )
        kind = self.kinds[id(module)]
        return self.answer(kind, module, query, key, value, attention_mask, scale, others), None

    def answer(
        self, kind: str, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float, others: Any
    ) -> Tensor:
        """[B, S, H, D] of a layer of that kind, whose queries and keys were not rotated (but for UNTOUCHED)."""
        if kind == MAPPED:
            if query.requires_grad:  # kernels give no gradient of the log-sum-exp, so it would be silently wrong
                raise ValueError("there is no gradient through mapped positions; run the model under torch.no_grad()")
            self.calls += 1
            return self._mapped(query, key, value, mask, scale)
        if kind == OWN_ROTATION:
            query, key = self.as_trained(query, key, self.turn(query.dtype))
        return with_own_attention(module, query, key, value, mask, scale, others)

    def as_trained(self, query: Tensor, key: Tensor, turn: TurnedPairs) -> tuple[Tensor, Tensor]:
        """Queries and keys rotated as the checkpoint does it. A cache of a window holds the last keys only."""
        assert self._positions is not None
        [live] = self._live(RopePlan.as_trained(self.spec))
        turned = []
        for x in (query, key):
            ends = self._positions[:, -1:].to(x.device) + 1 - x.shape[2]
            place = (ends + torch.arange(x.shape[2], device=x.device)).clamp(min=0)
            cos, sin = turn.table(place[..., None].float() * live.inv_freq.to(x.device), live.factor)
            turned.append(turn(x, cos[:, None], sin[:, None]))
        return turned[0], turned[1]

    def _mapped(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        if query.device not in self._passes:
            self._passes[query.device] = self._parts(query, key.shape[2], mask)
        outs = [part(query, key, value, scale) for part in self._passes[query.device]]
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def turn(self, dtype: torch.dtype) -> TurnedPairs:
        """How vectors of that dtype are turned."""
        return TurnedPairs(self.neighbours, torch.float32 if self._rotation.keeps_float32 else dtype)

    def _parts(self, query: Tensor, keys: int, mask: Tensor | None) -> list["PassRows"]:
        """The rows of this pass: together where they have one plan and one place, else one by one."""
        batch, device, turn = query.shape[0], query.device, self.turn(query.dtype)
        if self._positions is None:
            raise RuntimeError("attention ran before the rotary module was asked, so no position is known")
        if self._each_row and len(self._rows) != batch:
            raise ValueError(f"{len(self._rows)} plans are pinned, one for each row, but the batch has {batch} rows")
        places = self._positions.expand(batch, -1).tolist()
        count, lasts = len(places[0]), [row[-1] for row in places]
        pads = [keys - last - 1 for last in lasts]
        hidden = [0] * batch if mask is None else _hidden(mask.expand(batch, -1, -1, -1)[:, 0, -1])
        steady = all(
            row[i] == last + 1 - count + i
            for row, last in zip(places, lasts, strict=True)
            for i in (0, count // 2)
            if last + 1 - count + i >= 0
        )
        if pads != hidden or min(pads) < 0 or not steady:
            raise ValueError(
                "position mapping needs position_ids that count the tokens before each query, without gaps: the rows "
                f"have {keys} keys, of which {hidden} are hidden on the left, and end at positions {lasts}"
            )
        plans = self._rows if self._each_row else self._rows * batch
        if count == 1:
            return [PassRows(slice(None), 0, 0, OneQuery(plans, lasts, turn, device))]
        if len(set(lasts)) == 1 and len({id(plan) for plan in plans}) == 1:
            together = slice(None)
            return [self._part(together, plans[0], pads[0], count, lasts[0], turn, device)]
        return [self._part(slice(i, i + 1), plans[i], pads[i], count, lasts[i], turn, device) for i in range(batch)]

    def _part(
        self,
        rows: slice,
        plan: Sequence[LivePiece],
        pad: int,
        count: int,
        last: int,
        turn: TurnedPairs,
        device: torch.device,
    ) -> "PassRows":
        blank = max(0, count - last - 1)  # queries of padding
        return PassRows(rows, pad, blank, ManyQueries(plan, last + 1 - count + blank, count - blank, turn, device))


@dataclass(frozen=True)
class PassRows:
    """Rows of a batch in one forward pass, with padding on the left: of keys, and of queries."""

    rows: slice
    keys_before: int
    queries_before: int
    run: ManyQueries | OneQuery

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        here = slice(self.keys_before, None)
        query = query[self.rows, :, self.queries_before :]
        out = self.run(query, key[self.rows, :, here], value[self.rows, :, here], scale)
        return torch.nn.functional.pad(out, (0, 0, 0, 0, self.queries_before, 0)) if self.queries_before else out


def _hidden(mask: Tensor) -> list[int]:
    """How many keys [batch, keys] the last query of each row does not see."""
    seen = mask if mask.dtype == torch.bool else mask == 0
    return [int(count) for count in (~seen).sum(-1).tolist()]


def with_own_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, others: Any
) -> Tensor:
    """What the layer does by itself, without rotation: [B, S, H, D]."""
    out: Tensor = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, scaling=scale, **others)[0]
    return out
