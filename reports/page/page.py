"""The report: one HTML file that opens from disk without network or server; tables, figures and a setup paragraph for a
paper beside it. The same store and date give the same bytes.

What stands on the page, and in which order, is in sections.py; how it looks, in template/.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.store import Store
from reports.figures import heat, style
from reports.figures.catalogue import drawings
from reports.figures.drawing import Drawing
from reports.numbers import costs, methods
from reports.numbers.audit import Audit
from reports.numbers.best import Ranked
from reports.numbers.grid import Grid, Line, interval, shown
from reports.numbers.results import Results
from reports.numbers.summary import Summary
from reports.numbers.verdict import Verdict
from reports.page import files, paper, samples, sections
from reports.page.attempts import Attempts
from reports.page.visible_text import visible
from reports.published.beside import published

TEMPLATE = Path(__file__).parent / "template"
NO_SUMMARY = Summary(Grid("summary", "Methods over lengths", "Method", (), ()), (), (), Ranked({}, {}))
_ANSWER = Markup('<section id="answer" aria-labelledby="answer-h"><h2 id="answer-h">Answer: not known</h2></section>\n')
_NO_DRAWINGS: Mapping[str, Drawing] = {}
_NO_SAMPLES = {"data": Markup('{"methods":[],"cells":{},"texts":0}'), "blocks": []}


def write_report(
    store: Store, out: Path | None = None, date: str | None = None, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Write report.html, tables/ and paper/ into `out` (default: the store's own folder); returns the page's path.

    What an earlier report left there, perhaps of another experiment, is deleted.

    `date` is printed as it is given; the default is the day on which the run was made, so that writing again changes
    nothing. A part that cannot be made is left out, and `say` is told in one line.
    """
    folder = Path(out) if out is not None else store.folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the report")
    results = Results(store)
    content = build(results, str(results.frames.run.get("created", ""))[:10] if date is None else date)
    attempts = content["attempts"]
    written = paper.kit(results, tables(content["sections"]), content["drawings"], attempts)
    page = render(content).encode("utf-8", "surrogatepass")
    files.replace(folder, {**written, "report.html": page})
    for problem in attempts.problems:
        say(f"not in the report: {problem}")
    return folder / "report.html"


def tables(groups: Sequence[Sequence[sections.FilledSection]]) -> list[Grid]:
    """All tables of the page, in its order."""
    return [grid for group in groups for section in group for grid in section.tables]


def render(content: Mapping[str, Any]) -> str:
    """The page, from what `build` gives."""
    attempts: Attempts = content["attempts"]
    shown = [section for group in content["sections"] for section in group if section.shown]
    bodies = {section.id: _section(content, section, attempts) for section in shown}
    answer = attempts.make("the answer", lambda: _template(["answer.html"], content), _ANSWER)
    return _template(["page.html"], {**content, "bodies": bodies, "answer": answer, "problems": attempts.problems})


def _section(content: Mapping[str, Any], section: sections.FilledSection, attempts: Attempts) -> Markup:
    """A section has a template of its own, or is made of its tables."""
    absent = _template(["absent.html"], {**content, "section": section})
    if section.problem:
        return absent
    names = [f"sections/{section.id}.html", "sections/tables.html"]
    return attempts.make(
        f"section {section.title!r}", lambda: _template(names, {**content, "section": section}), absent
    )


def _template(names: Sequence[str], content: Mapping[str, Any]) -> Markup:
    return Markup(_environment().select_template(names).render(content))


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
    environment.globals.update(shown=shown, interval=interval, heat_colour=heat.colour, heat_ink=heat.ink)
    environment.filters["groupby_kept"] = _groups
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment


def _plain(value: object) -> object:
    """Whatever the template prints: text loses its control characters, and jinja2 then escapes it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _groups(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Neighbouring lines of one group together; jinja2's own groupby would sort the groups."""
    return [(group, list(members)) for group, members in groupby(lines, key=lambda line: line.group)]


def build(results: Results, date: str) -> dict[str, Any]:
    """Everything that the templates show, by name; they also read `results` themselves. `attempts` holds what could not
    be made."""
    attempts = Attempts()
    frames = results.frames
    model = frames.model
    _stand_in(results, attempts)
    content = {
        "results": results,
        "attempts": attempts,
        "sections": sections.filled(results, attempts),
        "drawings": attempts.make("the figures", lambda: drawings(results, attempts.make), _NO_DRAWINGS),
        "name": str(frames.run.get("name", "")),
        "date": date,
        "model": model,
        "rope": model.get("rope", {}),
        "target": frames.target_length,
        "trained": frames.trained_length,
        "pocket": frames.pocket,
        "labels": frames.labels,
        "environment": flat(frames.environment),
        **_looks(results),
        **attempts.make("the samples", lambda: _samples(results), _NO_SAMPLES),
        "css": Markup((TEMPLATE / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATE / "page.js").read_text(encoding="utf-8")),
        "panel_script": Markup((TEMPLATE / "panel.js").read_text(encoding="utf-8")),
    }
    parts: Mapping[str, Callable[[], object]] = {
        "published": lambda: published(results.scores, results.summary),
        "methods": lambda: methods.described(frames),
        "costs": lambda: costs.lines(results.costs),
    }
    for name, make in parts.items():
        absent: object = _environment().undefined(name=name)
        content[name] = attempts.make(f"the numbers of {name!r}", make, absent)
    return content


def _stand_in(results: Results, attempts: Attempts) -> None:
    """What the head of the page needs: where it cannot be computed, words that say so stand for it."""
    words = "It could not be computed."
    stands: Mapping[str, object] = {
        "summary": NO_SUMMARY,
        "verdict": Verdict("open", (words,)),
        "audit": Audit((), False, words, (), "conditions not known"),
        "ranks": None,
    }
    for name, stand_in in stands.items():
        results.__dict__[name] = attempts.make(f"the {name}", partial(getattr, results, name), stand_in)


def _looks(results: Results) -> dict[str, Any]:
    """How methods are marked: their places, the colours of their dots, and whose dots are hollow."""
    frames = results.frames
    number = {label: i for i, label in enumerate(frames.labels)}
    colours = style.colours_of(frames)
    return {
        "number": number,
        "number_of": number,  # in macros.html `number` is a macro
        "dots": {label: Markup(f"var(--{style.variable(colours[label])})") for label in frames.labels},
        "hollow": [label for label, family in frames.families.items() if label != family],
    }


def _samples(results: Results) -> dict[str, Any]:
    packed = samples.collect(results.store, results.scores)
    return {
        "data": Markup(samples.for_script(packed.index)),
        "blocks": [Markup(block) for block in packed.blocks],
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) of nested settings, names joined by a dot."""
    settings: list[tuple[str, str]] = []
    for name, value in sorted(values.items()):
        nested = isinstance(value, Mapping)
        settings += flat(value, f"{prefix}{name}.") if nested else [(f"{prefix}{name}", str(value))]
    return settings
