"""From tokens to logits in two steps, so that the full [positions, vocabulary] matrix never exists.

The body of a model runs once and gives hidden states; its head then makes logits of a few positions at a time. The head
is the model's own forward function, so families that scale or cap their logits (Granite, Cohere, Gemma 2) are right
without a list of them.
"""

from typing import Any

import torch
from torch import Tensor

# Logits in one piece: 2^26 values are 256 MB in float32, and the loss needs about three such pieces at a time.
LOGITS_AT_ONCE = 2**26
ON_GPU = 2**27  # every piece is a pass of one token through the whole model, which on a GPU is most of the time


def body(model: Any) -> Any:
    """What of a model makes the hidden states, without its head.

    `base_model` names it but for a few classes whose prefix is that of the whole checkpoint (Llama 4, Mllama): there it
    is the model itself. Raises ValueError where no body is found.
    """
    base = model.base_model
    if base is model:
        base = getattr(model, "model", model)
    if base is model:
        raise ValueError(f"{type(model).__name__} is not supported: its body and its head cannot be told apart")
    return base


def hidden_states(model: Any, ids: Tensor) -> Tensor:
    """Hidden states [rows, positions, width] of token ids [rows, positions], before the head; no cache, no mask."""
    states: Tensor = body(model)(input_ids=ids, use_cache=False, return_dict=True).last_hidden_state
    return states


def head(model: Any, hidden: Tensor, rows: int = 1) -> Tensor:
    """Logits [..., vocabulary] of hidden states [batch, positions, width], by the model's own forward function.

    The model runs on one token for each of the `rows` that plans are pinned for, and a hook puts `hidden` in the place
    of what comes out of its body.
    """

    def replace(_module: Any, _inputs: Any, output: Any) -> Any:
        output.last_hidden_state = hidden
        return output

    hook = body(model).register_forward_hook(replace)
    try:
        token = torch.zeros((rows, 1), dtype=torch.long, device=hidden.device)
        logits: Tensor = model(input_ids=token, use_cache=False, return_dict=True).logits
    finally:
        hook.remove()
    return logits


def target_losses(model: Any, hidden: Tensor, targets: Tensor, rows: int = 1) -> tuple[Tensor, Tensor]:
    """Loss in nats (float32) and whether the target is the most likely token, for each of [positions].

    `hidden` is [positions, width], `targets` is [positions]; `rows` as in `head`.
    """
    at_once = ON_GPU if hidden.device.type == "cuda" else LOGITS_AT_ONCE
    step = max(1, at_once // model.get_output_embeddings().weight.shape[0])
    losses, hits = [], []
    for start in range(0, len(targets), step):
        wanted = targets[start : start + step]
        logits = head(model, hidden[None, start : start + step], rows)[0]
        losses.append(torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none"))
        hits.append(logits.argmax(-1) == wanted)
    return torch.cat(losses), torch.cat(hits)
