"""The same numbers under the rule of each engine: what `deployed` plans, and what transformers itself runs."""

from pathlib import Path

import pytest
import torch
from test_leaving import SIZES
from transformers import LlamaConfig, LlamaForCausalLM

from extenders.base import load
from extenders.deployed import POLICIES, Deployed
from harness import cli
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.tools.export import exported

ROPE = spec_from_config({**SIZES, "model_type": "llama", "rope_theta": 1e4})  # 64 tokens
SEARCHED = f"longrope2 factors=[{','.join(str(1 + i / 4) for i in range(16))}] attention_factor=1.2"


def chosen(policy: str, length: int, tokens: int | None = None) -> tuple[str, float]:
    plan = Deployed(target_length=256, method=SEARCHED, policy=policy, tokens=tokens).plan(ROPE, length)  # type: ignore[arg-type]
    return "short" if plan.inv_freq == ROPE.inv_freq else "long", plan.attention_factor


def test_each_engine_chooses_by_its_own_rule() -> None:
    for length in (1, 64):
        assert chosen("prompt", length) == ("short", 1.0)
        assert chosen("transformers", length, 1) == chosen("llama.cpp", length, 64) == ("short", 1.2)
        assert chosen("sglang", length, 1) == chosen("vllm", length, 64) == ("short", 1.0)
        for policy in ("transformers", "sglang", "vllm", "llama.cpp"):
            assert chosen(policy, length) == chosen(policy, length, 65) == ("long", 1.2)
        assert chosen("mlx", length) == ("long", 1.2)
    for policy in POLICIES:
        assert chosen(policy, 65) == chosen(policy, 256) == ("long", 1.2)


def test_a_base_for_every_length_goes_by_what_was_configured() -> None:
    inner = load("dynamic_ntk")(target_length=256)
    for tokens, length in ((None, 256), (128, 128), (1, 100)):
        method = Deployed(target_length=256, method="dynamic_ntk", policy="vllm", tokens=tokens)
        assert method.plan(ROPE, 100) == inner.plan(ROPE, length)


def test_transformers_itself_runs_a_batch_so() -> None:
    """The exported keys in a Llama: a short prompt alone, and in a batch with a long one."""
    content, _ = exported(load("longrope2")(target_length=256, factors=eval(SEARCHED.split()[1][8:]),
                                            attention_factor=1.2), ROPE)  # fmt: skip
    torch.manual_seed(0)
    config = LlamaConfig(**{**SIZES, "rope_theta": 1e4})
    model = LlamaForCausalLM(config).eval()
    theirs = LlamaForCausalLM(LlamaConfig(**{**SIZES, **content})).eval()
    theirs.load_state_dict(model.state_dict())
    ids = torch.arange(100)[None] * 7 % 60 + 2
    short = torch.cat((ids[:, :40], torch.zeros(1, 60, dtype=torch.long)), dim=1)  # padded on the right
    with torch.no_grad():
        alone = theirs(ids[:, :40]).logits
        beside = theirs(torch.cat((short, ids))).logits[:1, :40]
    for tokens, wanted in ((1, alone), (100, beside)):
        plan = Deployed(target_length=256, method=SEARCHED, policy="transformers", tokens=tokens).plan(ROPE, 40)
        with applied(model, ROPE) as rotary, torch.no_grad():
            rotary.use(plan)
            assert torch.allclose(model(ids[:, :40]).logits, wanted, rtol=0, atol=1e-5)
    assert float((alone - beside).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["policy=batch"], "policy is 'batch'; there are llama.cpp, mlx, prompt"),
        (["policy=mlx", "tokens=64"], "policy 'mlx' looks at nothing that could be set; leave tokens out"),
        (["policy=vllm", "tokens=0"], "tokens must be in 1 … 4096, the target length, got 0"),
        (["policy=vllm", "tokens=half"], "tokens"),
        (["policy=vllm", "method=longrope2"], "is searched on a model"),
        (["policy=vllm", "method=yarn beta=3"], "yarn has no parameter 'beta'"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {word.partition("=")[0]: word for word in ["method=dynamic_ntk", *words]}
    options = [part for word in given.values() for part in ("-p", word)]
    assert cli.answer(["plan", "deployed", "--model", "pocket-llama", "--target-length", "4096", *options]) == 2
    told = capsys.readouterr().err
    assert line in told and told.count("\n") == 1


def test_a_plan_file_is_deployed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "pocket-llama", "--target-length", "4096"]
    out = tmp_path / "plan.json"
    searched = ["-p", f"factors={[2] * 32}", "--format", "plan", "--out", str(out)]
    assert cli.answer(["export", "longrope2", *searched, *words]) == 0
    deployed = ["-p", f"method=pinned file={out}", "-p", "policy=vllm", "--length", "100"]
    assert cli.answer(["plan", "deployed", *deployed, *words]) == 0
    assert "attention factor 1.1547" in capsys.readouterr().out
