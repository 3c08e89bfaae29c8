"""`ropebench run` and the cache of prompts: made once for all methods and runs, found damaged, never in the way."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from fake_engine import FakeEngine, FakeSession, Quiet, experiment, methods

import tasks.base
from harness.experiment.file import Test
from harness.files_on_disk import cache_folder
from harness.prompts.cache import PromptCache
from harness.prompts.kept import KeptPrompts
from harness.prompts.record import recorded, sample_of
from harness.runner.run import run
from harness.store import Store
from tasks.answers import AnswerTask, PromptTask
from tasks.base import Row

NAMES = [*fakes.PROMPT_TESTS, "ruler-pocket/niah_multikey_2", "ruler-pocket/qa_2"]
NAMES += ["ruler-head/niah_multikey_2", "ruler-head/vt"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept() -> KeptPrompts:
    return KeptPrompts(PromptCache(cache_folder()), "t" * 16)


def never(*_: Any) -> Any:
    raise AssertionError("made again")


def said(prompt: str) -> str:
    """Wrong in many ways: the middle of the prompt."""
    return prompt[len(prompt) // 2 :][:80]


def rows(task: Any, kept: KeptPrompts | None, samples: int = 3, length: int = 700) -> list[Row]:
    length = 4096 if task.name.startswith("ruler-head") else length
    asked = (fakes.FakeLM(said), length, 0, samples)
    return list(kept.rows(task, *asked) if kept else task.run(*asked))


@pytest.mark.parametrize("name", NAMES)
def test_rows_from_the_cache_are_those_of_the_test(name: str, kept: KeptPrompts, monkeypatch: Any) -> None:
    task = tasks.base.make(name)
    assert isinstance(task, PromptTask)
    plain = rows(task, None)
    assert rows(task, kept) == plain
    monkeypatch.setattr(type(task), "prompts", never)
    assert rows(task, kept) == plain and rows(task, kept, 2) == plain[:2]


def test_generate_and_run_share_their_files(kept: KeptPrompts) -> None:
    task = tasks.base.make("key_value")
    lines = list(recorded(task, fakes.FakeLM(), 700, 0, 2))
    assert lines[0]["others"], "other pairs stand in the prompt"
    made = list(kept.prompts(task, fakes.FakeLM(), 700, 0, 2))
    assert made == list(task.prompts(fakes.FakeLM(), 700, 0, 2))
    [path] = (cache_folder() / "prompts").iterdir()
    assert [sample_of(line) for line in path.read_bytes().splitlines(keepends=True)] == made


@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_a_damaged_file_is_made_again(place: float, kept: KeptPrompts) -> None:
    task = tasks.base.make("needle")
    plain = rows(task, kept)
    [path] = (cache_folder() / "prompts").iterdir()
    whole = path.read_bytes()
    at = int(place * len(whole))
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        assert rows(task, kept) == plain
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(kept: KeptPrompts, cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    task = tasks.base.make("passkey")
    assert rows(task, kept) == rows(task, None)


@dataclass(frozen=True, kw_only=True)
class Mine(AnswerTask):
    """A test that is no part of the package: its code may change unseen."""

    def make(self, rng: Any, budget: int, count: Any, depth: float) -> Any:
        return replace(tasks.base.make("passkey").make(rng, budget, count, depth))

    @property
    def scoring(self) -> str:
        return "tasks.passkey:score"

    @property
    def name(self) -> str:
        return "mine"


def test_a_users_own_test_is_never_kept(kept: KeptPrompts, cache: Path) -> None:
    assert rows(Mine(), kept) == rows(Mine(), None) and not cache.exists()


class Known(FakeEngine):
    """Says what its tokenizer is."""

    def base(self) -> Any:
        return replace(super().base(), tokenizer_hash="t" * 16)

    @contextmanager
    def open(self) -> Any:
        def session(method: Any, trained: Any = None) -> FakeSession:
            one = FakeSession(method)
            one.lm.plan_hash = lambda length: ""  # type: ignore[method-assign]
            return one

        yield session


def outcomes(folder: Path) -> dict[str, Any]:
    found = Store.open(folder).cells()
    return {planned["key"]: [{**row, "seconds": 0} for row in cell["rows"]] for planned, cell in found if cell}


def test_a_second_method_and_a_second_run_make_no_prompts(tmp_path: Path, monkeypatch: Any) -> None:
    made: list[int] = []
    drawn = AnswerTask.prompts

    def counting(self: Any, lm: Any, length: int, seed: int, samples: int) -> Any:
        made.append(length)
        return drawn(self, lm, length, seed, samples)

    monkeypatch.setattr(AnswerTask, "prompts", counting)
    needle = Test("needle", tasks.base.make("needle"), 3)
    one = experiment(tests=(needle,), lengths=(200, 250), seeds=(0,), methods=methods("none", "pi"))
    assert not run(one, tmp_path / "a", Known(), Quiet()).failed
    assert made == [200, 250], "once for both methods"
    assert not run(one, tmp_path / "b", Known(), Quiet()).failed and made == [200, 250]
    assert not run(one, tmp_path / "c", Known(), Quiet(), keep_prompts=False).failed and len(made) == 6
    assert outcomes(tmp_path / "a") == outcomes(tmp_path / "b") == outcomes(tmp_path / "c")
