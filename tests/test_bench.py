"""`ropebench bench`: that what is timed is what is claimed, and what fits is measured where something else does not."""

import math
from pathlib import Path
from typing import Any

import fakes
import pytest
import torch

from harness import cli
from harness.model.load import slow_in_half
from harness.model.spec import spec_from_config
from harness.tools import bench_candidate, bench_shape, bench_stages
from harness.tools.bench import bench
from harness.tools.bench_candidate import SHAPES, line, parameters, random_model

pytestmark = pytest.mark.slow  # seconds each, or many


@pytest.mark.parametrize(
    ("shape", "count"), [("llama3-8b", 8_030_261_248), ("llama3-1b", 1_235_814_400), ("phi3-mini", 3_821_079_552)]
)
def test_a_shape_has_as_many_weights_as_its_model(shape: str, count: int) -> None:
    from transformers import AutoConfig

    settings = dict(SHAPES[shape])
    assert parameters(AutoConfig.for_model(settings.pop("model_type"), **settings)) == count


def test_a_random_model_runs_under_its_own_rope(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    shape = {**SHAPES["llama3-8b"], **small, "num_attention_heads": 2, "num_key_value_heads": 1}
    monkeypatch.setattr(bench_candidate, "SHAPES", {"small": shape})
    model, spec = random_model("small")
    assert (spec.rope_theta, spec.trained_length) == (500_000, 8192)
    assert model.dtype == (torch.float32 if slow_in_half(torch.device("cpu")) else torch.bfloat16)
    [_, one, whole] = bench_candidate.bench_candidate(model, spec, [40], pairs=1)
    assert one.loss == pytest.approx(whole.loss, abs=0.02)
    assert one.loss == pytest.approx(math.log(300), abs=0.5)


def test_a_shape_beside_the_ceilings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_stages, "SIZE", 64)  # bfloat16 products are slow on CPUs that have no unit for them
    model, spec = fakes.tiny_llama(), spec_from_config(fakes.tiny_llama().config)
    rows = list(bench_shape.bench_shape(model, spec, [48, 24], pairs=1, training=True))
    step = "training step, LoRA of rank 8"
    many, few = (f"a token decoded, {16_384 // (length + 16)} prompts" for length in (24, 48))
    names = ["matrix product", "read memory", "prefill", many, "prefill", few, step, step]
    assert [row.what for row in rows] == names
    assert [row.length for row in rows] == [0, 0, 24, 24, 48, 48, 24, 48]
    assert all(row.seconds > 0 and (row.length == 0 or (row.share or 0) > 0) for row in rows)


def test_a_long_first_round_counts_and_a_short_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    model = fakes.tiny_llama()
    for seconds, rounds in ((10.0, ["1 of 2", "2 of 2"]), (0.0, ["1 of 2"])):
        monkeypatch.setattr(bench_candidate, "LONG", seconds)
        said.clear()
        list(bench_candidate.bench_candidate(model, spec_from_config(model.config), [32], 1, said.append))
        assert [line.split("round ")[1].split(":")[0] for line in said] == rounds
    calls: list[int] = []
    assert len(bench_stages.times(lambda: calls.append(1), 2)) == 2 and len(calls) == 3
    monkeypatch.setattr(bench_stages, "LONG", 0.0)
    assert len(bench_stages.times(lambda: calls.append(1), 2)) == 2 and len(calls) == 5


def test_a_step_that_does_not_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(bench_stages, "SIZE", 64)
    monkeypatch.setattr(bench_shape, "_prefill", no_room)
    model = fakes.tiny_llama()
    rows = list(bench_shape.bench_shape(model, spec_from_config(model.config), [24], pairs=1))
    assert (rows[2].what, rows[2].share, rows[2].of) == ("prefill", None, "does not fit into memory")
    assert bench_stages.as_row(rows[2])[2] == "–"


def test_a_shape_that_is_too_large_or_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bench_candidate, "memory_bytes", lambda: 8 * 10**9)
    monkeypatch.setattr(bench_candidate, "slow_in_half", lambda place: False)
    with pytest.raises(ValueError, match=r"llama3-8b has 16\.1 GB of weights and this machine 8\.0 GB"):
        random_model("llama3-8b")
    with pytest.raises(ValueError, match="shape 'llama3' is unknown; allowed are llama3-8b, llama3-1b, phi3-mini"):
        random_model("llama3")


def measured(model: Any, lengths: list[int], pairs: int = 1) -> list[bench_candidate.Way]:
    return list(bench_candidate.bench_candidate(model, spec_from_config(model.config), lengths, pairs))


def test_a_candidate_has_the_loss_of_full_logits() -> None:
    rows = measured(fakes.tiny_llama(), [64, 32], pairs=2)
    assert [(one.length, one.what) for one in rows] == [
        (length, what) for length in (32, 64) for what in ("body", "candidate", "full logits")
    ]
    for body, one, whole in (rows[:3], rows[3:]):
        assert body.loss is None
        assert one.loss == pytest.approx(whole.loss, abs=1e-5)
        assert (whole.share, whole.lowest, whole.highest) == (1, 1, 1)
        assert one.share is not None and one.lowest is not None and one.lowest <= one.share


def test_a_gradient_step_stands_beside_a_candidate_and_a_step_of_training() -> None:
    model = fakes.tiny_llama()
    spec = spec_from_config(model.config)
    rows = {way.what: way for way in bench_candidate.bench_candidate(model, spec, [48], pairs=1, gradient=True)}
    assert list(rows) == [*bench_candidate.FORWARD, *bench_candidate.BACKWARD]
    assert all(way.seconds for way in rows.values())
    for name in ("gradient step", "gradient step, layers again"):
        assert rows[name].loss == pytest.approx(rows["candidate"].loss, abs=1e-5)
    assert rows["training step"].loss != rows["candidate"].loss  # of all tokens
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory of a part is known on Linux alone")
def test_memory_does_not_grow_with_the_vocabulary() -> None:
    """750 positions of 60,000 words are 180 MB of logits, and the loss takes as much again."""
    body, one, whole = measured(fakes.tiny_llama(vocab_size=60_000), [750])
    assert body.peak and one.peak and whole.peak
    assert one.peak - body.peak < 60e6
    assert whole.peak - one.peak > 300e6


def test_what_does_not_fit_is_said_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fakes.tiny_llama()

    def full(*_: Any) -> float:
        raise torch.OutOfMemoryError("too much")

    with monkeypatch.context() as patched:
        patched.setitem(bench_candidate.FORWARD, "full logits", full)
        body, one, whole = measured(model, [32])
    assert line(whole) == ["full logits", "32", "does not fit", "–", "–", "–"]
    assert line(one)[3] == "–" and one.seconds and one.loss
    assert line(body)[5] == "–"
    monkeypatch.setattr(bench_candidate, "memory_bytes", lambda: 10_000)  # on a CPU it is not even tried
    assert measured(model, [32])[2].seconds is None


def test_a_prefill_is_timed_in_pairs() -> None:
    [one] = bench("pocket-llama", [64], pairs=1)
    assert one.ratio == one.lowest == one.highest == pytest.approx(one.planned_seconds / one.plain_seconds)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["decode"], "bench measures prefill, candidate, stages or shape, got 'decode'"),
        (["--shape", "llama3-8b"], "--shape is for: ropebench bench candidate, ropebench bench shape"),
        (["candidate", "--only", "tail"], "no way 'tail'; it has body, candidate, full logits"),
        (["--only", "body"], "--only is for: ropebench bench candidate"),
        (["candidate", "--training"], "--training is for: ropebench bench shape"),
        (["shape", "--shape", "gpt"], "shape 'gpt' is unknown"),
        (["--gradient"], "--gradient is for: ropebench bench candidate"),
        (["candidate", "--shape", "gpt"], "shape 'gpt' is unknown"),
        (["candidate", "--length", "7"], "lengths above 7 tokens"),
        (["candidate", "--pairs", "0"], "at least one pair"),
        (["--length", "1"], "lengths of at least 2 tokens"),
    ],
)
def test_wrong_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(["bench", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and len(shown.err.splitlines()) == 1


def test_operations_of_a_prefill_by_hand() -> None:
    model = fakes.tiny_llama()
    config = model.config
    width, heads, head = config.hidden_size, config.num_attention_heads, config.head_dim
    keys = config.num_key_value_heads * head
    layer = width * heads * head * 2 + 2 * width * keys + 3 * width * config.intermediate_size
    linear, layers = layer * config.num_hidden_layers, config.num_hidden_layers
    assert bench_stages.linear_weights(model) == linear
    attention = layers * 4 * heads * head * (1 + 2 + 3)  # token i looks at i tokens: products with keys and values
    assert bench_stages.operations(model, 3) == 2 * linear * 3 + attention + 2 * config.vocab_size * width
    assert bench_stages.weight_bytes(model) == 4 * (linear + config.vocab_size * width)


def test_stages_are_shares_of_the_machine(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "stages", "--model", str(tiny_model_folder), "--length", "512", "--pairs", "2"]
    assert cli.answer(words) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["matrix product", "read memory", "prompt made (needle)", "plan swapped", "prefill", "one token decoded"]
    for name, printed in zip([*names, "answer of 16 tokens"], lines[1:], strict=True):
        assert printed.startswith(name)
    assert "GFLOP/s in float32" in lines[1] and "GB/s" in lines[2] and "same answers" in lines[-1]
    [share] = [float(text.split("  the matrix rate")[0].split()[-1]) for text in lines if "the matrix rate" in text]
    assert 0 < share < 1.2, "no prefill is faster than its arithmetic"
    assert cli.answer([*words[:2], "--length", "100"]) == 2 and "at least 256 tokens" in capsys.readouterr().err
