"""The store: whole files or none, resume as a set difference, and refusals in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Quiet, experiment

from harness.records import damage
from harness.runner.run import run
from harness.store import FORMAT, Store, canonical, key_of, write_whole

TESTS = Path(__file__).resolve().parent


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder: Path) -> dict[str, Any]:
    """All rows of all planned cells."""
    return {planned["key"]: (planned["label"], cell and cell["rows"]) for planned, cell in Store.open(folder).cells()}


def test_canonical_is_one_text_per_value_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": (1.5, "ä")}) == '{"a":[1.5,"ä"],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a" / "cell.json", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a" / "cell.json", "new")
    assert files(tmp_path) == {"a/cell.json": b"old"}


def test_prompts_are_kept_to_the_byte(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    for text in ("", "two\r\nlines\rand more", "half a sign: \ud83d", "ä" * 10):
        assert store.prompt(store.put_prompt(text)) == text
    assert store.prompt("0" * 16) == ""


def test_a_cell_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Store.create(tmp_path).put_cell("k" * 24, {"status": "done", "rows": [{"score": float("nan")}]})
    assert not files(tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"key": "other", "status": "done"}', "[]", '{"status": "half"}', "\xff"])
def test_a_damaged_or_foreign_cell_is_missing(tmp_path: Path, content: str) -> None:
    store = Store.create(tmp_path)
    store.cell_path("k").write_bytes(content.encode("latin-1"))
    assert store.cell("k") is None
    assert not store.done("k")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_missing_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    store = Store.open(tmp_path)
    key = store.run()["cells"][0]["key"]
    prompt = next((tmp_path / "prompts").iterdir())
    for path in (store.cell_path(key), prompt, tmp_path / "run.json", tmp_path / "searches" / "k.jsonl"):
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero") if kind == "device" else path.mkdir()
    assert store.cell(key) is None and store.prompt(prompt.stem) == "" and store.trajectory("k") == []
    for open_store in (lambda: Store.open(tmp_path), store.run):
        with pytest.raises(ValueError):
            open_store()
    assert damage.look(store).read > 5


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(ValueError, match="not a result store") as caught:
        Store.create(tmp_path / "photos")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="is a file"):
        Store.create(tmp_path / "photos" / "cat.png")
    with pytest.raises(ValueError, match="not a result store"):
        Store.open(tmp_path / "photos")
    with pytest.raises(ValueError, match="not a result store"):
        Store.open(tmp_path / "nowhere")
    newer = tmp_path / "newer"
    (newer / "cells").mkdir(parents=True)
    (newer / "run.json").write_text(json.dumps({"format": FORMAT + 1}))
    before = files(newer)
    for opened in (Store.open, Store.create):
        with pytest.raises(ValueError, match="newer ropebench"):
            opened(newer)
    with pytest.raises(ValueError, match="newer ropebench"):
        run(experiment(), newer, FakeEngine(), Quiet())
    assert files(newer) == before


def test_a_damaged_run_file_is_written_anew_and_the_cells_still_count(tmp_path: Path) -> None:
    run(experiment(), tmp_path, FakeEngine(), Quiet())
    (tmp_path / "run.json").write_text('{"format": 1, "cel')
    with pytest.raises(ValueError, match="cannot be read"):
        Store.open(tmp_path)
    assert run(experiment(), tmp_path, FakeEngine(), Quiet()).computed == 0
    assert len(rows(tmp_path)) == 12


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from fake_engine import Count, FakeEngine, Quiet, Test, experiment
from harness.records import damage
from harness.runner.run import run
run(experiment(tests=(Test("count", Count(nap=0.02), 4),)), Path({folder!r}), FakeEngine(), Quiet())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_results(tmp_path: Path) -> None:
    from fake_engine import Count

    from harness.experiment.file import Test

    slow = experiment(tests=(Test("count", Count(nap=0.02), 4),))
    code = KILLED.format(tests=str(TESTS), folder=str(tmp_path / "killed"))
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed" / "cells").glob("*.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = sum(cell is not None for _, cell in Store.open(tmp_path / "killed").cells())
    assert 3 <= finished < 12
    again = run(slow, tmp_path / "killed", FakeEngine(), Quiet())
    assert again.computed == 12 - finished
    whole = run(slow, tmp_path / "whole", FakeEngine(), Quiet())
    assert whole.computed == 12
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert all(content for _, content in rows(tmp_path / "killed").values())
