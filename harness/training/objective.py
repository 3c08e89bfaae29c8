"""A transformers model as the training loop wants it: a batch in, the sum of its weighted losses out.

Documents are told to an attention function of our own. transformers would guess them from positions that begin anew,
and loses the mask without a word where a cache or an all-ones mask comes along, and breaks on positions with gaps.
That the function was asked once a layer in every forward pass is checked, so a model that does not ask it cannot train
with its documents mixed up. Tensor suffixes: B rows, S positions, W width, N positions of all rows, H heads, D head
dimension.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from extenders.base import RopePlan
from extenders.training.attention import document_attention, shifted_attention
from extenders.training.batch import Batch
from extenders.training.losses import weighted_loss
from extenders.training.schedule import TrainingSequence
from harness.model.logits import body
from harness.model.logits import head as model_head
from harness.store import TrainingProof
from harness.training.context_parallel import Split

KERNEL = "ropebench_documents"


class DocumentStarts:
    """What the attention function reads: where the documents of the running batch start."""

    def __init__(self) -> None:
        self.starts: tuple[tuple[int, ...], ...] | None = None
        self.group = 0  # tokens; 0: full attention inside documents
        self.asked = 0
        self.split: Split | None = None  # the processes that share the sequences


_documents = DocumentStarts()  # transformers calls attention functions by name and hands them no state of ours


def _attention(
    module: Any, query_BHSD: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **rest: Any
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in every layer; gives [B, S, H, D]."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if rest.get(name) is not None]
    window = rest.get("sliding_window")
    if window is not None and window < query_BHSD.shape[2]:
        unknown.append(f"sliding_window {window}")
    if unknown or rest.get("dropout"):
        raise ValueError(
            f"{type(module).__name__} uses {', '.join(unknown) or 'dropout'} in its attention, which training does not "
            "know; ropebench trains models with plain causal attention"
        )
    scale = rest.get("scaling") or query_BHSD.shape[-1] ** -0.5
    if query_BHSD.shape[2] == 1 or _documents.starts is None:  # the head of an unusual model, asked with one token
        starts: Any = [[0]] * query_BHSD.shape[0]
        return document_attention(query_BHSD, key, value, starts, scale).transpose(1, 2), None
    _documents.asked += 1
    split = _documents.split
    if split is not None:
        heads = query_BHSD.shape[1]
        query_BHSD, key, value = (split.whole(part, heads) for part in (query_BHSD, key, value))
        output = split.slice(document_attention(query_BHSD, key, value, _documents.starts, scale))
    elif _documents.group:
        output = shifted_attention(query_BHSD, key, value, _documents.starts, scale, _documents.group)
    else:
        output = document_attention(query_BHSD, key, value, _documents.starts, scale)
    return output.transpose(1, 2), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Causality and documents are the attention function's own business."""


@contextmanager
def document_kernel(model: Any) -> Iterator[None]:
    """Let the model attend by document; leaving the block gives its own kernel back."""
    ALL_ATTENTION_FUNCTIONS.register(KERNEL, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(KERNEL, _no_mask)
    before = model.config._attn_implementation
    model.config._attn_implementation = KERNEL
    try:
        yield
    finally:
        model.config._attn_implementation = before
        _documents.starts = _documents.split = None


class Objective(nn.Module):
    """The model with its loss, as one module, so that sharding sees head and body under one root.

    `group` is the share of a sequence that shifted attention groups have, 0 for full attention. `split`: batches are
    slices of sequences that these processes share; not together with `group`, whose halves of heads would be others.
    Raises RuntimeError in a forward pass whose attention did not ask for the documents.
    """

    def __init__(self, model: Any, group: float = 0.0, split: Split | None = None) -> None:
        super().__init__()
        if group and split is not None:
            raise ValueError("shifted attention (longlora) works on whole sequences; set context_parallel to 1")
        self.model = model
        self.group, self.split = group, split
        self.layers = int(model.config.get_text_config().num_hidden_layers)
        self.linear = _is_linear(model)

    def forward(self, batch: Batch) -> Tensor:
        _documents.starts, _documents.asked = batch.starts, 0
        _documents.group, _documents.split = round(self.group * batch.ids_BS.shape[1]), self.split
        output = body(self.model)(
            input_ids=batch.ids_BS, position_ids=batch.positions_BS, use_cache=False, return_dict=True
        )
        if _documents.asked != self.layers:
            raise RuntimeError(
                f"attention asked {_documents.asked} times for the documents in a model of {self.layers} layers: "
                "it does not attend by document"
            )
        hidden_NW = output.last_hidden_state.flatten(0, 1)
        return weighted_loss(hidden_NW, batch.targets_BS.flatten(), batch.weights_BS.flatten(), self._head)

    def _head(self, hidden_NW: Tensor) -> Tensor:
        if self.linear:
            logits: Tensor = self.model.get_output_embeddings()(hidden_NW)
            return logits
        return model_head(self.model, hidden_NW[None])[0]


@torch.no_grad()
def _is_linear(model: Any) -> bool:
    """Whether logits are the output embedding of the hidden states and nothing more (no cap, no scale)."""
    layer = model.get_output_embeddings()
    if layer.weight.is_meta:
        return True
    hidden = torch.linspace(-3, 3, layer.weight.shape[1], device=layer.weight.device, dtype=layer.weight.dtype)[None]
    return torch.equal(layer(hidden), model_head(model, hidden[None])[0])


class Plans:
    """Pins the plan of each batch and reads it back when a class of sequences runs for the first and the last time."""

    def __init__(self, rotary: Any, plans: Mapping[str, RopePlan]) -> None:
        self.rotary, self.plans = rotary, plans
        self.proofs: dict[str, TrainingProof] = {}

    def __call__(self, batch: Batch) -> None:
        plan = self.plans[batch.rope]
        self.rotary.use(plan)
        name = f"{batch.kind}, {batch.rope}"
        length = batch.longest
        if name not in self.proofs or self.proofs[name]["length"] < length:
            difference = float(self.rotary.prove(length, plan))
            self.proofs[name] = {"plan_hash": plan.hash, "length": length, "max_difference": difference}

    def prove_again(self) -> None:
        """At the end of a run: the model still runs with every plan as written. Raises NotApplied."""
        for name, proof in self.proofs.items():
            plan = self.plans[name.partition(", ")[2]]
            self.rotary.use(plan)
            proof["max_difference"] = max(proof["max_difference"], float(self.rotary.prove(proof["length"], plan)))


def attended(sequence: TrainingSequence, window: int, group: float = 0.0) -> float:
    """Tokens that attend to each other in a sequence: all of it, a group of shifted attention, or one masked document.

    Masked documents count with the greatest length of their portion, so attention in them is counted too high.
    """
    length = float(sequence.size)
    if sequence.portion.masked:
        length = min(length, sequence.portion.up_to.tokens(window, sequence.target))
    return min(length, group * sequence.size) if group else length


def training_flops(model: Any, parts: Iterable[tuple[int, float]], trained: int, total: int) -> float:
    """Floating-point operations of training on `parts`, each so many tokens and how many attend to each other.

    Per token 6 for every weight that multiplies it (2 forward, 4 backward; 2 fewer for weights that are frozen) and
    12 · layers · heads · head dimension · length/2 for causal attention. Recomputation does not count (model FLOPs).
    """
    config = model.config.get_text_config()
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    embedding = model.get_input_embeddings().weight.numel()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    multiplying = total - (0 if tied else embedding)
    weights = 4 * multiplying + 2 * min(trained, multiplying)
    attention = 12 * config.num_hidden_layers * width / 2
    return sum(tokens * (weights + attention * length) for tokens, length in parts)
