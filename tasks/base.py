"""The contract of a test: what it may ask of a language model, and what it gives back.

Tests know text and numbers only. They never see a model class, a tokenizer class or a RoPE plan: the harness
hands them an `LM`, which pins the plan of every prompt by itself.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import tasks


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt."""

    text: str
    tokens: int  # number of new tokens
    finished: bool  # True when the model ended by itself, False when the budget of new tokens ended it
    seconds: float
    plan_hash: str  # which plan the prompt ran under


class LM(Protocol):
    """All that a test may ask. Lengths are in tokens, losses in nats per token."""

    @property
    def added_tokens(self) -> int:
        """How many tokens (BOS) stand before every prompt; they count towards its length."""

    def encode(self, text: str) -> list[int]:
        """Token ids of the text, without BOS or any other added token."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids."""

    def generate(self, prompts: Sequence[str], new_tokens: int) -> Iterator[Generation]:
        """Greedy answers, in the order of the prompts. The plan's length is prompt plus `new_tokens`."""

    def losses(self, ids: Sequence[int], length: int | None = None) -> list[float]:
        """Next-token loss at positions 1 … n-1 of one document (n-1 values), in one forward pass.

        `length` pins the plan to another length than n.
        """

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        """For every (context, continuation): summed loss of the continuation's tokens, and whether greedy decoding would write it."""


@dataclass(frozen=True)
class Row:
    """One sample's outcome.

    `sample` i is the same text for every method and however many samples are asked for. `score` is in [0, 1]
    for answers (higher is better) and in nats per token where the task's `unit` says so.
    """

    sample: int
    score: float
    prompt: str = ""
    generation: str = ""
    references: tuple[str, ...] = ()
    prompt_tokens: int = 0
    new_tokens: int = 0
    depth: float | None = None  # where the target stands, 0 = start, 1 = end
    finished: bool = True
    failure: str = ""  # class of a wrong answer, "" when right
    seconds: float = 0.0
    plan_hash: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # small, JSON-serialisable: curves by position, sub-scores


@dataclass(frozen=True, kw_only=True)
class Task:
    """A test. Subclasses add their parameters as fields and implement `run`."""

    version: ClassVar[int] = 1  # raised whenever prompts or scoring change
    unit: ClassVar[str] = "score"  # "score" in [0, 1], higher is better; or "nats" per token, lower is better
    category: ClassVar[str] = "retrieval"  # retrieval, tracking, counting, qa, perplexity, short
    new_tokens: ClassVar[int] = 0  # budget of new tokens, part of the length

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """Rows of samples 0 … samples-1 at a total length (prompt plus new tokens) of at most `length` tokens."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name in an experiment file; part of every score's name."""
        return type(self).__module__.partition(".")[2]

    def parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


NOT_TESTS = {"base", "text", "corpora", "ruler"}


def names() -> list[str]:
    """Every test: one per file of this package, and the rows of the RULER suites."""
    found = {module.name for module in pkgutil.iter_modules(tasks.__path__)} - NOT_TESTS
    suite = importlib.import_module("tasks.ruler")
    return sorted(name for name in found if not name.startswith("_")) + suite.names()


def load(name: str) -> type[Task]:
    """The class of a test file, by name. Raises ValueError for an unknown name."""
    if name not in names() or "/" in name:
        raise ValueError(f"no test is named {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"tasks.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"{module.__file__} must define exactly one Task, found {len(found)}")
    return found[0]
