"""Stores of several machines become one: the same as if one had done it all, and what both measured is compared."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Quiet, experiment, methods
from synthetic_store import with_stages
from test_store import rows

from harness import cli
from harness.records import damage
from harness.runner.run import run
from harness.store import Store
from harness.tools.merge import merge


def one(folder: Path, *labels: str, seeds: tuple[int, ...] = (0, 1)) -> Store:
    return run(experiment(methods=methods(*labels), seeds=seeds), folder, FakeEngine(), Quiet()).store


def test_two_machines_make_what_one_would_have_made(tmp_path: Path) -> None:
    whole = one(tmp_path / "whole", "none", "pi")
    into, other = one(tmp_path / "into", "none"), one(tmp_path / "other", "pi")
    [merged] = merge(into, [other])
    assert (merged.cells, merged.searches, merged.trainings, merged.left) == (6, 0, 0, ())
    outcome = run(experiment(), into.folder, FakeEngine(), Quiet())
    assert outcome.computed == 0, "nothing is left to do"
    assert rows(into.folder) == rows(whole.folder)
    assert sorted(path.name for path in (into.folder / "prompts").iterdir()) == sorted(
        path.name for path in (whole.folder / "prompts").iterdir()
    )
    [again] = merge(into, [other])
    assert again.cells == 0 and sum(parity.cells for parity in again.parity.values()) == 6


def test_what_both_have_is_compared_and_ours_stays(tmp_path: Path) -> None:
    into = one(tmp_path / "into", "none", "pi")
    other = Store(Path(shutil.copytree(into.folder, tmp_path / "other")))
    changed = next(cell["key"] for cell, _ in other.cells() if cell["length"] == 128)
    record = other.cell(changed)
    assert record is not None
    record["rows"][0] |= {"generation": "another", "score": 0.25}
    other.put_cell(changed, record)
    before = rows(into.folder)
    [merged] = merge(into, [other])
    assert rows(into.folder) == before and merged.cells == 0
    found = {length: (one.cells, one.rows, one.answers, one.scores) for (_, length), one in merged.parity.items()}
    assert found == {64: (4, 16, 0, 0), 128: (4, 16, 1, 1), 256: (4, 16, 0, 0)}
    assert merged.parity["count", 128].largest == pytest.approx(0.25)


def test_what_is_missing_is_filled_and_what_is_damaged_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into, other = one(tmp_path / "into", "none"), one(tmp_path / "other", "none")
    keys = [cell["key"] for cell, _ in other.cells()]
    into.cell_path(keys[0]).unlink()
    into.cell_path(keys[1]).unlink()
    content = json.loads(other.cell_path(keys[1]).read_text())
    content["rows"][0]["score"] = 0.75
    other.cell_path(keys[1]).write_text(json.dumps(content))
    assert cli.answer(["merge", str(into.folder), str(other.folder)]) == 0
    said = capsys.readouterr().out
    assert "1 cells, 0 searches and 0 trainings brought" in said and f"cells/{keys[1]}.json" in said
    assert into.done(keys[0]) and not into.done(keys[1])
    cells = {line["condition"]: line for line in into.run()["ledger"]["conditions"]}["cells finished"]
    assert cells["values"]["none"] == "1 missing"


def test_searches_and_trainings_come_with_their_files(tmp_path: Path) -> None:
    into, other = one(tmp_path / "into", "none"), with_stages(one(tmp_path / "other", "none"))
    [(search, lines)] = [(path.stem, path.with_suffix(".jsonl")) for path in other.searches.glob("*.json")]
    lines.write_text(lines.read_text().rpartition("\n")[0] + "\n")  # a finished search has no half line
    for line in other.run()["trainings"]:
        record = other.training(line["key"])
        assert record is not None
        folder = other.training_folder(line["key"])
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(line["key"].encode())
        record["weights"]["sha256"] = hashlib.sha256(line["key"].encode()).hexdigest()
        other.put_training(line["key"], record)
    broken = other.run()["trainings"][1]["key"]
    (other.training_folder(broken) / "weights.safetensors").write_bytes(b"other weights")
    [merged] = merge(into, [other])
    assert (merged.searches, merged.trainings) == (1, 1)
    assert len(merged.left) == 1 and broken in merged.left[0]
    assert into.search(search) == other.search(search) and into.trajectory(search) == other.trajectory(search)
    sound = other.run()["trainings"][0]["key"]
    assert into.training(sound) == other.training(sound) and into.training(broken) is None
    assert (into.training_folder(sound) / "weights.safetensors").read_bytes() == sound.encode()
    assert not damage.look(into).damaged
    [again] = merge(into, [other])
    assert (again.searches, again.trainings) == (0, 0)


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = one(tmp_path / "into", "none")
    for words, said in (([str(into.folder)], "is the store that"), ([str(tmp_path / "no")], "is not a result store")):
        assert cli.answer(["merge", str(into.folder), *words]) == 2
        assert said in capsys.readouterr().err
