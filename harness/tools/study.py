"""Do searches find what they should, and what does it cost: procedures against each other on held-out needles.

Every row is a procedure with a budget; it searches once per seed. All winners, and the closed forms, are then measured
on the same held-out texts, which no search has seen. The table gives the mean loss, its paired difference to the first
row with an interval over texts and search seeds, and the cost. Everything is kept on disk, so a study goes on where it
stopped; rows with small budgets come first. The table shows all that its folder holds, so rows may have different
numbers of seeds.

    DIR/searches/…            results and trajectories, as in a result store
    DIR/held-out.WEIGHTS.DTYPE.LENGTH.jsonl   losses on the held-out texts by plan
    DIR/study.json, table.md, table.csv       and, by the command line, figure.svg
"""

import json
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
from harness.files_on_disk import mend_lines
from harness.progress import Progress
from harness.runner.engine import LocalEngine
from harness.search import stage as searching
from harness.search.progress_line import search_progress
from harness.search.texts import SearchTexts
from harness.search.work import Measures
from harness.store import canonical, read_search, write_whole
from harness.tools.study_table import Found, Procedure, comma_separated, markdown, summary

TEXTS_SEED = 7_654_321  # no search is given this seed, so its texts are nobody's search texts
FULL = 14_080  # forwards of the released code as published: 1,408 candidates on 10 texts
SEEDS = range(20)  # whose finished searches are looked for
CLOSED = ("none", "pi", "ntk", "dynamic_ntk", "yarn", "llama3")


def procedures(forwards: int, samples: int | None = None) -> list[Procedure]:
    """The rows: ours at a tenth and at the whole of `forwards`, the official procedures at the whole, tuned baselines
    at a tenth (what ours has there), the ablations at a tenth, CMA-ES, and last the official procedures at full size.

    `samples` is the number of texts a candidate of the official procedures is measured on (theirs unless given).
    """
    tenth = max(1, forwards // 10)
    official = {} if samples is None else {"search_samples": samples}
    rows = [
        Procedure("fast, a tenth", "longrope2", tenth, {}),
        *(Procedure(f"{name}, a tenth", name, tenth, {}) for name in
          ("curve_tuned", "yarn_tuned", "yarn_rcd", "ntk_rcd", "abf", "pi_tuned")),
        Procedure("fast, plain perplexity, a tenth", "longrope2", tenth, {"fitness": "perplexity"}),
        Procedure("fast, four needles, a tenth", "longrope2", tenth, {"needles": 4}),
        Procedure("fast, all pairs, a tenth", "longrope2", tenth, {"search_all": True}),
        Procedure("longrope fast, a tenth", "longrope", tenth, {"fitness": "needle"}),
        Procedure("fast", "longrope2", forwards, {}),
        Procedure("released code", "longrope2", forwards, {"searcher": "released", **official}),
        Procedure("paper", "longrope2", forwards, {"searcher": "paper", **official}),
        Procedure("released code, plain perplexity", "longrope2", forwards,
                  {"searcher": "released", "fitness": "perplexity", **official}),
    ]  # fmt: skip
    rows.append(
        Procedure("cma, a tenth", "longrope2", tenth, {"searcher": "cma"}, only_named=True)
    )  # a further package
    full = [
        Procedure("released code, full size", "longrope2", FULL, {"searcher": "released"}, only_named=True),
        Procedure("paper, full size", "longrope2", FULL, {"searcher": "paper"}, only_named=True),
    ]
    return sorted(rows, key=lambda row: row.forwards) + full


def methods(rows: Sequence[Procedure], seeds: Sequence[int], target_length: int) -> list[Method]:
    found = []
    for row in rows:
        for seed in seeds:
            settings = {"budget": row.forwards * target_length, "search_seed": seed, **row.parameters}
            cls = extenders.base.load(row.extender)
            found.append(Method(f"{row.name} · seed {seed}", cls(target_length=target_length, **settings)))
    return found


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
) -> dict[str, Any]:
    """Run what is missing of the study and write its table; returns study.json's content.

    `forwards` is the budget of the official procedures in prompts of the target length, `only` names the rows to search
    (all but CMA-ES and those of full size unless given), `texts` is the number of held-out texts, `reference` the row
    that all others are compared with.
    """
    rows = procedures(forwards, samples)
    names = [row.name for row in rows]
    unknown = [name for name in only if name not in names]
    unknown += [] if reference is None or reference in (*names, *CLOSED, "flat") else [reference]
    if unknown:
        raise ValueError(f"no row of the study is named {unknown[0]!r}; there are {', '.join(names)}")
    wanted = [row for row in rows if (row.name in only if only else not row.only_named)]
    listed = sorted({*SEEDS, *seeds})
    experiment = Experiment(
        name="search study",
        model=model,
        target_length=target_length,
        lengths=(target_length,),
        methods=tuple(methods(wanted, seeds, target_length)),
        tests=(),
        dtype=dtype,
        trained_length=trained_length,
    )
    engine = LocalEngine(experiment, progress)
    base = engine.base()
    check(experiment, base.rope)
    searches = searching.planned(experiment.methods, base)
    place = folder / "searches"
    with engine.open() as session_of:
        for one in searches:
            if not searching.finished(place, one.key):
                with search_progress(one.method.label) as shown:
                    record = searching.run_search(one, base, session_of(one.method), place, progress=shown)
                progress.say(f"{one.method.label}: {record['error'] or record['loss']}")
        losses_of = folder / f"held-out.{base.weights_hash[:12]}.{base.dtype}.{target_length}.jsonl"
        held_out = HeldOut(session_of(experiment.methods[0]), losses_of, target_length, texts)
        everything = searching.planned(methods(rows, listed, target_length), base)
        found = list(_found(rows, everything, listed, place, base))
        closed = _closed(base.rope, target_length)
        losses = {name: held_out.losses(plan) for name, plan in closed.items()}
        winners = [(one, held_out.losses(one.plan)) for one in found]
    content = summary(rows, winners, losses, base, target_length, reference)
    write_whole(folder / "study.json", json.dumps(content, indent=1, sort_keys=True) + "\n")
    write_whole(folder / "table.md", markdown(content))
    write_whole(folder / "table.csv", comma_separated(content))
    return content


def _found(
    rows: Sequence[Procedure], searches: Sequence[searching.Search], seeds: Sequence[int], place: Path, base: Base
) -> Iterator[Found]:
    names = [(row.name, seed) for row in rows for seed in seeds]
    for (name, seed), search in zip(names, searches, strict=True):
        content = read_search(place, search.key)
        if content is not None and content["status"] == "done":
            method = search.method.extender
            assert isinstance(method, SearchedExtender)
            plan = method.with_found(content["found"]).plan(base.rope, method.target_length)
            own_loss = content["loss"] if method.fitness == "needle" else None
            yield Found(name, seed, plan, content["found"].get("critical_pair"), content["cost"], own_loss)


def _closed(rope: RopeSpec, target_length: int) -> dict[str, RopePlan]:
    """Plans that need no search."""
    methods = {name: extenders.base.load(name)(target_length=target_length) for name in CLOSED}
    plans = {name: method.plan(rope, target_length) for name, method in methods.items()}
    return plans | {name: plan for name, plan in fast.baselines(rope, target_length).items() if name not in plans}


class HeldOut:
    """Losses of plans on the study's texts, kept on disk by plan."""

    def __init__(self, session: Measures, path: Path, length: int, texts: int) -> None:
        self._session, self._texts = session, texts
        self._documents = SearchTexts(session.lm, length, "needle", TEXTS_SEED, start=session.start_ids)
        self._path = path
        self._known: dict[tuple[str, int], float] = {}
        for plan, text, loss in mend_lines(self._path):
            self._known[plan, text] = math.inf if loss is None else loss

    def losses(self, plan: RopePlan) -> list[float]:
        """One loss for each text, in nats per scored token."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for text in range(self._texts):
            if (plan.hash, text) not in self._known:
                [loss] = self._session.plan_losses([(plan, self._documents[HELD_OUT + text])])
                self._known[plan.hash, text] = math.inf if math.isnan(loss) else loss
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(canonical([plan.hash, text, finite(loss)]) + "\n")
        return [self._known[plan.hash, text] for text in range(self._texts)]
