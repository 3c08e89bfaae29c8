"""Long documents through lm-eval's own tasks: LongBench, LongBench v2 and InfiniteBench, where their data are.

"long/<task>" is any task or group of the installed lm-eval: "long/longbench_trec", "long/longbench2",
"long/infinitebench_kv_retrieval". "long/longrope2-paper" are the six of LongRoPE2's table 3 (arXiv:2502.20082). Data
come from the Hugging Face cache or the hub; LongBench's scores need its packages (extra 'longbench').

Their documents have the length that they have. At a length of L tokens the first documents are run that fit into L
with their answers (`over_length: skip`, the default), so a row is always a whole document, and `extra["document"]` is
its number in the data. `over_length: middle` takes the first documents and cuts the middle out of those that are too
long, which is LongBench's own protocol (arXiv:2308.14508, section 4.1); `refuse` fails when one is too long.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from tasks.base import LM, Row, Task, built
from tasks.short import check_count, lm_eval_version

SUITE = "long"
STARTS = (SUITE,)
OVER_LENGTH = ("skip", "middle", "refuse")
PAPERS: dict[str, tuple[str, ...]] = {
    "longrope2-paper": (
        "infinitebench_kv_retrieval",
        "infinitebench_longbook_choice_en",
        "longbench_triviaqa",
        "longbench_trec",
        "longbench_lcc",
        "longbench_repobench-p",
    ),
}


@dataclass(frozen=True, kw_only=True)
class LongTask(Task):
    """One lm-eval task or group of long documents, without shots unless the task has its own."""

    category: ClassVar[str] = "documents"
    seeded: ClassVar[bool] = False

    task: str = ""  # the name in lm-eval; stands in `name`, not among the parameters
    over_length: str = "skip"
    max_new_tokens: int | None = None

    def run(self, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """Rows of up to `samples` documents, fewer where fewer fit. Raises ValueError when none does."""
        from tasks.short.through_lm_eval import Asked, evaluate  # lm-eval takes seconds to import

        asked = Asked(
            self.name,
            self.task,
            max_new_tokens=self.max_new_tokens,
            seeded=False,
            over_length=self.over_length,
        )
        return evaluate(lm, asked, length, seed, samples)

    @property
    def name(self) -> str:
        return f"{SUITE}/{self.task}"

    def parameters(self) -> dict[str, Any]:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "task"}
        return given | lm_eval_version()


def names() -> list[str]:
    """None: every test of this suite needs data that the package does not hold."""
    return []


def expand(name: str) -> list[str]:
    """The tests that a name stands for: those of a paper, or itself."""
    tasks = PAPERS.get(name.removeprefix(f"{SUITE}/"))
    return [f"{SUITE}/{task}" for task in tasks] if tasks else [name]


def make(name: str, **parameters: Any) -> Task:
    """The test of that name. Whether lm-eval has it shows when it runs."""
    if "task" in parameters:
        raise ValueError(f"{name} takes no parameter 'task'; the task stands in its name")
    given = parameters.get("over_length", "skip")
    if given not in OVER_LENGTH:
        near = difflib.get_close_matches(str(given), OVER_LENGTH, 1, 0)[0]
        raise ValueError(f"{name}: over_length is {given!r}; did you mean {near!r}?")
    check_count(name, "max_new_tokens", parameters.get("max_new_tokens"), 1)
    return built(LongTask, name, {"task": name.removeprefix(f"{SUITE}/"), **parameters})
