"""Caches of prompts that were read one by one → one cache in which they are answered together.

Shorter prompts are padded on the left, so all rows write their next key at one place; a mask hides the padding, and
positions are told to the model row by row. Tensor suffixes: B rows, K key heads, S positions, D head dimension.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer's keys and values with room for new ones, which the library's layer would copy at every token."""

    def __init__(self, keys: Sequence[Tensor], values: Sequence[Tensor], room: int) -> None:
        super().__init__()
        longest = max(key.shape[2] for key in keys)
        self._keys_BKSD, self._values_BKSD = (_padded(parts, longest, room) for parts in (keys, values))
        self.dtype, self.device = keys[0].dtype, keys[0].device
        self.is_initialized = True
        self._show(longest)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        place = slice(self.used, self.used + key_states.shape[2])
        self._keys_BKSD[:, :, place], self._values_BKSD[:, :, place] = key_states, value_states
        self._show(place.stop)
        return self.keys, self.values

    def _show(self, used: int) -> None:
        self.used = used
        self.keys, self.values = self._keys_BKSD[:, :, :used], self._values_BKSD[:, :, :used]


def can_join(config: Any) -> bool:
    """Whether every layer of the model keeps the keys of all positions, which windows and recurrent states do not."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def joined(caches: Sequence[Any], new_tokens: int) -> DynamicCache:
    """One cache of a row for each given one, with room for new tokens. The given ones are emptied on the way."""
    together = DynamicCache()
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        keys, values = [layer.keys for layer in layers], [layer.values for layer in layers]
        together.layers.append(RoomyLayer(keys, values, new_tokens))
        for layer in layers:
            layer.keys = layer.values = None
    return together


def mask_of(lengths: Sequence[int], device: Any) -> Tensor:
    """[B, S]: 1 where a row has a token, 0 where it is padded on the left."""
    longest = max(lengths)
    places_S = torch.arange(longest, device=device)
    starts_B = longest - torch.tensor(lengths, device=device)
    return (places_S[None] >= starts_B[:, None]).long()


def _padded(parts: Sequence[Tensor], longest: int, room: int) -> Tensor:
    _, K, _, D = parts[0].shape
    padded_BKSD = parts[0].new_zeros(len(parts), K, longest + room, D)
    for row, part in zip(padded_BKSD, parts, strict=True):
        row[:, longest - part.shape[2] : longest] = part[0]
    return padded_BKSD
