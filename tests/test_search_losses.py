"""The loss of a search on a tiny model: scored tokens only, one plan for each row, and the command line."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import torch

from extenders.ntk import Ntk
from extenders.pi import PositionInterpolation
from harness import cli
from harness.model import logits
from harness.model.lm import ExtendedLM
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.search.losses import plan_losses, rows_at_once
from harness.search.texts import SearchText
from harness.store import Store


@pytest.fixture
def lm() -> Any:
    model = fakes.tiny_llama()
    base: Any = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(), spec=spec_from_config(model.config))
    with applied(model, base.spec) as rotary:
        yield ExtendedLM(base, PositionInterpolation(target_length=256), rotary)


def rows(lm: Any) -> list[Any]:
    plans = [cls(target_length=256).plan(lm.spec, 256) for cls in (PositionInterpolation, Ntk)]
    texts = [bytes(range(32, 32 + size)) for size in (90, 61)]
    documents = [SearchText((256, *text), (5, 6, len(text)), "", "") for text in texts]
    return [(plan, document) for plan in plans for document in documents]


def slow(lm: Any, plan: Any, document: Any) -> float:
    """Full logits of one row, in float64."""
    lm.rotary.use(plan)
    with torch.no_grad():
        scores = lm.model(input_ids=torch.tensor([document.ids]), use_cache=False).logits[0].double().log_softmax(-1)
    return -sum(float(scores[place - 1, document.ids[place]]) for place in document.scored) / len(document.scored)


def test_many_plans_at_once_give_what_each_gives_alone(lm: Any) -> None:
    asked = rows(lm)
    together = plan_losses(lm, asked)
    assert lm.token_forwards == 2 * (91 + 62)
    assert together == pytest.approx([plan_losses(lm, [row])[0] for row in asked], abs=1e-5)
    assert together == pytest.approx([slow(lm, *row) for row in asked], abs=1e-5)
    assert len({round(loss, 4) for loss in together}) == 4
    assert rows_at_once(lm, 4096) == 1  # on a CPU


def test_only_scored_tokens_meet_the_vocabulary(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def watched(model: Any, hidden: torch.Tensor, count: int = 1) -> torch.Tensor:
        found: torch.Tensor = HEAD(model, hidden, count)
        shapes.append(tuple(found.shape))
        return found

    monkeypatch.setattr(logits, "head", watched)
    plan_losses(lm, rows(lm))
    assert shapes == [(1, 4 * 3, 260)]


HEAD = logits.head


def test_nan_is_given_back_and_breaks_nothing(lm: Any) -> None:
    with torch.no_grad():
        lm.model.lm_head.weight[100] = math.nan
    assert all(math.isnan(loss) for loss in plan_losses(lm, rows(lm)))


FILE = """
model: {model}
target_length: 512
lengths: [512]
extenders: [none, {{longrope2: {{budget: 8192}}}}, {{ntk_rcd: {{budget: 4096, fitness: perplexity}}}}]
tests: [passkey]
samples: 2
"""


@pytest.mark.slow
def test_search_on_the_command_line_and_in_an_experiment(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["search", "longrope2", "--model", str(tiny_model_folder), "--target-length", "512"]
    assert cli.answer([*asked, "--budget", "20480", "--seed", "0", "--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert said.count("candidates") == 2 and "longrope2 seed 1" in said and "held-out texts" in said
    results = sorted(Path("results/searches").glob("*[0-9a-f].json"))
    assert len(results) == 2
    assert cli.answer([*asked, "--budget", "20480", "--seed", "0", "--seed", "1"]) == 0
    assert capsys.readouterr().out == said  # nothing is searched again

    plan = ["plan", "factors", "--model", str(tiny_model_folder), "--target-length", "512", "--json"]
    assert cli.answer([*plan, "-p", f"factors={results[0]}"]) == 0
    planned = json.loads(capsys.readouterr().out)["planned"]["rescale_factors"]
    assert planned == pytest.approx(json.loads(results[0].read_text())["rescale_factors"])

    Path("mine.yaml").write_text(FILE.format(model=tiny_model_folder))
    assert cli.answer(["run", "mine.yaml", "--no-report"]) == 0
    store = Store.open(Path("results/mine"))
    assert [one["status"] for one in store.run()["searches"]] == ["done", "done"]
    assert all(cell is not None and cell["status"] == "done" for _, cell in store.cells())
    assert "searched longrope2" in capsys.readouterr().err
    assert cli.answer(["run", "mine.yaml", "--no-report"]) == 0
    assert "3 cells: 0 computed, 3 kept from before" in capsys.readouterr().err

    wrong = {
        "--target-length 32": "target_length 32 must be above the 64 tokens",
        "--target-length 512 --budget 100": "too small for one candidate",
        "--target-length 512 -p searcher=slow": "searcher is 'slow'",
        "--target-length 512 --documents nowhere": "nowhere is not a folder",
        "--target-length 512 -p factors=[1,2]": "has all its numbers already",
    }
    for options, reason in wrong.items():
        assert cli.answer(["search", "longrope2", "--model", str(tiny_model_folder), *options.split()]) == 2
        error = capsys.readouterr().err
        assert reason in error.splitlines()[-1], error
    assert cli.answer(["search", "pi", "--model", str(tiny_model_folder), "--target-length", "512"]) == 2
    assert "pi has nothing to search" in capsys.readouterr().err


def test_a_study_on_the_command_line(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["search-study", "--model", str(tiny_model_folder), "--target-length", "512", "--forwards", "40"]
    asked += ["--texts", "2", "--seed", "0", "--row", "ntk_rcd, a tenth"]
    assert cli.answer(asked) == 0
    said = capsys.readouterr().out
    place = Path("results/search-study")
    assert said.strip() == (place / "table.md").read_text().strip() and "| ntk_rcd, a tenth |" in said
    assert "ntk_rcd, a tenth (" in (place / "figure.svg").read_text()
    assert cli.answer([*asked, "--reference", "yarn"]) == 0
    assert "the reference is the row 'yarn'" in capsys.readouterr().out
    assert cli.answer([*asked, "--reference", "yearn"]) == 2
    assert "no row of the study is named 'yearn'" in capsys.readouterr().err
