"""Adaptive runs: cells grow look by look until they are decided, asking nothing twice, and go on where they stopped."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, FakeSession, Quiet, experiment, methods
from fakes import FakeLM

from harness.experiment.adaptive import Adaptive
from harness.experiment.cells import cells_of
from harness.experiment.file import Experiment, Method, Test, parse
from harness.runner.run import Outcome, run
from harness.store import Store
from harness.tools.merge import merge
from harness.tools.rescore import rescore, rule_of
from reports.numbers.decided import decided
from reports.numbers.frame import read
from reports.numbers.scores import Scores
from reports.page.page import write_report
from reports.statistics import sequential
from tasks import text
from tasks.answers import PromptTask
from tasks.base import LM, Row, Tokenizer

SAMPLES = 100
RIGHT = {"none": 0.1, "pi": 0.9, "yarn": 0.9}  # how often each method is right


@dataclass(frozen=True, kw_only=True)
class Quiz(PromptTask):
    """Prompt i says its number; a model that knows it answers "right"."""

    new_tokens = 3

    @property
    def name(self) -> str:
        return "quiz"

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        return (text.Sample(f"question {length} {seed} {i}", ("right",), 4) for i in range(samples))

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        rows = text.answer_rows(lm, prompts, self.new_tokens, lambda said, _: float(said == "right"), length)
        return (replace(row, plan_hash="") for row in rows)


class QuizEngine(FakeEngine):
    """Remembers what every method was asked; `breaks_after` answers it stops as a killed process would."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        super().__init__()
        self.asked: dict[str, list[str]] = {}
        self.left = breaks_after

    @contextmanager
    def open(self) -> Iterator[Any]:
        def session_of(method: Method, trained: Path | None = None) -> FakeSession:
            session = FakeSession(method)
            session.lm = FakeLM(lambda prompt: self.answer(method.label, prompt))
            return session

        yield session_of

    def answer(self, label: str, prompt: str) -> str:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.asked.setdefault(label, []).append(prompt)
        return "right" if random.Random(f"{label} {prompt}").random() < RIGHT[label] else "wrong"


def quiz(adaptive: bool = True, **changes: Any) -> Experiment:
    asked = {"tests": (Test("quiz", Quiz(), SAMPLES),), "lengths": (128, 256), "seeds": (0,), **changes}
    return experiment(adaptive=Adaptive("none") if adaptive else None, **asked)


def ran(plan: Experiment, folder: Path, engine: FakeEngine) -> Outcome:
    return run(plan, folder, engine, Quiet(), judge=sequential)


def sizes(store: Store) -> dict[tuple[str, int], int]:
    return {(cell["label"], cell["length"]): cell["samples"] for cell in store.run()["cells"]}


def test_cells_stop_where_they_are_decided(tmp_path: Path) -> None:
    engine = QuizEngine()
    outcome = ran(quiz(), tmp_path, engine)
    assert (outcome.total, outcome.computed, outcome.failed) == (4, 4, ())
    used = sizes(outcome.store)
    assert set(used.values()) <= {10, 20}, "0.1 against 0.9 is plain at the first looks"
    assert sum(map(len, engine.asked.values())) == sum(used.values())
    assert outcome.store.run()["adaptive"] == {"against": "none", "margin": 5.0}
    assert {cell["most_samples"] for cell in outcome.store.run()["cells"]} == {SAMPLES}


def test_nothing_is_asked_twice_and_rows_are_those_of_a_whole_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(RIGHT, "pi", 0.35)
    engine = QuizEngine()
    store = ran(quiz(), tmp_path / "grown", engine).store
    used = sizes(store)
    assert 10 < max(used.values()), "the comparison takes more than one look"
    for asked in engine.asked.values():
        assert len(asked) == len(set(asked))
    whole = ran(quiz(adaptive=False), tmp_path / "whole", QuizEngine()).store
    for (planned, cell), (_, other) in zip(store.cells(), whole.cells(), strict=True):
        assert cell is not None and other is not None
        assert [row["sample"] for row in cell["rows"]] == list(range(planned["samples"]))
        assert [row["generation"] for row in cell["rows"]] == [
            row["generation"] for row in other["rows"][: planned["samples"]]
        ]


def test_a_grown_cell_is_the_cell_of_an_experiment_with_so_many_samples(tmp_path: Path) -> None:
    cells = ran(quiz(), tmp_path, QuizEngine()).store.run()["cells"]
    sizes = {cell["samples"] for cell in cells}
    plain = [quiz(adaptive=False, tests=(Test("quiz", Quiz(), size),)) for size in sizes]
    assert {cell["key"] for cell in cells} <= {cell.key for one in plain for cell in cells_of(one, FakeEngine().base())}


@pytest.mark.parametrize("after", [1, 25, 70, 150])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path, after: int, monkeypatch: Any) -> None:
    monkeypatch.setitem(RIGHT, "pi", 0.3)
    whole = ran(quiz(), tmp_path / "whole", QuizEngine())
    with pytest.raises(KeyboardInterrupt):
        ran(quiz(), tmp_path / "cut", QuizEngine(after))
    ended = ran(quiz(), tmp_path / "cut", QuizEngine())
    assert sizes(ended.store) == sizes(whole.store)
    assert scores(ended.store) == scores(whole.store)
    engine = QuizEngine()
    assert ran(quiz(), tmp_path / "cut", engine).computed == 0 and not engine.asked


def test_the_report_says_where_comparisons_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    three = (*methods("none", "pi"), Method("yarn", methods("pi", target=512)[0].extender))
    monkeypatch.setitem(RIGHT, "yarn", 0.1)
    store = ran(quiz(methods=three, lengths=(256,)), tmp_path, QuizEngine()).store
    used = sizes(store)
    table = decided(read(store))
    assert table is not None
    lines = {line.label: line for line in table.lines}
    pi, yarn = (lines[f"{label}, quiz at 256 tokens"] for label in ("pi", "yarn"))
    assert pi.group == "Above none" and yarn.group.startswith(("Open: the samples that are left", "Within"))
    shown = [number.estimate.mean for number in pi.numbers[:2] if number.estimate]
    assert shown == [used["pi", 256], SAMPLES]
    assert pi.numbers[3].estimate is not None and pi.numbers[3].estimate.low > 0  # type: ignore[operator]
    page = write_report(store, tmp_path / "report", say=lambda line: pytest.fail(line)).read_text()
    assert "stopped by a sequential test" in page and "Where comparisons with none stopped" in page
    plain = ran(quiz(adaptive=False), tmp_path / "plain", QuizEngine()).store
    assert decided(read(plain)) is None
    assert "sequential test" not in write_report(plain, tmp_path / "other").read_text()


def scores(store: Store) -> list[list[float]]:
    return [[row["score"] for row in cell["rows"]] for _, cell in store.cells() if cell is not None]


def test_a_failed_look_is_tried_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(RIGHT, "pi", 0.3)
    broken = QuizEngine()
    tell = broken.answer

    def answer(label: str, prompt: str) -> str:
        if label == "pi" and prompt.endswith(" 15"):
            raise RuntimeError("out of memory")
        return tell(label, prompt)

    monkeypatch.setattr(broken, "answer", answer)
    outcome = ran(quiz(), tmp_path, broken)
    assert len(outcome.failed) == 2 and sizes(outcome.store)["pi", 256] == 20
    again = ran(quiz(), tmp_path, QuizEngine())
    assert not again.failed and scores(again.store) == scores(ran(quiz(), tmp_path / "o", QuizEngine()).store)


def test_equal_plans_and_seeds(tmp_path: Path) -> None:
    """Two methods with one plan share their cells. With two seeds samples count together."""
    three = (*methods("none", "pi"), Method("same", methods("none")[0].extender))
    store = ran(quiz(methods=three, lengths=(256,), seeds=(0, 1)), tmp_path, QuizEngine()).store
    keys = {(cell["label"], cell["length"], cell["seed"]): cell["key"] for cell in store.run()["cells"]}
    assert keys["same", 256, 0] == keys["none", 256, 0] != keys["pi", 256, 0]
    table = decided(read(store))
    assert table is not None and [line.label for line in table.lines] == ["pi, quiz at 256 tokens"]
    assert table.lines[0].numbers[0].estimate.mean == 20  # type: ignore[union-attr]  # ten of each seed
    assert len(keys) == 6 and all(cell is not None for _, cell in store.cells())


def test_pairs_are_taken_on_shared_samples(tmp_path: Path, monkeypatch: Any) -> None:
    """`none` grows with the closest of its comparisons."""
    both = (*methods("none", "pi"), Method("yarn", methods("pi", target=512)[0].extender))
    monkeypatch.setitem(RIGHT, "yarn", 0.25)
    store = ran(quiz(methods=both, lengths=(256,)), tmp_path, QuizEngine()).store
    used = sizes(store)
    assert used["pi", 256] <= 20 < used["yarn", 256] == used["none", 256]
    table = Scores(read(store))
    assert [len(a) for a, _ in table.pairs("pi", "none", [("quiz", 256)])] == [used["pi", 256]]
    assert table.number("none", ("quiz", 256)).estimate.n == used["none", 256]  # type: ignore[union-attr]


def test_other_commands_read_such_a_store(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(RIGHT, "pi", 0.3)
    store = ran(quiz(), tmp_path / "one", QuizEngine()).store
    rule = tmp_path / "rule.py"
    rule.write_text("def score(generation, references):\n    return 1.0 * (generation == 'wrong')\n")
    assert rescore(store, tmp_path / "rescored", rule_of(str(rule)))
    assert "adaptive" not in Store.open(tmp_path / "rescored").run()
    with pytest.raises(KeyboardInterrupt):
        ran(quiz(), tmp_path / "two", QuizEngine(25))
    merge(Store.open(tmp_path / "two"), [store])
    engine = QuizEngine()
    merged = ran(quiz(), tmp_path / "two", engine)
    assert not engine.asked and sizes(merged.store) == sizes(store)


FILE = {
    "model": "pocket-llama",
    "target_length": 1024,
    "lengths": [1024],
    "extenders": ["none", "pi", "yarn"],
    "tests": ["needle", {"perplexity": {"samples": 2}}],
}


def parsed(**changes: Any) -> Experiment:
    return parse({**FILE, **changes}, "file", Path("."))


def test_the_key_of_the_file() -> None:
    assert parsed().adaptive is None
    plan = parsed(adaptive="yarn")
    assert plan.adaptive == Adaptive("yarn", 5.0)
    assert any("perplexity" in note and "all samples" in note for note in plan.notes)
    assert parsed(adaptive={"against": "pi", "margin": 2}).adaptive == Adaptive("pi", 2.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adaptive": "yarm"}, "no method is labelled 'yarm'; did you mean 'yarn'?"),
        ({"adaptive": {"margin": 5}}, "key 'against' is missing"),
        ({"adaptive": {"against": "yarn", "margin": 0}}, "margin must be points above 0 and below 100, got 0"),
        ({"adaptive": {"against": "yarn", "margin": "5"}}, "margin must be points"),
        ({"adaptive": {"against": "yarn", "of": 1}}, "unknown key 'of'"),
        ({"adaptive": "none", "extenders": ["none"]}, "none is the only method"),
        ({"adaptive": "yarn", "tests": ["perplexity"]}, "none of perplexity can be given more samples later"),
        ({"adaptive": "yarn", "training": [{"plain": {"tokens": 100_000}}]}, "leave training out"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="^file") as error:
        parsed(**given)
    assert said in str(error.value) and "\n" not in str(error.value)
