"""Every family of the table: read, run under the identity and under a plan, and continued; or refused in one line."""

import json
from pathlib import Path

import pytest
import torch

from extenders.base import RopePlan
from harness import cli
from harness.model.run_as import FLOAT32_ROTATION
from harness.model.spec import spec_from_config
from harness.rope.applied import applied
from harness.rope.modules import rotary_modules
from harness.tools.families import families, row_of, tiny_model

EVERY = families()
PAGE = (Path(__file__).parent.parent / "docs" / "families.md").read_text(encoding="utf-8")
# Those that went wrong once, and one of every layout, cache and way of writing RoPE down.
SLICE = (
    "llama2-7b", "llama3.1-8b", "llama4-scout-text", "yarn-llama2-128k", "mistral-7b-v0.1", "ministral3-3b-text",
    "qwen2.5-yarn-readme", "qwen2.5-7b-1m", "qwen2-vl-7b", "phi-2", "phi-3-mini-128k", "phi-4-mini", "minicpm4-8b",
    "gemma3-1b", "gpt-oss-20b", "deepseek-v2-lite", "deepseek-v3", "chatglm-glm4-9b-hf", "granite-4-h-nope", "olmo2-7b",
    "command-r", "pythia-1b", "gpt-j-6b", "llama-dynamic", "hunyuan-7b", "zamba2-2.7b-norope", "recurrentgemma-2b",
    "dbrx", "auto-ernie4_5_moe", "llama3.2-vision-text",
)  # fmt: skip
REFUSED = (
    "qwen2-vl-7b", "phi-3-small-128k", "minicpm4-8b", "chatglm-glm4-9b-hf", "granite-4-h-nope", "gpt-j-6b", "codegen",
    "internlm3-8b", "nemotron-h", "zamba2-2.7b-norope", "recurrentgemma-2b", "baichuan2-7b", "qwen1-7b", "kimi-k2",
    "modernbert", "gpt2", "bloom", "mamba", "rwkv", "t5", "mpt", "bert", "whisper", "auto-roformer", "auto-zaya",
    "gemma3n-full",
)  # fmt: skip


def checked(name: str) -> None:
    row = row_of(name, EVERY[name])
    assert bool(row.refused) == (name in REFUSED), row.refused
    assert row.line in PAGE, "docs/families.md is old: python -m harness.tools.families > docs/families.md"
    if not row.refused:
        assert row.applied == row.decoded == "yes" and row.exported


@pytest.mark.slow
@pytest.mark.parametrize("name", SLICE)
def test_a_slice_of_the_families(name: str) -> None:
    checked(name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in EVERY if name not in SLICE])
def test_all_families(name: str) -> None:
    checked(name)


def test_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(["list", "families"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("    ")]
    assert [line.split()[0] for line in lines] == list(EVERY)
    assert "model type llama, trained length 4096 tokens, rope_theta 10000, 64 rotary pairs" in lines[0]


def test_the_table_has_at_least_a_hundred_rows() -> None:
    assert PAGE.splitlines()[-len(EVERY) :] == [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(EVERY) >= 100 and len(SLICE) == 30 and set(SLICE) | set(REFUSED) <= set(EVERY)


@pytest.mark.parametrize(
    "name", ["hunyuan-7b", "auto-hunyuan_v1_moe", "auto-nanochat", "llama4-scout-text", "qwen3-yarn-readme", "olmo2-7b"]
)
def test_where_a_norm_undoes_an_attention_factor_it_is_said(name: str) -> None:
    content = EVERY[name]["config"]
    model, spec = tiny_model(content), spec_from_config(json.loads(json.dumps(content)))
    logits = []
    for factor in (1.0, 3.0):
        with applied(model, spec) as rotary, torch.no_grad():
            rotary.use(RopePlan(spec.inv_freq, factor))
            logits.append(model(torch.arange(3, 20)[None], use_cache=False).logits)
    undone = float((logits[0] - logits[1]).abs().max()) < 1e-2 * float(logits[0].abs().max())
    assert undone == any("undoes an attention_factor" in note for note in spec.notes) == (name[0] in "hal")


@pytest.mark.parametrize("name", ["olmo2-7b", "auto-ernie4_5_moe", "auto-flex_olmo", "llama2-7b", "auto-olmo_hybrid"])
def test_the_list_of_float32_rotation_is_what_modules_do(name: str) -> None:
    content = EVERY[name]["config"]
    model, spec = tiny_model(content), spec_from_config(json.loads(json.dumps(content)))
    kept = {forward.rotations[spec.layer_type].keeps_float32 for _, forward in rotary_modules(model, spec)}
    assert kept == {content["model_type"] in FLOAT32_ROTATION} and model.dtype == torch.float32
