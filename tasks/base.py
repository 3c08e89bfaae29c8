"""The contract of a test: what it may ask of a language model, and what it gives back.

Tests know text and numbers only. They never see a model class, a tokenizer class or a RoPE plan: the harness
hands them an `LM`, which pins the plan of every prompt by itself.

A test is one file of this package with one `Task` class; a suite is a subpackage with `names()` and
`make(name, **parameters)`. Nothing else lists either. A suite whose rows need data from elsewhere lists no names but
the word before their slash in `STARTS`, and gives the rows of a name by `expand(name)`.
"""

import difflib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from types import ModuleType
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


class Tokenizer(Protocol):
    """What making prompts takes."""

    @property
    def added_tokens(self) -> int:
        """How many tokens (BOS) stand before every prompt; they count towards its length."""

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Token ids of the text, without BOS or any other added token.

        A text that spells a special token ("<|end|>") is text all the same, and not that token, unless `special` says
        that such tokens are meant: in the turns of a chat template.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids."""


class LM(Tokenizer, Protocol):
    """All that a test may ask. Lengths are in tokens, losses in nats per token."""

    def plan_hash(self, length: int) -> str:
        """Which plan a prompt of `length` tokens runs under, added and new tokens included."""

    def generate(
        self, prompts: Sequence[str], new_tokens: int, longest: int | None = None, special: bool = False
    ) -> Iterator[Generation]:
        """Greedy answers, in the order of the prompts. The plan's length is prompt plus `new_tokens`.

        `longest` bounds the plan's length, for a test whose prompts may pass its length by their added tokens.
        `special` as in `encode`.
        """

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        """Next-token loss at positions `start` … n-1 of one document (n-start values), in one forward pass.

        Position 0 has a loss where BOS stands before it.

        `length` pins the plan to another length than that of the document with its added tokens.
        """

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        """For every (context, continuation): summed loss of the continuation, and whether greedy decoding writes it."""


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
    prompt_tokens: int = 0  # as the model saw it: BOS included
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
    # retrieval, tracking, counting, qa, perplexity, short; or control: a null, never part of an average
    category: ClassVar[str] = "retrieval"
    lengths: ClassVar[str] = "every"  # run at "every" length of the experiment, or once at the trained "window"
    new_tokens: ClassVar[int] = 0  # budget of new tokens, part of the length
    overhang: ClassVar[int] = 0  # tokens by which a prompt with its new tokens may pass the length, BOS aside
    seeded: ClassVar[bool] = True  # False: the seed draws no questions, so a second one would only repeat them

    chance: ClassVar[float] = 0.0  # the score of an answer that is drawn from those which the question leaves open

    default_samples: ClassVar[int | None] = None  # where neither experiment nor test says how many
    missing: ClassVar[str] = ""  # what the test lacks on this machine, with the remedy

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """Rows of samples 0 … samples-1 at a total length (prompt plus new tokens) of at most `length` tokens."""
        raise NotImplementedError

    def check(self, tokenizer: Tokenizer, length: int, samples: int) -> None:
        """Asked at every length before a model is loaded. Raises ValueError for data that `run` would break at, as far
        as the tokenizer alone can tell."""

    @property
    def name(self) -> str:
        """The name in an experiment file; part of every score's name."""
        return type(self).__module__.partition(".")[2]

    @property
    def title(self) -> str:
        """What tables call it where its name would mislead, unless the experiment gives a label; "" for its name."""
        return ""

    def version_at(self, length: int) -> int:
        """The version at a length in tokens, for a test whose prompts changed at some lengths only."""
        return self.version

    @property
    def scoring(self) -> str:
        """What scores an answer outside of `run`, as "module:function" (see `tasks.scoring`).

        The function `score` beside the test unless it says otherwise; "" where there is none.
        """
        module = type(self).__module__
        return f"{module}:score" if hasattr(sys.modules[module], "score") else ""

    def parameters(self) -> dict[str, Any]:
        """What identifies the test beside its name and version: a parameter that came `later` only where it is set."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            f.name: given[f.name] for f in fields(self) if not f.metadata.get("later") or given[f.name] != f.default
        }


def later(default: Any) -> Any:
    """The default of a parameter that came after results were stored.

    As long as it has its default, it is no part of a test's identity, so that those results still count.
    """
    return field(default=default, metadata={"later": True})


# what tests share
NOT_TESTS = {
    "answers", "base", "documents", "examples", "failures", "far", "loss_curve", "scoring", "text", "timing",
    "token_counts",
}  # fmt: skip
SHOWN = 20  # names that an error lists


def names() -> list[str]:
    """Every test: one per file of this package, and the rows of the suites."""
    rows = [row for suite in _suites() for row in suite.names()]
    return sorted(_files()) + sorted(rows)


def needing_data() -> list[str]:
    """Names that stand for tests whose data come from elsewhere, and which `names` therefore leaves out."""
    return [f"{suite.SUITE}/{paper}" for suite in _suites() for paper in getattr(suite, "PAPERS", ())]


def expand(name: str) -> list[str]:
    """The tests that a name stands for: itself, a suite, or the rows of a suite that share a beginning.

    "ruler-pocket" is its 13 rows, "ruler-pocket/niah" the eight needle tasks, "short/pocket" its four. Raises
    ValueError for an unknown name.
    """
    known = names()
    if name in known:
        return [name]
    group = [row for row in known if row.startswith((f"{name}/", f"{name}_")) and "/" in row]
    if group:
        return group
    suite = _suite_of(name)
    if suite is None:
        raise ValueError(unknown("test", name, [*known, *sorted({row.partition("/")[0] for row in known})]))
    return list(suite.expand(name)) if hasattr(suite, "expand") else [name]


def make(name: str, **parameters: Any) -> Task:
    """The test of that name with its parameters. Raises ValueError for an unknown name or parameter."""
    suite = _suite_of(name)
    if suite is not None:
        task: Task = suite.make(name, **parameters)
        return task
    return built(load(name), name, parameters)


def built(kind: type[Task], name: str, parameters: dict[str, Any]) -> Task:
    """An instance of a task class, its parameters checked by name and type. Raises ValueError in one line."""
    allowed = {f.name: f for f in fields(kind)}
    for key, value in parameters.items():
        if key not in allowed:
            raise ValueError(unknown(f"parameter of {name}", key, sorted(allowed)))
        default = allowed[key].default
        if isinstance(default, bool | int | float | str) and not _alike(value, default):
            raise ValueError(f"{name}: {key} must be of type {type(default).__name__}, got {value!r}")
    return kind(**parameters)


def load(name: str) -> type[Task]:
    """The class of a test file, by name. Raises ValueError for an unknown name."""
    if name not in _files():
        raise ValueError(unknown("test", name, names()))
    module = importlib.import_module(f"tasks.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"{module.__file__} must define exactly one Task, found {len(found)}")
    return found[0]


def _files() -> set[str]:
    modules = pkgutil.iter_modules(tasks.__path__)
    return {m.name for m in modules if not m.ispkg and not m.name.startswith("_")} - NOT_TESTS


def _suites() -> list[ModuleType]:
    packages = [m.name for m in pkgutil.iter_modules(tasks.__path__) if m.ispkg]
    modules = [importlib.import_module(f"tasks.{name}") for name in packages]
    return [module for module in modules if hasattr(module, "names") and hasattr(module, "make")]


def _suite_of(name: str) -> ModuleType | None:
    """The suite whose rows begin with what stands before the slash."""
    start, slash, _ = name.partition("/")
    for suite in _suites() if slash else []:
        if start in getattr(suite, "STARTS", ()) or any(row.startswith(f"{start}/") for row in suite.names()):
            return suite
    return None


def _alike(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """What to say about a name that nobody has: the rows it may stand for, the nearest name, or where all are shown."""
    rows = [one for one in known if one.endswith(f"/{name}")]
    near = difflib.get_close_matches(name[:80], known, 1, 0.5)
    if near and not rows:
        meant = f"did you mean {near[0]!r}?"
    elif len(known) <= SHOWN or rows:
        meant = f"there are {', '.join(rows or known) or 'none'}"
    else:
        meant = f"ropebench list {what}s shows all"
    return f"no {what} is named {name!r}; {meant}"
