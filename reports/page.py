"""The report: one HTML file that opens from disk without network or server, and its tables as files beside it.

The same store and date give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.store import Store, write_whole
from reports import figures, frame, results, samples, style, tables
from reports.frame import Frames
from reports.grid import Grid, Line, interval, shown
from reports.ledger import audit
from reports.scores import Scores
from reports.verdict import verdict

TEMPLATE = Path(__file__).parent / "template"


@dataclass(frozen=True)
class Drawing:
    """A figure of the page with what stands below it."""

    svg: Markup
    caption: str


def write_report(store: Store, out: Path | None = None, date: str | None = None) -> Path:
    """Write report.html and tables/ into `out` (default: the store's own folder); returns the page's path.

    `date` is printed as it is given; the default is the day on which the run was made, so that writing again changes
    nothing.
    """
    folder = Path(out) if out is not None else store.folder
    frames = frame.read(store)
    scores = Scores(frames)
    context = build(store, scores, str(frames.run.get("created", ""))[:10] if date is None else date)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(shown=shown, interval=interval)
    environment.filters["groupby_kept"] = _groups
    page = environment.get_template("page.html").render(context)
    for grid in context["grids"]:
        for ending, convert in (("csv", tables.to_csv), ("md", tables.to_markdown), ("tex", tables.to_latex)):
            write_whole(folder / "tables" / f"{grid.name}.{ending}", convert(grid))
    write_whole(folder / "report.html", page)
    return folder / "report.html"


def _plain(value: object) -> object:
    """Whatever the template prints: text loses its control characters, and jinja2 then escapes it."""
    return samples.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _groups(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Neighbouring lines of one group together; jinja2's own groupby would sort the groups."""
    return [(group, list(members)) for group, members in groupby(lines, key=lambda line: line.group)]


def build(store: Store, scores: Scores, date: str) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    frames = scores.frames
    found = results.summary(scores)
    kept = results.retention(scores)
    losses = results.perplexity(scores)
    lengths = sorted({length for _, length in scores.tests("score")}, reverse=True)
    by_test = [(length, results.by_test(scores, length)) for length in lengths]
    answer = verdict(scores, found, kept)
    colour, _ = figures.looks(scores)
    totals = cost_totals(frames)
    methods = [_method(method, frames, colour) for method in frames.run["methods"]]
    drawings = _drawings(scores, found, kept, answer.column, totals)
    sections = {
        "compared": "What was compared",
        "summary": "Methods over lengths",
        "needles": "Needles by depth" if drawings["heat"] else "",
        "tests": "Test by test" if by_test else "",
        "loss": "Perplexity" if losses else "",
        "short": "Short context",
        "rescale": "Rescale factors" if drawings["rescale"] else "",
        "cost": "Cost",
        "fairness": "Same conditions?",
        "failures": "How answers fail",
        "versions": "Versions and hardware",
    }
    return {
        "name": str(frames.run.get("name", "")),
        "date": date,
        "model": frames.run.get("model", {}),
        "rope": frames.run.get("model", {}).get("rope", {}),
        "target": frames.target_length,
        "trained": frames.trained_length,
        "pocket": frames.pocket,
        "methods": methods,
        "dots": {method["label"]: method["colour"] for method in methods},
        "sections": [(name, title) for name, title in sections.items() if title],
        "labels": frames.labels,
        "seeds": sorted({int(seed) for seed in frames.cells["seed"]}),
        "counts": frames.cells["status"].value_counts().to_dict(),
        "planned": len(frames.cells),
        "verdict": answer,
        "judged": found.lengths[answer.column] if found.lengths else frames.target_length,
        "summary": found,
        "by_test": by_test,
        "losses": losses,
        "kept": kept,
        "grids": [found.grid, *[grid for _, grid in by_test], *losses, *([kept] if kept else [])],
        "drawings": drawings,
        "totals": totals.reset_index().to_dict("records"),
        "audit": audit(frames.run.get("ledger") or {}, frames.labels),
        "environment": _flat((frames.run.get("ledger") or {}).get("environment") or {}),
        "proved": _proved(frames),
        "failures": failures(frames, found.lengths[answer.column] if found.lengths else 0),
        "broken": frames.cells[frames.cells["status"] == "failed"].to_dict("records"),
        "missing": frames.cells[frames.cells["status"] == "missing"].groupby("label", sort=False).size().to_dict(),
        "data": Markup(samples.for_script(samples.collect(store, scores))),
        "css": Markup((TEMPLATE / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATE / "page.js").read_text(encoding="utf-8")),
    }


def _method(method: Mapping[str, Any], frames: Frames, colour: Mapping[str, str]) -> dict[str, Any]:
    plan = figures.target_plan(dict(method), frames.target_length) or {}
    parameters = ", ".join(
        f"{name} = {_brief(value)}" for name, value in sorted((method.get("parameters") or {}).items())
    )
    return {
        "label": method["label"],
        "extender": method.get("extender", ""),
        "summary": method.get("summary", ""),
        "parameters": parameters,
        "attention_factor": plan.get("attention_factor"),
        "keep_first": plan.get("keep_first"),
        "hash": plan.get("hash", ""),
        "colour": Markup(f"var(--{style.variable(colour[method['label']])})"),
    }


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) of nested settings, names joined by a dot."""
    flat: list[tuple[str, str]] = []
    for name, value in sorted(values.items()):
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", str(value))]
    return flat


def _drawings(
    scores: Scores, found: results.Summary, kept: Grid | None, column: int, totals: pd.DataFrame
) -> dict[str, Any]:
    frames = scores.frames
    colour, _ = figures.looks(scores)
    cells = frames.cells
    deep = cells[(cells["category"] == "retrieval") & ~cells["task"].str.startswith("ruler")]["task"].unique()
    heat = [(str(task), figures.heat_maps(scores, str(task))) for task in deep]
    position = [
        (task, figures.loss_by_position(scores, task)) for task in dict.fromkeys(t for t, _ in scores.tests("nats"))
    ]
    return {
        "curves": _drawing(
            figures.curves(scores, found),
            "Average score of the long-context tests against length; bands are 95 % intervals.",
        ),
        "heat": [
            d
            for task, svg in heat
            if (
                d := _drawing(
                    svg, f"{task}: right answers in %, by depth of the target (down) and length in tokens (across)."
                )
            )
        ],
        "position": [
            d
            for task, drawn in position
            if drawn
            and (
                d := _drawing(
                    drawn[0], f"{task}: mean loss by position in documents of {results.tokens(drawn[1])} tokens."
                )
            )
        ],
        "rescale": _drawing(
            figures.rescale_factors(frames, colour),
            "Above: how far each rotary pair is slowed down at the target length (λ, log scale). Below: the share of "
            "its period that one training window covers. From the critical pair on, no full period was seen.",
        ),
        "cost": _drawing(
            figures.cost(totals, colour), "What the evaluation of each method cost, all finished cells together."
        ),
        "trade": _drawing(
            figures.short_against_long(kept, found, column, colour),
            "Short context kept against long-context score: up and to the right is better. Bars are 95 % intervals.",
        ),
    }


def _drawing(svg: str | None, caption: str) -> Drawing | None:
    return None if svg is None else Drawing(Markup(style.themed(svg, caption)), caption)


def cost_totals(frames: Frames) -> pd.DataFrame:
    """One line for each method: cells done and planned, seconds, token-forwards, highest peak memory in bytes."""
    cells = frames.cells
    groups = cells.groupby("label")
    totals = pd.DataFrame(
        {
            "done": (cells["status"] == "done").groupby(cells["label"]).sum(),
            "planned": groups.size(),
            "seconds": groups["seconds"].sum(min_count=1),
            "token_forwards": groups["token_forwards"].sum(min_count=1),
            "peak_memory_bytes": groups["peak_memory_bytes"].max(),
        }
    )
    totals.index.name = "label"
    return totals.reindex(frames.labels)


def failures(frames: Frames, length: int) -> dict[str, Any]:
    """How wrong answers of the long tests went wrong at one length: for each method, the share of all its answers."""
    rows = frames.rows[
        (frames.rows["length"] == length) & (frames.rows["unit"] == "score") & (frames.rows["category"] != "short")
    ]
    named = rows.assign(failure=rows["failure"].where(rows["failure"] != "", other=None))
    kinds = [
        str(kind)
        for kind in named["failure"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    ]
    lines = []
    for label in frames.labels:
        own = named[named["label"] == label]
        shares = [float((own["failure"] == kind).mean()) if len(own) else None for kind in kinds]
        lines.append(
            {
                "label": label,
                "n": len(own),
                "wrong": float((own["score"] < 1).mean()) if len(own) else None,
                "shares": shares,
            }
        )
    return {"kinds": [samples.visible(kind) for kind in kinds], "lines": lines}


def _proved(frames: Frames) -> tuple[int, int]:
    """(finished cells whose plan was read back from the live model, finished cells)."""
    done = frames.cells[frames.cells["status"] == "done"]
    return sum(bool(proof) for proof in done["proof"]), len(done)
