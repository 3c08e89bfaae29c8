"""Short-context tests through lm-eval: what a method costs inside the window that the model was trained with.

"short/pocket_…" are the four of `pocket/`, standard lm-eval tasks over text that this package makes (the stock
command runs them too: lm_eval run --include_path). Any task of the installed lm-eval is "short/<its name>" and takes
its data from the Hugging Face cache or the hub, or from a `folder` of .jsonl files named after its splits
(train.jsonl, validation.jsonl, test.jsonl; of a group, in a folder for each part), which count by content.
"short/<paper>-paper" stands for a paper's tests with its shots.

Each prompt runs under its own plan; nothing is cut, and what does not fit is refused. Retention is a score under a
method divided by that of the model as trained, paired by `Row.sample`: sample i is the same document everywhere.
"""

import difflib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import LM, Row, Task, built
from tasks.documents import path_of

POCKET = Path(__file__).parent / "pocket"
SUITE = "short"
STARTS = (SUITE,)
version = cache(importlib.metadata.version)  # looked up on disk, and asked for every cell

# Tests and shots of a paper's short-context table. Metrics are lm-eval's own: acc_norm for ARC and HellaSwag, acc for
# MMLU, mc2 for TruthfulQA, the strict exact match for GSM8K.
# - LongRoPE (arXiv:2402.13753, section 4.1), as YaRN (arXiv:2309.00071) before it.
# - LongRoPE2 (arXiv:2502.20082, table 4): the table names the tests, without ARC, and a context of 4,096 tokens. The
#   shots of MMLU-Pro and GSM8K are those that lm-eval gives them, the others are the first paper's.
PAPERS: dict[str, dict[str, int]] = {
    "longrope-paper": {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0},
    "longrope2-paper": {"mmlu": 5, "mmlu_pro": 5, "hellaswag": 10, "truthfulqa_mc2": 0, "gsm8k": 5},
}

# Tasks of lm-eval whose shots are the first of a list or stand in the text: the seed draws nothing.
FIXED_SHOTS = ("mmlu", "mmlu_pro", "truthfulqa_mc1", "truthfulqa_mc2", "gsm8k_cot")


@dataclass(frozen=True, kw_only=True)
class ShortTask(Task):
    """One lm-eval task or group. `num_fewshot` and `max_new_tokens` are the task's own where none are given."""

    category: ClassVar[str] = "short"
    lengths: ClassVar[str] = "window"

    task: str = ""  # the name in lm-eval; stands in `name`, not among the parameters
    num_fewshot: int | None = None
    max_new_tokens: int | None = None
    folder: str = ""  # of .jsonl files with its data, one a split; "": the Hugging Face cache or the hub

    def __post_init__(self) -> None:
        if self.folder and not path_of(self.folder).is_dir():
            raise ValueError(f"{self.name}: there is no folder {self.folder} with its .jsonl files, one a split")

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """Rows of the first `samples` documents; those of a group's tasks take turns. `seed` draws the shots.

        Raises ValueError when a prompt with its new tokens is longer than `length`, when there are fewer documents,
        and when the data are out of reach.
        """
        from tasks.short.through_lm_eval import Asked, evaluate  # lm-eval takes seconds to import

        folder = POCKET if self.task.startswith("pocket_") else None
        data = path_of(self.folder) if self.folder else None
        asked = Asked(self.name, self.task, folder, self.num_fewshot, self.max_new_tokens, self.seeded, data=data)
        return evaluate(lm, asked, length, seed, samples)

    @property
    def name(self) -> str:
        return f"{SUITE}/{self.task}"

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """Only drawn shots depend on the seed. What an unknown task draws shows when it runs."""
        if self.task.startswith("pocket_"):
            return bool(self.num_fewshot)
        return self.num_fewshot != 0 and self.task not in FIXED_SHOTS

    def parameters(self) -> dict[str, Any]:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "task"}
        for later, empty in (("max_new_tokens", None), ("folder", "")):
            if given[later] == empty:
                del given[later]  # what is not given must not change the keys of older results
        return given if self.task.startswith("pocket_") else given | lm_eval_version()


@dataclass(frozen=True, kw_only=True)
class ShortPerplexity(ShortTask):
    """An lm-eval task of whole documents: nats per token."""

    unit: ClassVar[str] = "nats"


def names() -> list[str]:
    """The four tests of the pocket short suite; those of lm-eval need data and are not listed."""
    return [f"{SUITE}/{path.stem}" for path in sorted(POCKET.glob("pocket_*.yaml"))]


def expand(name: str) -> list[str]:
    """The tests that a name stands for: those of a paper, or itself."""
    paper = name.removeprefix(f"{SUITE}/")
    return [f"{name}/{task}" for task in PAPERS[paper]] if paper in PAPERS else [name]


def make(name: str, **parameters: Any) -> Task:
    """The short test of that name. Whether an lm-eval task exists shows when it runs: lm-eval's index takes seconds.

    "short/longrope2-paper/mmlu" is "short/mmlu" with that paper's shots, and so shares its results.
    """
    task = name.removeprefix(f"{SUITE}/")
    paper, slash, row = task.partition("/")
    if slash:
        if row not in PAPERS.get(paper, {}):
            known = [f"{SUITE}/{one}/{test}" for one, tests in PAPERS.items() for test in tests]
            near = difflib.get_close_matches(name, known, 1, 0)[0]
            raise ValueError(f"no test is named {name!r}; did you mean {near!r}?")
        task, parameters = row, {"num_fewshot": PAPERS[paper][row], **parameters}
    if task.startswith("pocket") and name not in names():
        near = difflib.get_close_matches(name, names(), 1, 0)[0]
        raise ValueError(f"no test is named {name!r}; did you mean {near!r}?")
    if "task" in parameters:
        raise ValueError(f"{name} takes no parameter 'task'; the task stands in its name")
    check_count(name, "num_fewshot", parameters.get("num_fewshot"), 0)
    check_count(name, "max_new_tokens", parameters.get("max_new_tokens"), 1)
    kind = ShortPerplexity if task == "pocket_perplexity" else ShortTask
    return built(kind, name, {"task": task, **parameters})


def lm_eval_version() -> dict[str, str]:
    """What belongs to the identity of a task of lm-eval's own: its prompts and scoring are in files of that package."""
    return {"lm_eval": version("lm_eval")}


def check_count(name: str, what: str, value: Any, least: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise ValueError(f"{name}: {what} must be a whole number from {least} up, got {value!r}")
