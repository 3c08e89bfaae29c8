"""Can a model be read and continued the way every test does it? Asked with one token when it is loaded."""

from typing import Any

import torch

from harness.model.logits import body


@torch.no_grad()
def check_answers(model: Any) -> None:
    """Raises ValueError, by name, for a model without hidden states, without a cache that it hands over, or with a part
    of its cache inside its modules: what one prompt left there would reach the next."""
    name = type(model).__name__
    before = _inner_tensors(model)
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    output = body(model)(input_ids=token, use_cache=True, return_dict=True)
    if not isinstance(getattr(output, "last_hidden_state", None), torch.Tensor):
        raise ValueError(f"{name} is not supported: its body gives no last_hidden_state")
    kept = [place for place, tensor in _inner_tensors(model).items() if before.get(place) is not tensor]
    if kept:
        raise ValueError(
            f"{name} is not supported: it keeps a part of its cache inside its modules ({kept[0]}), so what one "
            "prompt left there would reach the next"
        )
    if getattr(output, "past_key_values", None) is None:
        raise ValueError(
            f"{name} is not supported: it hands over no cache (past_key_values), so it cannot be continued"
        )


def _inner_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Plain tensor attributes of all modules: neither parameters nor buffers."""
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    }
