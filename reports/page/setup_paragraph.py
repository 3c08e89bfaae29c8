"""The paragraph on the experimental setup, written from the ledger: conditions, software, and how tests were made."""

from collections.abc import Sequence
from typing import Any

from harness.store import Run, StoredMethod, canonical
from reports.numbers.audit import Audit, AuditedCondition
from reports.numbers.frame import Frames
from reports.numbers.grid import tokens
from reports.numbers.scores import Scores
from reports.page.table_formats import latex, markdown
from reports.page.visible_text import visible


def setup(frames: Frames, audit: Audit, printed: Sequence[str]) -> list[tuple[str, str]]:
    """(heading, text) of the setup's parts, plain text. Every condition and every value of the ledger stands in it, and
    of the statistics what the tables of these names need."""
    run = frames.run
    parts = [("Experimental setup", _what(frames))]
    must = [condition for condition in audit.conditions if condition.must_be_equal]
    free = [condition for condition in audit.conditions if not condition.must_be_equal]
    if must:
        parts.append(("Held equal", " ".join([audit.sentence, *audit.remarks, _listed(must, run)])))
    if free:
        parts.append(("What the methods change or cost", _listed(free, run)))
    environment = frames.environment
    if environment:
        parts.append(("Software and hardware", "; ".join(f"{k}: {_text(v)}" for k, v in environment.items()) + "."))
    parts.append(("Statistics", _statistics(frames, audit, printed)))
    return [(heading, visible(text)) for heading, text in parts]


def _what(frames: Frames) -> str:
    """Model, lengths, methods, tests and seeds."""
    run, seeds = frames.run, frames.seeds
    model = frames.model
    lengths = sorted({int(n) for n in frames.cells["length"]})
    tests = list(dict.fromkeys(frames.cells["task"]))
    size = f", {model['parameters']:,} parameters" if isinstance(model.get("parameters"), int) else ""
    hashed = f", weights {model['weights_hash']}" if model.get("weights_hash") else ""
    origin = f" It is {model['origin']}." if model.get("origin") else ""
    what = (
        f"We extend {model.get('name', 'the model')}{size}{hashed} from its trained length of "
        f"{tokens(frames.trained_length)} tokens to {tokens(frames.target_length)} tokens with {len(frames.labels)} "
        f"methods: {'; '.join(map(_method, run.get('methods', [])))}.{origin}"
    )
    for note in (model.get("rope") or {}).get("notes", []):
        what += f" Note: {note}."
    if lengths:
        plural = "s" if len(seeds) > 1 else ""
        what += (
            f" Tests: {', '.join(tests)}, at {', '.join(map(tokens, lengths))} tokens, "
            f"seed{plural} {', '.join(map(str, seeds))}."
        )
    if frames.pocket:
        what += " The model is a small scale model; its numbers do not compare with those of large models."
    return what


def _statistics(frames: Frames, audit: Audit, printed: Sequence[str]) -> str:
    """How the intervals and tests of these tables were made."""
    prompts = next((condition for condition in audit.conditions if condition.name == "prompts"), None)
    scores = Scores(frames)
    several = [label for label in frames.labels if scores.by_seed(label)]
    losses = any(name.startswith("loss-") for name in printed)
    sentences = []
    if prompts is not None:
        sentences.append(f"{'All' if prompts.colour == 'green' else 'Not all'} methods answered the same samples.")
    sentences += [
        "Brackets are 95 % intervals: Wilson's for 0/1 scores, a bootstrap for partial credit"
        + (", Student's t for losses" if losses else "")
        + (", Fieller's for the share of short-context scores that is kept." if "retention" in printed else "."),
        "Differences are tested in pairs on the same samples: McNemar's test with mid-p values for 0/1 scores, sign "
        "flips for partial credit and averages" + (", the paired t test for losses." if losses else "."),
    ]
    if several:
        sentences.append(
            f"Intervals and tests of {', '.join(several)} go by the seeds of their trainings (Student's t over the "
            "seeds; where all seeds answer the same samples, crossed random effects of seeds and samples with "
            "Satterthwaite's degrees of freedom)."
        )
        if any(scores.luck((test,)) for test in scores.tests("score")):
            sentences.append(
                "Differences with trained methods use a variance between seeds that is pooled over all of them as a "
                "ratio to the variance within seeds, with Box's degrees of freedom, or the pair's own where that is "
                "larger."
            )
    sentences.append(
        "The level is 5 % with Holm's correction over a whole table, in tables test by test with Benjamini and "
        "Hochberg's; bold marks only what is significantly ahead of every other method."
    )
    return " ".join(sentences)


def _method(method: StoredMethod) -> str:
    given = {name: value for name, value in (method.get("parameters") or {}).items() if value is not None}
    parameters = ", ".join(f"{name} {_text(value)}" for name, value in sorted(given.items()))
    kind = method.get("extender", "")
    head = f"{method['label']}" + (f" ({kind})" if kind not in ("", method["label"]) else "")
    return f"{head} with {parameters}" if parameters else head


def _listed(conditions: Sequence[AuditedCondition], run: Run) -> str:
    """Every condition with its one value, or with the value of each method where they differ."""
    recorded = {str(entry.get("condition")): entry.get("values") or {} for entry in run["ledger"]["conditions"]}
    parts = []
    for condition in conditions:
        values = recorded[condition.name]
        if condition.one_value:
            parts.append(f"{condition.name}: {_text(next(iter(values.values())))}")
        else:
            each = ", ".join(f"{label} {_text(values.get(label))}" for label in values)
            parts.append(f"{condition.name} ({condition.word}): {each}")
    return "; ".join(parts) + "."


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not recorded" if value is None else value if isinstance(value, str) else canonical(value)


def setup_markdown(parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"**{markdown(heading)}.** {markdown(text)}" for heading, text in parts) + "\n"


def setup_latex(parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(rf"\paragraph{{{latex(head)}.}} {latex(text)}" for head, text in parts) + "\n"
