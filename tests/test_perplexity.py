"""Perplexity: every mode against the slow and obvious way, documents from everywhere, what tokenizers may not do."""

import json
import math
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest

import tasks.base
from harness.model.tokens import Tokens
from tasks import perplexity
from tasks.base import Row
from tasks.corpora import chronicle, world
from tasks.corpora.words import for_training
from tasks.far import repeats
from tasks.perplexity import windows

LENGTH = 512


def rows(lm: fakes.FakeLM | None = None, length: int = LENGTH, samples: int = 1, seed: int = 0, **given) -> list[Row]:
    return list(tasks.base.make("perplexity", **given).run(lm or fakes.FakeLM(), length, seed, samples))


def fake_losses(ids) -> list[float]:
    return [1.0 + (token % 7) / 10 for token in ids]


def test_a_document_is_the_mean_and_the_curve():
    lm = fakes.FakeLM()
    for row, document in zip(rows(lm, samples=2), lm.documents, strict=True):
        losses = fake_losses(document[1:])
        assert row.score == pytest.approx(sum(losses) / len(losses))
        bounds, means = row.extra["curve"]["edges"], row.extra["curve"]["loss"]
        assert bounds[0] == 0 and bounds[-1] == len(losses) == row.extra["tokens"] == LENGTH - 2
        sizes = [b - a for a, b in zip(bounds, bounds[1:], strict=False)]
        assert sum(m * n for m, n in zip(means, sizes, strict=True)) == pytest.approx(sum(losses), abs=1e-3)
        assert means[0] == pytest.approx(sum(losses[:16]) / 16, abs=1e-6)
        assert row.extra["bytes"] == len(lm.decode(document[1:]).encode())
        assert row.extra["bits_per_byte"] == pytest.approx(sum(losses) / math.log(2) / row.extra["bytes"])
        assert row.extra["windows"] == 1 and row.extra["window_mean"] == row.score and "note" not in row.extra


@pytest.mark.parametrize(("length", "size"), [(100, 32), (512 * 32 + 2, 32), (512 * 32 + 3, 64)])
def test_blocks_hold_the_loss_of_equal_stretches(length, size):
    lm = fakes.FakeLM()
    [row] = rows(lm, length)
    losses, found = fake_losses(lm.documents[0][1:]), row.extra["blocks"]
    assert (found["start"], found["end"], found["size"]) == (0, len(losses), size)
    means = [sum(losses[i : i + size]) / len(losses[i : i + size]) for i in range(0, len(losses), size)]
    assert found["loss"] == pytest.approx(means, abs=1e-5) and len(found["loss"]) <= 512
    [row] = rows(lm, 200, mode="last", last=50, document_tokens=400)
    assert (row.extra["blocks"]["start"], row.extra["blocks"]["end"]) == (148, 198)


def test_the_same_beginning_at_every_length():
    lm = fakes.FakeLM()
    for length in (100, 700, 300):
        rows(lm, length)
    short, long, middle = lm.documents
    assert long[: len(short)] == short and long[: len(middle)] == middle


class Sentences(fakes.FakeLM):
    """Makes one token of a sentence and of what ends its line, so that a text's last token changes when it goes on."""

    def encode(self, text):
        found = re.findall(r"[^.\n]*\.\n?|[^.\n]+\n?|\n", text)
        for piece in found:
            if piece not in self.vocabulary:
                self.vocabulary[piece] = len(self.pieces)
                self.pieces.append(piece)
        return [self.vocabulary[piece] for piece in found]


def test_tokens_do_not_depend_on_where_the_text_was_cut(monkeypatch):
    lm = Sentences()
    book = perplexity.world_text("world 0 0", 60_000)
    whole = lm.encode(book)

    def beginnings() -> bool:
        return all(perplexity._world(lm, "world 0 0", size)[1] == whole[:size] for size in range(2, 300))

    def parts() -> bool:
        return all(perplexity._first_ids(lm, book, size)[:size] == whole[:size] for size in range(2, 300))

    assert beginnings() and parts()
    assert perplexity._first_ids(lm, book, 10**6) == whole
    monkeypatch.setattr(perplexity, "SPARE", 0)
    assert not beginnings() and not parts(), "without spare tokens some text ends just where the document is cut"


# windows


@pytest.mark.parametrize("tokens", [2, 20, 48, 49, 67, 68, 69, 150])
@pytest.mark.parametrize("stride", [1, 7, 20, 47])
def test_every_token_but_the_first_is_scored_once(tokens, stride):
    found = windows(tokens, 48, "stride", stride, 0)
    scored = [position for _, end, first in found for position in range(first, end)]
    assert scored == list(range(1, tokens))
    for i, (begin, end, first) in enumerate(found):
        assert begin == i * stride and end - begin <= 48 and first > begin
        assert end == tokens or end - begin == 48
        assert i == 0 or first - begin >= 48 - stride, "the context that every token has at least"


def test_last_scores_the_same_tokens_with_growing_context():
    lm = fakes.FakeLM()
    found = [rows(lm, length, mode="last", last=40, document_tokens=700)[0] for length in (101, 301, 701)]
    assert len({row.score for row in found}) == len({row.extra["bytes"] for row in found}) == 1
    assert [row.extra["tokens"] for row in found] == [40, 40, 40]
    assert [len(document) for document in lm.documents] == [100, 300, 700]
    assert lm.documents[0] == lm.documents[2][-100:] and lm.documents[1] == lm.documents[2][-300:]
    assert found[0].score == pytest.approx(sum(fake_losses(lm.documents[2][-40:])) / 40)
    assert [row.extra["curve"]["edges"][0] for row in found] == [59, 259, 659]
    assert [row.extra["curve"]["edges"][-1] for row in found] == [99, 299, 699]
    assert [row.prompt_tokens for row in found] == [101, 301, 701]


def test_stride_counts_tokens_alike_and_windows_alike_beside_it():
    lm = fakes.FakeLM()
    [row] = rows(lm, 101, mode="stride", stride=30, document_tokens=250)
    whole = next(iter(rows(fakes.FakeLM(), 251)))
    assert row.extra["windows"] == len(lm.documents) == 6 and row.extra["tokens"] == 249
    assert [len(document) for document in lm.documents] == [100] * 6
    assert row.score == pytest.approx(whole.score) and row.extra["bytes"] == whole.extra["bytes"]
    means = [sum(fake_losses(lm.documents[0][1:])) / 99] + [sum(fake_losses(d[-30:])) / 30 for d in lm.documents[1:]]
    assert row.extra["window_mean"] == pytest.approx(sum(means) / 6) != row.score
    assert row.extra["curve"] == whole.extra["curve"]
    assert row.prompt_tokens == 101 and row.plan_hash == lm.plan_hash(101)


@pytest.mark.parametrize(
    ("given", "length", "message"),
    [
        ({"mode": "strid"}, 100, "mode is one of truncate, stride, last"),
        ({"mode": "last"}, 100, "mode last needs document_tokens"),
        ({"mode": "last", "document_tokens": 50, "last": 10}, 100, "document_tokens is 50, below the length 100"),
        ({"mode": "last", "document_tokens": 500}, 100, "last is 256, and a length of 100 has 98 tokens to score"),
        ({"mode": "stride"}, 200, "stride is 256"),
        ({"document_tokens": 500}, 100, "truncate cuts to the length"),
        ({"folder": "a", "file": "b"}, 100, "takes one of folder, file and dataset"),
        ({"stride": 0}, 100, "at least 1"),
        ({}, 2, "needs a length of at least 3 tokens"),
    ],
)
def test_wrong_settings_are_one_line(given, length, message):
    with pytest.raises(ValueError, match=message):
        rows(length=length, **given)


# a real model, tiny and random


@pytest.fixture(scope="module")
def tiny():
    """(lm, model) without BOS: the published recipe puts none before a window."""
    from extenders.base import load
    from harness.model.lm import ExtendedLM
    from harness.model.spec import spec_from_config
    from harness.rope.applied import applied

    model = fakes.tiny_llama()
    loaded = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(False), spec=spec_from_config(model.config))
    with applied(model, loaded.spec) as rotary:
        yield ExtendedLM(loaded, load("none")(target_length=256), rotary), model


def recipe(model, ids, window, stride):
    """transformers' way for models of fixed length: labels of -100 before what is new, and the model's own loss.

    Returns (mean loss, tokens that it counts) of every window. The count is one too low from the second window on,
    because the recipe takes off a token for the shift of the labels that only the first window loses.
    """
    import torch

    found = []
    done = 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        row = torch.tensor([ids[begin:end]])
        labels = row.clone()
        labels[:, : -(end - done)] = -100
        with torch.no_grad():
            loss = model(row, labels=labels, use_cache=False).loss
        found.append((float(loss), int((labels != -100).sum()) - 1))
        done = end
        if end == len(ids):
            return found
    raise AssertionError


def test_stride_equals_the_published_recipe(tiny):
    lm, model = tiny
    ids = lm.encode(perplexity.world_text("world 0 0", 400))[:150]
    theirs = recipe(model, ids, 48, 20)
    plan = windows(150, 48, "stride", 20, 0)
    ours = [lm.losses(ids[begin:end], 48, first - begin) for begin, end, first in plan]
    assert [sum(one) / len(one) for one in ours] == pytest.approx([loss for loss, _ in theirs], abs=1e-5)
    counted = [len(one) - (i > 0) for i, one in enumerate(ours)]
    assert counted == [count for _, count in theirs]
    recipe_mean = sum(loss * count for loss, count in theirs) / sum(count for _, count in theirs)
    weighted = sum(sum(one) / len(one) * n for one, n in zip(ours, counted, strict=True)) / sum(counted)
    assert weighted == pytest.approx(recipe_mean, abs=1e-5)
    [row] = rows(lm, 48, mode="stride", stride=20, document_tokens=150)
    assert row.score == pytest.approx(sum(map(sum, ours)) / 149, abs=1e-6)
    assert row.extra["window_mean"] == pytest.approx(sum(loss for loss, _ in theirs) / len(theirs), abs=1e-5)


@pytest.mark.parametrize(
    "given",
    [{}, {"mode": "stride", "stride": 20, "document_tokens": 150}, {"mode": "last", "last": 9, "document_tokens": 150}],
)
def test_every_mode_equals_a_float64_reference(tiny, given):
    import copy

    import torch

    lm, model = tiny
    exact = copy.deepcopy(model).double()
    [row] = rows(lm, 48, **given)
    ids = lm.encode(row.prompt)
    plan = windows(len(ids), 48, given.get("mode", "truncate"), 20, 9)
    losses = []
    for begin, end, first in plan:
        with torch.no_grad():
            scores = exact(torch.tensor([ids[begin:end]]), use_cache=False).logits[0].log_softmax(-1)
        losses += [-float(scores[i - begin - 1, ids[i]]) for i in range(first, end)]
    assert len(losses) == row.extra["tokens"]
    assert row.score == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    scored = lm.decode(ids[-len(losses) :])
    assert row.extra["bits_per_byte"] == pytest.approx(sum(losses) / math.log(2) / len(scored.encode()), rel=1e-5)


def test_a_bos_is_context_and_never_scored(tiny):
    lm, _ = tiny
    bos = fakes.FakeLM()
    without = fakes.FakeLM()
    without.added_tokens = 0
    [one], [other] = rows(bos, 101), rows(without, 100)
    assert (one.score, one.extra, one.prompt) == (other.score, other.extra, other.prompt)
    assert (one.prompt_tokens, other.prompt_tokens) == (101, 100)


# documents


def test_a_folder(tmp_path):
    for name in ("b.txt", "a.md", "c.csv"):
        (tmp_path / name).write_text(f"{name} says something. " * 40)
    found = rows(length=100, samples=2, folder=str(tmp_path))
    assert [row.extra["document"] for row in found] == ["a.md", "b.txt"]
    with pytest.raises(ValueError, match="holds 2"):
        rows(length=100, samples=3, folder=str(tmp_path))
    with pytest.raises(ValueError, match="use longer files"):
        rows(length=5000, folder=str(tmp_path))
    with pytest.raises(ValueError, match="is not a folder"):
        rows(length=100, folder=str(tmp_path / "d"))
    with pytest.raises(ValueError, match="not_there, which is not installed: pip install --no-deps not_there"):
        rows(length=100, folder="package:not_there/texts")
    (tmp_path / "a.md").write_bytes(b"caf\xe9 " * 100)
    with pytest.raises(ValueError, match="a.md is not UTF-8 text"):
        rows(length=100, folder=str(tmp_path))


def test_short_texts_are_joined_into_documents_that_are_the_same_at_every_length(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.txt").write_text(f"\n{name} says something else. " * 10)
    alone = len(fakes.FakeLM().encode((tmp_path / "a.txt").read_text()))
    given = {"folder": str(tmp_path), "joined": True, "at_least": 2 * alone - 10}
    long = rows(length=2 * alone - 10, samples=2, **given)
    short = rows(length=100, samples=2, **given)
    assert [row.extra["document"] for row in long] == ["a.txt … b.txt", "c.txt … d.txt"]
    assert [row.extra["document"] for row in short] == [row.extra["document"] for row in long]
    assert all(whole.prompt.startswith(part.prompt) for whole, part in zip(long, short, strict=True))
    assert "else.\n\nb says" in long[0].prompt
    lm = fakes.FakeLM()
    before = rows(lm, length=100, samples=2, **given)
    assert rows(lm, length=100, samples=2, **given)[1].prompt == before[1].prompt
    (tmp_path / "c.txt").write_text("c has something new to say. " * 10)  # what is kept of a folder is of its texts
    assert rows(lm, length=100, samples=2, **given)[1].prompt.startswith("c has something new")
    with pytest.raises(ValueError, match="2 documents of at least .* 3 were asked for"):
        rows(length=100, samples=3, **given)
    with pytest.raises(ValueError, match="joined needs at_least"):
        rows(length=100, folder=str(tmp_path), joined=True)


def test_a_folder_inside_an_installed_package(monkeypatch, tmp_path):
    (tmp_path / "has_texts" / "essays").mkdir(parents=True)
    (tmp_path / "has_texts" / "__init__.py").write_text("raise RuntimeError('a package with texts is not imported')")
    (tmp_path / "has_texts" / "essays" / "a.txt").write_text("one says something. " * 40)
    monkeypatch.syspath_prepend(tmp_path)
    [row] = rows(length=100, samples=1, folder="package:has_texts/essays")
    assert row.extra["document"] == "a.txt"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_of_rows(tmp_path, kind):
    texts = [f"document {i} tells of many things. " * (2 if i == 1 else 40) for i in range(4)]
    path = tmp_path / f"books.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"body": text, "id": i}) + "\n" for i, text in enumerate(texts)))
    else:
        import pandas

        pandas.DataFrame({"body": texts, "id": range(4)}).to_parquet(path)
    found = rows(length=100, samples=3, file=str(path), column="body", at_least=100)
    assert [row.extra["document"] for row in found] == [f"{path.name} {i}" for i in (0, 2, 3)]
    assert found[0].prompt.startswith("document 0 tells of many things. document 0")
    with pytest.raises(ValueError, match="has no texts under 'text'; its columns are body, id"):
        rows(length=100, file=str(path))
    with pytest.raises(ValueError, match="1 of .* has 15 tokens and 99 are needed; skip short documents with at_least"):
        rows(length=100, samples=2, file=str(path), column="body")
    with pytest.raises(ValueError, match=r"holds 3 documents of at least 100 tokens \(4 in all\), 4 were asked for"):
        rows(length=100, samples=4, file=str(path), column="body", at_least=100)


def test_the_same_documents_at_every_length(tmp_path):
    path = tmp_path / "books.jsonl"
    path.write_text("".join(json.dumps({"text": "many words in here " * n}) + "\n" for n in (30, 300, 60, 400)))
    for length in (50, 200, 900):
        found = rows(length=length, samples=2, file=str(path), at_least=900)
        assert [row.extra["document"] for row in found] == ["books.jsonl 1", "books.jsonl 3"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "nowhere.jsonl"}, "there is no file nowhere.jsonl"),
        (
            {"dataset": "nobody/nothing-here"},
            "nobody/nothing-here cannot be read .*; check name, config, split and network",
        ),
    ],
)
def test_absent_documents_are_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        rows(length=100, **given)
    assert "\n" not in str(caught.value)


def test_wrong_files_are_one_line(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(ValueError, match="allowed are .txt, .md, .jsonl, .json, .parquet"):
        rows(file=str(tmp_path / "a.pdf"))
    (tmp_path / "broken.jsonl").write_text('{"text": "unfinished\n')
    with pytest.raises(ValueError, match=r"broken.jsonl cannot be read .*; check its rows$") as caught:
        rows(file=str(tmp_path / "broken.jsonl"))
    assert "\n" not in str(caught.value)


def test_only_the_invented_world_draws_by_seed(tmp_path):
    assert tasks.base.make("perplexity").seeded
    assert not tasks.base.make("perplexity", folder=str(tmp_path)).seeded


# tokenizers


class Lower(fakes.FakeLM):
    """Forgets capitals and joins marks to words, as clean-up does."""

    def decode(self, ids):
        return super().decode(ids).lower().replace(" '", "'")


class Lossy(fakes.FakeLM):
    """Knows no letter z."""

    def decode(self, ids):
        return super().decode(ids).replace("a", "?")


def test_a_tokenizer_that_changes_spaces_is_told_and_bytes_are_counted_in_the_text():
    [row], [plain] = rows(Lower()), rows()
    assert row.extra["note"].startswith("the tokenizer changes spaces") and "\n" not in row.extra["note"]
    assert row.score == plain.score
    assert row.extra["bytes"] == pytest.approx(plain.extra["bytes"], abs=12)
    assert row.extra["bits_per_byte"] == pytest.approx(plain.extra["bits_per_byte"], rel=0.01)


def test_a_tokenizer_that_loses_letters_is_one_line():
    with pytest.raises(
        ValueError, match=r"^the tokenizer loses \d+% of the letters of world 0 0 \(a+\); its losses"
    ) as caught:
        rows(Lossy())
    assert "\n" not in str(caught.value)


# memory

MEASURE = """
import json, sys, torch
from types import SimpleNamespace
sys.path.insert(0, "tests")
import fakes
from extenders.base import load
from harness.model.lm import ExtendedLM
from harness.model.logits import hidden_states
from harness.records.memory import PeakMemory
from harness.rope.applied import applied
from harness.model.spec import spec_from_config

torch.set_num_threads(1)
positions, vocabulary = int(sys.argv[1]), 131_072
model = fakes.tiny_llama(vocab_size=vocabulary, max_position_embeddings=positions, num_hidden_layers=1)
loaded = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(), spec=spec_from_config(model.config))
ids = torch.randint(0, vocabulary, (positions - 1,), generator=torch.Generator().manual_seed(0)).tolist()
with applied(model, loaded.spec) as rotary, torch.inference_mode():
    lm = ExtendedLM(loaded, load("none")(target_length=2 * positions), rotary)
    rotary.use(lm.plan(positions))
    body = PeakMemory()
    hidden_states(model, torch.tensor([[256, *ids]]))
    activations = body.peak()
    whole = PeakMemory()
    losses = lm.losses(ids, start=positions - 1 - 4096)
    print(json.dumps([len(losses), activations, whole.peak()]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("positions", [8_192, pytest.param(32_768, marks=pytest.mark.full)])
def test_losses_of_long_texts_and_128k_words_take_under_2_gb_above_weights_and_activations(positions):
    """All logits would take 4.3 and 17 GB. Scored are the last 4,096 positions, eight pieces: more need no more memory.

    All 32,766 positions were measured once: 0.52 GB above the 0.50 GB of process, weights and activations, a minute.
    """
    done = subprocess.run([sys.executable, "-c", MEASURE, str(positions)], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    count, activations, peak = json.loads(done.stdout.splitlines()[-1])
    assert count == 4096
    assert peak - activations < 2e9, f"{(peak - activations) / 1e9:.2f} GB above weights and activations"


def test_what_spells_a_special_token_is_text(tmp_path):
    """A document of <s> and </s> has the bytes that it has, and its score those of its letters; no note says other."""
    (tmp_path / "a.txt").write_text("One ends here.</s> The next<s> begins, and <pad> too. " * 12, encoding="utf-8")
    lm = Tokens(fakes.byte_tokenizer())
    ids = lm.encode((tmp_path / "a.txt").read_text(encoding="utf-8"))[:63]
    assert max(ids) < 256

    class Uniform(fakes.FakeLM):
        encode, decode = staticmethod(lm.encode), staticmethod(lm.decode)

    row = rows(Uniform(), 64, folder=str(tmp_path))[0]
    assert "note" not in row.extra and row.extra["bytes"] == row.extra["tokens"] == 62
    task = tasks.base.make("perplexity", folder=str(tmp_path))
    assert (task.version, tasks.base.make("perplexity").version) == (2, 1)


# Mean loss of two documents of 300 tokens, by the authors' own compute_perplexity on the model below: YaRN's
# eval/perplexity.py at 995db5b, LongRoPE's evaluation/perplexity.py at c9e56aa (torch.cuda.device made to do nothing).
PUBLISHED = [
    ({"mode": "stride", "stride": 20, "document_tokens": 300}, 48, 6.239088583903919),
    ({"mode": "stride", "stride": 20, "document_tokens": 300, "most_windows": 10}, 48, 6.324554955718165),
    ({"mode": "stride", "stride": 7, "document_tokens": 300}, 64, 6.259696992390672),
    ({"mode": "stride", "stride": 7, "document_tokens": 300, "most_windows": 10}, 64, 6.177396800587891),
    ({}, 48, 6.28938871330218),
    ({}, 256, 6.245129607432917),
]


@pytest.fixture(scope="module")
def starting():
    """The tiny model whose tokenizer puts BOS before a text."""
    from extenders.base import load
    from harness.model.lm import ExtendedLM
    from harness.model.spec import spec_from_config
    from harness.rope.applied import applied

    model = fakes.tiny_llama()
    loaded = SimpleNamespace(model=model, tokenizer=fakes.byte_tokenizer(), spec=spec_from_config(model.config))
    with applied(model, loaded.spec) as rotary:
        yield ExtendedLM(loaded, load("none")(target_length=256), rotary)


@pytest.mark.parametrize(("given", "length", "mean"), PUBLISHED)
def test_as_published_is_the_number_of_the_authors_scripts(starting, monkeypatch, given, length, mean):
    rng = random.Random("published perplexity")
    documents = [[rng.randrange(256) for _ in range(300)] for _ in range(2)]

    def taken(self, lm, seed, samples, tokens):
        return [(str(i), lm.decode(ids[:tokens]), ids[:tokens], ()) for i, ids in enumerate(documents)]

    monkeypatch.setattr(perplexity.Perplexity, "_documents", taken)
    ours = rows(starting, length, 2, **given, as_published=True)
    assert sum(row.score for row in ours) / 2 == pytest.approx(mean, abs=2e-6)
    plain = rows(starting, length, 2, **given)
    assert abs(sum(row.score for row in plain) / 2 - mean) > 1e-4, "the first token is not scored otherwise"
    assert [row.extra["tokens"] for row in ours] == [row.extra["tokens"] + 1 for row in plain]
    assert [row.extra["curve"] for row in ours] == [row.extra["curve"] for row in plain]


def test_the_first_token_has_no_loss_without_bos(tiny):
    lm, _ = tiny
    [ours], [plain] = rows(lm, 48, as_published=True), rows(lm, 48)
    assert (ours.score, ours.extra) == (plain.score, plain.extra)
    with pytest.raises(ValueError, match="losses start at a position in 1 … 2, got 0"):
        lm.losses([1, 2, 3], start=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"as_published": True, "mode": "last", "document_tokens": 600}, "as_published is for the modes truncate"),
        ({"most_windows": 10}, "most_windows for stride"),
        ({"most_windows": -1, "mode": "stride"}, "most_windows is at least 1"),
    ],
)
def test_published_settings_that_mean_nothing_are_one_line(given, message):
    with pytest.raises(ValueError, match=message):
        rows(**given)


# --- texts and tokens that need far context -----------------------------------------------------------------------


def test_a_chronicle_says_again_what_only_its_beginning_tells() -> None:
    lm = fakes.FakeLM()
    text, ids, needed = chronicle.document(lm.encode, "one", 3000, held_out=True)
    assert lm.decode(ids) == text[: len(lm.decode(ids))] and len(ids) == 3000
    assert chronicle.document(lm.encode, "one", 1000, held_out=True)[1] == ids[:1000]
    short = [value for value in needed if value.end <= 1000]
    assert chronicle.document(lm.encode, "one", 1000, held_out=True)[2] == short
    for value in needed:
        said, before = (ids[at : at + value.end - value.begin] for at in (value.begin, value.begin - value.distance))
        assert said == before
    octaves = Counter(value.distance.bit_length() for value in needed)
    assert min(octaves[octave] for octave in (7, 8, 9, 10)) >= 4, "distances are spread over all scales"


def test_the_halves_of_chronicles_share_no_person() -> None:
    def names(held_out: bool) -> set[str]:
        lm = fakes.FakeLM()
        words = chronicle.document(lm.encode, f"{held_out}", 3000, held_out)[0].replace(".", "").split()
        return {word for word in words if word[0].isupper() and word not in world.TOWNS and words.count(word) > 1}

    seen, unseen = names(False), names(True)
    starts = {"The", "In", "At", "On", "Late", "One", "After", "Before", "That", "Many", "When", "Everybody"}
    assert len(seen - starts) > 10 and (seen & unseen) <= starts
    assert all(not for_training(name) for name in unseen - starts)


def test_tokens_that_need_far_context_alone_are_scored() -> None:
    [row] = rows(None, 2000, 1, world="chronicle", tokens="far", far=300)
    [whole] = rows(None, 2000, 1, world="chronicle")
    lm = fakes.FakeLM()
    _, ids, needed = chronicle.document(lm.encode, "world 0 0", 2000 - lm.added_tokens, held_out=True)
    losses = lm.losses(ids, 2000)
    places = [place for value in needed if value.distance >= 300 for place in range(value.begin, value.end)]
    assert row.extra["far"]["tokens"] == len(places) > 5
    assert row.score == pytest.approx(sum(losses[place - 1] for place in places) / len(places))
    assert whole.score != row.score and "far" not in whole.extra and whole.prompt == row.prompt
    octaves = row.extra["far"]["by_distance"]
    assert sum(octaves["tokens"]) == sum(value.end - value.begin for value in needed)
    with pytest.raises(ValueError, match="none of the 63 tokens of world 0 0 needs what stands 300 tokens back"):
        rows(None, 64, 1, world="chronicle", tokens="far", far=300)


def test_far_tokens_of_any_text_follow_their_neighbour_for_the_first_time_in_long() -> None:
    ids = [1, 2, 3, 1, 2, 9, 9, 9, 9, 1, 2, 1, 2]
    assert repeats(ids, 4) == [10] and repeats(ids, 3) == [4, 10] and repeats(ids, 1) == [4, 7, 8, 10, 12]
    assert repeats(ids, 20) == [] and repeats([], 1) == []


def test_far_tokens_of_a_users_text(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("the quick fox and " + "nothing else here " * 30 + "the quick fox")
    [row] = rows(None, 98, 1, folder=str(tmp_path), tokens="far", far=40)
    assert row.extra["far"]["tokens"] >= 1 and "by_distance" not in row.extra["far"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"world": "novels"}, "world is one of stories, chronicle"),
        ({"tokens": "some"}, "tokens one of all, far"),
        ({"tokens": "far"}, "tokens far and far go together"),
        ({"far": 100}, "tokens far and far go together"),
        ({"world": "chronicle", "folder": "."}, "leave it out with texts of yours"),
        ({"tokens": "far", "far": 9, "mode": "stride"}, "tokens far is for the mode truncate"),
    ],
)
def test_wrong_ways_to_ask_for_far_tokens(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        tasks.base.make("perplexity", **given)
