"""Can the positions of a model be mapped, and in which layers? Found by asking it.

A short text goes through the model as loaded and again with cos 1 and sin 0, and what arrives at the attention function
is compared layer by layer: a layer whose queries and keys are those of the first run once we have rotated them, and
whose answer is ours for pieces that change nothing, is mapped. Layers with a sliding window keep their own attention,
and so do layers that do not rotate. Anything else is refused by name, so there is no list of families.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from extenders.base import RopePlan, RopeSpec
from harness.rope.mapping import MAPPED, OWN_ROTATION, UNTOUCHED, MappedAttention, with_own_attention
from harness.rope.rotation import PlannedForward

TOKENS = 24
SLIDING = ("sliding_attention", "chunked_attention")
ALLOWED = {torch.float32: 1e-4, torch.float64: 1e-6}  # greatest difference as a share of the greatest value
ALLOWED_IN_HALF = 0.05


def mapped_attention(
    model: Any, spec: RopeSpec, forwards: list[tuple[torch.nn.Module, PlannedForward]]
) -> MappedAttention:
    """The attention function for a model whose rotary modules have these forwards, not pinned yet.

    Raises ValueError, one line, for a model that cannot be mapped.
    """
    _refuse_by_configuration(model)
    rotation = forwards[0][1].rotations[spec.layer_type]
    if rotation.layout == "polar":
        raise cannot(model, "it rotates by complex numbers")
    mapping = MappedAttention(model, spec, rotation)
    for _, forward in forwards:
        forward.mapping = mapping
    try:
        _Examination(model, mapping).run()
        if MAPPED not in mapping.kinds.values():
            found = "all its layers have a sliding window or do not rotate"
            raise cannot(model, f"{found if mapping.kinds else 'none asks for an attention function'}, so none can be")
    except ValueError:
        for _, forward in forwards:
            forward.mapping = None
        raise
    finally:
        mapping.examine = None
        mapping.off()
    return mapping


class _Examination:
    """Two forward passes of one text, compared."""

    def __init__(self, model: Any, mapping: MappedAttention) -> None:
        self._model, self._mapping = model, mapping
        self._loaded: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        vocabulary = model.get_input_embeddings().weight.shape[0]
        generator = torch.Generator().manual_seed(0)
        self._ids = torch.randint(0, vocabulary, (1, TOKENS), generator=generator).to(model.device)

    @torch.no_grad()
    def run(self) -> None:
        mapping = self._mapping
        mapping.register()
        mapping.examine = self._first
        self._forward()
        mapping.pin([RopePlan.as_trained(mapping.spec)], each_row=False)
        mapping.examine = self._second
        self._forward()

    def _forward(self) -> None:
        self._model(input_ids=self._ids, use_cache=False, return_dict=True)

    def _first(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float, others: Any
    ) -> Tensor:
        _refuse_by_call(self._model, module, query, value, others)
        out = with_own_attention(module, query, key, value, mask, scale, others)
        self._loaded[id(module)] = query, key, out
        return out

    def _second(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float, others: Any
    ) -> Tensor:
        mapping, name = self._mapping, type(module).__name__
        loaded_query, loaded_key, loaded_out = self._loaded[id(module)]
        turn = mapping.turn(query.dtype)
        styles = (turn, dataclasses.replace(turn, neighbours=not turn.neighbours))
        fits = [
            turn for turn in styles if all(map(alike, mapping.as_trained(query, key, turn), (loaded_query, loaded_key)))
        ]
        slides = others.get("sliding_window") is not None or getattr(module, "layer_type", None) in SLIDING
        if alike(query, loaded_query) and alike(key, loaded_key):
            kind = UNTOUCHED
        elif not fits:
            raise cannot(self._model, f"{name} changes queries or keys in a way of its own")
        else:
            kind = OWN_ROTATION if slides else MAPPED
            mapping.neighbours = fits[0].neighbours
        out = mapping.answer(kind, module, query, key, value, mask, scale, others)
        if not alike(out, loaded_out):
            raise cannot(self._model, f"{name} answers otherwise under pieces that change nothing")
        mapping.kinds[id(module)] = kind
        if kind == MAPPED:
            mapping.example = module
            mapping.shape = query.shape[1], key.shape[1], query.shape[3], scale
        return loaded_out  # so that every layer is examined with the first run's input


def alike(one: Tensor, other: Tensor) -> bool:
    allowed = ALLOWED.get(other.dtype, ALLOWED_IN_HALF)
    return float((one - other).abs().max()) <= allowed * float(other.abs().max())


def cannot(model: Any, reason: str) -> ValueError:
    return ValueError(f"positions of {type(model).__name__} cannot be mapped: {reason}; use a method of frequencies")


def _refuse_by_configuration(model: Any) -> None:
    config = model.config.get_text_config()
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    kernel = str(model.config._attn_implementation)
    if getattr(config, "kv_lora_rank", None):
        raise cannot(model, "its keys are compressed and rotated apart (MLA)")
    if any("mrope_section" in block for block in (parameters, *nested)):
        raise cannot(model, "it rotates by several position axes (M-RoPE)")
    if getattr(config, "attn_logit_softcapping", None):
        raise cannot(model, "it caps its attention logits (soft caps)")
    if kernel not in ("sdpa", "eager"):
        raise ValueError(f"position mapping replaces the attention kernel, and {kernel} is fused; use attention sdpa")
    if not model._can_set_attn_implementation():
        raise cannot(model, "its attention does not go through the attention interface of transformers")


def _refuse_by_call(model: Any, module: Any, query: Tensor, value: Tensor, others: Any) -> None:
    if others.get("softcap") is not None:
        raise cannot(model, "it caps its attention logits (soft caps)")
    if others.get("s_aux") is not None:
        raise cannot(model, "its attention has sinks")
    if not getattr(module, "is_causal", True):
        raise cannot(model, f"{type(module).__name__} is not causal")
    if query.shape[-1] != value.shape[-1]:
        raise cannot(model, "its values have another size than its keys")
