"""The engine that asks servers: every method is a server's, started with the plan that `ropebench export` writes.

Nothing can be read back from a server, so instead of the proof of a plan stands a parity check: the first prompts of
the first test at a length are answered by transformers in this process too, under the method's plan, and what is kept
is how many answers are the same and where the others part. A server that ignores its plan parts at once where the plan
matters; rounding parts late and seldom.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path

from extenders.base import RopePlan
from extenders.search.problem import Slope
from extenders.search.searched import SearchedExtender
from harness.experiment.cells import Base, lengths_of, plan_of
from harness.experiment.file import Experiment, Method
from harness.model.endpoint import Endpoint, ServedLM
from harness.model.locate import model_folder
from harness.model.tokens import tokens_of
from harness.progress import Progress
from harness.records.passes import Passes
from harness.runner.engine import LocalEngine
from harness.runner.engine_contract import Sessions
from harness.runner.serving import Serving
from harness.search.texts import SearchText
from harness.store import Parity, Proof, Store, TrainingRecord
from harness.training.job import TrainingJob
from tasks.answers import PromptTask
from tasks.base import Tokenizer

NO_WEIGHTS = "a served model is not searched or trained"


class ServedEngine:
    """Runs the cells of an experiment on servers. Raises ValueError, one line, for what no server can do."""

    name = "a server with OpenAI's completions API"

    def __init__(self, experiment: Experiment, serving: Serving, progress: Progress, device: str = "auto") -> None:
        _check(experiment, serving)
        self._experiment, self._serving, self._progress = experiment, serving, progress
        self._here = LocalEngine(experiment, progress, device=device)

    def base(self) -> Base:
        return replace(self._here.base(), dtype=self._serving.words, attention=self._serving.words)

    def tokenizer(self) -> Tokenizer:
        return self._here.tokenizer()

    @contextmanager
    def open(self) -> Iterator[Sessions]:
        base, asked = self.base(), self._experiment
        tokenizer = tokens_of(model_folder(asked.model_source, local_files_only=False)).tokenizer
        sessions: dict[Method, ServedSession] = {}
        endpoints = {label: Endpoint(address) for label, address in self._serving.addresses.items()}
        for label, endpoint in endpoints.items():  # before a model is loaded: all of them are there
            self._progress.say(f"{label}: asking {endpoint.name} at {endpoint.url}")
        with ExitStack() as opened:
            local = opened.enter_context(self._here.open()) if self._serving.parity else None

            def session_of(method: Method, trained: Path | None = None) -> ServedSession:
                if method not in sessions:
                    lm = ServedLM(tokenizer, endpoints[method.label], method.extender, base.rope)
                    sessions[method] = ServedSession(method, lm, asked, base, self._serving.parity, local)
                return sessions[method]

            yield session_of

    def train(self, job: TrainingJob, store: Store, tests: Sequence[str]) -> TrainingRecord:
        raise ValueError(NO_WEIGHTS)


def _check(experiment: Experiment, serving: Serving) -> None:
    labels = [method.label for method in experiment.methods]
    for label in serving.addresses:
        if label not in labels:
            raise ValueError(f"--served names the method {label!r}; this experiment has {', '.join(labels)}")
    adaptive = experiment.adaptive
    if adaptive is not None and adaptive.against not in serving.addresses:
        raise ValueError(
            f"adaptive compares with {adaptive.against}, which has no server: name it too, "
            f"--served {adaptive.against}=URL"
        )
    for address in serving.addresses.values():
        Endpoint(address)
    for method in experiment.methods:
        if method.label not in serving.addresses:
            continue
        if isinstance(method.extender, SearchedExtender) and not method.extender.searched:
            raise ValueError(f"{method.label}: {NO_WEIGHTS}; give what was found, as factors")
        if method.extender.cuts_context:
            raise ValueError(f"{method.label} cuts what the model sees, which is no plan that a server could run")
    if any(experiment.trainings):
        raise ValueError(f"training: {NO_WEIGHTS}; serve the trained weights, and name their folder as the model")
    for test in experiment.tests:
        if not isinstance(test.task, PromptTask) or test.task.unit != "score":
            raise ValueError(f"{test.label} needs losses, and a server gives answers alone: leave it out")


class ServedSession:
    """A method on its server. `local` gives the same methods in this process, None where parity is not checked."""

    def __init__(
        self, method: Method, lm: ServedLM, experiment: Experiment, base: Base, prompts: int, local: Sessions | None
    ) -> None:
        self.lm = lm
        self._method, self._experiment, self._base = method, experiment, base
        self._prompts, self._local = prompts, local
        self._parity: dict[int, Parity] = {}  # by length

    @property
    def token_forwards(self) -> int:
        return self.lm.token_forwards

    def prove(self, length: int) -> Proof:
        proof: Proof = {"plan_hash": plan_of(self._method, self._base.rope, length).hash}
        if self._local is not None:
            if length not in self._parity:
                self._parity[length] = self._compared(self._local, length)
            proof["parity"] = self._parity[length]
        return proof

    def _compared(self, local: Sessions, length: int) -> Parity:
        """The first prompts of the first test at this length, answered by the server and in this process."""
        asked, rope = self._experiment, self._base.rope
        task = next(test.task for test in asked.tests if length in lengths_of(test, asked, rope))
        assert isinstance(task, PromptTask)
        here = local(self._method)
        here.prove(length)
        samples = islice(task.prompts(self.lm, length, asked.seeds[0], self._prompts), self._prompts)
        prompts = [sample.prompt for sample in samples]
        served, ours = (
            [self.lm.encode(answer.text) for answer in lm.generate(prompts, task.new_tokens)]
            for lm in (self.lm, here.lm)
        )
        apart = [parted(*pair) for pair in zip(served, ours, strict=True)]
        return {"prompts": len(prompts), "parts_at": [place for place in apart if place is not None]}

    def keep(self, passes: Passes | None) -> None:
        """A server's answers are not kept: a cell that is stopped begins again."""

    @property
    def start_ids(self) -> list[int]:
        return self.lm.with_start([])

    def rows_at_once(self, length: int) -> int:
        raise ValueError(NO_WEIGHTS)

    def plan_losses(self, rows: Sequence[tuple[RopePlan, SearchText]]) -> list[float]:
        raise ValueError(NO_WEIGHTS)

    def plan_slopes(
        self, rows: Sequence[tuple[RopePlan, SearchText]], solved: float, recompute: bool = False
    ) -> list[Slope]:
        raise ValueError(NO_WEIGHTS)


def parted(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first token, from 1, in which two answers differ; None where they are the same."""
    if list(one) == list(other):
        return None
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return same + 1
