"""`--model ropebench` of lm-eval: its own command line gives the answers and scores that we get by asking."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import tasks.base
from harness import cli

SAMPLES = 3


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A needle at twice the window, and text, as tasks of lm-eval below the working folder."""
    from harness.prompts.generate import generate

    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"model": "pocket-llama", "lengths": [1024], "samples": SAMPLES, "say": lambda _: None}
    return [one.task_file.name for one in generate(["needle", "perplexity"], tmp_path / "tests", **given)]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def evaluated(names: list[str], arguments: str, *more: str) -> int:
    words = ["lm-eval", "run", "--model", "ropebench", "--model_args", f"pretrained=pocket-llama,{arguments}"]
    words += ["--include_path", "tests", "--tasks", ",".join(names), "--output_path", "out", "--log_samples", *more]
    return cli.answer(words)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_answers_and_scores_are_ours(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import lm_eval.tasks

    from harness.model.load import load_model
    from harness.tools.ask import under

    index = lm_eval.tasks.TaskManager.__init__
    monkeypatch.setattr(  # thousands of its own tasks are not read
        lm_eval.tasks.TaskManager,
        "__init__",
        lambda self, *words, **given: index(self, *words, **{**given, "include_defaults": False}),
    )
    words = sys.argv
    assert evaluated(made, "extender=yarn,beta_fast=16,target_length=1024") == 0 and sys.argv is words
    assert evaluated(made[:1], "extender=yarn,target_length=768") == 2
    assert "and it runs at 768" in capsys.readouterr().err.strip().splitlines()[-1]
    assert evaluated(made[:1], "extender=yarn,target_length=1024", "--apply_chat_template") == 2
    assert "chat: model" in capsys.readouterr().err.strip().splitlines()[-1]
    [results] = [json.loads(path.read_text()) for path in Path("out").rglob("results_*.json")]
    logged = {
        name: [json.loads(line) for path in Path("out").rglob(f"samples_{name}_*.jsonl") for line in lines(path)]
        for name in made
    }
    loaded = load_model("pocket-llama")
    assert results["config"]["weights"] == loaded.weights_hash
    with under(loaded, "yarn", 1024, {"beta_fast": 16}) as lm:
        assert results["config"]["plan"] == lm.plan_hash(1024)
        for name, test in zip(made, ("needle", "perplexity"), strict=True):
            rows = list(tasks.base.make(test).run(lm, 1024, 0, SAMPLES))
            theirs = sorted(logged[name], key=lambda sample: sample["doc_id"])
            assert [sample["score"] for sample in theirs] == pytest.approx([row.score for row in rows], abs=2e-5)
            if test == "needle":
                assert [sample["resps"][0][0] for sample in theirs] == [row.generation for row in rows]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"extender": "yarn"}, "target_length=TOKENS"),
        ({"extender": "yarn", "target_length": "far"}, "target_length='far'"),
        ({"extender": "yran", "target_length": 1024}, "yarn"),
        ({"extender": "yarn", "target_length": 1024, "beta": 3}, "beta"),
        ({"extender": "yarn", "target_length": 512}, "must be above the 512 tokens"),
        ({"extender": "yarn", "target_length": 1024, "over_length": "skip"}, "over_length is 'skip'"),
    ],
)
def test_mistakes_are_one_line(given: dict[str, Any], said: str) -> None:
    from harness.tools.lm_eval_model import RopebenchLM

    with pytest.raises(ValueError, match=said) as error:
        RopebenchLM(pretrained="pocket-llama", batch_size=1, device="cuda:0", **given)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("default")
def test_what_lm_eval_itself_refuses_is_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(["lm-eval", "run", "--no-such-option"]) == 2
    assert "unrecognized arguments: --no-such-option" in capsys.readouterr().err
