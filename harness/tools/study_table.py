"""The table of a search study: losses of all winners on the same held-out texts, their differences, and the cost.

Letters: S search seeds, N texts.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from extenders.base import RopePlan
from extenders.search.problem import finite
from harness.experiment.cells import Base


@dataclass(frozen=True)
class Procedure:
    """A row of the study: a method with settings, and its budget in prompts of the target length."""

    name: str
    extender: str
    forwards: int
    parameters: Mapping[str, Any]
    only_named: bool = False  # left out of a study that names no rows


@dataclass(frozen=True)
class Found:
    """A winner: which row, which seed, its plan at the target length, what it cost, and its loss on the texts that it
    was searched on (None for plain perplexity, which is another loss).
    """

    row: str
    seed: int
    plan: RopePlan
    critical_pair: float | None
    cost: Mapping[str, Any]
    own_loss: float | None = None


def summary(
    rows: Sequence[Procedure],
    winners: Sequence[tuple[Found, list[float]]],
    closed: Mapping[str, list[float]],
    base: Base,
    target_length: int,
    reference: str | None = None,
) -> dict[str, Any]:
    """All numbers of the study: by row the mean over seeds of every text's loss, and what follows from it.

    Differences are to the row `reference`, the first unless given. Raises ValueError when the study has no such row.
    """
    by_seed: dict[str, list[list[float]]] = {}
    lines: list[dict[str, Any]] = []
    for row in rows:
        own = [(one, losses) for one, losses in winners if one.row == row.name]
        if own:
            by_seed[row.name] = [losses for _, losses in own]
            lines.append(
                {
                    "row": row.name,
                    "extender": row.extender,
                    "parameters": dict(row.parameters),
                    "forwards": row.forwards,
                    "seeds": [one.seed for one, _ in own],
                    "losses_of_seeds": [finite(sum(losses) / len(losses)) for _, losses in own],
                    "losses_on_own_texts": [one.own_loss for one, _ in own],
                    "critical_pairs": [one.critical_pair for one, _ in own],
                    "token_forwards": sum(one.cost["token_forwards"] for one, _ in own) / len(own),
                    "candidates": sum(one.cost["candidates"] for one, _ in own) / len(own),
                    "seconds": sum(one.cost["seconds"] for one, _ in own) / len(own),
                    "plans": [one.plan.hash for one, _ in own],
                }
            )
    for name, losses in closed.items():
        by_seed[name] = [losses]
        lines.append({"row": name, "extender": name, "parameters": {}, "forwards": 0, "seeds": [], "token_forwards": 0})
    if reference is not None and reference not in by_seed:
        raise ValueError(f"the study has no finished row {reference!r} to compare with; it has {', '.join(by_seed)}")
    reference = lines[0]["row"] if reference is None else reference
    for line in lines:
        table_SN = by_seed[line["row"]]
        losses = [sum(column) / len(table_SN) for column in zip(*table_SN, strict=True)]  # of texts
        line["loss"] = finite(sum(losses) / len(losses))
        line["losses_of_texts"] = [finite(loss) for loss in losses]
        line["behind_reference"] = difference(table_SN, by_seed[reference]) if line["row"] != reference else None
    return {
        "weights": base.weights_hash,
        "dtype": base.dtype,
        "target_length": target_length,
        "trained_length": base.rope.trained_length,
        "theoretical_critical_pair": base.rope.critical_pair,
        "reference": reference,
        "texts": len(next(iter(by_seed.values()))[0]),
        "unit": "nats per answer token, held-out needles",
        "rows": lines,
    }


def difference(losses_SN: Sequence[Sequence[float]], reference_SN: Sequence[Sequence[float]]) -> list[float] | None:
    """[mean, low, high] of the first row's loss less the reference's, both with a line of texts for each search seed.

    A 95 % interval of Student's t. Texts are paired, seeds are each row's own; the squared standard errors of texts
    (mean over seeds) and of both rows' seeds (mean over texts) are added, with Satterthwaite's degrees of freedom. What
    depends on seed and text together counts in both, which is on the safe side. A row with one seed, or none, adds
    nothing of its own: its luck is not in the interval. None where a loss is infinite, or for a single text and seed.
    """
    first_SN, second_SN = np.array(losses_SN), np.array(reference_SN)
    if not (np.isfinite(first_SN).all() and np.isfinite(second_SN).all()):
        return None
    gap_N = first_SN.mean(axis=0) - second_SN.mean(axis=0)
    parts = [gap_N, *(table_SN.mean(axis=1) for table_SN in (first_SN, second_SN))]
    errors = [(float(part.var(ddof=1)) / len(part), len(part) - 1) for part in parts if len(part) > 1]
    if not errors:
        return None
    squared, mean = sum(error for error, _ in errors), float(gap_N.mean())
    if squared == 0:
        return [mean, mean, mean]
    freedom = squared**2 / sum(error**2 / own for error, own in errors)
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(squared)
    return [mean, mean - half, mean + half]


HEAD = (
    "row", "held-out loss", "by seed", "on its own texts", "behind the reference [95 %]", "forwards", "candidates",
    "seconds", "critical pair",
)  # fmt: skip


def table(content: Mapping[str, Any]) -> list[list[str]]:
    """Rows of text, best first."""
    rows = []
    for line in sorted(content["rows"], key=lambda one: math.inf if one["loss"] is None else one["loss"]):
        gap = line["behind_reference"]
        pairs = [pair for pair in line.get("critical_pairs", []) if pair is not None]
        rows.append(
            [
                line["row"],
                "not finite" if line["loss"] is None else f"{line['loss']:.4f}",
                ", ".join("inf" if x is None else f"{x:.3f}" for x in line.get("losses_of_seeds", [])) or "-",
                "-" if (mean := own_mean(line)) is None else f"{mean:.3f}",
                "-" if gap is None else f"{gap[0]:+.4f} [{gap[1]:+.4f}, {gap[2]:+.4f}]",
                str(round(line["token_forwards"] / content["target_length"])),
                str(round(line["candidates"])) if line["seeds"] else "-",
                str(round(line["seconds"])) if line["seeds"] else "-",
                ", ".join(f"{pair:.1f}" for pair in pairs) or "-",
            ]
        )
    return rows


def own_mean(line: Mapping[str, Any]) -> float | None:
    """Mean over seeds of a row's losses on the texts that it was searched on."""
    losses = [loss for loss in line.get("losses_on_own_texts", []) if loss is not None]
    return sum(losses) / len(losses) if losses else None


def markdown(content: Mapping[str, Any]) -> str:
    words = (
        f"Held-out needle loss (nats per answer token) at {content['target_length']} tokens, window "
        f"{content['trained_length']}, {content['texts']} texts; intervals are over texts and search seeds (a row's "
        "only seed adds nothing); 'on its own texts' is what a search saw; forwards are prompts of the "
        f"target length; the reference is the row {content['reference']!r}; theoretical critical pair "
        f"{content['theoretical_critical_pair']}.\n"
    )
    rows = [HEAD, ["---"] * len(HEAD), *table(content)]
    return words + "\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def comma_separated(content: Mapping[str, Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([HEAD, *table(content)])
    return out.getvalue()
