"""What a paper needs, beside the page: tables as CSV, Markdown and LaTeX, figures as PDF and SVG, and the paragraph on
the experimental setup, written from the ledger. All of it is written again with the same bytes.

    tables/<name>.{csv,md,tex}      every table of the page
    paper/figures/<name>.{pdf,svg}  every figure of the page
    paper/setup.{md,tex}            the setup, with every field of the ledger
    paper/all.tex                   a document that holds everything; compiles as it is
"""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.store import canonical
from reports.figures.plates import Drawing
from reports.numbers.audit import Audit, Condition
from reports.numbers.frame import Frames
from reports.numbers.grid import Grid
from reports.numbers.scores import Scores
from reports.numbers.tables import tokens
from reports.page import formats as tables
from reports.page.samples import visible


def kit(
    frames: Frames,
    grids: Sequence[Grid],
    drawings: Mapping[str, Drawing],
    audit: Audit,
) -> dict[str, bytes]:
    """The files of tables/ and paper/, by path."""
    texts = {}
    for grid in grids:
        for ending, convert in (("csv", tables.to_csv), ("md", tables.to_markdown), ("tex", tables.to_latex)):
            texts[f"tables/{grid.name}.{ending}"] = convert(grid)
    parts = setup(frames, audit, [grid.name for grid in grids if not grid.empty])
    texts["paper/setup.md"] = setup_markdown(parts)
    texts["paper/setup.tex"] = setup_latex(parts)
    texts["paper/all.tex"] = document([grid for grid in grids if not grid.empty], drawings)
    texts |= {f"paper/figures/{name}.svg": drawing.svg for name, drawing in drawings.items()}
    files = {path: text.encode("utf-8", "surrogatepass") for path, text in texts.items()}
    return files | {f"paper/figures/{name}.pdf": drawing.pdf for name, drawing in drawings.items()}


def setup(frames: Frames, audit: Audit, printed: Sequence[str]) -> list[tuple[str, str]]:
    """(heading, text) of the setup's parts, plain text. Every condition and every value of the ledger stands in it, and
    of the statistics what the tables of these names need."""
    run = frames.run
    model = run.get("model", {})
    lengths = sorted({int(n) for n in frames.cells["length"]})
    seeds = sorted({int(seed) for seed in frames.cells["seed"]})
    tests = list(dict.fromkeys(frames.cells["task"]))
    size = f", {model['parameters']:,} parameters" if isinstance(model.get("parameters"), int) else ""
    hashed = f", weights {model['weights_hash']}" if model.get("weights_hash") else ""
    what = (
        f"We extend {model.get('name', 'the model')}{size}{hashed} from its trained length of "
        f"{tokens(frames.trained_length)} tokens to {tokens(frames.target_length)} tokens with {len(frames.labels)} "
        f"methods: {'; '.join(map(_method, run.get('methods', [])))}."
    )
    if lengths:
        plural = "s" if len(seeds) > 1 else ""
        what += (
            f" Tests: {', '.join(tests)}, at {', '.join(map(tokens, lengths))} tokens, "
            f"seed{plural} {', '.join(map(str, seeds))}."
        )
    if frames.pocket:
        what += " The model is a small scale model; its numbers do not compare with those of large models."
    parts = [("Experimental setup", what)]
    must = [one for one in audit.conditions if one.must_be_equal]
    free = [one for one in audit.conditions if not one.must_be_equal]
    if must:
        parts.append(("Held equal", " ".join([audit.sentence, *audit.remarks, _listed(must, run)])))
    if free:
        parts.append(("What the methods change or cost", _listed(free, run)))
    environment = (run.get("ledger") or {}).get("environment") or {}
    if environment:
        parts.append(("Software and hardware", "; ".join(f"{k}: {_text(v)}" for k, v in environment.items()) + "."))
    parts.append(("Statistics", _statistics(frames, audit, printed)))
    return [(heading, visible(text)) for heading, text in parts]


def _statistics(frames: Frames, audit: Audit, printed: Sequence[str]) -> str:
    """How the intervals and tests of these tables were made."""
    asked = next((one for one in audit.conditions if one.name == "prompts"), None)
    scores = Scores(frames)
    several = [label for label in frames.labels if scores.by_seed(label)]
    losses = any(name.startswith("loss-") for name in printed)
    said = (
        []
        if asked is None
        else [f"{'All' if asked.colour == 'green' else 'Not all'} methods answered the same samples."]
    )
    said += [
        "Brackets are 95 % intervals: Wilson's for 0/1 scores, a bootstrap for partial credit"
        + (", Student's t for losses" if losses else "")
        + (", Fieller's for the share of short-context scores that is kept." if "retention" in printed else "."),
        "Differences are tested in pairs on the same samples: McNemar's test with mid-p values for 0/1 scores, sign "
        "flips for partial credit and averages" + (", the paired t test for losses." if losses else "."),
    ]
    if several:
        said.append(
            f"Intervals and tests of {', '.join(several)} go by the seeds of their trainings (Student's t over the "
            "seeds; where all seeds answer the same samples, crossed random effects of seeds and samples with "
            "Satterthwaite's degrees of freedom)."
        )
        if any(scores.luck((test,)) for test in scores.tests("score")):
            said.append(
                "Differences with trained methods use a variance between seeds that is pooled over all of them as a "
                "ratio to the variance within seeds, with Box's degrees of freedom, or the pair's own where that is "
                "larger."
            )
    said.append(
        "The level is 5 % with Holm's correction over a whole table, in tables test by test with Benjamini and "
        "Hochberg's; bold marks only what is significantly ahead of every other method."
    )
    return " ".join(said)


def _method(method: Mapping[str, Any]) -> str:
    given = {name: value for name, value in (method.get("parameters") or {}).items() if value is not None}
    said = ", ".join(f"{name} {_text(value)}" for name, value in sorted(given.items()))
    kind = method.get("extender", "")
    head = f"{method['label']}" + (f" ({kind})" if kind not in ("", method["label"]) else "")
    return f"{head} with {said}" if said else head


def _listed(conditions: Sequence[Condition], run: Mapping[str, Any]) -> str:
    """Every condition with its one value, or with the value of each method where they differ."""
    values = {str(one.get("condition")): one.get("values") or {} for one in run["ledger"]["conditions"]}
    said = []
    for one in conditions:
        own = values[one.name]
        if one.one_value:
            said.append(f"{one.name}: {_text(next(iter(own.values())))}")
        else:
            each = ", ".join(f"{label} {_text(own.get(label))}" for label in own)
            said.append(f"{one.name} ({one.word}): {each}")
    return "; ".join(said) + "."


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not recorded" if value is None else value if isinstance(value, str) else canonical(value)


def setup_markdown(parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"**{tables.markdown(heading)}.** {tables.markdown(text)}" for heading, text in parts) + "\n"


def setup_latex(parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(rf"\paragraph{{{tables.latex(head)}.}} {tables.latex(text)}" for head, text in parts) + "\n"


def document(grids: Sequence[Grid], drawings: Mapping[str, Drawing]) -> str:
    """A whole document around the kit; a paper takes its parts with \\input and \\includegraphics."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[margin=25mm]{geometry}",
        r"\usepackage{booktabs,graphicx}",
        r"\sloppy",
        r"\begin{document}",
        r"\input{setup}",
    ]
    for grid in grids:
        lines.append(rf"\input{{../tables/{grid.name}}}")
    for i, (name, drawing) in enumerate(drawings.items()):
        lines += [
            r"\begin{figure}\centering",
            rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{figures/{name}.pdf}}",
            rf"\caption{{{tables.latex(drawing.caption)}}}",
            r"\end{figure}",
        ]
        if i % 8 == 7:
            lines.append(r"\clearpage")
    return "\n".join([*lines, r"\end{document}"]) + "\n"
