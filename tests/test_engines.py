"""Exported plans in real engines: llama.cpp's answers beside transformers', and the frequencies that MLX computes.

Skipped where an engine is missing. An engine may live in a Python of its own: ROPEBENCH_LLAMA_CPP and ROPEBENCH_MLX
name one that has xllamacpp, and one that has mlx and mlx-lm.
"""

import json
import math
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_cpp import next_tokens, python_with_engine, write_gguf

from extenders import base
from extenders.base import Extender, RopePlan
from extenders.deployed import Deployed
from extenders.factors import Factors
from harness.forms import gguf_file
from harness.forms.two_plans import two_plans
from harness.model.load import LoadedModel, load_model
from harness.rope.applied import applied
from harness.tools.export import export
from harness.tools.show_plan import spec_of

TARGET, TRAINED, NEW = 4096, 512, 8
LISTS = tuple(round(1 + 7 * (i / 31) ** 2, 6) for i in range(32))
GIVEN: dict[str, dict[str, Any]] = {
    "factors": {"factors": list(LISTS), "switch": "always", "attention_factor": 1.1},
    "cope": {},
}
needs_llama_cpp = pytest.mark.skipif(
    python_with_engine() is None, reason="llama.cpp (xllamacpp) is not installed; ROPEBENCH_LLAMA_CPP names a Python"
)
needs_mlx = pytest.mark.skipif(
    "ROPEBENCH_MLX" not in os.environ, reason="ROPEBENCH_MLX names no Python that has mlx and mlx-lm"
)
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def pocket() -> LoadedModel:
    return load_model("pocket-llama", dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def gguf_model(pocket: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the target as its context, as --override-kv of the exported options says it."""
    pytest.importorskip("gguf")
    return write_gguf(pocket.model, tmp_path_factory.mktemp("gguf") / "pocket.gguf", TARGET)


def prompts(pocket: LoadedModel) -> list[list[int]]:
    """One that fits the trained window and one that fills the target, answers included."""
    text = Path(__file__).read_text(encoding="utf-8") * 4
    ids = pocket.tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) >= TARGET
    return [ids[: length - NEW] for length in (TRAINED, TARGET)]


def compared(
    pocket: LoadedModel, plans: list[RopePlan], answers: list[list[list[Any]]]
) -> list[tuple[float, int, float, float]]:
    """For each prompt: largest difference of a log-probability, how many new tokens transformers has too, and the
    perplexity of the engine's new tokens under the engine and under transformers."""
    rows = []
    for prompt, plan, tokens in zip(prompts(pocket)[: len(plans)], plans, answers, strict=True):
        answered = [token[0][0] for token in tokens]
        with applied(pocket.model, pocket.spec) as rotary, torch.inference_mode():
            rotary.use(plan)
            ids = torch.tensor([prompt + answered[:-1]])
            ours = pocket.model(ids, logits_to_keep=NEW).logits[0].log_softmax(-1)
        gap = max(abs(float(row[i]) - value) for row, token in zip(ours, tokens, strict=True) for i, value in token[:5])
        theirs = sum(token[0][1] for token in tokens) / NEW
        mine = sum(float(row[i]) for row, i in zip(ours, answered, strict=True)) / NEW
        rows.append((gap, int((ours.argmax(-1) == torch.tensor(answered)).sum()), math.exp(-theirs), math.exp(-mine)))
    return rows


def method(name: str) -> Extender:
    if name == "factors":
        return Factors(target_length=TARGET, factors=LISTS, switch="always", attention_factor=1.1)
    return base.load(name)(target_length=TARGET)


@needs_llama_cpp
@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", "pi", "ntk", "yarn"])
def test_options_of_llama_cpp(name: str, pocket: LoadedModel, gguf_model: Path) -> None:
    extender = method(name)
    text, _ = export(name, {}, "pocket-llama", TARGET, form="llama.cpp")
    options = shlex.split(text)
    at = options.index("--override-kv")
    assert options[at : at + 2] == ["--override-kv", f"llama.context_length=int:{TARGET}"]
    answers = next_tokens(gguf_model, options[:at] + options[at + 2 :], prompts(pocket), NEW, 5)
    plans = [extender.plan(pocket.spec, length) for length in (TRAINED, TARGET)]
    rows = compared(pocket, plans, answers)
    print(name, rows)
    assert all(gap < 2e-3 and greedy == NEW and abs(a / b - 1) < 1e-3 for gap, greedy, a, b in rows), rows


@needs_llama_cpp
@pytest.mark.slow
@pytest.mark.parametrize("name", ["factors", "cope"])
def test_factor_tensors_in_llama_cpp(name: str, pocket: LoadedModel, gguf_model: Path, tmp_path: Path) -> None:
    """The copy of the model holds the plan; the long list is used for short prompts too, as the note says."""
    extender = method(name)
    plans = [extender.plan(pocket.spec, TARGET)] * 2
    out = tmp_path / "planned.gguf"
    _merge(gguf_model, out, name)
    answers = next_tokens(out, ["--ctx-size", str(TARGET)], prompts(pocket), NEW, 5)
    rows = compared(pocket, plans, answers)
    print(name, rows)
    assert all(gap < 2e-3 and greedy == NEW and abs(a / b - 1) < 1e-3 for gap, greedy, a, b in rows), rows


def _merge(model: Path, out: Path, name: str) -> None:
    plans = two_plans(method(name), spec_of("pocket-llama", None), always_long=True)
    gguf_file.write(out, str(model), plans, "llama")


@needs_llama_cpp
@pytest.mark.slow
@pytest.mark.parametrize("context", [TRAINED, TARGET])
def test_llama_cpp_chooses_a_list_by_its_context(
    context: int, pocket: LoadedModel, gguf_model: Path, tmp_path: Path
) -> None:
    """As the method `deployed` has it: the short list in a short context, with the one attention factor of the file."""
    inner = Factors(target_length=TARGET, factors=LISTS, attention_factor=1.1)
    out = tmp_path / "planned.gguf"
    gguf_file.write(out, str(gguf_model), two_plans(inner, pocket.spec), "llama")
    answers = next_tokens(out, ["--ctx-size", str(context)], prompts(pocket)[:1], NEW, 5)
    words = f"factors factors={list(LISTS)} attention_factor=1.1".replace(", ", ",")
    deployed = Deployed(target_length=TARGET, method=words, policy="llama.cpp", tokens=context)
    plan, other = deployed.plan(pocket.spec, TRAINED), inner.plan(pocket.spec, TRAINED)
    assert plan.inv_freq == inner.plan(pocket.spec, context).inv_freq and plan.attention_factor == 1.1
    [row], [off] = (compared(pocket, [each], answers) for each in (plan, other))
    print("context", context, row, off)
    assert row[0] < 2e-3 and row[1] == NEW and off[0] > 0.01


@needs_mlx
@pytest.mark.parametrize("name", ["none", "pi", "ntk", "yarn", "llama3", "factors", "cope"])
def test_frequencies_that_mlx_computes(name: str, pocket: LoadedModel) -> None:
    extender = method(name)
    text, _ = export(name, GIVEN.get(name, {}), "pocket-llama", TARGET, form="mlx", always_long=True)
    content = json.loads(text)
    script = Path(__file__).with_name("mlx_rope.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [os.environ["ROPEBENCH_MLX"], str(script)]
    answer = subprocess.run(
        words, input=json.dumps(content), capture_output=True, text=True, timeout=100, env=environment
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    turned = torch.tensor(json.loads(answer.stdout.splitlines()[-1]), dtype=torch.float64)  # (positions, 2, pairs)
    plan = extender.plan(pocket.spec, TARGET)
    positions = torch.tensor([0, 1, 64, 500, 4000], dtype=torch.float64)
    phase = positions[:, None] * torch.tensor(plan.inv_freq, dtype=torch.float64)
    expected = torch.stack([phase.cos(), phase.sin()], dim=1) * plan.attention_factor
    print(name, float((turned - expected).abs().max()))
    assert float((turned - expected).abs().max()) < 2e-3, name
