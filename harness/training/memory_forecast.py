"""Does a training fit into memory? A forecast, by which activations are computed again where they would not fit.

Of a model of 135 million weights (30 layers, width 576, 1,536 in the middle of a layer), trained whole in float32 with
bfloat16 products on 1,024 tokens at once, 4.20 GB were measured, weights included, and 4.17 are forecast.
"""

from pathlib import Path
from typing import Any

import torch

PROGRAM = 7 * 10**8  # bytes: Python with its libraries, and pieces of logits
STATES = 12  # bytes of a trained weight: its gradient and two moments of AdamW, in float32
WIDTHS, MIDDLES = 8, 4  # values that a layer keeps of a token for its backward pass, in widths of both kinds
BYTES = 4  # of a value: half of them are float32, and products keep copies


def forecast(model: Any, trained: int, tokens: int, checkpointing: bool) -> int:
    """Bytes that a training takes beside the weights, with so many trained weights and tokens at once."""
    config = model.config.get_text_config()
    layers, width = config.num_hidden_layers, config.hidden_size
    middle = getattr(config, "intermediate_size", None) or 4 * width
    of_layer = BYTES * (WIDTHS * width + MIDDLES * middle)
    of_token = layers * BYTES * width + of_layer if checkpointing else layers * of_layer
    return int(PROGRAM + STATES * trained + tokens * of_token)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    sizes = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit():
            sizes.append(int(limit) - int((group / "memory.current").read_text(encoding="ascii")))
    except OSError:
        pass
    return max(0, min(sizes, default=0))


def with_checkpointing(asked: bool | None, model: Any, trained: int, tokens: int) -> tuple[bool, str]:
    """(whether activations are computed again, the forecast in words); `asked` None: where memory needs it."""
    free = free_memory(model.device)
    without = forecast(model, trained, tokens, checkpointing=False)
    again = asked if asked is not None else bool(free) and without > free
    needed = forecast(model, trained, tokens, checkpointing=True) if again else without
    words = f"about {needed / 1e9:.1f} GB of memory beside the weights"
    words += f", {free / 1e9:.1f} GB are free" if free else ""
    if again and asked is None:
        words += f"; {without / 1e9:.1f} GB without computing activations again, which takes a third more time"
    if free and needed > free:
        words += "; if that is too little, lower micro_tokens, train adapters (lora), or aim at a shorter target"
    return again, words
