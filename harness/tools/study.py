"""Do searches find what they should, and what does it cost: procedures against each other on held-out needles.

Every row is a procedure with a budget; it searches once per seed. All winners, and the closed forms, are then measured
on the same held-out texts, which no search has seen. The table gives the mean loss, its paired difference to the first
row with an interval over texts and search seeds, and the cost. Everything is kept on disk, so a study goes on where it
stopped; rows with small budgets come first. The table shows all that its folder holds, so rows may have different
numbers of seeds.

    DIR/searches/…            results and trajectories, as in a result store
    DIR/held-out.WEIGHTS.DTYPE.LENGTH.jsonl   losses on the held-out texts by plan
    DIR/study.json, table.md, table.csv, figure.svg, cost.svg   by the command line, from `reports`
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import extenders.base
from extenders.base import RopePlan, RopeSpec
from extenders.search import fast
from extenders.search.problem import HELD_OUT, finite
from extenders.search.searched import SearchedExtender
from harness.experiment.cells import Base, check
from harness.experiment.file import Experiment, Method
from harness.files_on_disk import held, mend_lines
from harness.progress import Progress
from harness.runner.engine import LocalEngine
from harness.runner.engine_contract import Sessions
from harness.search import stage as searching
from harness.search.progress_line import search_progress
from harness.search.result import loss_in_words
from harness.search.texts import SearchTexts, wording_of
from harness.search.work import MadeTexts, Measures
from harness.store import Study, StudyRow, StudyWinner, canonical, read_search
from harness.tools.procedures import ABLATION, StudyEntry, procedures

TEXTS_SEED = 7_654_321  # no search is given this seed, so its texts are nobody's search texts
SEEDS = range(20)  # whose finished searches are looked for
# Closed forms by name: (method, settings).
CLOSED: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("none", "pi", "ntk", "dynamic_ntk", "yarn", "llama3", "mrrope_pro", "late_ramp")},
    "yarn, end at 1.25 s": ("ramp", {"top": 1.25}),  # `top` in units of the scale, see `_closed`
    "yarn, end at 1.1 s": ("ramp", {"top": 1.1}),
}


def methods(
    entries: Sequence[StudyEntry], seeds: Sequence[int], target_length: int, documents: str = ""
) -> list[Method]:
    """The searched method of every row and seed, rows first."""
    listed = []
    for entry in entries:
        for seed in seeds:
            settings = {"budget": entry.forwards * target_length, "search_seed": seed, **entry.parameters}
            settings |= {"documents": documents} if documents else {}
            cls = extenders.base.load(entry.extender)
            listed.append(Method(f"{entry.name} · seed {seed}", cls(target_length=target_length, **settings)))
    return listed


def study(
    model: str,
    target_length: int,
    folder: Path,
    progress: Progress,
    forwards: int = 1000,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    texts: int = 64,
    samples: int | None = None,
    only: Sequence[str] = (),
    trained_length: int | None = None,
    dtype: str = "auto",
    reference: str | None = None,
    documents: str = "",
    device: str = "auto",
    first_text: int = 0,
) -> Study:
    """Run what is missing of the study; returns all that its folder holds. ValueError: another is at work in it.

    `forwards` is the budget of the official procedures in prompts of the target length, `only` names the rows to search
    (all but CMA-ES, ablations and those of full size unless given), `texts` is the number of held-out texts from
    `first_text` on, `reference` the row that all others will be compared with: it is refused before anything runs.
    `documents` is a folder of .txt and .md files that needles are hidden in, two thirds of them for searches, the rest
    for the held-out texts; "": the world's.
    """
    entries, numbers = procedures(forwards, samples), _numbers(first_text, texts)
    experiment = Experiment(
        name="search study",
        model=model,
        target_length=target_length,
        lengths=(target_length,),
        methods=tuple(methods(_wanted(entries, only, reference), seeds, target_length, documents)),
        tests=(),
        dtype=dtype,
        trained_length=trained_length,
    )
    engine = LocalEngine(experiment, progress, device=device)
    base = engine.base()
    check(experiment, base.rope)
    place = folder / "searches"
    place.mkdir(parents=True, exist_ok=True)
    with held(folder / "study.lock", f"the study in {folder}"), engine.open() as session_of:
        _search(experiment.methods, base, session_of, place, progress)
        losses_of = folder / _losses_name(base, target_length, documents)
        held_out = HeldOut(session_of(experiment.methods[0]), losses_of, target_length, numbers, documents)
        closed = list(_closed_rows(base.rope, target_length, held_out))
        known = sorted({*SEEDS, *seeds})
        listed = [methods([entry], known, target_length, documents) for entry in entries]
        rows = [_row(entry, known, own, base, place, held_out) for entry, own in zip(entries, listed, strict=True)]
    return Study(
        weights=base.weights_hash,
        dtype=base.dtype,
        target_length=target_length,
        trained_length=base.rope.trained_length,
        critical_pair=base.rope.critical_pair,
        texts=numbers,
        wordings=tuple(wording_of(HELD_OUT + text) for text in numbers),
        rows=(*(row for row in rows if row.winners), *closed),
    )


def _numbers(first: int, texts: int) -> tuple[int, ...]:
    """Of the held-out texts. Raises ValueError for none."""
    if texts < 1 or first < 0:
        raise ValueError(f"a study needs a held-out text at least, counted from 0, got {texts} from {first} on")
    return tuple(range(first, first + texts))


def _losses_name(base: Base, target_length: int, documents: str) -> str:
    """Of the file with the losses on the held-out texts."""
    texts_of = f".{hashlib.sha256(documents.encode()).hexdigest()[:8]}" if documents else ""
    return f"held-out.{base.weights_hash[:12]}.{base.dtype}.{target_length}{texts_of}.jsonl"


def _search(methods: Sequence[Method], base: Base, session_of: Sessions, place: Path, progress: Progress) -> None:
    """The searches of these methods that are not finished."""
    made: MadeTexts = {}
    for search in searching.planned(methods, base):
        if not searching.finished(place, search.key):
            with search_progress(search.method.label) as shown:
                session = session_of(search.method)
                record = searching.run_search(search, base, session, place, progress=shown, made=made)
            progress.say(f"{search.method.label}: {record['error'] or loss_in_words(record)}")


def _wanted(entries: Sequence[StudyEntry], only: Sequence[str], reference: str | None) -> list[StudyEntry]:
    """The rows to search. Raises ValueError for a name that no row has."""
    names = [entry.name for entry in entries]
    unknown = [name for name in only if name not in names]
    unknown += [] if reference is None or reference in (*names, *CLOSED, "flat") else [reference]
    if unknown:
        shown = ", ".join(name for name in names if ABLATION not in name)
        raise ValueError(f"no row of the study is named {unknown[0]!r}; there are {shown}, and ablations")
    return [entry for entry in entries if (entry.name in only if only else not entry.only_named)]


def _row(
    entry: StudyEntry,
    seeds: Sequence[int],
    searched: Sequence[Method],
    base: Base,
    place: Path,
    held_out: "HeldOut",
) -> StudyRow:
    """A row with all its finished searches."""
    winners, losses_SN = [], []
    for seed, search in zip(seeds, searching.planned(searched, base), strict=True):
        record = read_search(place, search.key)
        if record is not None and record["status"] == "done":
            method = search.method.extender
            assert isinstance(method, SearchedExtender)
            plan = method.with_found(record["found"]).plan(base.rope, held_out.length)
            own_loss = record["loss"] if method.fitness == "needle" else None
            winners.append(StudyWinner(seed, plan.hash, record["found"].get("critical_pair"), record["cost"], own_loss))
            losses_SN.append(tuple(held_out.losses(plan)))
    return StudyRow(entry.name, entry.extender, entry.parameters, entry.forwards, tuple(winners), tuple(losses_SN))


def _closed_rows(rope: RopeSpec, target_length: int, held_out: "HeldOut") -> Iterator[StudyRow]:
    """Plans that need no search."""
    for name, plan in _closed(rope, target_length).items():
        yield StudyRow(name, name, {}, 0, (), (tuple(held_out.losses(plan)),))


def _closed(rope: RopeSpec, target_length: int) -> dict[str, RopePlan]:
    """Plans that need no search."""
    scale = target_length / rope.trained_length
    plans = {}
    for name, (method, settings) in CLOSED.items():
        values = {key: scale * value for key, value in settings.items()}
        plans[name] = extenders.base.load(method)(target_length=target_length, **values).plan(rope, target_length)
    return plans | {name: plan for name, plan in fast.baselines(rope, target_length).items() if name not in plans}


class HeldOut:
    """Losses of plans on the study's texts, kept on disk by plan."""

    def __init__(self, session: Measures, path: Path, length: int, texts: Sequence[int], documents: str = "") -> None:
        self._session, self.length, self._texts = session, length, texts
        self._documents = SearchTexts(session.lm, length, "needle", TEXTS_SEED, documents, start=session.start_ids)
        self._path = path
        self._known: dict[tuple[str, int], float] = {}
        for plan, text, loss in mend_lines(self._path):
            self._known[plan, text] = math.inf if loss is None else loss

    def losses(self, plan: RopePlan) -> list[float]:
        """One loss for each text, in nats per scored token."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        missing = [text for text in self._texts if (plan.hash, text) not in self._known]
        rows = self._session.rows_at_once(self.length)
        for start in range(0, len(missing), rows):
            batch = missing[start : start + rows]
            losses = self._session.plan_losses([(plan, self._documents[HELD_OUT + text]) for text in batch])
            with self._path.open("a", encoding="utf-8") as file:
                for text, loss in zip(batch, losses, strict=True):
                    self._known[plan.hash, text] = math.inf if math.isnan(loss) else loss
                    file.write(canonical([plan.hash, text, finite(loss)]) + "\n")
        return [self._known[plan.hash, text] for text in self._texts]
