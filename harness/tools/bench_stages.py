"""`ropebench bench stages`: every stage of an evaluation as a share of what this machine can do.

Two ceilings are measured first: the rate of a large matrix product in the model's dtype, which bounds a prefill, and
the rate at which memory is read, which bounds the decoding of one prompt. Operations are counted from the shapes: two
for each weight of a linear layer and token, and the causal half of attention; so a share says how much of the time the
arithmetic takes that cannot be avoided. Then the harness beside the bare model: the same prompts, the same greedy
answers, in turns, as a ratio of pairs.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import tasks.base
from harness.model.at_once import cache_bytes_per_token
from harness.model.lm import ExtendedLM
from harness.rope.applied import applied
from harness.tools.bench import subject
from tasks.answers import PromptTask

SIZE, SIZE_ON_GPU = 2048, 8192  # rows and columns of the matrices; small ones do not fill a GPU
READ, READ_ON_GPU = 256 * 2**20, 8 * 2**30  # bytes that are read at once: more than caches hold
LONG = 10.0  # seconds
NEW = 16  # tokens of an answer
PROMPTS = 2


@dataclass(frozen=True)
class TimedStage:
    """One stage at one length (tokens; 0 where there is none): median seconds, and of the pairs or repetitions the
    lowest and highest. `share` is of the ceiling in words, or the ratio to the bare model."""

    what: str
    length: int
    seconds: float
    lowest: float
    highest: float
    share: float | None
    of: str


def bench_stages(model: str, lengths: list[int], extender: str = "yarn", pairs: int = 5) -> Iterator[TimedStage]:
    """All stages at every length, which has to be long enough for the test `needle`."""
    if pairs < 1 or not lengths or min(lengths) < 256:
        raise ValueError("bench stages wants at least one pair and lengths of at least 256 tokens")
    loaded, method = subject(model, lengths, extender)
    matrix, memory = matrix_rate(loaded.model, pairs), memory_rate(loaded.model, pairs)
    yield stage("matrix product", 0, matrix[1], None, f"{matrix[0] / 1e9:,.0f} GFLOP/s in {loaded.dtype}")
    yield stage("read memory", 0, memory[1], None, f"{memory[0] / 1e9:,.1f} GB/s")
    with applied(loaded.model, loaded.spec) as rotary:
        lm = ExtendedLM(loaded, method, rotary)
        for length in sorted(lengths):
            yield from _at(lm, length, pairs, matrix[0], memory[0])


def _at(lm: ExtendedLM, length: int, pairs: int, matrix: float, memory: float) -> Iterator[TimedStage]:
    task = tasks.base.make("needle")
    assert isinstance(task, PromptTask)
    prompts: list[str] = []

    def make() -> None:
        prompts[:] = [sample.prompt for sample in task.prompts(lm, length, 0, PROMPTS)]

    makes = [seconds / PROMPTS for seconds in times(make, pairs)]
    rows = [lm.with_start(lm.encode(prompt)) for prompt in prompts]
    plans = [lm.plan(length), lm.plan(max(2, length // 2))]

    def swap() -> None:
        for plan in plans:
            lm.rotary.use(plan)

    swaps = [seconds / len(plans) for seconds in times(swap, pairs)]
    ids = torch.tensor([rows[0]], device=lm.model.device)
    prefills = times(lambda: _prefilled(lm.model, ids), pairs)
    cache, first = _prefilled(lm.model, ids)
    decodes = [seconds / NEW for seconds in times(lambda: _decoded(lm.model, cache, first, NEW), 1)]
    read = weight_bytes(lm.model) + ids.shape[1] * cache_bytes_per_token(lm.model)

    def ours() -> list[str]:
        return [answer.text for answer in lm.generate(prompts, NEW)]

    def bare() -> list[str]:
        return [lm.decode(_answer(lm, torch.tensor([row], device=lm.model.device))) for row in rows]

    ours()
    ratios, took = [], []
    for _ in range(pairs):
        [with_harness], [without] = times(ours, 1, False), times(bare, 1, False)
        took.append(with_harness / PROMPTS)
        ratios.append(with_harness / without)
    answers = "same answers" if ours() == bare() else "other answers: the bare model runs as planned last"
    yield stage("prompt made (needle)", length, makes, None, "")
    yield stage("plan swapped", length, swaps, None, "")
    rate = operations(lm.model, ids.shape[1]) / statistics.median(prefills)
    yield stage("prefill", length, prefills, rate / matrix, "the matrix rate")
    yield stage("one token decoded", length, decodes, read / statistics.median(decodes) / memory, "the memory rate")
    words = f"times the bare model, {min(ratios):.3f} to {max(ratios):.3f}; {answers}"
    yield stage(f"answer of {NEW} tokens", length, took, statistics.median(ratios), words)


HEAD_OF_STAGES = ["", "tokens", "s [range]", "share", "of"]


def as_row(timed: TimedStage) -> list[str]:
    """A row of the table."""
    seconds = f"{timed.seconds:.4g} [{timed.lowest:.4g}, {timed.highest:.4g}]" if timed.seconds else "–"
    share = "" if timed.share is None else f"{timed.share:.3f}"
    return [timed.what, f"{timed.length:,}" if timed.length else "", seconds, share, timed.of]


def stage(what: str, length: int, seconds: list[float], share: float | None, of: str) -> TimedStage:
    return TimedStage(what, length, statistics.median(seconds), min(seconds), max(seconds), share, of)


def times(work: Callable[[], object], repetitions: int, warm: bool = True) -> list[float]:
    """Seconds of each repetition. `warm`: one before them does not count, unless it is so long that what it prepares
    does not show."""
    taken: list[float] = []
    while len(taken) < repetitions:
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took, warm_up, warm = time.perf_counter() - started, warm, False
        if not warm_up or took > LONG:
            taken.append(took)
    return taken


@torch.inference_mode()
def matrix_rate(model: Any, repetitions: int) -> tuple[float, list[float]]:
    """Operations a second of the best of several products, and their seconds."""
    size = SIZE_ON_GPU if model.device.type == "cuda" else SIZE
    one = torch.randn(size, size, device=model.device).to(model.dtype)
    taken = times(lambda: one @ one, repetitions)
    return 2 * size**3 / min(taken), taken


@torch.inference_mode()
def memory_rate(model: Any, repetitions: int) -> tuple[float, list[float]]:
    """Bytes a second of the best of several readings, and their seconds."""
    size = READ_ON_GPU if model.device.type == "cuda" else READ
    block = torch.ones(size // 4, device=model.device)
    taken = times(lambda: block.sum().item(), repetitions)
    return size / min(taken), taken


def linear_weights(model: Any) -> int:
    """Weights that every token is multiplied with, the output layer left out."""
    output = model.get_output_embeddings()
    modules = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not output]
    return sum(module.weight.numel() for module in modules)


def weight_bytes(model: Any) -> int:
    """Bytes of the weights that are read for a token."""
    output = model.get_output_embeddings()
    return int((linear_weights(model) + output.weight.numel()) * model.dtype.itemsize)


def operations(model: Any, tokens: int) -> float:
    """Operations of a prefill with logits of its last token."""
    config = model.config.get_text_config()
    width = (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads) * (
        config.num_attention_heads
    )
    attention = 2 * 2 * config.num_hidden_layers * width * tokens * (tokens + 1) / 2
    return float(2 * linear_weights(model) * tokens + attention + 2 * model.get_output_embeddings().weight.numel())


@torch.inference_mode()
def _prefilled(model: Any, ids: torch.Tensor) -> tuple[Any, torch.Tensor]:
    output = model(input_ids=ids, use_cache=True, logits_to_keep=1, return_dict=True)
    return output.past_key_values, output.logits[:, -1:].argmax(-1)


@torch.inference_mode()
def _decoded(model: Any, cache: Any, token: torch.Tensor, tokens: int) -> list[int]:
    written = [token]
    for _ in range(tokens):
        output = model(input_ids=written[-1], past_key_values=cache, use_cache=True, return_dict=True)
        written.append(output.logits[:, -1:].argmax(-1))
    return [int(one) for one in written]


def _answer(lm: ExtendedLM, ids: torch.Tensor) -> list[int]:
    """The bare model's greedy answer: no plan is chosen, nothing is joined, nothing is kept."""
    cache, first = _prefilled(lm.model, ids)
    written = _decoded(lm.model, cache, first, NEW - 1)
    ends = [i for i, token in enumerate(written) if token in lm._ends]
    return written[: ends[0]] if ends else written
