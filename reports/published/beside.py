"""Published numbers beside ours: which rows a report shows, and how far they compare. None of them enters a test."""

import re
from dataclasses import dataclass

from reports.numbers.grid import Number, tokens
from reports.numbers.ruler_profiles import complete
from reports.numbers.scores import Scores
from reports.numbers.summary import Summary
from reports.published import claims
from reports.published.claims import Claim, Comparable, Conflict

ANCHORS = ("llama-3-8b", "phi-3-mini", "llama-2-7b")  # shown where no paper used our base model
ANCHOR_PAPERS = ("longrope2", "lceg")
RULER = "RULER-13"
SHORT_TESTS = ("MMLU", "MMLU-Pro", "HellaSwag", "TruthfulQA", "GSM8K", "ARC-c (25-shot)", "HellaSwag (10-shot)",
               "MMLU (5-shot)", "TruthfulQA (0-shot)")  # fmt: skip


@dataclass(frozen=True)
class PublishedRow:
    claim: Claim
    comparable: Comparable
    texts: tuple[str, ...]  # one for each column, '' where nothing was printed

    @property
    def source(self) -> str:
        """Paper and table; the number of the preprint stands in papers.csv."""
        place = re.sub(r"^arXiv:\S+ ", "", self.claim.place)
        return f"{claims.papers()[self.claim.paper].name}, {place}"


@dataclass(frozen=True)
class PublishedTable:
    title: str
    columns: tuple[str, ...]
    ours: tuple[tuple[str, tuple[Number, ...]], ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Published:
    base: str  # the papers' name of our base model, '' when none of them used it
    tables: tuple[PublishedTable, ...]
    conflicts: tuple[Conflict, ...]


def published(scores: Scores, summary: Summary) -> Published:
    """Rows of our own base model; where no paper used it, a few well-known rows of other models as orientation."""
    base = claims.base_of(str(scores.frames.model.get("name", "")))
    ruler = complete(scores.tests("score"))
    cells = scores.frames.cells
    samples = sorted({int(n) for n in cells[cells["task"].isin([task for task, _ in ruler])]["samples"]})
    version = ", ".join(dict.fromkeys(task.split("/")[0] for task, _ in ruler)) or "not all of RULER"
    tables = []
    chosen = claims.select(RULER, base) if base else _anchors()
    ours = _ours(scores, ruler) if base else {}
    tables.append(_table("RULER, average of 13 tasks, %", chosen, base, samples, version, ours))
    if base:
        for name in ("Proof-pile", "PG19"):
            rows = [c for c in claims.claims() if c.benchmark.startswith(name) and c.base == base]
            tables.append(_table(f"{name}, perplexity (lower is better)", rows, base, samples, version, {}))
        short = [c for c in claims.claims() if c.benchmark in SHORT_TESTS and c.base == base]
        tables.append(_table("Short context, %", short, base, samples, version, {}))
    kept = tuple(table for table in tables if table.rows)
    numbers = sorted({number for table in kept for row in table.rows for number in row.claim.conflicts})
    return Published(base, kept, tuple(claims.conflicts()[number] for number in numbers))


def _anchors() -> list[Claim]:
    rows = claims.select(RULER)
    order = {base: i for i, base in enumerate(ANCHORS)}
    chosen = [claim for claim in rows if claim.base in order and claim.paper in ANCHOR_PAPERS]
    return sorted(chosen, key=lambda claim: order[claim.base])  # stable: the papers' own order within a model


def _ours(scores: Scores, ruler: list[tuple[str, int]]) -> dict[str, dict[int, Number]]:
    """Our averages over the RULER tests, for each method by length."""
    lengths = sorted({length for _, length in ruler})
    return {
        label: {length: scores.average(label, [test for test in ruler if test[1] == length]) for length in lengths}
        for label in scores.frames.labels
    }


def _table(
    title: str,
    rows: list[Claim],
    base: str,
    samples: list[int],
    version: str,
    ours: dict[str, dict[int, Number]],
) -> PublishedTable:
    our_lengths = {length for numbers in ours.values() for length in numbers}
    columns = sorted({*our_lengths, *(int(c) for row in rows for c in row.scores if c.isdigit())})
    short = any("short" in row.scores for row in rows)
    names = ("short",) * short + tuple(tokens(length) for length in columns)
    keys = ("short",) * short + tuple(str(length) for length in columns)
    made = tuple(
        PublishedRow(
            row, claims.comparable(row, base, samples, version), tuple(row.scores.get(key, "") for key in keys)
        )
        for row in rows
    )
    blank = Number(None, "absent", "not part of this experiment")
    mine = tuple(
        (label, (blank,) * short + tuple(numbers.get(length, blank) for length in columns))
        for label, numbers in ours.items()
    )
    return PublishedTable(title, names, mine, made)
