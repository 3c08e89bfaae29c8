"""'Controlled' is earned or refused: equal budgets among searched methods, equal trainings, and what words add."""

import importlib.util
from typing import Any

import pytest

from harness.records import search_budgets
from harness.records.ledger import ledger
from reports.numbers.audit import Audit, audit

PLACE = {"engine": "local", "versions": {"torch": "2.13"}, "gpus": [], "cpu": "c", "system": "s", "cores": 2}
PLACE |= {"threads": 2, "python": "3.11", "commit": "abc", "dirty": False}
FOUND = {"search_seed": 0, "documents": "", "budget": None, "fitness": "needle", "searcher": "fast"}
TARGET = 4096


def method(label: str, extender: str = "", training: str = "", **parameters: Any) -> dict[str, Any]:
    plan = {"attention_factor": 1.0, "keep_first": 0}
    one = {"label": label, "extender": extender or label, "parameters": parameters, "varies": False}
    one["plans"] = {str(TARGET): plan}
    if training:
        one |= {"label": f"{label} + {training}", "extender": extender or label}
        one["training"] = {"base_method": label, "recipe": training, "tokens": 1000}
    return one


def search(label: str, used: int = 400_000, status: str = "done") -> dict[str, Any]:
    cost = {"token_forwards": used, "candidates": 77} if status == "done" else None
    return {"label": label, "status": status, "cost": cost}


def record(recipe: str, **changes: Any) -> dict[str, Any]:
    own = {"label": recipe, "learning_rate": 1e-3, "betas": [0.9, 0.95], "weight_decay": 0.1}
    given = {"tokens": 1000, "order": f"order of {recipe}", "steps": 4, "corpus": "pocket", **changes}
    return {
        "status": "done",
        "recipe": {**own, "learning_rate": given.get("learning_rate", 1e-3), "schedule": "cosine", "clip": 1.0},
        "data": {"order": given["order"], "corpus": given["corpus"]},
        "curve": [0] * given["steps"],
        "trainable": {"parameters": 10, "of": 10},
        "cost": {"tokens": given["tokens"], "flops": 5, "seconds": 1.0, "peak_memory_bytes": 9},
    }


def judged(
    methods: list[dict[str, Any]],
    searches: list[dict[str, Any]] | None = None,
    trained: dict[tuple[str, int], dict[str, Any]] | None = None,
) -> tuple[dict[str, dict[str, Any]], Audit]:
    """(ledger's rows by name, the report's verdict) of a run whose cells are all done and alike.

    `trained`: records by label and seed."""
    trained = trained or {}
    run: dict[str, Any] = {"methods": methods, "target_length": TARGET, "searches": searches or []}
    run["trainings"] = [{"method": label, "seed": seed, "key": f"{label} {seed}"} for label, seed in trained]
    identity = {"weights": "w", "dtype": "float32", "attention": "sdpa", "task": {"new_tokens": 8}}
    content = {"status": "done", "identity": identity, "provenance": PLACE, "rows": [{"sample": 0, "prompt": "p"}]}
    content["cost"] = {"seconds": 1.0, "token_forwards": 10, "peak_memory_bytes": 100}
    seeds = sorted({seed for _, seed in trained} | {0})
    cells = [
        ({"label": one["label"], "task": task, "length": 512, "seed": seed, "seeded": drawn, "samples": 1}, content)
        for one in methods
        for task, drawn in (("needle", True), ("short/pocket_facts", False))
        for seed in (seeds if drawn or "training" in one else seeds[:1])
    ]
    records = {f"{label} {seed}": found for (label, seed), found in trained.items()}
    found = ledger(run, cells, records)
    return {one["condition"]: one for one in found["conditions"]}, audit(found, [one["label"] for one in methods])


CLOSED = [method("none"), method("pi"), method("yarn")]
TWO = [method("longrope", **FOUND), method("longrope2", **FOUND)]
DONE = [search("longrope"), search("longrope2", 409_600)]


def test_closed_forms_alone_are_controlled_without_remarks() -> None:
    rows, found = judged(CLOSED)
    assert found.controlled and found.tag == "✓ controlled comparison" and found.remarks == ()
    assert rows["search token-forwards"]["values"] == {"none": 0, "pi": 0, "yarn": 0}
    assert "search budget (token-forwards)" not in rows and "trainings of the method" not in rows


def test_equal_budgets_among_the_searched_are_controlled_and_the_page_says_who_was_not_tuned() -> None:
    rows, found = judged([*CLOSED, *TWO], DONE)
    assert found.controlled
    assert "2 of them among the methods that were searched" in found.sentence
    assert found.tag == "✓ controlled comparison (not every method tuned)"
    (said,) = found.remarks
    assert said == (
        "Tuned on this model by a search: longrope and longrope2 each up to 409,600 token-forwards (100 prompts of the "
        "target length). Not tuned here: pi and yarn; a lead over them may come from tuning alone."
    )
    budget = rows["search budget (token-forwards)"]
    assert budget["values"]["pi"] == "no search" and budget["values"]["longrope"] == 409_600
    condition = next(one for one in found.conditions if one.name == "search budget (token-forwards)")
    assert [value.colour for value in condition.values] == ["", "", "", "green", "green"]
    assert condition.word == "equal among the methods that were searched" and not condition.one_value
    assert rows["search token-forwards"]["values"]["longrope"] == 400_000  # what was used may differ and is shown
    assert not rows["search token-forwards"]["must_be_equal"]


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"budget": 204_800}, "search budget (token-forwards)"),
        ({"search_seed": 3}, "search texts"),
        ({"documents": "books"}, "search texts"),
    ],
)
def test_unequal_searches_refuse(changes: dict[str, Any], broken: str) -> None:
    unequal = [TWO[0], method("longrope2", **{**FOUND, **changes})]
    rows, found = judged([*CLOSED, *unequal], [search("longrope"), search("longrope2", 200_000)])
    assert not found.controlled and broken in found.sentence and not rows[broken]["equal"]
    assert found.tag == "✗ not a controlled comparison"
    condition = next(one for one in found.conditions if one.name == broken)
    assert [value.colour for value in condition.values] == ["", "", "", "red", "red"]


def test_a_search_beyond_its_budget_refuses() -> None:
    _, found = judged([*CLOSED, *TWO], [search("longrope"), search("longrope2", 409_601)])
    assert not found.controlled and "search budget" in found.sentence


def test_given_numbers_have_an_unknown_search_and_refuse() -> None:
    given = method("longrope2", **{**FOUND, "factors": [1, 2]})
    rows, found = judged([*CLOSED, TWO[0], given], [search("longrope")])
    assert not found.controlled and "search budget" in found.sentence
    assert rows["search budget (token-forwards)"]["values"]["longrope2"] is None
    assert "The numbers of longrope2 came with the experiment" in found.remarks[0]
    published = method("published", "factors", factors=[1, 2])
    assert not judged([*CLOSED, published])[1].controlled


def test_tuned_rows_take_the_reservation_away() -> None:
    tuned = [method("yarn_tuned", **FOUND), method("pi_tuned", **FOUND)]
    searches = [*DONE, search("yarn_tuned"), search("pi_tuned")]
    _, found = judged([*CLOSED, *TWO, *tuned], searches)
    assert found.controlled and found.tag == "✓ controlled comparison"
    assert "Tuned rows: yarn_tuned for yarn; pi_tuned for pi." in found.remarks[0]
    assert "Not tuned" not in found.remarks[0]
    _, partly = judged([*CLOSED, *TWO, tuned[0]], searches[:3])
    assert "Not tuned here: pi;" in partly.remarks[0] and "not every method tuned" in partly.tag


def test_tuned_rows_are_methods_that_exist() -> None:
    for tuned, closed in search_budgets.TUNES.items():
        for name in (tuned, closed, *search_budgets.GIVEN):
            assert importlib.util.find_spec(f"extenders.{name}") is not None


def factorial(**changes: Any) -> tuple[list[dict[str, Any]], dict[tuple[str, int], dict[str, Any]]]:
    """{none, plain, mixed} × (none, yarn, longrope2), two seeds; `changes` are those of yarn + plain at seed 1."""
    methods, records = [], {}
    for base in ("none", "yarn", "longrope2"):
        parameters = FOUND if base == "longrope2" else {}
        for recipe in ("", "plain", "mixed"):
            one = method(base, training=recipe, **parameters)
            methods.append(one)
            for seed in (0, 1) if recipe else ():
                odd = changes if (one["label"], seed) == ("yarn + plain", 1) else {}
                tokens = {"plain": 1000, "mixed": 1200}[recipe]
                records[one["label"], seed] = record(recipe, **{"tokens": tokens, "order": f"{recipe} {seed}", **odd})
    return methods, records


def test_a_factorial_is_controlled_within_each_training() -> None:
    methods, records = factorial()
    rows, found = judged(methods, [search("longrope2")], records)
    assert found.controlled, found.sentence
    assert "9 of them within each training" in found.sentence
    assert found.tag == "✓ controlled comparison (within each training, not every method tuned)"
    assert found.remarks[0] == (
        "Training is a factor of the design: none (0 tokens), plain (1,000 tokens) and mixed (1,200 tokens). "
        "Conditions of training are judged within each; two methods with different trainings differ in their training "
        "as well."
    )
    assert "Not tuned here: yarn;" in found.remarks[1] and "longrope2 up to 409,600" in found.remarks[1]
    assert rows["search token-forwards"]["values"]["longrope2 + mixed"] == 400_000  # the search of its base method
    assert rows["training tokens"]["among"] == [
        [base + tail for base in ("none", "yarn", "longrope2")] for tail in ("", " + plain", " + mixed")
    ]
    assert rows["training data order"]["values"]["yarn + plain"] == "plain 0 and plain 1"


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"tokens": 1001}, "training tokens"),
        ({"order": "another"}, "training data order"),
        ({"corpus": "books"}, "training corpus"),
        ({"steps": 5}, "training steps"),
        ({"learning_rate": 2e-3}, "training learning rate"),
    ],
)
def test_an_unequal_training_refuses(changes: dict[str, Any], broken: str) -> None:
    methods, records = factorial(**changes)
    rows, found = judged(methods, [search("longrope2")], records)
    assert not found.controlled and f"Not controlled: {broken} should be equal" in found.sentence
    condition = next(one for one in found.conditions if one.name == broken)
    red = [one["label"] for one, value in zip(methods, condition.values, strict=True) if value.colour == "red"]
    assert red == ["yarn + plain"]


def test_a_lost_seed_refuses() -> None:
    methods, records = factorial()
    records["yarn + mixed", 1] = {"status": "failed"}
    rows, found = judged(methods, [search("longrope2")], records)
    assert not found.controlled and rows["training tokens"]["values"]["yarn + mixed"] is None
    assert rows["training seeds"]["values"]["yarn + mixed"] == "0"


def test_methods_with_trainings_of_their_own_are_not_compared_within_any() -> None:
    """Each training holds one method only, so equality within it says nothing."""
    methods = [method("none"), method("yarn", training="plain"), method("longrope", training="mixed")]
    records = {("yarn + plain", 0): record("plain"), ("longrope + mixed", 0): record("mixed")}
    _, found = judged(methods, None, records)
    assert not found.controlled and "trainings of the method" in found.sentence


def test_the_reference_may_stand_without_training() -> None:
    methods = [method("none"), method("none", training="plain"), method("yarn", training="plain")]
    methods.append(method("pi", training="plain"))
    records = {(one["label"], 0): record("plain") for one in methods[1:]}
    assert judged(methods, None, records)[1].controlled
    records["pi + plain", 0] = record("plain", tokens=2000)
    assert not judged(methods, None, records)[1].controlled


def test_a_damaged_scope_is_judged_over_all_methods() -> None:
    entry = {"condition": "x", "values": {"a": 1, "b": 2}, "must_be_equal": True, "equal": True, "within": "w"}
    assert audit({"conditions": [{**entry, "among": [["a"], ["b"]]}]}, ("a", "b")).controlled
    for among in ("ab", ["a", "b"], 7):
        assert not audit({"conditions": [{**entry, "among": among}]}, ("a", "b")).controlled
