"""The engine that runs transformers in this process: one loaded model, methods swapped in place."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from extenders.base import RopePlan, RopeSpec
from extenders.search.problem import Slope
from harness.experiment.cells import Base, plan_of
from harness.experiment.file import Experiment, Method
from harness.model.asking import template_of
from harness.model.files import check_weights, tokenizer_hash, weight_files, weights_hash
from harness.model.gguf import origin_line
from harness.model.lm import ExtendedLM
from harness.model.load import LoadedModel, load_model, place_of, resolved, slow_in_half, stored_in_half
from harness.model.locate import model_folder
from harness.model.logits import hidden_states
from harness.model.run_as import run_as, run_unquantised
from harness.model.spec import load_config, spec_from_config
from harness.model.tokens import load_tokenizer, tokens_of
from harness.progress import Progress, duration, pace
from harness.records.passes import Passes
from harness.rope.applied import applied
from harness.runner.engine_contract import Sessions
from harness.runner.team import SESSION
from harness.search import losses
from harness.search.texts import SearchText
from harness.store import Proof, Store, TrainingRecord
from harness.training.job import TrainingJob
from harness.training.trainer import dtype_of, run_job
from harness.training.weights import TrainedWeights
from tasks.base import Tokenizer

TIMED_TOKENS = 256  # of the prompt by which the time of a long one is told


class LocalSession:
    """A method on the loaded model."""

    def __init__(self, method: Method, lm: ExtendedLM, rotary: Any, rope: RopeSpec) -> None:
        self.lm = lm
        self._method, self._rotary, self._rope = method, rotary, rope

    @property
    def token_forwards(self) -> int:
        return self.lm.token_forwards

    @property
    def start_ids(self) -> list[int]:
        return self.lm.with_start([])

    def rows_at_once(self, length: int) -> int:
        return losses.rows_at_once(self.lm, length)

    def plan_losses(self, rows: Sequence[tuple[RopePlan, SearchText]]) -> list[float]:
        return losses.plan_losses(self.lm, rows)

    def plan_slopes(
        self, rows: Sequence[tuple[RopePlan, SearchText]], solved: float, recompute: bool = False
    ) -> list[Slope]:
        return losses.plan_slopes(self.lm, rows, solved, recompute)

    def prove(self, length: int) -> Proof:
        plan = plan_of(self._method, self._rope, length)
        self._rotary.use(plan)
        proof: Proof = {"plan_hash": plan.hash, "max_difference": float(self._rotary.prove(length, plan))}
        if layers := str(self._rotary.mapped_layers):
            proof["mapped_layers"] = layers
        return proof

    def keep(self, passes: Passes | None) -> None:
        self.lm.passes = passes


class LocalEngine:
    """Runs an experiment's model here.

    `threads`: of the CPU; None: as PyTorch has it. `device`: "auto" is the first GPU, else the CPU.
    """

    name = "transformers, in process"

    def __init__(
        self, experiment: Experiment, progress: Progress, threads: int | None = None, device: str = "auto"
    ) -> None:
        self._experiment, self._progress, self._threads = experiment, progress, threads
        self._device = place_of(device)
        self._base: Base | None = None
        self._fell_back = False  # to float32, on a CPU that does not multiply bfloat16

    def base(self) -> Base:
        if self._base is None:
            asked = self._experiment
            folder = model_folder(asked.model_source, local_files_only=False)
            config = load_config(str(folder))
            rope = spec_from_config(config, trained_length=asked.trained_length)
            dtype, attention = resolved(folder, config, asked.dtype, _kernel(asked.attention), self._device.type)
            parameters = check_weights(folder)
            size = sum(path.stat().st_size for path in weight_files(folder))
            if size > 1e9:
                self._progress.say(f"reading {size / 1e9:.0f} GB of weights, whose hash is part of every cell's key")
            _, words = run_unquantised(folder, config)
            rope = replace(rope, notes=(*rope.notes, *words))
            self._fell_back = (asked.dtype, dtype) == ("auto", "float32") and stored_in_half(folder, config)
            weights, tokenizer = weights_hash(folder) + run_as(config, dtype), tokenizer_hash(folder)
            template = template_of(load_tokenizer(folder)) if asked.chat == "model" else None
            origin, slow = origin_line(folder), slow_in_half(self._device)
            self._base = Base(weights, rope, dtype, attention, parameters, tokenizer, origin, template, slow)
        return self._base

    def tokenizer(self) -> Tokenizer:
        return tokens_of(model_folder(self._experiment.model_source, local_files_only=False))

    @contextmanager
    def open(self) -> Iterator[Sessions]:
        base, asked = self.base(), self._experiment
        self._progress.say(f"loading {asked.model} ({base.dtype}, attention {base.attention})")
        if base.origin:
            self._progress.say(f"it is {base.origin}")
        loaded = self._loaded(asked.dtype, _kernel(asked.attention))
        was = (loaded.weights_hash, loaded.dtype, loaded.attention, loaded.spec)
        planned = (base.weights_hash, base.dtype, base.attention, base.rope)
        if was != planned:
            raise ValueError(
                f"the model changed while it was loaded: planned with {planned[:3]}, loaded {was[:3]}; run again"
            )
        if self._fell_back and SESSION not in os.environ:
            self._progress.say(_slow_words(loaded, max(asked.lengths)))
        with applied(loaded.model, loaded.spec) as rotary:
            sessions: dict[Method, LocalSession] = {}  # by label and extender: a search changes the extender
            weights = TrainedWeights(loaded.model)

            def session_of(method: Method, trained: Path | None = None) -> LocalSession:
                weights.use(trained)
                if method not in sessions:
                    lm = ExtendedLM(loaded, method.extender, rotary, crossing=asked.crossing)
                    sessions[method] = LocalSession(method, lm, rotary, loaded.spec)
                return sessions[method]

            yield session_of

    def train(self, job: TrainingJob, store: Store, tests: Sequence[str]) -> TrainingRecord:
        """Train a fresh copy of the model; `tests` are texts to keep out."""
        loaded = self._loaded(dtype_of(job.training))
        return run_job(job, store, loaded.model, loaded.tokenizer, tests, self._progress.say)

    def _loaded(self, dtype: str, attention: str = "sdpa") -> LoadedModel:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        asked = self._experiment
        return load_model(
            asked.model_source,
            dtype=dtype,
            attention=attention,
            device=str(self._device),
            local_files_only=False,
            trained_length=asked.trained_length,
        )


@torch.inference_mode()
def _slow_words(loaded: LoadedModel, length: int) -> str:
    """That a model runs in float32, and how long a prompt of that many tokens will take, from a short one."""
    ids = torch.zeros((1, TIMED_TOKENS), dtype=torch.long, device=loaded.model.device)
    hidden_states(loaded.model, ids[:, :8])  # the first pass prepares
    started = time.perf_counter()
    hidden_states(loaded.model, ids)
    first, growth = pace([(1, TIMED_TOKENS, time.perf_counter() - started)])
    seconds = length * (first + growth * length)
    return (
        f"this CPU does not multiply bfloat16, so the model runs in float32: a prompt of {length:,} tokens takes "
        f"about {duration(max(1.0, seconds))} in one process"
    )


def _kernel(attention: str) -> str:
    return "sdpa" if attention == "auto" else attention
