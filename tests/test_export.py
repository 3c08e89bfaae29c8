"""Plans as configurations: transformers itself computes from them what we plan. Every published list goes through."""

import json
from pathlib import Path
from typing import Any

import pytest
from searches import ROPE, TARGET, textbook

from extenders import base
from extenders._published import published, published_names
from extenders.base import RopeSpec
from extenders.factors import Factors
from extenders.longrope2 import LongRope2
from harness import cli
from harness.tools.export import exported

FACTORS = tuple(1 + i / 4 for i in range(32))


def by_transformers(content: dict[str, Any], rope: RopeSpec, length: int) -> tuple[list[float], float]:
    """Frequencies and attention factor that transformers computes from the exported keys."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    heads = {"hidden_size": 2 * rope.rotary_dims, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(**heads, head_dim=rope.rotary_dims, **content)
    inv_freq, attention = ROPE_INIT_FUNCTIONS["longrope"](config, "cpu", seq_len=length)
    return inv_freq.double().tolist(), float(attention)


@pytest.mark.parametrize("name", published_names())
def test_every_published_list_loads_applies_and_exports(name: str) -> None:
    entry = published(name)
    rope = textbook(entry.rotary_dims, entry.rope_theta, entry.original_length)
    target = max(entry.target_length, entry.original_length + 1)
    extender = Factors(
        target_length=target, factors=f"published:{name}", switch="always" if not entry.short else "by_length"
    )
    content, _ = exported(extender, rope)
    assert json.loads(json.dumps(content)) == content
    assert content["rope_parameters"]["long_factor"] == pytest.approx(list(entry.long), rel=1e-12)
    short, long = extender.plan(rope, rope.trained_length), extender.plan(rope, target)
    for plan, length in ((short, rope.trained_length), (long, target)):
        inv_freq, attention = by_transformers(content, rope, length)
        assert inv_freq == pytest.approx(plan.inv_freq, rel=1e-5)
        assert attention == pytest.approx(long.attention_factor, rel=1e-12)


@pytest.mark.parametrize("name", ["pi", "ntk", "yarn", "llama3", "yarn_rcd"])
def test_methods_with_one_plan_export_without_a_note(name: str) -> None:
    cls = base.load(name)
    extender = cls(target_length=TARGET, **cls.example(ROPE))
    content, notes = exported(extender, ROPE)
    assert notes == [] and content["max_position_embeddings"] == TARGET
    inv_freq, attention = by_transformers(content, ROPE, TARGET)
    plan = extender.plan(ROPE, TARGET)
    assert inv_freq == pytest.approx(plan.inv_freq, rel=1e-5) and attention == pytest.approx(plan.attention_factor)


def test_what_the_form_cannot_say() -> None:
    _, notes = exported(LongRope2(target_length=TARGET, factors=FACTORS), ROPE)
    assert len(notes) == 2 and "1.1547" in notes[0] and "vLLM" in notes[1]
    _, notes = exported(LongRope2(target_length=TARGET, factors=FACTORS, short_attention=True), ROPE)
    assert len(notes) == 1
    longrope = base.load("longrope")
    with pytest.raises(ValueError, match="keeps the first 4 tokens"):
        exported(longrope(target_length=TARGET, factors=FACTORS, keep_first=4), ROPE)
    with pytest.raises(ValueError, match="differs from that at 4096"):
        exported(base.load("dynamic_ntk")(target_length=TARGET), ROPE)
    with pytest.raises(ValueError, match="must be above the trained length 512"):
        exported(base.load("pi")(target_length=512), ROPE)


def test_stopped_pairs_are_written_as_a_number_that_every_engine_can_hold() -> None:
    stopped = Factors(target_length=TARGET, factors=(*FACTORS[:30], 1e18, 1e18), switch="always")
    plan = stopped.plan(ROPE, TARGET)
    assert plan.inv_freq[30:] == (0.0, 0.0)
    content, notes = exported(stopped, ROPE)
    assert len(notes) == 1 and "2 of 32 pairs are stopped, written as a factor of 1e+18" in notes[0]
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["rope_parameters"]["long_factor"][30:] == [1e18, 1e18]
    inv_freq, _ = by_transformers(content, ROPE, TARGET)
    assert inv_freq == pytest.approx(plan.inv_freq, rel=1e-5, abs=1e-17)
    assert max(inv_freq[30:]) * 131072 < 1e-13  # radians
    again = Factors(target_length=TARGET, factors=content["rope_parameters"]["long_factor"], switch="always")
    assert again.plan(ROPE, TARGET).inv_freq[30:] == (0.0, 0.0)


def test_export_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rope.json"
    asked = ["export", "cope", "--model", "pocket-llama", "--target-length", "4096", "--always-long"]
    assert cli.answer([*asked, "--out", str(out)]) == 0
    assert cli.answer(asked) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :]) == json.loads(out.read_text())
    # what was exported can be read back as factors
    plan = ["plan", "factors", "--model", "pocket-llama", "--target-length", "4096", "-p", f"factors={out}", "--json"]
    assert cli.answer(plan) == 0
    read = json.loads(capsys.readouterr().out)["planned"]["rescale_factors"]
    lists = json.loads(out.read_text())["rope_parameters"]["long_factor"]
    assert [1e18 if value is None else value for value in read] == pytest.approx(lists)
