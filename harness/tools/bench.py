"""`ropebench bench`: what running under a plan costs, measured in pairs in one run, since machines are noisy.

Every pair times the same forward pass twice, as loaded and under a plan, in turns; the ratio of a pair does not care
how busy the machine is, as long as it stays so for a second. Times are seconds of wall clock.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from extenders.base import Extender
from harness.experiment import parameters
from harness.experiment.naming import label_of, load_method, user_folders
from harness.model.load import LoadedModel, load_model
from harness.model.logits import head, hidden_states
from harness.rope.applied import applied


@dataclass(frozen=True)
class Timing:
    """One row: a length in tokens, medians in seconds, and the median ratio of the pairs with its range."""

    what: str
    length: int
    plain_seconds: float
    planned_seconds: float
    ratio: float
    lowest: float
    highest: float


def subject(model: str, lengths: list[int], extender: str) -> tuple[LoadedModel, Extender]:
    """The model and the method of a benchmark, the method for the longest length and at least twice the window."""
    kind = load_method("bench", extender, user_folders())
    loaded = load_model(model)
    target = max([*lengths, 2 * loaded.spec.trained_length])
    return loaded, parameters.make(label_of(extender), kind, {}, {"target_length": target})


def bench(model: str, lengths: list[int], extender: str = "yarn", pairs: int = 5) -> Iterator[Timing]:
    """Prefill (no cache, logits of the last position) at every length, as loaded and under the plan."""
    if pairs < 1 or not lengths or min(lengths) < 2:
        raise ValueError("bench wants at least one pair and lengths of at least 2 tokens")
    loaded, method = subject(model, lengths, extender)
    generator = torch.Generator().manual_seed(0)
    for length in sorted(lengths):
        ids = torch.randint(0, loaded.model.config.vocab_size, (1, length), generator=generator)
        ids = ids.to(loaded.model.device)

        def prefill(ids: torch.Tensor = ids) -> float:
            started = time.perf_counter()
            with torch.inference_mode():
                head(loaded.model, hidden_states(loaded.model, ids)[:, -1:], 1).float().sum().item()
            return time.perf_counter() - started

        prefill()  # warm up: the first pass of a shape prepares kernels
        plain, planned = [], []
        for _ in range(pairs):
            plain.append(prefill())
            with applied(loaded.model, loaded.spec) as rotary:
                rotary.use(method.plan(loaded.spec, length))
                planned.append(prefill())
        ratios = [with_plan / without for with_plan, without in zip(planned, plain, strict=True)]
        yield Timing(
            "prefill",
            length,
            statistics.median(plain),
            statistics.median(planned),
            statistics.median(ratios),
            min(ratios),
            max(ratios),
        )
