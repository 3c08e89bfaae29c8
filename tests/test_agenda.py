"""The agenda of a run: what there is to do, made anew once searches have given their numbers."""

import dataclasses
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Quiet, experiment
from test_search_stage import SearchEngine, with_searches

from harness.runner.agenda import agenda_of
from harness.runner.run import run
from harness.store import Store


def test_cells_of_a_searched_method_come_with_its_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = agenda_of(with_searches(), SearchEngine().base(), store)
    assert [search.method.label for search in first.missing_searches] == ["longrope2"]
    assert {cell.method.label for cell in first.cells} == {"none", "pi"} and first.missing == first.total == 6
    assert first.description["searches"][0]["status"] == "missing" and list(tmp_path.iterdir()) == []
    run(with_searches(), tmp_path, SearchEngine(), Quiet())
    again = first.again(store)
    assert again.missing == 0 and again.total == 8
    assert {cell.method.label for cell in again.cells} == {"none", "pi", "longrope2"}
    assert again.description["searches"][0]["status"] == "done"
    assert first.missing_searches and len(first.cells) == 6  # the old one says what it said
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.total = 0  # type: ignore[misc]


def test_short_lengths_come_first_and_equal_cells_once(tmp_path: Path) -> None:
    agenda = agenda_of(experiment(), FakeEngine().base(), Store(tmp_path))
    order = [(cell.length, cell.method.label) for cell in agenda.missing_cells]
    assert order == sorted(order, key=lambda place: (place[0], ["none", "pi"].index(place[1])))
    assert len(agenda.missing_cells) == agenda.total == len({cell.key for cell in agenda.cells})
    run(experiment(lengths=(64,)), tmp_path, FakeEngine(), Quiet())
    assert {cell.length for cell in agenda.again(Store(tmp_path)).missing_cells} == {128, 256}
