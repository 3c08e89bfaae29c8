"""`ropebench bench candidate`: what a candidate of a search costs on one text, beside what full logits would cost.

Three ways, in turns in one run, under the same plan on the same text:

- body: the layers alone, no logits. Weights and activations: no evaluation can be cheaper.
- candidate: what a search runs, the layers and the logits of the scored tokens.
- full logits: the straightforward evaluation, the model's own call with labels, which makes logits of every position.

With `gradient` three more, which a search by gradient is made of and compared with:

- gradient step: a candidate and the way back to its rescale factors; no weight takes a gradient.
- gradient step, layers again: the same with `recompute=1`, which keeps only what goes into a layer.
- training step: the way back to every weight from the loss of all tokens, without an optimiser.

A shape is a model with random weights: speed and memory need no trained ones.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from extenders.base import RopePlan, RopeSpec, load
from harness.model.load import load_model, place_of, slow_in_half
from harness.model.logits import hidden_states
from harness.model.spec import spec_from_config
from harness.records.memory import PeakMemory, trim
from harness.rope.applied import applied
from harness.search.losses import plan_losses, plan_slopes
from harness.search.texts import SearchText
from harness.tools.doctor import memory_bytes

LONG = 10.0  # seconds of a pass; what the first one prepares takes less than one, so long ones count from the first
SCORED = 7  # tokens of one RULER number and the space before it, which is what a search scores in a text

# meta-llama/Meta-Llama-3-8B, meta-llama/Llama-3.2-1B (without its RoPE scaling) and microsoft/Phi-3-mini-4k-instruct,
# config.json
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama3-8b": {
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
    "llama3-1b": {
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
    "phi3-mini": {
        "model_type": "phi3",
        "vocab_size": 32_064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "pad_token_id": 32_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
}


@dataclass(frozen=True)
class Way:
    """One way at one length (tokens): the median of its seconds, and its seconds in shares of full logits in the same
    pair (median, lowest, highest); peak memory in bytes, all in all. Without seconds it did not fit into memory.
    """

    what: str
    length: int
    seconds: float | None
    share: float | None
    lowest: float | None
    highest: float | None
    peak: int | None
    loss: float | None  # nats per scored token; the body has none


@dataclass(eq=False)
class Bare:
    """What `plan_losses` needs of a model; no tokenizer."""

    model: Any
    rotary: Any
    token_forwards: int = 0


def opened(model: str, shape: str | None) -> tuple[Any, RopeSpec]:
    """The model of that name, or one of that shape with random weights, and its RoPE."""
    if shape is not None:
        return random_model(shape)
    loaded = load_model(model)
    return loaded.model, loaded.spec


def random_model(shape: str) -> tuple[Any, RopeSpec]:
    """A model of that shape with random weights, in bfloat16 unless a CPU is slow in it, on the GPU where there is one,
    and its RoPE."""
    if shape not in SHAPES:
        raise ValueError(f"shape {shape!r} is unknown; allowed are {', '.join(SHAPES)}")
    settings = dict(SHAPES[shape])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    place = place_of("auto")
    dtype = torch.float32 if slow_in_half(place) else torch.bfloat16
    needed = dtype.itemsize * parameters(config)
    have = torch.cuda.mem_get_info()[0] if place.type == "cuda" else memory_bytes()
    if have and needed > 0.9 * have:
        raise ValueError(
            f"{shape} has {needed / 1e9:.1f} GB of weights and this machine {have / 1e9:.1f} GB of memory for them; "
            "measure a smaller shape, or a model of your own with --model"
        )
    with torch.random.fork_rng(), place:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.eval(), spec_from_config(config)


def parameters(config: Any) -> int:
    """How many weights a model of this configuration has."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())


def bench_candidate(
    model: Any,
    spec: RopeSpec,
    lengths: Sequence[int],
    pairs: int = 3,
    say: Callable[[str], None] = lambda line: None,
    gradient: bool = False,
    only: Sequence[str] = (),
) -> Iterator[Way]:
    """The ways at every length (tokens), or those of `only`. Raises ValueError for lengths that hold no scored token
    and ways that do not exist."""
    ways = {**FORWARD, **BACKWARD} if gradient else dict(FORWARD)
    if unknown := [name for name in only if name not in ways]:
        raise ValueError(f"bench candidate has no way {unknown[0]!r}; it has {', '.join(ways)}")
    ways = {name: ways[name] for name in ways if not only or name in only}
    if pairs < 1 or not lengths or min(lengths) <= SCORED:
        raise ValueError(f"bench candidate wants at least one pair and lengths above {SCORED} tokens")
    generator = torch.Generator().manual_seed(0)
    with applied(model, spec) as rotary:
        bare = Bare(model, rotary)
        for length in sorted(lengths):
            ids = torch.randint(0, model.config.vocab_size, (length,), generator=generator).tolist()
            document = SearchText(tuple(ids), tuple(range(length - SCORED, length)), "random", "")
            method = load("yarn")(target_length=max(length, 2 * spec.trained_length))
            yield from _measured_ways(dict(ways), bare, method.plan(spec, length), document, pairs, say)


def _measured_ways(
    ways: dict[str, Callable[[Bare, RopePlan, SearchText], float | None]],
    bare: Bare,
    plan: RopePlan,
    document: SearchText,
    pairs: int,
    say: Callable[[str], None],
) -> Iterator[Way]:
    length, names = len(document.ids), list(ways)
    if not full_logits_fit(bare.model, length):
        for what in ("full logits", "training step"):
            ways.pop(what, None)
    seconds: dict[str, list[float]] = {what: [] for what in ways}
    peaks: dict[str, int] = {}
    losses: dict[str, float | None] = {}
    warm, turn = 1, 0  # the first round warms up: the first pass of a shape prepares kernels
    while turn < warm + pairs:
        turn += 1
        say(f"{length} tokens, round {turn} of {warm + pairs}: {', '.join(ways)}")
        for what in list(ways):
            measured = _measured(ways[what], bare, plan, document)
            if measured is None:
                del ways[what], seconds[what]
                continue
            losses[what], took, peak = measured
            seconds[what].append(took)
            peaks[what] = max(peak, peaks.get(what, 0))
        if turn == 1 and all(first > LONG for [first] in seconds.values()):
            warm = 0
    for what in names:
        if what not in ways:
            yield Way(what, length, None, None, None, None, None, None)
            continue
        here, whole = seconds[what][warm:], seconds.get("full logits", [])[warm:]
        shares = [part / all_ for part, all_ in zip(here, whole, strict=True)] if whole else []
        middle, low, high = (statistics.median(shares), min(shares), max(shares)) if shares else (None, None, None)
        yield Way(what, length, statistics.median(here), middle, low, high, peaks[what], losses[what])


def _measured(
    way: Callable[[Bare, RopePlan, SearchText], float | None], bare: Bare, plan: RopePlan, document: SearchText
) -> tuple[float | None, float, int] | None:
    """Loss, seconds and peak memory in bytes; None where memory does not suffice."""
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    memory = PeakMemory()
    started = time.perf_counter()
    try:
        loss = way(bare, plan, document)
    except torch.OutOfMemoryError:
        return None
    return loss, time.perf_counter() - started, memory.peak()


@torch.inference_mode()
def body(bare: Bare, plan: RopePlan, document: SearchText) -> None:
    bare.rotary.use(plan)
    hidden_states(bare.model, torch.tensor([document.ids], device=bare.model.device))[0, -1, 0].item()


def candidate(bare: Bare, plan: RopePlan, document: SearchText) -> float:
    [loss] = plan_losses(bare, [(plan, document)])
    return loss


@torch.inference_mode()
def full_logits(bare: Bare, plan: RopePlan, document: SearchText) -> float:
    bare.rotary.use(plan)
    ids = torch.tensor([document.ids], device=bare.model.device)
    labels = torch.full_like(ids, -100)
    places = list(document.scored)
    labels[0, places] = ids[0, places]
    return float(bare.model(input_ids=ids, labels=labels, use_cache=False).loss)


def gradient_step(bare: Bare, plan: RopePlan, document: SearchText, recompute: bool = False) -> float:
    [slope] = plan_slopes(bare, [(plan, document)], 0.0, recompute)
    assert slope.gradient is not None
    return slope.loss


def training_step(bare: Bare, plan: RopePlan, document: SearchText) -> float:
    bare.rotary.use(plan)
    bare.model.requires_grad_(True)
    try:
        ids = torch.tensor([document.ids], device=bare.model.device)
        loss = bare.model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        return float(loss.detach())
    finally:
        bare.model.zero_grad(set_to_none=True)


FORWARD: Mapping[str, Callable[[Bare, RopePlan, SearchText], float | None]] = {
    "body": body,
    "candidate": candidate,
    "full logits": full_logits,
}
BACKWARD: Mapping[str, Callable[[Bare, RopePlan, SearchText], float | None]] = {
    "gradient step": gradient_step,
    "gradient step, layers again": partial(gradient_step, recompute=True),
    "training step": training_step,
}


def full_logits_fit(model: Any, length: int) -> bool:
    """False where a CPU's memory would not hold them: no allocation fails there, the process is killed.

    Logits in the model's dtype, and as float32 once more for the loss and its gradient-free softmax.
    """
    if model.device.type != "cpu":
        return True
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    needed = weights + length * model.config.vocab_size * (model.dtype.itemsize + 8)
    have = memory_bytes() or math.inf
    return needed < 0.7 * have


HEAD = ["", "tokens", "s", "of full logits [range]", "peak memory, GB", "loss, nats"]


def line(way: Way) -> list[str]:
    """A row of the table; "–" where there is nothing to say."""
    if way.seconds is None or way.peak is None:
        return [way.what, str(way.length), "does not fit", "–", "–", "–"]
    share = "–" if way.share is None else f"{way.share:.3f} [{way.lowest:.3f}, {way.highest:.3f}]"
    loss = "–" if way.loss is None else f"{way.loss:.4f}"
    return [way.what, str(way.length), f"{way.seconds:.3f}", share, f"{way.peak / 1e9:.2f}", loss]
