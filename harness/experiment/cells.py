"""Experiment → cells: what is to be measured, each under a key that covers all that changes its number, and no more.

Labels, paths, comments in shipped files, devices and batch sizes are not in a key, so renaming a method or moving a
folder computes nothing anew, and two methods whose plans are equal up to some length share their cells there. Code of
methods counts where a plan varies with the prompt's length: see `harness.experiment.method_code`.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec
from harness.experiment.file import PATHS, Experiment, Method, Test
from harness.experiment.method_code import code_of
from harness.model.asking import Asking, Template
from harness.store import PlannedCell, StoredRope, canonical, key_of
from tasks.answers import PromptTask
from tasks.base import Task
from tasks.documents import path_of

PROBES = 65
VARIES = "varies-"  # how the signature of a plan begins that depends on the prompt's length


@dataclass(frozen=True)
class Base:
    """The model that all cells of a run share."""

    weights_hash: str  # over weights and tokenizer
    rope: RopeSpec
    dtype: str  # as run, never "auto"
    attention: str  # the kernel as run, never "auto"
    parameters: int = 0  # number of weights
    tokenizer_hash: str = ""  # over its files; "" where they are unknown, and prompts are not kept
    origin: str = ""  # file, hash and licence of a model that was converted
    template: Template | None = None  # of chat, where the experiment asks for it
    slow_in_half: bool = False  # where it runs, products of bfloat16 are slower than of float32


@dataclass(frozen=True)
class Cell:
    """One number with its samples."""

    method: Method
    test: Test
    length: int  # tokens, prompt plus new tokens
    seed: int
    samples: int
    identity: Mapping[str, Any]
    key: str
    training: str = ""  # key of the training that made its weights; "": the model's own
    asking: Asking | None = None  # how prompts are put, where that is more than the prompt
    most: int = 0  # samples that it may grow to; 0: it does not grow
    smaller: tuple[str, ...] = ()  # keys of the same cell with fewer samples, most samples first

    def planned(self) -> PlannedCell:
        """The line of run.json."""
        task = self.test.task
        chance: dict[str, float] = {"chance": task.chance} if task.chance else {}
        return {
            "label": self.method.label,
            "task": self.test.label,
            "category": task.category,
            "unit": task.unit,
            "length": self.length,
            "seed": self.seed,
            "samples": self.samples,
            "seeded": task.seeded,
            "new_tokens": self.asking.new_tokens if self.asking else task.new_tokens,
            "key": self.key,
            **({"most_samples": self.most} if self.most else {}),  # type: ignore[typeddict-item]
            **chance,  # type: ignore[typeddict-item]
        }

    @property
    def in_window(self) -> bool:
        return _in_window(self.test)

    @property
    def words(self) -> str:
        return f"{self.method.label} · {self.test.label} · {self.length} tokens · seed {self.seed}"


def rope_fields(rope: RopeSpec) -> StoredRope:
    """What a model was trained with, as it stands in JSON."""
    return {
        "rotary_dims": rope.rotary_dims,
        "rope_theta": rope.rope_theta,
        "trained_length": rope.trained_length,
        "inv_freq": list(rope.inv_freq),
        "attention_factor": rope.attention_factor,
        "critical_pair": rope.critical_pair,
    }


def plan_of(method: Method, rope: RopeSpec, length: int) -> RopePlan:
    """The method's plan, checked. Raises ValueError that names the method when it gives none that fits the model, or
    another when it is asked again."""
    try:
        plan, again = (method.extender.plan(rope, length) for _ in range(2))
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"extender {method.label!r} has no plan for {length} tokens: {reason}") from error
    if not isinstance(plan, RopePlan):
        raise ValueError(f"extender {method.label!r} must return a RopePlan, got {type(plan).__name__}")
    if len(plan.inv_freq) != len(rope.inv_freq):
        pairs = len(rope.inv_freq)
        raise ValueError(f"extender {method.label!r} plans {len(plan.inv_freq)} pairs and this model has {pairs}")
    if again != plan:
        raise changes(method, length)
    return plan


def changes(method: Method, length: int) -> ValueError:
    """The error for a method whose plan is not the same each time that it is asked for."""
    return ValueError(
        f"extender {method.label!r} gives another plan for {length} tokens each time that it is asked; a plan follows "
        "from the arguments alone: no clock, no random numbers without a fixed seed, nothing remembered"
    )


def plan_signature(method: Method, rope: RopeSpec, length: int) -> str:
    """What identifies the plans of all prompts of at most `length` tokens.

    The plan's hash where probes show one plan at all lengths; else a hash over the probed plans, the method's code and
    its parameters, because probes cannot see everything of a plan that varies.
    """
    lengths = probes(length, rope.trained_length)
    plans = [plan_of(method, rope, probe).hash for probe in lengths]
    for probe, before in zip(reversed(lengths), reversed(plans), strict=True):  # what remembers a call shows here
        if method.extender.plan(rope, probe).hash != before:
            raise changes(method, probe)
    if len(set(plans)) == 1:
        return plans[0]
    everything = {
        "plans": plans,
        "code": [code_of(cls) for cls in classes_of(method.extender)],
        "parameters": _numbers_alike(plain(method.extender.plan_parameters())),
    }
    return VARIES + hashlib.sha256(canonical(everything).encode()).hexdigest()[:16]


def probes(length: int, trained_length: int) -> list[int]:
    """About 65 lengths from 1 to `length`, half of them evenly and half of them geometrically spaced, and both sides
    of the trained length, where most methods switch."""
    half = PROBES // 2
    even = [round(1 + (length - 1) * i / half) for i in range(half + 1)]
    geometric = [round(math.exp(math.log(length) * i / half)) for i in range(half + 1)]
    edges = [trained_length - 1, trained_length, trained_length + 1]
    return sorted({probe for probe in [*even, *geometric, *edges, length] if 1 <= probe <= length})


def classes_of(extender: Extender) -> list[type[Extender]]:
    """A method's class, and those of the methods that it is made of."""
    return [type(extender), *(cls for inner in extender.inside() for cls in classes_of(inner))]


def plain(value: Any) -> Any:
    """The value in JSON's types. Raises ValueError for what has none: a key must not depend on a memory address."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a parameter must be a number, text, list or mapping, got {type(value).__name__}")


def task_identity(task: Task, length: int = 0) -> dict[str, Any]:
    """All of a test that changes its rows at a length in tokens."""
    return {
        "name": task.name,
        "version": task.version_at(length),
        "unit": task.unit,
        "new_tokens": task.new_tokens,
        "parameters": {name: content_of(name, value) for name, value in task.parameters().items()},
    }


def content_of(name: str, value: Any) -> Any:
    """A parameter for the key. A folder or file of texts counts by what is in it, not by where it lies."""
    root = place_of(name, value)
    if root is not None:
        contents = [(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files_below(root)]
        lines = [f"{path.relative_to(root)} {digest}" for path, digest in contents]
        return "content-" + hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return _numbers_alike(plain(value))


def place_of(name: str, value: Any) -> Path | None:
    """The folder or file that a parameter names, with ~ for the home folder; None where it names none that exists."""
    if name not in PATHS or not isinstance(value, str) or not value:
        return None
    path = path_of(value)
    return path if path.exists() else None


def files_below(root: Path) -> list[Path]:
    """All files of a folder, sorted; a file is its own only one."""
    return sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]


def _numbers_alike(value: Any) -> Any:
    """4 for 4.0, so that both ways of writing a number give one key."""
    if isinstance(value, dict):
        return {key: _numbers_alike(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers_alike(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_window(test: Test) -> bool:
    """Whether it is a short-context test, which runs at the trained length and whose prompts are never cut to it."""
    return test.task.lengths == "window"


def lengths_of(test: Test, experiment: Experiment, rope: RopeSpec) -> tuple[int, ...]:
    """Where a test runs: its own lengths, else the experiment's, or the trained window for short-context tests."""
    if test.lengths is not None:
        return test.lengths
    return (rope.trained_length,) if _in_window(test) else experiment.lengths


def check(experiment: Experiment, rope: RopeSpec) -> None:
    """Raises ValueError when there is nothing to extend."""
    if experiment.target_length <= rope.trained_length:
        raise ValueError(
            f"target_length {experiment.target_length} must be above the {rope.trained_length} tokens that "
            f"{experiment.model} was trained with; raise it, or set trained_length if the configuration says too much"
        )


def cells_of(
    experiment: Experiment, base: Base, trained: Mapping[tuple[str, int], str] = MappingProxyType({})
) -> list[Cell]:
    """Every cell of the experiment, methods first, then tests, lengths and seeds, each as the file lists them.

    `trained`: the keys of the trainings that made a method's weights, by its label and the seed.
    """
    check(experiment, base.rope)
    shared = {"dtype": base.dtype, "attention": base.attention}
    if experiment.crossing != "fixed":
        shared["crossing"] = experiment.crossing
    cells = []
    for method in experiment.methods:
        signatures: dict[int, str] = {}
        for test in experiment.tests:
            task, asking = task_identity(test.task), asking_of(test, base.template)
            for length in lengths_of(test, experiment, base.rope):
                # A short-context prompt may be longer than the window: then all that the method can do counts.
                reach = max(length, experiment.target_length) if _in_window(test) else length
                if reach not in signatures:
                    signatures[reach] = plan_signature(method, base.rope, reach)
                varies = test.task.seeded or method.training is not None  # every training has a seed
                for seed in experiment.seeds if varies else experiment.seeds[:1]:
                    training = trained.get((method.label, seed), "")
                    identity = {
                        **shared,
                        "weights": f"{base.weights_hash} trained {training}" if training else base.weights_hash,
                        "plan": signatures[reach],
                        "task": {**task, "version": test.task.version_at(length)},
                        "length": length,
                        "seed": seed,
                        "samples": test.samples,
                    }
                    if method.extender.cuts_context and reach > base.rope.trained_length:
                        identity["context"] = "cut"
                    if asking is not None:
                        identity["asking"] = asking.identity
                    key = key_of(identity)
                    cells.append(Cell(method, test, length, seed, test.samples, identity, key, training, asking))
    return cells


def asking_of(test: Test, template: Template | None) -> Asking | None:
    """How a test's prompts are put; None where it is by the prompt alone, with the test's own budget."""
    budget = test.new_tokens or test.task.new_tokens
    if not isinstance(test.task, PromptTask) or test.task.unit != "score":
        return None
    return Asking(template, budget) if template is not None or budget != test.task.new_tokens else None
