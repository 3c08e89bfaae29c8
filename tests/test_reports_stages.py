"""Searches and trainings in a report: shown where a store has them, absent without harm, never trusted blindly."""

from pathlib import Path

import pytest
import synthetic_store as made

from harness.store import Store
from reports.figures import style
from reports.numbers import frame
from reports.numbers.by_test import by_test
from reports.numbers.costs import cost_totals
from reports.numbers.gains import gain_steps
from reports.numbers.results import Results
from reports.numbers.scores import Scores
from reports.numbers.searches import SearchHistory, TriedCandidate, searches
from reports.numbers.summary import summary
from reports.numbers.trainings import trainings
from reports.page.page import build, render, write_report


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    labels = ("none", "yarn", "longrope2")
    return made.with_stages(made.realistic(tmp_path_factory.mktemp("stages") / "s", 4, labels, (512, 2048)))


def test_a_search_is_read_with_its_trajectory(store: Store) -> None:
    (search,) = searches(store, store.run())
    assert (search.label, search.status, search.loss) == ("longrope2", "done", 1.84)
    assert search.short_values == {"critical_pair": 17.5} and search.held_out["yarn"] == 2.3
    assert len(search.candidates) == 59  # one has no loss; the last line is half written
    most = max(candidate.samples for candidate in search.candidates)
    losses = [loss for _, loss in search.best]
    assert len(losses) > 3 and losses[-1] == min(
        candidate.loss for candidate in search.candidates if candidate.samples == most
    )


def test_the_best_so_far_is_among_those_measured_on_the_most_texts() -> None:
    """A loss of 0.1 on one easy text is no record, and neither is 0.5 on half of the texts."""
    rows = [(2.0, 1, 10), (0.1, 1, 20), (1.5, 8, 30), (0.5, 4, 40), (1.2, 8, 50), (1.4, 8, 60)]
    candidates = tuple(TriedCandidate(i, *row) for i, row in enumerate(rows))
    search = SearchHistory("x", "longrope2", "done", "", candidates=candidates)
    assert search.best == [(10, 2.0), (20, 0.1), (30, 1.5), (50, 1.2)]


def test_the_last_line_of_a_candidate_counts(tmp_path: Path) -> None:
    store = made.write(tmp_path, [], {})
    (tmp_path / "searches").mkdir()
    first = '{"candidate": 0, "loss": 2.0, "samples": 1, "spent": 10}'
    again = '{"candidate": 0, "loss": 2.5, "samples": 8, "spent": 30}'
    (tmp_path / "searches" / "ab.jsonl").write_text(f"{first}\n{again}\nnonsense\n[1]\n")
    run = {"searches": [{"label": "x", "key": "ab"}, {"label": "y", "key": "../../run"}, {"key": "no label"}, 7]}
    known, other = searches(store, run)
    assert [(candidate.loss, candidate.samples) for candidate in known.candidates] == [(2.5, 8)]
    assert other.record is None and other.status == "missing"
    assert searches(store, {"searches": "nonsense"}) == [] and trainings(store, {}) == []


@pytest.mark.parametrize("content", ['{"key": "k"}', '{"key": "k", "status": "done", "error": ""}', "[]", '{"ke'])
def test_a_damaged_record_counts_as_absent(tmp_path: Path, content: str) -> None:
    store = made.write(tmp_path, [], {})
    for folder in ("searches", "trainings"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "k.json").write_text(content)
    entry = {"label": "x", "method": "x", "key": "k", "status": "missing"}
    run = store.run() | {"searches": [entry], "trainings": [entry]}
    (search,), (training,) = searches(store, run), trainings(store, run)
    assert (search.record, search.status, search.short_values, search.held_out) == (None, "missing", {}, {})
    assert (training.record, training.status, training.order, training.curves) == (None, "missing", "", {})


def test_trainings_are_read_by_seed(store: Store) -> None:
    first, second = trainings(store, store.run())
    assert (first.label, first.recipe, first.seed, second.seed) == ("longrope2", "mixed", 0, 1)
    assert first.curves["short"][0] == (4096, 3.0) and len(first.curves["long"]) == 10
    assert first.cost("token_forwards") == 3 * 81_920


def test_costs_of_search_and_training_are_counted(store: Store) -> None:
    run = store.run()
    totals = cost_totals(frame.read(store), searches(store, run), trainings(store, run))
    own = totals.loc["longrope2"]
    assert own["search_token_forwards"] == 60_000 and own["training_token_forwards"] == 3 * 81_920  # of one of two
    assert own["total_seconds"] == pytest.approx(own["seconds"] + 61.5 + 10.0)
    assert totals["search_seconds"].isna().tolist() == [True, True, False]


@pytest.mark.slow
def test_the_page_shows_them(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")  # takes longest and is not looked at
    page = write_report(store, tmp_path).read_text(encoding="utf-8")
    for words in ("table-searches", "critical_pair = 17.5", "yarn 2.3000", "table-trainings", "60,000", "0bde50bd"):
        assert words in page
    names = {path.stem for path in (tmp_path / "paper" / "figures").iterdir()}
    assert {"search", "training", "score-and-cost"} <= names
    run = store.run() | {"searches": [{"label": "yarn", "key": "gone", "status": "failed", "error": "<b>boom"}]}
    del run["format"], run["trainings"]
    store.write_run(run)
    context = build(Results(store), "a day")
    page = render(context)
    assert "&lt;b&gt;boom" in page and "<b>boom" not in page
    assert "search" not in context["drawings"] and "curves" in context["drawings"]


def test_what_each_part_adds(tmp_path: Path) -> None:
    """yarn 1/4, with its critical pair 2/4, searched 3/4, mixed training 4/4: each adds 25 points."""
    labels = ("none", "yarn", "yarn-rcd", "longrope2", "longrope2 + mixed", "longrope2 + plain")
    planned = made.planned(labels, (4096,), {"needle": "retrieval"}, 4)
    values = [[0.0] * 4, [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 1, 0]]
    given = {cell["key"]: [float(v) for v in own] for cell, own in zip(planned, values, strict=True)}
    store = made.write(tmp_path, planned, given, labels=labels)
    run = store.run()
    kinds = ("none", "yarn", "yarn", "longrope2", "longrope2", "longrope2")
    for method, kind in zip(run["methods"], kinds, strict=True):
        method["extender"] = kind
    run["methods"][2]["parameters"] = {"critical_pair": 17}
    run["methods"][4]["training"] = {"base_method": "longrope2", "recipe": "mixed", "tokens": 10}
    run["methods"][5]["training"] = {"base_method": "longrope2", "recipe": "plain", "tokens": 10}
    del run["format"]
    store.write_run(run)
    scores = Scores(frame.read(store))
    start, steps = gain_steps(scores, summary(scores), 0)
    assert start is not None and start.estimate is not None and start.estimate.mean == 0.25
    assert [(step.part, step.label, step.gain.difference) for step in steps] == [
        ("critical dimension", "yarn-rcd", 0.25),
        ("searched factors", "longrope2", 0.25),
        ("mixed training", "longrope2 + mixed", 0.25),
    ]
    assert "waterfall" in build(Results(store), "a day")["drawings"]


def test_controls_count_nowhere(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (4096,), {"needle": "retrieval"}, 4)
    planned += made.planned(("none", "yarn"), (4096,), {"needle without its needle": "control"}, 4)
    given = {cell["key"]: [1.0, 1.0, 1.0, 0.0] if i < 2 else [0.0] * 4 for i, cell in enumerate(planned)}
    scores = Scores(frame.read(made.write(tmp_path, planned, given, labels=("none", "yarn"))))
    number = summary(scores).grid.lines[0].numbers[0]
    assert number.estimate is not None and number.estimate.mean == 0.75
    groups = {line.label: line.group for line in by_test(scores, 4096).lines}
    assert groups == {"needle": "Retrieval", "needle without its needle": "Controls (in no average)"}


def test_a_method_and_its_trained_selves_look_alike() -> None:
    families = {"none": "none", "none + mixed": "none", "yarn": "yarn", "yarn + plain": "yarn", "yarn + mixed": "yarn"}
    colour, marker, dash = style.colours(families, "none"), style.markers(families), style.dashes(families)
    assert colour["yarn"] == colour["yarn + plain"] == colour["yarn + mixed"] != style.NEUTRAL
    assert colour["none"] == colour["none + mixed"] == style.NEUTRAL and marker["yarn"] == marker["yarn + mixed"]
    assert dash["yarn"] == dash["none"] == "-" and len({str(dash[one]) for one in families if "yarn" in one}) == 3
    only_trained = {"yarn + plain": "yarn", "yarn + mixed": "yarn"}
    assert len({str(one) for one in style.dashes(only_trained).values()}) == 2
