"""A cell that is stopped in its middle goes on: answers that were given are not computed again, and nothing differs."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from test_lm import PROMPTS, loaded, method

from harness import cli
from harness.model import at_once
from harness.model.lm import ExtendedLM
from harness.records import damage, passes
from harness.records.passes import Passes
from harness.rope.applied import applied
from harness.store import Store

KEY = "0123456789abcdef01234567"
EXPERIMENT = """
model: {model}
target_length: 512
lengths: [256]
extenders: [none]
tests: [passkey, perplexity]
samples: 4
"""


@pytest.fixture(autouse=True)
def every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "LEAST", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


class Work:
    """Counts what it is asked for; three token-forwards each."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[Any]:
        self.times += 1
        return [{"text": "é\ud800", "loss": 0.1 + 0.2}]

    def forwards(self) -> int:
        return 3 * self.times


def test_an_answer_of_an_earlier_sitting_is_given_again_with_what_it_cost(store):
    first, second = Work(), Work()
    now = Passes(store, KEY)
    given = [now.once(["a", 1], first, first.forwards) for _ in range(2)]
    assert first.times == 2 and now.token_forwards == 0 == now.seconds  # of this sitting: computed each time
    later = Passes(store, KEY)
    assert later.once(["a", 1], second, second.forwards) == given[0] and second.times == 0
    assert later.token_forwards == 3 and later.seconds > 0
    later.once(["a", 2], second, second.forwards)
    assert second.times == 1
    later.done()
    assert not store.passes_path(KEY).exists()


def test_a_line_that_does_not_say_what_was_written_or_is_of_another_cell_is_computed_again(store):
    work = Work()
    Passes(store, KEY).once(["a"], work, work.forwards)
    text = store.passes_path(KEY).read_text()
    other = KEY[::-1]
    for key, line in ((KEY, text.replace("0.30000000000000004", "0.2")), (other, text), (KEY, text[:-20])):
        store.passes_path(key).write_text(line)
        before = work.times
        Passes(store, key).once(["a"], work, work.forwards)
        assert work.times == before + 1, line


def test_a_look_at_the_store_finds_damaged_lines_and_cuts_them_away(store):
    work = Work()
    now = Passes(store, KEY)
    now.once(["a"], work, work.forwards), now.once(["b"], work, work.forwards)
    path = store.passes_path(KEY)
    path.write_text(path.read_text().replace("0.30000000000000004", "0.2", 1))
    [found] = damage.look(store).damaged
    assert found.file == f"passes/{KEY}.jsonl" and found.lines and "1 of its lines is not" in found.reason
    damage.set_aside(store, [found])
    assert not damage.look(store).damaged and len(path.read_text().splitlines()) == 1


def test_an_infinite_loss_is_not_kept(store):
    assert Passes(store, KEY).once(["a"], lambda: [[float("inf")]], lambda: 0) == [[float("inf")]]
    assert not store.passes_path(KEY).exists()


def test_answers_and_losses_of_a_model_are_the_same_when_they_are_given_again(store):
    base = loaded()
    with applied(base.model, base.spec) as rotary:
        lm = ExtendedLM(base, method(), rotary, batch_tokens=128)
        ids, pairs = lm.encode(PROMPTS[3]), [("one two", " three"), ("a", " b")]

        def all_of_it() -> list[Any]:
            return [list(lm.generate(PROMPTS, 8)), lm.losses(ids), list(lm.answer_losses(pairs))]

        plain = all_of_it()
        lm.passes = Passes(store, KEY)
        kept = all_of_it()
        before = lm.token_forwards
        lm.passes = Passes(store, KEY)
        again = all_of_it()
        assert lm.token_forwards == before and lm.passes.token_forwards * 2 == before
        assert again == kept  # seconds too
        for one, other in zip(plain[0], again[0], strict=True):
            assert (one.text, one.tokens, one.finished, one.plan_hash) == (
                other.text, other.tokens, other.finished, other.plan_hash)  # fmt: skip
        assert plain[1:] == again[1:]


class Stop(KeyboardInterrupt):
    """Somebody asked to stop."""


def rows_of(store: Store) -> list[Any]:
    cells = [cell for _, cell in store.cells()]
    assert all(cell is not None and cell["status"] == "done" for cell in cells)
    return [[{**row, "seconds": 0} for row in cell["rows"]] for cell in cells if cell]


@pytest.mark.slow
def test_a_run_that_is_stopped_inside_a_cell_goes_on_there(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(at_once, "ON_CPU", 256)  # a prompt at a time
    Path("mine.yaml").write_text(EXPERIMENT.format(model=tiny_model_folder))
    answered: list[int] = []
    greedy = ExtendedLM._greedy

    def counting(lm: ExtendedLM, rows: list[list[int]], new_tokens: int, longest: int | None) -> Any:
        if len(answered) == stop_after:
            raise Stop
        answered.append(len(rows))
        return greedy(lm, rows, new_tokens, longest)

    monkeypatch.setattr(ExtendedLM, "_greedy", counting)
    stop_after = 4
    assert cli.answer(["run", "mine.yaml", "--no-report", "--workers", "1", "--out", "whole"]) == 0
    assert answered == [1] * 4
    answered.clear()
    stop_after = 3
    assert cli.answer(["run", "mine.yaml", "--no-report", "--workers", "1", "--out", "stopped"]) == 130
    [file] = Path("stopped/passes").glob("*.jsonl")
    assert len(file.read_text().splitlines()) == 3
    answered.clear()
    stop_after = -1
    assert cli.answer(["run", "mine.yaml", "--no-report", "--workers", "1", "--out", "stopped"]) == 0
    assert answered == [1] and not list(Path("stopped/passes").glob("*"))
    whole, stopped = Store.open(Path("whole")), Store.open(Path("stopped"))
    assert rows_of(stopped) == rows_of(whole)
    costs = [[cell["cost"]["token_forwards"] for _, cell in s.cells() if cell] for s in (whole, stopped)]
    assert costs[0] == costs[1] and not damage.look(stopped).foreign


def test_passes_of_a_cell_that_is_done_are_swept(store, monkeypatch):
    work = Work()
    Passes(store, KEY).once(["a"], work, work.forwards)
    passes.sweep(store)
    assert store.passes_path(KEY).exists()
    monkeypatch.setattr(Store, "done", lambda self, key: key == KEY)
    passes.sweep(store)
    assert not store.passes_path(KEY).exists()


def test_lines_are_what_their_type_says(store):
    work = Work()
    Passes(store, KEY).once(["a"], work, work.forwards)
    line = json.loads(store.passes_path(KEY).read_text())
    assert set(line) == {"asked", "answers", "seconds", "token_forwards", "seal"}


def test_short_passes_are_written_together_once_they_are_worth_it(store, monkeypatch):
    monkeypatch.setattr(passes, "LEAST", 0.2)
    clock = iter([0.0, 0.09, 1.0, 1.09, 2.0, 2.09, 3.0, 3.05])  # three passes of 0.09 s, one of 0.05
    monkeypatch.setattr(passes.time, "perf_counter", lambda: next(clock))
    work, path = Work(), store.passes_path(KEY)
    now = Passes(store, KEY)
    monkeypatch.setattr(now, "_pieces", Unguarded())
    written = []
    for number in range(4):
        now.once(["a", number], work, work.forwards)
        written.append(len(path.read_text().splitlines()) if path.exists() else 0)
    assert written == [0, 0, 3, 3]


class Unguarded:
    def piece(self):
        return nullcontext()
