"""What a run asks of the engine that has the model; harness/runner/engine.py is ours, tests bring theirs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from harness.experiment.cells import Base
from harness.experiment.file import Method
from harness.records.passes import Passes
from harness.search.work import Measures
from harness.store import Proof, Store, TrainingRecord
from harness.training.job import TrainingJob
from tasks.base import LM, Tokenizer


class Session(Measures, Protocol):
    """One method on the loaded model."""

    @property
    def lm(self) -> LM: ...

    @property
    def token_forwards(self) -> int:
        """Tokens that went through the model so far."""

    def prove(self, length: int) -> Proof:
        """That the plan at this length is what runs: read back from the live cos and sin, or mapped logits; of a
        server, how its answers compare.

        Raises when what was read back differs by more than rounding.
        """

    def keep(self, passes: Passes | None) -> None:
        """From now on answers go through these passes, so that a cell that is stopped goes on; None: they do not."""


class Sessions(Protocol):
    def __call__(self, method: Method, trained: Path | None = None) -> Session:
        """`trained`: folder of the training whose weights the method runs with; None: the model's own."""


class Engine(Protocol):
    """Where the model runs."""

    name: str

    def base(self) -> Base:
        """What the model is, as cheaply as can be: its weights are not loaded for this."""

    def tokenizer(self) -> Tokenizer | None:
        """The model's, without its weights; None where data cannot be checked before the run."""

    def open(self) -> AbstractContextManager[Sessions]:
        """Loads the model; leaving the block restores it."""

    def train(self, job: TrainingJob, store: Store, tests: Sequence[str]) -> TrainingRecord:
        """Run a training and store it; gives its record. `tests` are texts to keep out of it."""
