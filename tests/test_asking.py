"""Prompts in a chat template and answers with room to think: what the model sees, what counts, what the keys say."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fakes
import pytest
from fake_engine import ROPE, FakeEngine, FakeSession, Quiet, experiment

from harness.experiment import file as experiments
from harness.experiment.cells import Base, cells_of
from harness.experiment.file import Test
from harness.model.asking import AskedLM, Asking, spoken, template_of
from harness.runner.run import run
from harness.store import Store
from reports.numbers import ruler_profiles
from reports.numbers.results import Results
from tasks import ruler
from tasks.base import Generation
from tasks.needle import Needle
from tasks.perplexity import Perplexity

TEMPLATE = ("<|user|>\n", "<|end|>\n<|assistant|>\n")


class TurnLM(fakes.FakeLM):
    """Notes the tokens that it is given; thinks aloud, and then answers with what follows the needle."""

    def __init__(self, thought: str = "<think>It is 000000.</think>") -> None:
        super().__init__()
        self.thought = thought
        self.seen: list[str] = []
        self.lengths: list[int] = []

    def plan_hash(self, length: int) -> str:
        return ""

    def with_start(self, ids: list[int]) -> list[int]:
        return [-1, *ids]

    def generate(
        self,
        prompts: Sequence[str],
        new_tokens: int,
        longest: int | None = None,
        special: bool = False,
        around: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> Iterator[Generation]:
        for prompt in prompts:
            ids = self.with_start([*around[0], *self.encode(prompt), *around[1]])
            self.seen.append(self.decode(ids[1:]))
            self.lengths.append(len(ids) + new_tokens)
            asked = prompt.rpartition("of ")[2].removesuffix(" is")
            code = prompt.partition(f"secret code of {asked} is ")[2][:6]
            yield Generation(f"{self.thought} {code}.", 20, True, 0.0, "")


@pytest.mark.parametrize("extra", [0, 100])
def test_a_prompt_fills_the_length_inside_its_template(extra: int) -> None:
    lm, task = TurnLM(), Needle()
    asked = AskedLM(lm, Asking(TEMPLATE, task.new_tokens + extra), task.new_tokens)
    rows = list(task.run(asked, 500 - asked.spare, 0, 4))
    assert [row.score for row in rows] == [1] * 4 and all("000000" not in row.generation for row in rows)
    for row, seen, length in zip(rows, lm.seen, lm.lengths, strict=True):
        assert seen == TEMPLATE[0] + row.prompt + TEMPLATE[1]
        assert 470 < length <= 500 and row.prompt_tokens == length - task.new_tokens - extra


def test_without_a_template_nothing_is_stripped() -> None:
    lm = TurnLM()
    [row] = Needle().run(AskedLM(lm, Asking(None, 64), Needle().new_tokens), 500 - 48, 0, 1)
    assert row.generation.startswith("<think>") and row.prompt == lm.seen[0]


@pytest.mark.parametrize(
    ("text", "opened", "said"),
    [
        ("5", False, "5"),
        ("<think>4?</think>\n\n5", False, "\n\n5"),
        ("4?</think> 5", True, " 5"),
        ("4?</think> 5", False, " 5"),
        ("<think>4? no, 5", False, ""),
        ("4? no, 5", True, ""),
        ("<think>a</think> b <think>c</think> d", False, " d"),
    ],
)
def test_what_is_thought_is_no_answer(text: str, opened: bool, said: str) -> None:
    assert spoken(text, opened) == said


def test_the_template_is_the_tokenizers_own_on_every_day() -> None:
    tokenizer = fakes.byte_tokenizer()
    with pytest.raises(ValueError, match="chat: model asks for the tokenizer's chat template, and there is none"):
        template_of(tokenizer)
    tokenizer.chat_template = (
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}{{ date_string }}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert template_of(tokenizer) == ("26 Jul 202426 Jul 2024[user]", "[/][assistant]")
    tokenizer.chat_template = "{{ messages[0].content }}{{ messages[0].content }}"
    with pytest.raises(ValueError, match="does not hold a user's turn once"):
        template_of(tokenizer)


def keys(template: tuple[str, str] | None = None, **budget: int) -> dict[str, str]:
    tests = (Test("needle", Needle(), 3, **budget), Test("perplexity", Perplexity(), 1))
    asked = experiment(tests=tests, lengths=(256,), seeds=(0,))
    cells = cells_of(asked, Base("w" * 16, ROPE, "float32", "sdpa", template=template))
    return {cell.test.label: cell.key for cell in cells}


def test_how_it_is_asked_is_in_the_key_of_tests_with_answers() -> None:
    plain, chat, room = keys(), keys(TEMPLATE), keys(new_tokens=64)
    other, both = keys(("<u>", "</u>")), keys(TEMPLATE, new_tokens=64)
    assert len({one["needle"] for one in (plain, chat, room, other, both)}) == 5
    assert len({one["perplexity"] for one in (plain, chat, room, other, both)}) == 1
    assert keys(new_tokens=Needle().new_tokens) == plain


def test_a_run_stores_answers_without_thoughts_and_says_how_it_asked(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(FakeSession, "__init__", lambda self, method, trained=None: self.__dict__.update(
        lm=TurnLM(), token_forwards=0, _method=method))  # fmt: skip
    engine = FakeEngine()
    monkeypatch.setattr(engine, "base", lambda: Base("w" * 16, ROPE, "float32", "sdpa", template=TEMPLATE))
    tests = (Test("needle", Needle(), 3, new_tokens=100),)
    run(experiment(tests=tests, lengths=(256,), seeds=(0,)), tmp_path, engine, Quiet(), keep_prompts=False)
    store = Store.open(tmp_path)
    for planned, cell in store.cells():
        assert cell is not None and cell["status"] == "done", cell
        assert planned["new_tokens"] == cell["identity"]["asking"]["new_tokens"] == 100
        assert [row["score"] for row in cell["rows"]] == [1.0] * 3
    [remark] = Results(store).audit.remarks
    assert "user's turn" in remark and "<think>" in remark


def read(tests: Any, **more: Any) -> dict[str, int | None]:
    content = {"model": "m", "target_length": 256, "lengths": [256], "extenders": ["none"], "tests": tests, **more}
    return {test.label: test.new_tokens for test in experiments.parse(content, "x.yaml", Path()).tests}


def test_the_experiment_file_says_it() -> None:
    tests = ["needle", {"passkey": {"new_tokens": 900}}, "perplexity", "ruler-pocket/vt"]
    found = {"needle": None, "passkey": 900, "perplexity": None, "ruler-pocket/vt": None}
    assert read(tests) == found
    assert read(tests, new_tokens=300) == {**found, "needle": 300, "ruler-pocket/vt": 300}
    chat = read(tests, chat="model")
    assert "ruler-pocket+chat/vt" in chat and not ruler_profiles.by_profile([(name, 256) for name in chat])
    for wrong, words in (
        ([{"needle": {"new_tokens": 3}}], "new_tokens must be at least the 16 that needle asks for, got 3"),
        ([{"perplexity": {"new_tokens": 64}}], "perplexity has no answers"),
        ([{"ruler-head/vt": {"template": "meta-chat"}}], "has a template of its own"),
    ):
        with pytest.raises(ValueError, match=words):
            read(wrong, chat="model")
    assert ruler.make("ruler-head/vt").title == ""


@pytest.mark.slow
def test_a_real_model_sees_the_template_and_text_stays_text() -> None:
    from extenders.none import NoExtension
    from harness.model.lm import ExtendedLM
    from harness.model.load import LoadedModel
    from harness.model.spec import spec_from_config
    from harness.rope.applied import applied

    model, tokenizer = fakes.tiny_llama(), fakes.byte_tokenizer()
    loaded = LoadedModel(model, tokenizer, spec_from_config(model.config), "x", "w" * 16, "float32", "sdpa")
    with applied(model, loaded.spec) as rotary:
        lm = ExtendedLM(loaded, NoExtension(target_length=128), rotary)
        asked = AskedLM(lm, Asking(("<s>U:", "</s>A:"), 4), 4)
        rows: list[list[int]] = []
        seen = lm._seen
        lm._seen = lambda row, new_tokens=0: rows.append(row) or seen(row, new_tokens)  # type: ignore[method-assign, func-returns-value]
        list(asked.generate(["a<s>b"], 4))
    assert rows[0] == [256, *b"U:", *b"a<s>b", 257, *b"A:"] or tokenizer.decode(rows[0]) == "<s>U:a<s>b</s>A:"
    assert rows[0].count(256) == 1 and asked.added_tokens == 6
