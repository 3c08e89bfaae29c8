"""Published tables looked at again: a ranking that one task decides, and ablations against their own noise.

Both use only printed numbers (reports/published). They show what the report of a run does with its own numbers, on
numbers that many people know, and they are the reason why it does so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import ndtr

from reports.published.claims import claims, select

RULER_13 = (
    "niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2",
)  # fmt: skip
LCEG_LENGTHS = (4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class LeftOut:
    """Difference of two methods' averages over all tasks and with one task left out, in points."""

    length: int
    first: str
    second: str
    all_tasks: float
    without: Mapping[str, float]

    @property
    def flips(self) -> dict[str, float]:
        """The tasks without which the other method is ahead."""
        return {task: value for task, value in self.without.items() if value * self.all_tasks < 0}


@dataclass(frozen=True)
class Ablation:
    """LongRoPE2 minus one of its ablated arms: RULER average, in points, with the noise of the test items alone."""

    what: str
    model: str
    full: float
    ablated: float
    error: float

    @property
    def difference(self) -> float:
        return self.full - self.ablated

    @property
    def z(self) -> float:
        return self.difference / self.error

    @property
    def p(self) -> float:
        """Two-sided, normal."""
        return float(2 * ndtr(-abs(self.z)))


def task_scores(paper: str, base: str, method: str, length: int) -> dict[str, float]:
    """The 13 RULER scores that a paper prints for one method at one length, in percent."""
    scores = {}
    for task in RULER_13:
        for claim in claims():
            if (claim.paper, claim.base, claim.method, claim.benchmark) == (paper, base, method, f"RULER {task}"):
                if (value := claim.number(length)) is not None:
                    scores[task] = value
    return scores


def left_out(first: str = "NTK-32K", second: str = "PI", length: int = 32768) -> LeftOut:
    """LCEG's LLaMA2-7B rows: the lead of `first` over `second` with each task left out once."""
    a = task_scores("lceg", "llama-2-7b", first, length)
    b = task_scores("lceg", "llama-2-7b", second, length)
    if len(a) != 13 or len(b) != 13:
        raise ValueError(f"LCEG prints no 13 tasks for {first} and {second} at {length} tokens")
    lead = {task: a[task] - b[task] for task in RULER_13}
    total = sum(lead.values())
    return LeftOut(length, first, second, total / 13, {task: (total - lead[task]) / 12 for task in RULER_13})


def ablations(length: int = 131072, n: int = 100) -> list[Ablation]:
    """LongRoPE2's Tables 6, 7 and 10 against binomial noise at n samples a task.

    The ablated arms come without a table of their tasks, so both arms get the spread of the full method's tasks
    (Tables 8 and 9). Unpaired, because the samples are not published; no noise of training, because one seed was
    trained. n = 100 is inferred: every printed task score is a whole percent.
    """
    arms = {
        "needle-driven search instead of plain perplexity": "LongRoPE2 (search on plain PG19 PPL)",
        "search below the critical dimension only, instead of all": "LongRoPE2 (search all dims)",
        "mixed context window training": "LongRoPE2 w/o mixed context window training",
    }
    listed = []
    for base, name in (("llama-3-8b", "LLaMA3-8B"), ("phi-3-mini", "Phi3-mini")):
        averages = {claim.method: claim for claim in select("RULER-13", base) if claim.paper == "longrope2"}
        tasks = task_scores("longrope2", base, "LongRoPE2", length)
        variance = sum(p / 100 * (1 - p / 100) / n for p in tasks.values()) / 13**2
        error = 100 * math.sqrt(2 * variance)
        full = averages["LongRoPE2"].number(length)
        for what, method in arms.items():
            ablated = averages[method].number(length)
            assert full is not None and ablated is not None
            listed.append(Ablation(what, name, full, ablated, error))
    return listed


def markdown() -> str:
    """Both analyses as a page of documentation."""
    lines = [
        "# Published tables, looked at again",
        "",
        "Made by `ropebench published` from the numbers in `reports/published/`, which papers printed. Nothing here",
        "was measured by us.",
        "",
        "## A ranking that one task decides (LCEG, arXiv:2409.12181)",
        "",
        "RULER average of LLaMA2-7B, NTK-32K minus PI in points, and the same with one task left out. Where the sign",
        "changes, one task decides who is ahead.",
        "",
        "| length | all 13 tasks | the other is ahead without | lead then |",
        "|--:|--:|:--|--:|",
    ]
    lines += [_lead_line(left_out(length=length)) for length in LCEG_LENGTHS]
    lines += [
        "",
        "Only NTK had its scale searched, and NTK ran on another engine than PI, so the lead at 32k, one task wide,",
        "says little about the methods. A report of ours prints this check for its own winner.",
        "",
        "## LongRoPE2's ablations against their noise (arXiv:2502.20082)",
        "",
        "RULER average at 131,072 tokens, LongRoPE2 minus the arm without one of its parts. The error is that of the",
        "test items alone: binomial, 100 samples a task (inferred from scores that are whole percents), unpaired,",
        "one training seed. Below z = 1.96 a difference cannot be told from luck.",
        "",
        "| part | model | with | without | difference | standard error | z | p | |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|:--|",
    ]
    lines += map(_ablation_line, ablations())
    lines += [
        "",
        "Paired by sample the same differences would be sharper, but the samples were not published. That is why this",
        "project stores every answer.",
    ]
    return "\n".join(lines) + "\n"


def _lead_line(lead: LeftOut) -> str:
    flips = ", ".join(lead.flips) or "none"
    then = ", ".join(f"{value:+.2f}" for value in lead.flips.values()) or "–"
    return f"| {lead.length:,} | {lead.all_tasks:+.2f} | {flips} | {then} |".replace("-", "−")


def _ablation_line(ablation: Ablation) -> str:
    word = "clear" if ablation.p < 0.05 else "within noise"
    p = "<0.001" if ablation.p < 0.001 else f"{ablation.p:.3f}"
    return (
        f"| {ablation.what} | {ablation.model} | {ablation.full:.2f} | {ablation.ablated:.2f} "
        f"| {ablation.difference:+.2f} | {ablation.error:.2f} | {ablation.z:.1f} | {p} | {word} |"
    )
