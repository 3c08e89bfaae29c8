"""The search stage: methods whose numbers are missing → the same methods with numbers that were found on the model.

A search is keyed by all that changes its outcome and written when it ends. Every measured loss is on disk before the
next is measured, and all decisions follow from losses and seeds, so a search that is stopped anywhere and run again
replays what it had and ends at the same winner.

    DIR/<key>.json           the result          DIR/<key>.jsonl   the trajectory, one line per candidate measured
    DIR/<key>.losses.jsonl   losses and gradients by plan and sample, for going on
"""

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extenders.search.problem import Report, finite
from extenders.search.searched import SearchedExtender
from harness.experiment.cells import Base, content_of, lengths_of, plain, rope_fields
from harness.experiment.file import Experiment, Method
from harness.experiment.method_code import is_shipped, source_of
from harness.files_on_disk import ENDS_A_RUN, held
from harness.prompts.kept import KeptPrompts
from harness.records.provenance import now, provenance
from harness.search.far_use import far_use, far_use_in_words
from harness.search.progress_line import search_progress
from harness.search.result import loss_in_words
from harness.search.texts import check_apart, evaluation_passages
from harness.search.work import MadeTexts, Measures, Work
from harness.signals import stop_if_asked
from harness.store import Moved, SearchLine, SearchRecord, key_of, read_search, write_record

VERSION = 1  # raised when a search of the same identity would end elsewhere
GIVEN_UP = 5.0  # seconds that a process without its parent may still hold what it had at work


@dataclass(frozen=True)
class Search:
    """One search of an experiment."""

    method: Method
    key: str
    identity: Mapping[str, Any]


def planned(methods: Sequence[Method], base: Base) -> list[Search]:
    """The searches that these methods need, in their order."""
    searches = []
    for method in methods:
        extender = method.extender
        if isinstance(extender, SearchedExtender) and not extender.searched:
            identity = identity_of(extender, base)
            searches.append(Search(method, key_of(identity), identity))
    return searches


def check_documents(searches: Sequence[Search], texts: Callable[[], Sequence[str]]) -> None:
    """Raises ValueError when a search reads a document that shares a passage with one of these texts of tests.

    A key knows no tests, so a search may have been finished before they were; it is checked again by every run.
    """
    for search in searches:
        extender = search.method.extender
        if isinstance(extender, SearchedExtender) and extender.documents:
            try:
                check_apart(extender.documents, texts())
            except ValueError as error:
                raise ValueError(f"search of {search.method.label!r}: {error}") from error


def identity_of(extender: SearchedExtender, base: Base) -> dict[str, Any]:
    """All that changes a search's outcome; shipped code counts by VERSION and the method's own, a user's by content."""
    settings = extender.parameters()
    settings = {name: value for name, value in settings.items() if name not in extender.LATER or value is not None}
    parameters = {name: content_of(name, value) for name, value in settings.items()}
    identity = {
        "search": VERSION,
        "weights": base.weights_hash,
        "dtype": base.dtype,
        "attention": base.attention,
        "rope": rope_fields(base.rope),
        "target_length": extender.target_length,
        "extender": extender.name,
        "parameters": parameters,
    }
    if extender.version != 1:  # left out at 1, so that searches of earlier days are found
        identity["version"] = extender.version
    if extender.searcher_version != 1:
        identity["searcher version"] = extender.searcher_version
    if not is_shipped(type(extender)):
        identity["source"] = source_of(type(extender))
    return identity


def completed(methods: Sequence[Method], searches: Sequence[Search], folder: Path) -> tuple[Method, ...]:
    """The methods that can plan: found numbers filled in; those whose search is missing or failed are left out."""
    by_label = {search.method.label: search for search in searches}
    ready = []
    for method in methods:
        search = by_label.get(method.label)
        if search is None:
            ready.append(method)
            continue
        record = read_search(folder, search.key)
        if record is not None and record["status"] == "done":
            assert isinstance(method.extender, SearchedExtender)
            ready.append(dataclasses.replace(method, extender=method.extender.with_found(record["found"])))
    return tuple(ready)


def described(searches: Sequence[Search], folder: Path) -> list[SearchLine]:
    """The searches as run.json lists them."""
    lines: list[SearchLine] = []
    for search in searches:
        record = read_search(folder, search.key)
        lines.append(
            {
                "label": search.method.label,
                "extender": search.method.extender.name,
                "key": search.key,
                "status": record["status"] if record else "missing",
                "error": record["error"] if record else "",
                "cost": record["cost"] if record else None,
            }
        )
    return lines


def finished(folder: Path, key: str) -> bool:
    """True when the search is done; a failed one is not, and runs again."""
    content = read_search(folder, key)
    return content is not None and content["status"] == "done"


def run_all(
    experiment: Experiment,
    searches: Iterable[Search],
    base: Base,
    session_of: Callable[[Method], Any],
    folder: Path,
    say: Callable[[str], None],
    kept: KeptPrompts | None = None,
) -> None:
    """The searches of an experiment, with progress, on texts apart from the experiment's tests, whose prompts are read
    from `kept` where it has them."""
    known: list[frozenset[int]] = []
    for search in searches:
        label = search.method.label

        def avoid(method: Method = search.method) -> frozenset[int]:
            if not known:
                lm, rope = session_of(method).lm, base.rope
                known.append(evaluation_passages(experiment, lm, lambda test: lengths_of(test, experiment, rope), kept))
            return known[0]

        with search_progress(label) as progress:
            record = run_search(search, base, session_of(search.method), folder, avoid, progress)
        cost = record["cost"]
        if record["error"]:
            say(f"the search of {label} failed: {record['error']}")
        else:
            words = loss_in_words(record)
            say(f"searched {label}: {cost['candidates']} candidates in {cost['seconds']:.0f} s, {words}")
            if "far_use" in record:
                say(f"{label}: {far_use_in_words(record['far_use'])}")


def run_search(
    search: Search,
    base: Base,
    session: Measures,
    folder: Path,
    avoid: Callable[[], frozenset[int]] = frozenset,
    progress: Callable[[Report, bool], None] = lambda report, measured: None,
    tune: Callable[[SearchedExtender], Measures] | None = None,
    made: MadeTexts | None = None,
) -> SearchRecord:
    """Search, or go on with it, and write the result. What the user can mend is a failed search with one line. Raises
    ValueError while another process is at this search.

    `avoid` gives the passages of evaluation text (see `harness.search.texts`), and is asked when a text is needed.
    `tune(method)` trains the model with the method's plan and gives it: what a progressive search does half-way.
    `made` are texts that searches on the same model have made before; what is made is added.
    """
    extender = search.method.extender
    assert isinstance(extender, SearchedExtender)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / f"{search.key}.lock", f"the search of {search.method.label} in {folder}", GIVEN_UP):
        work = Work(extender, search.key, base, session, folder, avoid, progress, tune, made=made)
        record = _searched(search, base, session, work)
        write_record(folder / f"{search.key}.json", "search", record, indent=1)
    return record


def _searched(search: Search, base: Base, session: Measures, work: Work) -> SearchRecord:
    """What the search ends at, or why it failed."""
    extender = search.method.extender
    assert isinstance(extender, SearchedExtender)
    before = session.token_forwards
    error = trace = ""
    found: dict[str, Any] = {}
    measured = 0  # token-forwards of the search itself
    try:
        with work:
            complete = extender.search(work.problem(extender.target_length, extender.token_forwards))
            measured = session.token_forwards - before
            found = _found(extender, complete, base, session, work)
    except (*ENDS_A_RUN, Moved):
        raise
    except Exception as reason:
        stop_if_asked()
        error = " ".join(str(reason).split()) if isinstance(reason, ValueError) else repr(reason)
        trace = traceback.format_exc()
    record = _record(search, work, error, trace)
    record["measured_now"] = session.token_forwards - before if error else measured
    if not error:
        record.update(found)  # type: ignore[typeddict-item]
    return record


def _found(
    extender: SearchedExtender, complete: SearchedExtender, base: Base, session: Measures, work: Work
) -> dict[str, Any]:
    """What is recorded of a search that came to its end."""
    filled = _filled(extender, complete)
    plan = extender.with_found(filled).plan(base.rope, extender.target_length)
    found = {
        "found": filled,
        "rescale_factors": [finite(value) for value in plan.rescale_factors(base.rope)],
        "attention_factor": plan.attention_factor,
        "loss": work.loss_of(plan),
    }
    if extender.fitness != "needle" and not work.tunes:
        texts = work.texts_of(extender.target_length)
        found["far_use"] = far_use(work.beside, session.rows_at_once, plan, base.rope, texts)
    return found


def _record(search: Search, work: Work, error: str, trace: str) -> SearchRecord:
    """What is known of a search however it ended; what it ended at is filled in by the caller."""
    return {
        "key": search.key,
        "label": search.method.label,
        "status": "failed" if error else "done",
        "error": error,
        "traceback": trace,
        "identity": dict(search.identity),
        "found": {},
        "loss": None,
        "held_out": work.held_out,
        "held_out_samples": work.held_out_samples,
        "cost": {
            "seconds": round(work.seconds, 3),
            "token_forwards": work.spent,
            "candidates": work.candidates,
            "evaluations": work.evaluations,
        },
        "evaluation_passages_avoided": work.avoided,
        "measured_now": 0,
        "provenance": {**provenance(), "date": now()},
    }


def _filled(before: SearchedExtender, after: SearchedExtender) -> dict[str, Any]:
    """The parameters that a search set, in JSON's types."""
    values = {name: plain(value) for name, value in after.parameters().items()}
    return {name: value for name, value in values.items() if value != plain(getattr(before, name))}
