"""The table of a search study: losses of all winners on the same held-out texts, how far behind each is, its cost."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from harness.store import Study, StudyRow
from reports.statistics.seeds import difference_of_searches


class WordingLine(TypedDict):
    """A row on the held-out texts of one wording."""

    loss: float | None
    behind_reference: list[float] | None


class StudyLine(TypedDict):
    """A row in study.json. Losses in nats per answer token, None where infinite."""

    row: str
    extender: str
    parameters: dict[str, Any]
    forwards: int
    seeds: list[int]
    token_forwards: float
    loss: float | None  # mean over seeds and texts
    losses_of_texts: list[float | None]
    behind_reference: list[float] | None  # [mean, low, high]; None of the reference, and where nothing can be said
    by_wording: dict[str, WordingLine]
    losses_of_seeds: NotRequired[list[float | None]]  # of a searched row, as all that follow
    losses_on_own_texts: NotRequired[list[float | None]]
    critical_pairs: NotRequired[list[float | None]]
    candidates: NotRequired[float]
    seconds: NotRequired[float]
    plans: NotRequired[list[str]]


class StudyContent(TypedDict):
    """study.json"""

    weights: str
    dtype: str
    target_length: int
    trained_length: int
    theoretical_critical_pair: int
    reference: str
    texts: int
    first_text: int
    unit: str
    rows: list[StudyLine]


def summary(study: Study, reference: str | None = None) -> StudyContent:
    """All numbers of the study: by row the mean over seeds of every text's loss, and what follows from it.

    Differences are to the row `reference`, the first unless given. Raises ValueError when the study has no such row.
    """
    rows = {row.name: row for row in study.rows}
    if reference is not None and reference not in rows:
        raise ValueError(f"the study has no finished row {reference!r} to compare with; it has {', '.join(rows)}")
    compared = rows[reference] if reference is not None else study.rows[0]
    return {
        "weights": study.weights,
        "dtype": study.dtype,
        "target_length": study.target_length,
        "trained_length": study.trained_length,
        "theoretical_critical_pair": study.critical_pair,
        "reference": compared.name,
        "texts": len(study.texts),
        "first_text": study.texts[0],
        "unit": "nats per answer token, held-out needles",
        "rows": [_line(row, compared, study.wordings) for row in study.rows],
    }


def _line(row: StudyRow, compared: StudyRow, wordings: Sequence[str]) -> StudyLine:
    seeds = len(row.losses_SN)
    losses = [sum(column) / seeds for column in zip(*row.losses_SN, strict=True)]  # of texts
    line: StudyLine = {
        "row": row.name,
        "extender": row.extender,
        "parameters": dict(row.parameters),
        "forwards": row.forwards,
        "seeds": [winner.seed for winner in row.winners],
        "token_forwards": 0,
        "loss": _finite(sum(losses) / len(losses)),
        "losses_of_texts": [_finite(loss) for loss in losses],
        "behind_reference": _behind(row, compared, range(len(losses))),
        "by_wording": {},
    }
    for wording in dict.fromkeys(wordings):
        texts = [text for text, other in enumerate(wordings) if other == wording]
        mean = sum(losses[text] for text in texts) / len(texts)
        line["by_wording"][wording] = {"loss": _finite(mean), "behind_reference": _behind(row, compared, texts)}
    if row.winners:
        line["losses_of_seeds"] = [_finite(sum(losses) / len(losses)) for losses in row.losses_SN]
        line["losses_on_own_texts"] = [winner.own_loss for winner in row.winners]
        line["critical_pairs"] = [winner.critical_pair for winner in row.winners]
        line["token_forwards"] = sum(winner.cost["token_forwards"] for winner in row.winners) / seeds
        line["candidates"] = sum(winner.cost["candidates"] for winner in row.winners) / seeds
        line["seconds"] = sum(winner.cost["seconds"] for winner in row.winners) / seeds
        line["plans"] = [winner.plan for winner in row.winners]
    return line


def _behind(row: StudyRow, compared: StudyRow, texts: Sequence[int]) -> list[float] | None:
    """[mean, low, high] on these texts; None of the reference, and where nothing can be said."""
    if row.name == compared.name:
        return None
    here, there = ([[losses[text] for text in texts] for losses in one.losses_SN] for one in (row, compared))
    behind = difference_of_searches(here, there)
    return None if behind is None else list(behind)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


HEAD = (
    "row", "held-out loss", "by seed", "on its own texts", "behind the reference [95 %]", "forwards", "candidates",
    "seconds", "critical pair",
)  # fmt: skip


def table(content: StudyContent) -> list[list[str]]:
    """Rows of text, best first."""
    lines = sorted(content["rows"], key=lambda line: math.inf if line["loss"] is None else line["loss"])
    return [_cells(line, content["target_length"]) for line in lines]


def _cells(line: StudyLine, target_length: int) -> list[str]:
    mean = own_mean(line)
    seeds = ["inf" if loss is None else f"{loss:.3f}" for loss in line.get("losses_of_seeds", [])]
    pairs = [f"{pair:.1f}" for pair in line.get("critical_pairs", []) if pair is not None]
    return [
        line["row"],
        "not finite" if line["loss"] is None else f"{line['loss']:.4f}",
        ", ".join(seeds) or "-",
        "-" if mean is None else f"{mean:.3f}",
        _gap(line["behind_reference"]),
        str(round(line["token_forwards"] / target_length)),
        str(round(line["candidates"])) if "candidates" in line else "-",
        str(round(line["seconds"])) if "seconds" in line else "-",
        ", ".join(pairs) or "-",
    ]


def _gap(behind: list[float] | None) -> str:
    return "-" if behind is None else f"{behind[0]:+.4f} [{behind[1]:+.4f}, {behind[2]:+.4f}]"


def by_wording(content: StudyContent) -> list[list[str]]:
    """Rows of text by the wording of the needle, in the order of `table`."""
    lines = sorted(content["rows"], key=lambda line: math.inf if line["loss"] is None else line["loss"])
    rows = []
    for line in lines:
        cells = [line["row"]]
        for part in line["by_wording"].values():
            cells += ["not finite" if part["loss"] is None else f"{part['loss']:.4f}", _gap(part["behind_reference"])]
        rows.append(cells)
    return rows


def own_mean(line: StudyLine) -> float | None:
    """Mean over seeds of a row's losses on the texts that it was searched on."""
    losses = [loss for loss in line.get("losses_on_own_texts", []) if loss is not None]
    return sum(losses) / len(losses) if losses else None


def markdown(content: StudyContent) -> str:
    words = (
        f"Held-out needle loss (nats per answer token) at {content['target_length']} tokens, window "
        f"{content['trained_length']}, {content['texts']} texts{_from(content)}; intervals are over texts and search "
        "seeds (a row's only seed adds nothing); 'on its own texts' is what a search saw; forwards are prompts of the "
        f"target length; the reference is the row {content['reference']!r}; theoretical critical pair "
        f"{content['theoretical_critical_pair']}.\n"
    )
    wordings = list(content["rows"][0]["by_wording"])
    head = ["row", *(cell for name in wordings for cell in (f"{name} wording", "behind the reference [95 %]"))]
    apart = "\nThe same by the wording of the needle; RULER's is the paper's.\n"
    return words + _lines(HEAD, table(content)) + apart + _lines(head, by_wording(content))


def _from(content: StudyContent) -> str:
    return f" from number {content['first_text']} on" if content["first_text"] else ""


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n" + "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def comma_separated(content: StudyContent) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([HEAD, *table(content)])
    return out.getvalue()


def files(content: StudyContent) -> dict[str, str]:
    """What a study's folder holds beside its searches and losses, by file name."""
    return {
        "study.json": json.dumps(content, indent=1, sort_keys=True) + "\n",
        "table.md": markdown(content),
        "table.csv": comma_separated(content),
    }
