"""Short-context tests through lm-eval: what a method costs inside the window that the model was trained with.

"short/pocket_…" are the four of `pocket/`, standard lm-eval tasks over text that this package makes (the stock
command runs them too: lm_eval run --include_path). Any task of the installed lm-eval is "short/<its name>" and takes
its data from the Hugging Face cache or the hub. Each prompt runs under its own plan and nothing is cut.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import LM, Row, Task, built

POCKET = Path(__file__).parent / "pocket"
SUITE = "short"


@dataclass(frozen=True, kw_only=True)
class ShortTask(Task):
    """One lm-eval task or group. `num_fewshot` is the task's own number where none is given."""

    category: ClassVar[str] = "short"
    lengths: ClassVar[str] = "window"

    task: str = ""  # the name in lm-eval; stands in `name`, not among the parameters
    num_fewshot: int | None = None

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """Rows of the first `samples` documents; those of a group's tasks take turns. `seed` draws the shots."""
        from tasks.short.through_lm_eval import evaluate  # lm-eval takes seconds to import

        folder = POCKET if self.task.startswith("pocket_") else None
        return evaluate(lm, self.task, folder, self.num_fewshot, length, seed, samples)

    @property
    def name(self) -> str:
        return f"{SUITE}/{self.task}"

    def parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "task"}


@dataclass(frozen=True, kw_only=True)
class ShortPerplexity(ShortTask):
    """An lm-eval task of whole documents: nats per token."""

    unit: ClassVar[str] = "nats"


def names() -> list[str]:
    """The four tests of the pocket short suite."""
    return [f"{SUITE}/{path.stem}" for path in sorted(POCKET.glob("pocket_*.yaml"))]


def make(name: str, **parameters: Any) -> Task:
    """The short test of that name. Whether an lm-eval task exists shows when it runs: lm-eval's index takes seconds."""
    task = name.removeprefix(f"{SUITE}/")
    if task.startswith("pocket") and name not in names():
        near = difflib.get_close_matches(name, names(), 1, 0)[0]
        raise ValueError(f"no test is named {name!r}; did you mean {near!r}?")
    if "task" in parameters:
        raise ValueError(f"{name} takes no parameter 'task'; the task stands in its name")
    shots = parameters.get("num_fewshot")
    if shots is not None and (not isinstance(shots, int) or isinstance(shots, bool) or shots < 0):
        raise ValueError(f"{name}: num_fewshot must be a whole number from 0 up, got {shots!r}")
    kind = ShortPerplexity if task == "pocket_perplexity" else ShortTask
    return built(kind, name, {"task": task, **parameters})
