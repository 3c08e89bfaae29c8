"""`ropebench bench shape`: what a model of a published size costs on this machine, as shares of its two ceilings.

Weights are random: speed and memory need no trained ones. In one run, for every length:

- prefill: one prompt under a plan with a cache and the logits of its last token, as tests run it; a share of the rate
  of a large matrix product in the same dtype.
- a token decoded: as many prompts at once as tests would answer together, from a cache of that length filled with
  random numbers; a share of the rate at which memory is read. What has to be read is the weights, once, and all keys
  and values.
- with `training`, a training step: one document of that length, adapters (LoRA) of the default rank, layers computed
  again in the backward pass, without an optimiser. Operations are counted as done: forward, again, and the way back to
  activations, twice that in attention; no weight but the adapters takes a gradient.

A step that does not fit into memory says so.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from extenders.base import RopeSpec, load
from extenders.training import lora as adapters
from extenders.training.batch import Batch
from extenders.training.recipe import Lora
from harness.model.at_once import cache_bytes_per_token, tokens_at_once
from harness.model.joined_cache import RoomyLayer
from harness.model.logits import body, head
from harness.records.memory import PeakMemory, trim
from harness.rope.applied import applied
from harness.tools.bench_stages import (
    NEW,
    TimedStage,
    linear_weights,
    matrix_rate,
    memory_rate,
    operations,
    stage,
    times,
    weight_bytes,
)
from harness.training.objective import Objective, document_kernel

LEAST = 2  # tokens of a prompt


def bench_shape(
    model: Any,
    spec: RopeSpec,
    lengths: Sequence[int],
    pairs: int = 3,
    say: Callable[[str], None] = lambda line: None,
    training: bool = False,
) -> Iterator[TimedStage]:
    """All rows at every length (tokens), training steps last, since adapters stay. Raises ValueError for lengths of
    less than two tokens."""
    if pairs < 1 or not lengths or min(lengths) < LEAST:
        raise ValueError(f"bench shape wants at least one repetition and lengths of at least {LEAST} tokens")
    matrix, memory = matrix_rate(model, pairs), memory_rate(model, pairs)
    yield stage(
        "matrix product",
        0,
        matrix[1],
        None,
        f"{matrix[0] / 1e9:,.0f} GFLOP/s in {str(model.dtype).removeprefix('torch.')}",
    )
    yield stage("read memory", 0, memory[1], None, f"{memory[0] / 1e9:,.1f} GB/s")
    with applied(model, spec) as rotary:
        for length in sorted(lengths):
            say(f"{length:,} tokens: prefill and decoding")
            _use(rotary, spec, length)
            yield _row("prefill", length, pairs, partial(_prefill, model, length), operations(model, length), matrix[0])
            yield _decoding(model, length, pairs, memory[0])
        if not training:
            return
        with document_kernel(model):
            objective = _with_adapters(model)
            for length in sorted(lengths):
                say(f"{length:,} tokens: training step")
                _use(rotary, spec, length)
                what = f"training step, LoRA of rank {Lora().rank}"
                yield _row(what, length, pairs, partial(_step, objective, length), _trained(model, length), matrix[0])


def _use(rotary: Any, spec: RopeSpec, length: int) -> None:
    rotary.use(load("yarn")(target_length=max(length, 2 * spec.trained_length)).plan(spec, length))


def _row(what: str, length: int, pairs: int, work: Callable[[], object], done: float, rate: float) -> TimedStage:
    """A stage of so many operations as a share of the rate of matrix products, with its peak memory."""
    _free()
    memory = PeakMemory()
    try:
        taken = times(work, pairs)
    except torch.OutOfMemoryError:
        return stage(what, length, [0.0], None, "does not fit into memory")
    share = done / sorted(taken)[len(taken) // 2] / rate
    return stage(what, length, taken, share, f"the matrix rate; {memory.peak() / 1e9:.1f} GB at most")


def _ids(model: Any, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.config.vocab_size, (rows, length), generator=generator).to(model.device)


@torch.inference_mode()
def _prefill(model: Any, length: int) -> None:
    output = body(model)(input_ids=_ids(model, 1, length), use_cache=True, return_dict=True)
    head(model, output.last_hidden_state[:, -1:], 1).argmax(-1).item()


@torch.inference_mode()
def _decoding(model: Any, length: int, pairs: int, rate: float) -> TimedStage:
    """A token of each of the prompts that are answered together."""
    _free()
    rows = max(1, tokens_at_once(model)[1] // (length + NEW))
    what = f"a token decoded, {rows} prompt{'s' if rows > 1 else ''}"
    try:
        cache = _cache(model, rows, length, NEW * (pairs + 1))
        token, places = _ids(model, rows, 1), torch.full((rows, 1), length, device=model.device)

        def tokens() -> None:
            for _ in range(NEW):
                output = model(
                    input_ids=token, position_ids=places, past_key_values=cache, use_cache=True, return_dict=True
                )
                token.copy_(output.logits[:, -1:].argmax(-1))
                places.add_(1)

        taken = [seconds / NEW for seconds in times(tokens, pairs)]
    except torch.OutOfMemoryError:
        return stage(what, length, [0.0], None, "does not fit into memory")
    read = weight_bytes(model) + rows * length * cache_bytes_per_token(model)
    share = read / sorted(taken)[len(taken) // 2] / rate
    return stage(what, length, taken, share, f"the memory rate; {read / 1e9:.1f} GB are read for it")


def _cache(model: Any, rows: int, length: int, room: int) -> Any:
    """A cache of that many rows with random keys and values."""
    config = model.config.get_text_config()
    heads = config.num_key_value_heads
    wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = DynamicCache()
    for _ in range(config.num_hidden_layers):
        parts = [torch.randn(1, heads, length, wide, device=model.device, dtype=model.dtype)] * rows
        cache.layers.append(RoomyLayer(parts, parts, room))
    return cache


def _with_adapters(model: Any) -> Objective:
    model.train()
    adapters.attach(model, Lora(), "bench shape")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Objective(model)


def _step(objective: Objective, length: int) -> None:
    ids = _ids(objective.model, 1, length)
    places = torch.arange(length, device=ids.device)[None]
    batch = Batch("bench", "", ids, places, ids.roll(-1, 1), torch.ones_like(ids, dtype=torch.float32), ((0,),))
    with torch.autocast(ids.device.type, torch.bfloat16):
        loss = objective(batch) / length
    loss.backward()
    objective.zero_grad(set_to_none=True)


def _trained(model: Any, length: int) -> float:
    """Operations of a training step that computes layers again: twice forward, and the way back to the activations."""
    forward = operations(model, length)
    output = model.get_output_embeddings().weight.numel()
    linear = 2 * length * (linear_weights(model) + output)
    attention = forward - 2 * (linear_weights(model) * length + output)
    return 3 * linear + 4 * attention


def _free() -> None:
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
