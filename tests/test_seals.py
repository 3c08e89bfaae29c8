"""No number of a store changes unnoticed: seals, damage that is said once and made again, a held store."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import FakeEngine, Quiet, experiment
from test_search_stage import SearchEngine, SearchSession, searched
from test_store import rows

from harness import cli
from harness.files_on_disk import CannotWrite, held, need_room, sweep, write_whole
from harness.records import damage
from harness.runner.run import run
from harness.seals import broken_seal, key_of, sealed, wrong_key
from harness.store import Store


class Engine(SearchEngine):
    """Searches as well as measures."""

    session: Any = SearchSession


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of cells with prompts and a search."""
    folder = tmp_path_factory.mktemp("seals") / "whole"
    run(with_search(), folder, Engine(), Quiet())
    assert not damage.look(Store(folder)).damaged
    return folder


def with_search() -> Any:
    return experiment(methods=(*experiment().methods, searched()))


def test_a_seal_covers_what_is_said_and_what_it_is() -> None:
    record = sealed("cell", {"key": "k", "rows": [{"score": 0.5}]})
    assert broken_seal("cell", record, ()) == "" and "seal" in broken_seal("search", record, ())
    for wrong in ({**record, "rows": [{"score": 0.6}]}, {**record, "key": "l"}, {**record, "rows": [float("nan")]}):
        assert broken_seal("cell", wrong, ()) != ""
    assert sealed("cell", record) == record  # a seal is not sealed again
    nameless = {"sdal" if name == "seal" else name: value for name, value in record.items()}
    assert "'sdal'" in broken_seal("cell", nameless, ("key", "rows"))
    with pytest.raises(ValueError, match="JSON"):
        sealed("cell", {"a": float("inf")})


def test_a_key_is_that_of_its_identity() -> None:
    identity = {"length": 512}
    assert wrong_key(key_of(identity), {"key": key_of(identity), "identity": identity}) == ""
    assert wrong_key(key_of(identity), {"key": key_of(identity), "identity": {"length": 513}}) != ""
    assert wrong_key("k", {"key": "l", "identity": {}}) != "" and wrong_key("k", {"key": "k", "identity": "?"}) != ""


@pytest.mark.parametrize("score", ["0.5", "1.0", "5", "NaN", "1e400", '"1"', "true", "null"])
def test_an_edited_score_is_made_again_and_said_once(whole: Path, tmp_path: Path, score: str) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    store = Store.open(folder)
    path = store.cell_path(store.run()["cells"][0]["key"])
    path.write_text(path.read_text().replace('"score": 0.0', f'"score": {score}', 1))
    assert not store.done(path.stem)
    progress = Quiet()
    assert run(with_search(), folder, Engine(), progress).computed == 1
    told = [line for line in progress.said if "damaged" in line]
    assert len(told) == 1 and path.name in told[0] and str(folder) in told[0]
    assert rows(folder) == rows(whole) and (folder / "damaged" / "cells" / path.name).is_file()
    progress = Quiet()
    assert run(with_search(), folder, Engine(), progress).computed == 0 and not progress.said


def flipped(folder: Path, rng: random.Random) -> Path:
    """One bit of the store's files, which all weigh as much as they are large, is another now."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    [path] = rng.choices(paths, [path.stat().st_size for path in paths])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    return path


def numbers(store: Store) -> dict[str, Any]:
    """All that a reader can get out of a store, by its place; what is damaged is None."""
    told: dict[str, Any] = {}
    for folder, read in (("cells", store.cell), ("searches", store.search)):
        for path in (store.folder / folder).glob("*.json"):
            told[path.name] = read(path.stem)
    for path in store.searches.glob("*.json"):
        told[f"{path.stem} trajectory"] = store.trajectory(path.stem)
    for path in (store.folder / "prompts").iterdir():
        told[path.name] = store.prompt(path.stem) or None
    try:
        told["run.json"] = store.run()
    except ValueError:
        told["run.json"] = None
    return told


def check_flips(whole: Path, place: Path, count: int, seed: int) -> None:
    rng, sound = random.Random(seed), numbers(Store(whole))
    folder = Path(shutil.copytree(whole, place / "flipped"))
    for _ in range(count):
        path = flipped(folder, rng)
        before = {name: value for name, value in numbers(Store(folder)).items() if value is not None}
        found = damage.look(Store(folder))
        for name, value in before.items():
            if value == sound.get(name):
                continue
            assert "trajectory" in name, f"{path}: {name} changed"
            assert all(line in sound[name] for line in value) and found.damaged, f"{path}: {name} changed"
        shutil.copy(whole / path.relative_to(folder), path)


@pytest.mark.slow
def test_no_flipped_bit_changes_a_number_unnoticed(whole: Path, tmp_path: Path) -> None:
    check_flips(whole, tmp_path, 150, 0)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1, 11))
def test_no_flipped_bit_of_ten_thousand_changes_a_number_unnoticed(whole: Path, tmp_path: Path, seed: int) -> None:
    check_flips(whole, tmp_path, 1000, seed)


def test_each_kind_of_file_that_is_damaged_is_made_again(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    store = Store.open(folder)
    [search] = store.searches.glob("*.losses.jsonl")
    key = search.name.partition(".")[0]
    prompt = next((folder / "prompts").iterdir())
    losses = search.read_text().splitlines()
    losses[1] = losses[1].replace("[[", "[[1", 1)
    search.write_text("\n".join([*losses, "{}"]) + "\n")
    lines = (store.searches / f"{key}.jsonl").read_text()
    (store.searches / f"{key}.jsonl").write_text(lines.replace('"samples":', '"samples":1', 1))
    prompt.write_text("another text")
    (folder / "run.json").write_text((folder / "run.json").read_text().replace('"label": "pi"', '"label": "yarn"', 1))
    found = damage.look(store)
    assert {Path(bad.file).name for bad in found.damaged} == {search.name, f"{key}.jsonl", prompt.name, "run.json"}
    progress = Quiet()
    outcome = run(with_search(), folder, Engine(), progress)
    assert sum("damaged" in line for line in progress.said) == 1 and outcome.computed >= 1
    assert rows(folder) == rows(whole) and not damage.look(Store.open(folder)).damaged
    assert store.prompt(prompt.stem)


def test_the_command_check_says_what_is_damaged_and_foreign(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    assert cli.answer(["check", str(folder)]) == 0 and " 0 damaged" in capsys.readouterr().out
    path = next((folder / "cells").iterdir())
    path.write_text(path.read_text().replace('"error": ""', '"error": "x"', 1))
    (folder / "cells" / "notes.txt").write_text("mine")
    for place in (folder, folder / "cells"):
        (place / f"{path.name}.0000-999999999-00000000.partial").write_text("of a machine that is not ours")
    assert cli.answer(["check", str(folder), "--no-repair"]) == 1 and path.exists()
    assert cli.answer(["check", str(folder)]) == 1 and not path.exists()
    told = capsys.readouterr().out
    assert told.count("foreign: ") == 2
    assert (
        f"damaged: cells/{path.name}: it does not say what was written" in told and "foreign: cells/notes.txt" in told
    )
    assert cli.answer(["check", str(folder)]) == 0  # what was set aside is missing, which is no damage
    assert cli.answer(["check", str(tmp_path)]) == 2


def test_records_of_days_before_seals_count_and_are_counted(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    for path in [*(folder / "cells").iterdir(), folder / "run.json", *(folder / "searches").glob("*[0-9a-f].json")]:
        path.write_text(json.dumps(earlier(json.loads(path.read_text()))))
    found = damage.look(Store.open(folder))
    assert not found.damaged and found.unsealed == len(list((folder / "cells").iterdir())) + 2
    assert rows(folder) == rows(whole)
    progress = Quiet()
    assert run(with_search(), folder, Engine(), progress).computed == 0 and not progress.said


def earlier(content: dict[str, Any]) -> dict[str, Any]:
    """A record as it was written before there were seals."""
    provenance = {**content.get("provenance", {}), "date": "2026-11-25T12:00:00Z"}
    dated = {"provenance": provenance} if "provenance" in content else {"created": provenance["date"]}
    return {name: value for name, value in {**content, **dated}.items() if name != "seal"}


def test_a_record_from_which_the_seal_was_taken_is_damaged(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    cell, search = next((folder / "cells").iterdir()), next((folder / "searches").glob("*[0-9a-f].json"))
    for path in (cell, search, folder / "run.json"):
        content = json.loads(path.read_text())
        del content["seal"]
        path.write_text(json.dumps(content))
    found = damage.look(Store(folder))
    assert {Path(bad.file).name for bad in found.damaged} == {cell.name, search.name, "run.json"} and not found.unsealed


def test_a_finished_trajectory_has_no_line_that_is_half_written(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "store"))
    [search] = (folder / "searches").glob("*[0-9a-f].json")
    lines = search.with_suffix(".jsonl")
    lines.write_bytes(lines.read_bytes()[:-1] + b"J")  # one bit of the last line's end
    assert [bad.file for bad in damage.look(Store(folder)).damaged] == [f"searches/{lines.name}"]
    assert Store(folder).damaged_trajectory(search.stem) == 1
    search.unlink()  # unfinished: a kill may have cut the line
    assert not damage.look(Store(folder)).damaged and Store(folder).damaged_trajectory(search.stem) == 0


def test_half_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from harness.files_on_disk import writing\n"
        "with writing(Path(sys.argv[1]) / 'cells' / 'a.json') as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": ROOT}, check=False)
    [half] = (tmp_path / "cells").iterdir()
    alive = half.with_name(half.name.replace(half.name.split("-")[1], str(os.getpid()), 1))
    foreign = half.with_name("b.json.0123-1-01234567.partial")
    for path in (alive, foreign):
        path.write_text("half")
    sweep(tmp_path)
    assert not half.exists() and alive.exists() and foreign.exists()
    os.utime(foreign, (0, 0))
    sweep(tmp_path)
    assert not foreign.exists()


ROOT = str(Path(__file__).resolve().parent.parent)


def test_a_store_is_held_by_one_run_and_let_go_by_the_dead(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    run(experiment(), folder, FakeEngine(), Quiet())
    code = (
        "import sys, time; from pathlib import Path; from harness.files_on_disk import held\n"
        "with held(Path(sys.argv[1]), 'it'):\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "run.lock")],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"store is in use by process {process.pid} on ") as refusal:
        run(experiment(), folder, FakeEngine(), Quiet())
    assert "\n" not in str(refusal.value)
    process.kill()
    process.communicate()
    assert run(experiment(), folder, FakeEngine(), Quiet()).computed == 0
    assert not (folder / "run.lock").exists()


def test_one_search_and_one_training_are_at_work_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other searches and trainings in the same folder go their way; what the dead held is held no more, and swept."""
    from harness.search import stage
    from harness.training import trainer

    monkeypatch.setattr(stage, "GIVEN_UP", 0.3)
    monkeypatch.setattr(trainer, "GIVEN_UP", 0.0)
    run(with_search(), tmp_path, Engine(), Quiet())
    record = next(tmp_path.glob("searches/*[0-9a-f].json"))
    record.unlink()
    with held(record.with_suffix(".lock"), "it"):
        with pytest.raises(ValueError, match="the search of .* is in use by process [0-9]+ on ") as refusal:
            run(with_search(), tmp_path, Engine(), Quiet())
        assert "\n" not in str(refusal.value) and not record.exists()
    (tmp_path / "trainings").mkdir()
    job: Any = SimpleNamespace(key="k", words="yarn + plain")
    with held(tmp_path / "trainings" / "k.lock", "it"), pytest.raises(ValueError, match="the training yarn .* in use"):
        trainer.run_job(job, Store(tmp_path), None, None, (), print)
    left = tmp_path / "trainings" / "l.lock"
    left.write_text("process 1 on a machine")
    run(with_search(), tmp_path, Engine(), Quiet())
    assert record.exists() and not left.exists()


def test_who_holds_a_thing_may_be_waited_for(tmp_path: Path) -> None:
    def wait() -> float:
        with held(tmp_path / "lock", "it", 60.0):
            return time.monotonic()

    with ThreadPoolExecutor(1) as other:
        with held(tmp_path / "lock", "it"):
            waiting = other.submit(wait)
            time.sleep(0.3)
            ended = time.monotonic()
        assert waiting.result() > ended


def test_a_lock_that_its_holder_deletes_is_not_held_twice(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, "it"):
        path.unlink()
        path.write_text("of another")
    assert path.read_text() == "of another"
    with held(path, "it"), pytest.raises(ValueError, match="in use"), held(path, "it"):
        pass
    assert not path.exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_moved_while_a_run_is_at_work_ends_it(tmp_path: Path, again: bool) -> None:
    class Mover(Quiet):
        def end(self, cell: Any, seconds: float, error: str) -> None:
            super().end(cell, seconds, error)
            if len(self.ended) == 5:
                (tmp_path / "store").rename(tmp_path / "elsewhere")
                if again:
                    (tmp_path / "store" / "cells").mkdir(parents=True)

    with pytest.raises(ValueError, match="was moved or deleted while the run was at work"):
        run(experiment(), tmp_path / "store", FakeEngine(), Mover())
    assert len(list((tmp_path / "elsewhere" / "cells").iterdir())) == 5
    assert not again or not list((tmp_path / "store" / "cells").iterdir())
    assert run(experiment(), tmp_path / "elsewhere", FakeEngine(), Quiet()).computed == 7


def test_a_cell_whose_file_vanishes_is_not_said_to_be_computed(tmp_path: Path) -> None:
    class Eater(Quiet):
        def end(self, cell: Any, seconds: float, error: str) -> None:
            super().end(cell, seconds, error)
            Store(tmp_path).cell_path(cell.key).unlink() if len(self.ended) == 3 else None

    outcome = run(experiment(), tmp_path, FakeEngine(), Eater())
    assert [reason for _, reason in outcome.failed] == ["its file is gone"]


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_ends_a_search_as_it_ends_cells(tmp_path: Path, monkeypatch: Any, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=f"no room is left on the disk of {tmp_path}"):
        write_whole(tmp_path / "file", "text")
    with pytest.raises(CannotWrite, match=str(tmp_path)):
        run(with_search(), tmp_path / "store", Engine(), Quiet())
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda _: None)
    run(with_search(), tmp_path / "store", Engine(), Quiet())
    assert not [path for path in (tmp_path / "store").rglob("*.partial")]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: the system refuses the write in its middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 1000, 30_000])
def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_keeps_the_last_one(tmp_path: Path, size: int) -> None:
    import torch

    from harness.training.trainer import Checkpoint
    from harness.training.weights import write_weights

    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")
    checkpoint.write({"weights": torch.arange(500.0)})
    with room_for(size), pytest.raises(CannotWrite, match=f"no room is left on the disk of {tmp_path}") as refusal:
        checkpoint.write({"weights": torch.zeros(10_000)})
    assert "\n" not in str(refusal.value)
    with room_for(size), pytest.raises(CannotWrite, match=f"no room is left on the disk of {tmp_path}"):
        write_weights(tmp_path, {"weights": torch.zeros(10_000)}, 1.0)
    state = checkpoint.read()
    assert state is not None and len(state["weights"]) == 500 and list(tmp_path.iterdir()) == [checkpoint.path]


def test_a_disk_that_is_full_at_any_moment_of_a_run_ends_it_and_loses_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    run(experiment(), tmp_path / "whole", FakeEngine(), Quiet())
    whole, writes = rows(tmp_path / "whole"), 0

    def fills_up(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fills_up)
    while True:
        folder, writes = tmp_path / f"full after {writes}", writes + 3
        left, progress = writes, Quiet()
        try:
            run(experiment(), folder, FakeEngine(), progress)
            break
        except CannotWrite as error:
            assert str(folder) in str(error)
        left = 10**9
        done = sum(Store(folder).done(path.stem) for path in (folder / "cells").iterdir())
        assert len(progress.ended) <= done <= len(progress.ended) + 1
        assert run(experiment(), folder, FakeEngine(), Quiet()).computed == 12 - done and rows(folder) == whole
        assert not [path for path in folder.rglob("*.partial")]
    assert writes > 60 and rows(folder) == whole


def test_a_damaged_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    import torch

    from harness.training.trainer import Checkpoint

    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")
    weights = torch.arange(500.0)
    checkpoint.write({"weights": weights})
    sound, rng = checkpoint.path.read_bytes(), random.Random(0)
    for _ in range(100):
        content = bytearray(sound)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        checkpoint.path.write_bytes(bytes(content))
        state = checkpoint.read()
        assert state is None or torch.equal(state["weights"], weights)


def test_room_is_asked_for_before_it_is_needed(tmp_path: Path) -> None:
    need_room(tmp_path / "not" / "there", 1)
    with pytest.raises(CannotWrite, match="MB are needed and"):
        need_room(tmp_path / "not" / "there", 10**18)


def test_a_folder_is_written_down_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.path.isdir(f"/proc/self/fd/{descriptor}")))
    write_whole(tmp_path / "file", "text")
    assert synced == [False, True] or not Path("/proc/self/fd").is_dir()
