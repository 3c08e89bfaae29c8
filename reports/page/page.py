"""The report: one HTML file that opens from disk without network or server; tables, figures and a setup paragraph for a
paper beside it. The same store and date give the same bytes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.store import Store
from reports.figures import curves as figures
from reports.figures import plates, style, tradeoffs
from reports.numbers import findings, frame, over_lengths
from reports.numbers import searches_and_trainings as stages
from reports.numbers import tables as results
from reports.numbers.audit import audit
from reports.numbers.frame import Frames
from reports.numbers.grid import Line, interval, shown
from reports.numbers.scores import CONTROL, Scores
from reports.numbers.verdict import verdict
from reports.page import files, paper, samples
from reports.published import beside

TEMPLATE = Path(__file__).parent / "template"


def write_report(store: Store, out: Path | None = None, date: str | None = None) -> Path:
    """Write report.html, tables/ and paper/ into `out` (default: the store's own folder); returns the page's path.

    What an earlier report left there, perhaps of another experiment, is deleted.

    `date` is printed as it is given; the default is the day on which the run was made, so that writing again changes
    nothing.
    """
    folder = Path(out) if out is not None else store.folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the report")
    frames = frame.read(store)
    scores = Scores(frames)
    context = build(store, scores, str(frames.run.get("created", ""))[:10] if date is None else date)
    written = paper.kit(frames, context["grids"], context["drawings"], context["audit"])
    files.replace(folder, {**written, "report.html": render(context).encode("utf-8", "surrogatepass")})
    return folder / "report.html"


def render(context: Mapping[str, Any]) -> str:
    return _environment().get_template("page.html").render(context)


@cache
def _environment() -> Environment:
    """Compiling the templates takes longer than filling them, so it is done once."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(shown=shown, interval=interval, points=findings.points)
    environment.filters["groupby_kept"] = _groups
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment


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
    searches, trainings = stages.searches(store, frames.run), stages.trainings(store, frames.run)
    totals = tradeoffs.cost_totals(frames, searches, trainings)
    drawings = plates.drawn(plates.plates(scores, found, kept, answer.column, totals, searches, trainings))
    heats = plates.heats(scores)
    methods = [_method(method, frames, colour) for method in frames.run["methods"]]
    fairness = audit(frames.run.get("ledger") or {}, frames.labels)
    packed = samples.collect(store, scores)
    claims = beside.published(scores, found)
    sections = {
        "summary": "Methods over lengths",
        "differences": "Which differences are real",
        "needles": "Needles by depth" if heats else "",
        "tests": "Test by test" if by_test else "",
        "effective": "Effective length and ranks",
        "loss": "Perplexity" if losses else "",
        "short": "Short context",
        "rescale": "Rescale factors",
        "search": "Search and training",
        "cost": "Cost",
        "fairness": "Same conditions?",
        "failures": "How answers fail",
        "published": "Published numbers",
        "compared": "What was compared",
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
        "number": {method["label"]: i for i, method in enumerate(methods)},
        "number_of": {method["label"]: i for i, method in enumerate(methods)},
        "dots": {method["label"]: method["colour"] for method in methods},
        "hollow": [label for label, family in frames.families.items() if label != family],
        "sections": [(name, title) for name, title in sections.items() if title],
        "labels": frames.labels,
        "seeds": sorted({int(seed) for seed in frames.cells["seed"]}),
        "counts": frames.cells["status"].value_counts().to_dict(),
        "planned": len(frames.cells),
        "verdict": answer,
        "judged": found.lengths[answer.column] if found.lengths else frames.target_length,
        "glance": _glance(found, answer.column),
        "summary": found,
        "differences": findings.differences(scores, found, answer.column, answer.leader),
        "reaches": findings.reaches(scores, found),
        "over_lengths": over_lengths.note(found.tests),
        "ranks": findings.rank_stability(scores, found, answer.column),
        "by_test": by_test,
        "losses": losses,
        "loss_lengths": {grid.name: [int(c.replace(",", "")) for c in grid.columns] for grid in losses},
        "kept": kept,
        "grids": [found.grid, *[grid for _, grid in by_test], *losses, *([kept] if kept else [])],
        "drawings": drawings,
        "heats": heats,
        "searches": searches,
        "trainings": trainings,
        "totals": totals.reset_index().to_dict("records"),
        "paid": bool(searches or trainings),
        "audit": fairness,
        "claims": claims,
        "environment": flat((frames.run.get("ledger") or {}).get("environment") or {}),
        "proved": _proved(frames),
        "failures": failures(frames),
        "broken": frames.cells[frames.cells["status"] == "failed"].to_dict("records"),
        "missing": frames.cells[frames.cells["status"] == "missing"].groupby("label", sort=False).size().to_dict(),
        "data": Markup(samples.for_script(packed.index)),
        "blocks": [Markup(block) for block in packed.blocks],
        "css": Markup((TEMPLATE / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATE / "page.js").read_text(encoding="utf-8")),
        "panel_script": Markup((TEMPLATE / "panel.js").read_text(encoding="utf-8")),
    }


def _glance(found: results.Summary, column: int) -> list[tuple[str, Any]]:
    """(method, number) at the length that is judged, best first; those without a number last."""
    numbers = [(line.label, line.numbers[column]) for line in found.grid.lines] if found.lengths else []
    return sorted(numbers, key=lambda one: -one[1].estimate.mean if one[1].estimate else 1.0)


def _method(method: Mapping[str, Any], frames: Frames, colour: Mapping[str, str]) -> dict[str, Any]:
    plan = figures.target_plan(method, frames.target_length) or {}
    parameters = ", ".join(
        f"{name} = {_brief(value)}"
        for name, value in sorted((method.get("parameters") or {}).items())
        if value is not None
    )
    training = method.get("training")
    return {
        "label": method["label"],
        "extender": method.get("extender", ""),
        "summary": method.get("summary", ""),
        "parameters": parameters,
        "training": str(training.get("recipe", "")) if isinstance(training, Mapping) else "",
        "attention_factor": plan.get("attention_factor"),
        "keep_first": plan.get("keep_first"),
        "hash": plan.get("hash", ""),
        "colour": Markup(f"var(--{style.variable(colour[method['label']])})"),
    }


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) of nested settings, names joined by a dot."""
    found: list[tuple[str, str]] = []
    for name, value in sorted(values.items()):
        found += flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", str(value))]
    return found


def failures(frames: Frames) -> dict[str, Any]:
    """How wrong answers of the long tests went wrong: for each method and length, the share of all its answers."""
    rows = frames.rows[(frames.rows["unit"] == "score") & ~frames.rows["category"].isin(["short", CONTROL])]
    named = rows.assign(failure=rows["failure"].where(rows["failure"] != "", other=None))
    counts = named["failure"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    kinds = [str(kind) for kind in counts.index]
    lengths = sorted(int(length) for length in rows["length"].unique())
    groups = dict(tuple(named.groupby(["label", "length"])))
    lines = []
    for label in frames.labels:
        places: list[dict[str, Any] | None] = []
        for length in lengths:
            own = groups.get((label, length))
            if own is None:
                places.append(None)
                continue
            shares = own["failure"].value_counts(normalize=False)
            places.append(
                {
                    "n": len(own),
                    "wrong": float((own["score"] < 1).mean()),
                    "shares": [float(shares.get(kind, 0)) / len(own) for kind in kinds],
                }
            )
        lines.append({"label": label, "places": places})
    return {"kinds": [samples.visible(kind) for kind in kinds], "lengths": lengths, "lines": lines}


def _proved(frames: Frames) -> tuple[int, int]:
    """(finished cells whose plan was read back from the live model, finished cells)."""
    done = frames.cells[frames.cells["status"] == "done"]
    return sum(bool(proof) for proof in done["proof"]), len(done)
