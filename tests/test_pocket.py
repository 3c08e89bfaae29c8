"""The pocket models' recipe and data: training never meets the tests, and the same seed gives the same weights."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.model.files import shipped_models, weights_hash
from harness.pocket import __main__ as pocket_commands
from harness.pocket import data, folder, recipe
from harness.pocket.batches import PocketBatches
from harness.pocket.block_attention import block_attention
from harness.pocket.build import as_phi3, new_model
from harness.pocket.pretrain import pretrain
from tasks import ruler
from tasks.corpora import words, world
from tasks.ruler import niah

pytestmark = pytest.mark.slow  # seconds each, or many

LLAMA = folder("pocket-llama")


@pytest.fixture(scope="module")
def batches() -> PocketBatches:
    return PocketBatches(recipe.RECIPES["pocket-llama"], LLAMA)


def count(text: str) -> int:
    return len(text) // 4


def test_share_below_the_critical_pair_is_that_of_the_large_models() -> None:
    assert recipe.LLAMA3_SHARE * 64 == pytest.approx(34.98, abs=0.01)
    assert recipe.PHI3_SHARE * 48 == pytest.approx(30.16, abs=0.01)
    import math

    for share in (recipe.LLAMA3_SHARE, recipe.PHI3_SHARE):
        own = math.log(recipe.WINDOW / (2 * math.pi)) / math.log(recipe.theta(share))
        assert own == pytest.approx(share, abs=2e-4)


@pytest.mark.parametrize("name", list(recipe.RECIPES))
def test_the_rate_rises_then_follows_its_lines_to_zero(name: str) -> None:
    one = recipe.RECIPES[name]
    rates = [one.rate(step) for step in range(one.steps)]
    top = rates.index(1.0)
    assert rates[0] == pytest.approx(1 / one.warmup) and max(rates) == 1.0 and 0 < rates[-1] < 0.002
    assert rates[: top + 1] == sorted(rates[: top + 1]) and one.decay[-1] == (one.steps, 0.0)
    for (start, high), (end, low) in zip(one.decay, one.decay[1:], strict=False):
        assert rates[start] == high and one.rate((start + end) // 2) == pytest.approx((high + low) / 2, abs=1e-3)


@pytest.mark.parametrize("kind", list(data.MAKERS))
def test_sequences_keep_to_the_training_half(kind: str) -> None:
    for i in range(20):
        said = "".join(piece for piece, _ in data.sequence(random.Random(f"{kind} {i}"), kind, 512, count))
        for key, value in re.findall(r"magic \w+ for (\S+) is: (\S+)\.\n", said):
            # `pairs` also has single words and numbers of up to three digits, which no test asks for
            assert words.for_training(key) or (key in words.words("noun") and len(value) <= 3)
            assert words.for_training(value) or len(value) <= 3
        for question in re.findall(r"Question: (What is \d+ \w+ \d+\?)", said):
            assert words.for_training(question)


@pytest.mark.parametrize("seed", [f"facts {i}" for i in range(12)])
def test_a_fact_is_the_first_of_a_whole_list(seed: str) -> None:
    assert data._fact(seed) == world.fact_questions(1, False, seed)[0]


@pytest.mark.parametrize("row", [row for row in ruler.ROWS if row.startswith("niah")])
def test_evaluation_keeps_to_the_other_half(row: str) -> None:
    for i in range(10):
        sample = ruler.sample(row, 0, i, 480, count)
        found = re.findall(r"magic \w+ for (\S+) is: (\S+)\.", sample.prompt)
        assert found
        for key, value in found:
            assert not words.for_training(key) and not words.for_training(value)


def test_every_kind_scores_answers_within_its_length(batches: PocketBatches) -> None:
    for kind, (_, least) in data.MAKERS.items():
        for length in (least, 512):
            for i in range(5):
                ids, weights = batches.row(random.Random(f"{kind}{i}"), kind, length)
                assert len(ids) == len(weights) == length + 1
                assert any(weight > data.CONTEXT for weight in weights), f"{kind} at {length} tokens teaches nothing"


def test_needle_questions_ask_for_every_key_of_the_text() -> None:
    made = niah.sample(niah.Niah("essay", keys_hidden=3, values_per_key=2), random.Random("x"), 500, count, False)
    asked = data.needle_questions(made.prompt, "numbers", random.Random("y"))
    assert len(asked) == 3
    for one in asked:
        numbers = re.findall(r"\d{7}", one.answer)
        assert len(numbers) == 2 and all(number in made.prompt for number in numbers)


def test_held_out_text_shares_no_long_run_of_words_with_training() -> None:
    """Templates repeat within a sentence; no run of 20 words (some two sentences) of the tests was trained on."""

    def runs(text: str) -> set[tuple[str, ...]]:
        split = text.split()
        return {tuple(split[i : i + 20]) for i in range(len(split) - 19)}

    trained: set[tuple[str, ...]] = set()
    for i in range(400):
        pieces = data.stories(random.Random(f"pocket-llama/0/{i}"), 512, count)
        trained |= runs(pieces[0][0])
    tested: set[tuple[str, ...]] = set()
    for i in range(100):
        tested |= runs("\n".join(world.story(random.Random(f"pocket perplexity {i} {j}")) for j in range(3)))
    assert len(tested) > 10_000 and len(trained) > 100_000
    assert not tested & trained


def test_tokenizer_keeps_digits_and_capitals_apart_from_spaces(batches: PocketBatches) -> None:
    encoder = batches.encoder
    tokens = encoder.encode("VAR QXZKW = 12345 and 987", add_special_tokens=False).tokens
    assert [token for token in tokens if any(c.isdigit() for c in token)] == list("12345987")
    first = encoder.encode("QXZKW", add_special_tokens=False).ids
    within = encoder.encode("VAR QXZKW = VAR", add_special_tokens=False).ids
    assert any(within[i : i + len(first)] == first for i in range(len(within)))
    text = "Zürich — naïve 日本語\t\n  def f(x):\n    return 'ok'  "
    assert encoder.decode(encoder.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 2), (3, 3)])
def test_block_attention_is_causal_attention(heads: int, key_heads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, heads, 300, 16, generator=generator)
    key = torch.randn(2, key_heads, 300, 16, generator=generator)
    value = torch.randn(2, key_heads, 300, 16, generator=generator)
    ours, _ = block_attention(None, query, key, value, None, scaling=0.25)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=0.25, enable_gqa=True
    )
    assert torch.allclose(ours, theirs.transpose(1, 2), atol=1e-5)


class Killed(Exception):
    pass


def tiny_run(out: Path, stop_at: int | None = None) -> dict[str, Any]:
    def report(step: int, steps: int, loss: float, speed: float) -> None:
        if step == stop_at:
            raise Killed

    shape = recipe.RECIPES["pocket-llama"].config | {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64}
    pretrain(
        "pocket-llama", out, report, every_seconds=0, every_steps=2, compiled=False,
        config=shape, steps=6, tokens_per_step=256, warmup=1,
    )  # fmt: skip
    return {k: v for k, v in torch.load(out / "checkpoint.pt", weights_only=True)["model"].items()}


def test_same_seed_same_weights_and_a_killed_run_continues_to_them(tmp_path: Path) -> None:
    whole = tiny_run(tmp_path / "whole")
    again = tiny_run(tmp_path / "again")
    with pytest.raises(Killed):
        tiny_run(tmp_path / "killed", stop_at=5)
    continued = tiny_run(tmp_path / "killed")
    for name, weights in whole.items():
        assert torch.equal(weights, again[name]), f"{name} differs between two runs"
        assert torch.equal(weights, continued[name]), f"{name} differs after a kill"


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        pretrain("pocket-llama", tmp_path, lambda *_: None, compiled=False, steps=7)
    with pytest.raises(ValueError, match="no pocket model is named"):
        pretrain("pocket-lama", tmp_path, lambda *_: None)


@pytest.mark.parametrize("name", list(recipe.RECIPES))
def test_first_heads_look_back_from_the_start(name: str) -> None:
    model = new_model(recipe.RECIPES[name])
    model.config._attn_implementation = "eager"
    ids = torch.randint(2, 4096, (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shares = model(ids, output_attentions=True).attentions[0]  # batch, heads, queries, keys
    for head in range(shares.shape[1]):
        assert shares[:, head].diagonal(-head - 1, -2, -1)[:, 20:].mean() > 0.8


def test_a_phi_is_the_same_function() -> None:
    model = new_model(recipe.RECIPES["pocket-phi"])
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
        )
    ids = torch.randint(2, 4096, (2, 90), generator=torch.Generator().manual_seed(0))
    phi = as_phi3(model)
    assert phi.config.model_type == "phi3"
    assert phi.config.rope_parameters["rope_theta"] == model.config.rope_parameters["rope_theta"] == 1101
    with torch.no_grad():
        assert torch.allclose(phi(ids).logits, model(ids).logits, atol=1e-4)
    own = (
        phi.config.eos_token_id,
        phi.config.pad_token_id,
        phi.config.bos_token_id,
        phi.config.max_position_embeddings,
    )
    assert own == (1, 1, 0, 512)


def test_first_weights_come_from_the_seed_alone() -> None:
    one = recipe.RECIPES["pocket-phi"]
    torch.manual_seed(1)
    first = new_model(one).state_dict()
    torch.manual_seed(2)
    second = new_model(one).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = new_model(replace(one, seed=1)).state_dict()
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_what_its_recipe_and_card_say(name: str) -> None:
    one, place = recipe.RECIPES[name], shipped_models()[name]
    card = (place / "README.md").read_text(encoding="utf-8")
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    assert sum(file.stat().st_size for file in place.iterdir()) <= 12_000_000
    assert weights_hash(place) in card and f"{one.steps} steps of {one.tokens_per_step} tokens" in card
    assert config["model_type"] == one.saved_as and config["dtype"] == "bfloat16"
    assert config["rope_parameters"]["rope_theta"] == one.config["rope_parameters"]["rope_theta"]
    shared = {key: one.config[key] for key in one.config.keys() - {"model_type", "head_dim", "rope_parameters"}}
    assert {key: config.get(key) for key in shared} == shared
    assert (place / "tokenizer.json").read_bytes() == (folder("pocket-llama") / "tokenizer.json").read_bytes()


def test_the_commands_of_those_who_change_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(name: str, out: Path, report: Any) -> None:
        report(1, 2, 3.0, 4.0)
        report(2, 2, 2.5, 4.0)
        shutil.copytree(folder(name), out)

    monkeypatch.setattr(pocket_commands, "make", made)
    monkeypatch.chdir(tmp_path)
    for command in (["pretrain", "pocket-llama"], ["card", "models/pocket-llama", "--name", "pocket-llama"]):
        with pytest.raises(SystemExit) as ended:
            pocket_commands.main(command)
        assert ended.value.code == 0
    shown = capsys.readouterr()
    assert shown.out.split() == ["models/pocket-llama", "models/pocket-llama/README.md"]
    assert shown.err.splitlines()[-1] == "pocket-llama step 2/2 · loss 2.500 nats · 4 tokens/s"
    card = (tmp_path / "models" / "pocket-llama" / "README.md").read_text(encoding="utf-8")
    assert "Made by `python -m harness.pocket pretrain pocket-llama`" in card
    with pytest.raises(SystemExit) as ended:
        pocket_commands.main(["card", str(tmp_path), "--name", "pocket-llama"])
    assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
