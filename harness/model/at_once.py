"""How many tokens go through a model together: more on a GPU, whose time small pieces waste.

Both numbers follow from the model and the device alone, not from what is free at the moment, so that a run that is
repeated makes the same batches.
"""

from typing import Any

import torch

ON_CPU = 16_384  # tokens; on a CPU a pass of several rows takes as long as the rows one by one
ON_GPU = 65_536  # tokens of one forward pass without a cache: a gigabyte or two of activations for models up to 8B
MOST_ANSWERED = 1_048_576  # tokens of prompts that are answered together on a GPU
SHARE = 0.25  # of the GPU's memory, for the keys and values of these prompts


def tokens_at_once(model: Any) -> tuple[int, int]:
    """(tokens of one forward pass, tokens of the prompts and answers that are in work together).

    An answer of 48 tokens takes 48 passes, however many prompts are answered together.
    """
    if model.device.type != "cuda":
        return ON_CPU, ON_CPU
    memory = torch.cuda.get_device_properties(model.device).total_memory
    fitting = int(SHARE * memory) // cache_bytes_per_token(model)
    return ON_GPU, max(ON_CPU, min(MOST_ANSWERED, fitting))


def cache_bytes_per_token(model: Any) -> int:
    """Bytes of keys and values that a token takes in all layers, as for full attention (for others an upper bound)."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(2 * config.num_hidden_layers * key_heads * head_dim * model.dtype.itemsize)
