"""Numbers claimed in papers: shown greyed beside ours, with their source and how far they compare; never in a test.

reports/published/results.csv holds one line per published row (scores by length in tokens, `short` for short-context
tests), papers.csv the papers, conflicts.csv the places where published numbers or recipes disagree. A score stays the
text that was printed ('>1000' is no number). `n` is the samples per task, with ~ where we inferred it. `flags` say what
a reader of the row has to know.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
FIRST_LENGTH = "short"
LAST_COLUMN = "conflicts"
FLAGS = {
    "composite": "several methods one on top of the other",
    "untuned baseline": "a baseline at fixed settings beside a method that was fitted, or without the best of its own",
    "second hand": "read in notes of others, not in the paper",
    "one training seed": "trained once, so luck of the training is in it",
}
# Our model's whole name → the papers' base. Weights that were changed since (instruct models, continued training, other
# models after its recipe) are another base.
BASES = (
    (r"llama-?3\.1-8b-instruct(-hf)?", "llama-3.1-8b-instruct"),
    (r"llama-?3\.1-8b(-hf)?", "llama-3.1-8b"),
    (r"llama-?3-8b-instruct(-hf)?", "llama-3-8b-instruct"),
    (r"llama-?3-8b(-hf)?", "llama-3-8b"),
    (r"llama-?2-7b(-hf)?", "llama-2-7b"),
    (r"llama-?2-13b(-hf)?", "llama-2-13b"),
    (r"llama-7b(-hf)?", "llama-7b"),
    (r"phi-?3-mini-128k(-instruct)?", "phi-3-mini-128k-instruct"),
    (r"phi-?3-mini(-4k)?(-instruct)?", "phi-3-mini"),
    (r"phi-2", "phi-2"),
    (r"mistral-7b(-v0\.1)?", "mistral-7b"),
    (r"smollm-360m", "smollm-360m"),
    (r"smollm-1\.7b", "smollm-1.7b"),
)


@dataclass(frozen=True)
class PublishedPaper:
    id: str
    name: str
    source: str
    test_version: str


@dataclass(frozen=True)
class Conflict:
    id: int
    what: str
    first: str
    second: str
    consequence: str


@dataclass(frozen=True)
class Claim:
    """One published row. `scores` maps a length (or `short`) to the printed text; percent or perplexity by `unit`."""

    paper: str
    place: str
    base: str
    model: str
    method: str
    trained_on: str
    benchmark: str
    unit: str
    n: str
    scores: Mapping[str, str]
    conflicts: tuple[int, ...]
    flags: tuple[str, ...] = ()

    def number(self, length: int | str) -> float | None:
        """The score, or None where none was printed or it is no number."""
        text = self.scores.get(str(length), "")
        try:
            return float(text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Comparable:
    """How far a claim may be held against our numbers: what is alike and what is not, in words."""

    alike: tuple[str, ...]
    unlike: tuple[str, ...]

    @property
    def grade(self) -> str:
        return f"{len(self.alike)} of {len(self.alike) + len(self.unlike)}"

    @property
    def words(self) -> str:
        return "; ".join([*(f"same {condition}" for condition in self.alike), *self.unlike])


@cache
def claims() -> tuple[Claim, ...]:
    with (FOLDER / "results.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        lengths = names[names.index(FIRST_LENGTH) : names.index(LAST_COLUMN)]
        return tuple(
            Claim(
                **{name: line[name] for name in names[: names.index(FIRST_LENGTH)]},
                scores={length: line[length] for length in lengths if line[length]},
                conflicts=tuple(int(number) for number in line[LAST_COLUMN].split()),
                flags=tuple(flag for flag in (line["flags"] or "").split("; ") if flag),
            )
            for line in reader
        )


@cache
def papers() -> dict[str, PublishedPaper]:
    with (FOLDER / "papers.csv").open(encoding="utf-8", newline="") as file:
        return {
            line["id"]: PublishedPaper(line["id"], line["name"], line["source"], line["test_version"])
            for line in csv.DictReader(file)
        }


@cache
def conflicts() -> dict[int, Conflict]:
    with (FOLDER / "conflicts.csv").open(encoding="utf-8", newline="") as file:
        return {
            int(line["id"]): Conflict(int(line["id"]), line["what"], line["first"], line["second"], line["consequence"])
            for line in csv.DictReader(file)
        }


def base_of(model: str) -> str:
    """The papers' name of a base model, from a hub name or a folder; '' for one that no paper here used."""
    name = model.replace("\\", "/").rstrip("/").rpartition("/")[2].lower().replace("_", "-")
    name = name.removeprefix("meta-")
    return next((base for pattern, base in BASES if re.fullmatch(pattern, name)), "")


def select(benchmark: str, base: str = "") -> list[Claim]:
    """Rows of one benchmark, of one base model or of all. A row without any number is left out."""
    return [claim for claim in claims() if claim.benchmark == benchmark and base in ("", claim.base) and claim.scores]


def comparable(claim: Claim, base: str, samples: Sequence[int], version: str) -> Comparable:
    """Grade a claim against a run: same base weights, same number of samples, same test version, same engine.

    `samples` are our samples per test, `version` the name of our tests. The engine of a paper is never ours, so no
    claim is ever fully alike.
    """
    alike, unlike = [], []
    if base and claim.base == base:
        alike.append("base model")
    else:
        unlike.append(f"another base model ({claim.model})")
    ours = "–".join(str(n) for n in sorted({min(samples), max(samples)})) if samples else "0"
    if claim.n.isdigit() and {int(claim.n)} == set(samples):
        alike.append(f"number of samples ({claim.n})")
    else:
        unlike.append(f"{claim.n or 'unknown'} samples a test, ours {ours}")
    unlike.append(f"test version: {papers()[claim.paper].test_version}; ours {version}")
    unlike.append("another engine")
    return Comparable(tuple(alike), tuple(unlike))
