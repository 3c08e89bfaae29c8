"""Training documents: read or refused in one line, dealt by length in a fixed order, apart from the tests."""

import json
import random
import re
from pathlib import Path
from typing import Any

import fakes
import pytest

from extenders.training.recipe import MIXED, PLAIN, POSE, Recipe
from extenders.training.schedule import schedule
from harness.training.batches import TrainingBatches
from harness.training.corpus import Encoder, Generated, Texts, corpus, identity, ngrams


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(fakes.byte_tokenizer())


def texts(sizes: list[int], seed: str = "texts") -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice("abcdefgh ") for _ in range(size)) for size in sizes]


SIZES = [20, 30, 40, 50, 60, 70, 90, 100, 110, 140, 150, 190]


def batches(encoder: Encoder, recipe: Any = MIXED, seed: int = 0, **given: Any) -> TrainingBatches:
    source = Texts("texts", texts(SIZES), encoder, seed)
    return TrainingBatches(schedule(recipe, 2000, 512, 64, 128), source, 64, seed, 256, **given)


def test_documents_begin_and_end_as_the_tokenizer_says(encoder: Encoder) -> None:
    made = encoder.document("ab")
    assert made.ids[0] == 256 and made.ids[-1] == 257 and len(made) == 4
    assert made.weights == (0.0, 1.0, 1.0, 1.0)


def test_a_start_token_that_the_tokenizer_only_names_is_not_added() -> None:
    """SmolLM2 names one and never adds it: training follows evaluation."""
    made = Encoder(fakes.byte_tokenizer(bos=False)).document("ab")
    assert len(made.ids) == 3 and made.ids[-1] == 257 and 256 not in made.ids
    assert made.weights == (1.0, 1.0, 1.0)


def test_portions_get_documents_of_their_lengths(encoder: Encoder) -> None:
    made = batches(encoder)
    for place in (place for step in made.plan for place in step):
        row = made.row(place)
        assert len(row.ids) == place.size == 128
        if place.portion.name == "short":
            sizes = [b - a for a, b in zip(row.starts, [*row.starts[1:]], strict=False)]
            assert sizes and max(sizes) <= 64 and all(row.positions[start] == 0 for start in row.starts)
        else:
            assert row.starts == (0,) and row.positions == tuple(range(128))


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data(encoder: Encoder) -> None:
    one, again, other = batches(encoder), batches(encoder), batches(encoder, seed=1)
    assert [again.at(i).digests for i in reversed(range(one.steps))][::-1] == [
        one.at(i).digests for i in range(one.steps)
    ]
    assert one.at(0).digests != other.at(0).digests


def test_micro_batches_never_mix_classes_and_hold_their_size(encoder: Encoder) -> None:
    made = batches(encoder)
    for step in range(made.steps):
        data = made.at(step)
        assert sum(batch.tokens for batch in data.batches) == sum(place.size for place in made.plan[step])
        for batch in data.batches:
            assert batch.tokens <= 256
            assert (batch.rope == "original") == (batch.kind == "short")


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_share_a_step(encoder: Encoder, processes: int) -> None:
    alone = batches(encoder)
    parts = [batches(encoder, rank=rank, processes=processes) for rank in range(processes)]
    for step in range(alone.steps):
        made = [part.at(step) for part in parts]
        assert len({len(data.batches) for data in made}) == 1  # or one process would wait for ever
        assert {place: d for data in made for place, d in data.digests.items()} == alone.at(step).digests
        scored = sum(float(batch.weights_BS.sum()) for data in made for batch in data.batches)
        assert scored == sum(float(batch.weights_BS.sum()) for batch in alone.at(step).batches)


def test_pose_rows_are_windows_with_a_jump(encoder: Encoder) -> None:
    made = batches(encoder, POSE)
    rows = [made.row(place) for step in made.plan for place in step]
    assert all(len(row.ids) == 64 and row.positions[-1] < 128 for row in rows)
    assert sum(max(row.positions) > 63 for row in rows) > len(rows) / 2


@pytest.mark.slow
def test_the_chunks_of_a_pose_row_lie_up_to_five_windows_apart(encoder: Encoder, pocket: Encoder) -> None:
    """The second chunk is from further on in the text, in the user's documents and in made ones."""
    [portion] = POSE.portions
    for source, window in (
        (Texts("texts", texts(SIZES), encoder, 0), 64),
        (Generated("pocket", pocket, 0), 512),
        (Generated("stories", pocket, 0), 512),
    ):
        made = TrainingBatches(schedule(POSE, 8 * window, 4 * window, window, 2 * window), source, window, 0, 4096)
        apart = []
        for place in (place for step in made.plan for place in step):
            text = [i for one in source.documents(portion, place.index, window, (0, 5 * window)) for i in one.ids]
            row = made.row(place)
            half = list(row.targets[-window // 2 :])  # of the second chunk
            ends = [end for end in range(window + 1, 5 * window + 1) if text[end - len(half) : end] == half]
            assert row.ids[0] == text[0] and ends
            apart.append(ends[0] - window - 1)
        assert max(apart) > window and len(set(apart)) > 4


def test_documents_that_are_too_short_are_an_error(encoder: Encoder) -> None:
    source = Texts("mine", texts([20, 30]), encoder, 0)
    made = TrainingBatches(schedule(PLAIN, 2000, 512, 64, 128), source, 64, 0, 256)
    with pytest.raises(
        ValueError,
        match="no documents of more than 64 tokens, which the portion 'long' wants .*have 22 to 32.; use longer",
    ):
        made.at(0)


def test_documents_that_are_too_long_are_cut_or_named(encoder: Encoder) -> None:
    """Where the source of a recipe names no greatest length, they are cut to it; elsewhere they stay unused."""

    def given(recipe: Recipe, sizes: list[int]) -> TrainingBatches:
        source = Texts("mine", texts(sizes), encoder, 0)
        return TrainingBatches(schedule(recipe, 2000, 512, 64, 128), source, 64, 0, 256)

    sizes = [198, 900, 5000]  # with begin and end 200, 902 and 5,002 tokens; plain's documents have up to 200
    made = given(PLAIN, sizes)
    places = [place for step in made.plan for place in step]
    beginnings = {encoder.document(text).ids[:128] for text in texts(sizes)}
    assert {made.row(place).ids for place in places} == beginnings and made.facts()["unused"] == 0
    [portion] = PLAIN.portions
    assert {len(one) for i in range(6) for one in made.source.documents(portion, i, 128, (64, 200))} == {200}

    assert given(MIXED, SIZES).facts()["unused"] == 0
    made = given(MIXED, [20, 90, 150, 5000])
    assert made.facts()["unused"] == 1 and all(made.at(step).batches for step in range(made.steps))
    with pytest.raises(ValueError, match="no documents of 101 to 200 .*have 902 to 902.; split those"):
        given(MIXED, [900]).at(0)


def test_texts_that_tests_read_are_left_out(encoder: Encoder) -> None:
    words = [f"w{i}" for i in range(60)]
    leaked = "Before. " + " ".join(words[10:24]).upper() + "! After."
    near = " ".join(words[10:22]) + " something else"
    source = Texts("mine", [leaked, near], encoder, 0, tests=[" ".join(words)])
    assert source.facts()["dropped"] == 1 and source.facts()["documents"] == 1
    assert "13 words in a row shared with 1 texts" in source.facts()["decontamination"]
    with pytest.raises(ValueError, match="no document is left of 1"):
        Texts("mine", [leaked], encoder, 0, tests=[" ".join(words)])
    assert len(ngrams(" ".join(words))) == 48 and len(ngrams("one two")) == 1


def test_folders_files_and_datasets(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in ("second", "third")))
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "b.jsonl").read_bytes() + b"\r\n\n")
    (tmp_path / "c.png").write_bytes(b"\x89")
    assert corpus(str(tmp_path), encoder, 0).facts()["documents"] == 3
    assert identity(str(tmp_path))["content"] == identity(str(tmp_path))["content"]
    marks = "one\u2028two\u0085three"
    (tmp_path / "marks.jsonl").write_text(json.dumps({"text": marks}, ensure_ascii=False), encoding="utf-8")
    assert corpus(str(tmp_path / "marks.jsonl"), encoder, 0).facts()["documents"] == 1
    import datasets

    datasets.Dataset.from_dict({"text": ["first", "second"]}).save_to_disk(tmp_path / "saved")
    assert corpus(f"dataset:{tmp_path / 'saved'}", encoder, 0).facts()["documents"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist; name pocket, stories, a folder"),
        ({}, "holds no .txt, .md or .jsonl documents"),
        ({"a.txt": b"\xff\xfe\xfa"}, "a.txt is not UTF-8 text"),
        ({"a.jsonl": b'{"text": "x"}\n{"body": "y"}\n'}, 'a.jsonl line 2 is no JSON object with a "text"'),
        ({"a.jsonl": b"not json\n"}, 'line 1 is no JSON object with a "text"'),
    ],
)
def test_corpora_that_cannot_be_read(tmp_path: Path, encoder: Encoder, content: Any, said: str) -> None:
    folder = tmp_path / "corpus"
    if content is not None:
        folder.mkdir()
        for name, written in content.items():
            (folder / name).write_bytes(written)
    with pytest.raises(ValueError, match=re.escape(said)):
        corpus(str(folder), encoder, 0)


def test_a_dataset_without_texts_is_one_line(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="dataset .* cannot be read") as caught:
        corpus(f"dataset:{tmp_path / 'nothing'}", encoder, 0)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def pocket() -> Encoder:
    from transformers import AutoTokenizer

    from harness.model.files import shipped_models

    return Encoder(AutoTokenizer.from_pretrained(shipped_models()["pocket-llama"]))


@pytest.mark.parametrize("name", ["pocket", "stories"])
def test_the_invented_world_fills_sequences_exactly(pocket: Encoder, name: str) -> None:
    source = Generated(name, pocket, 0)
    made = TrainingBatches(schedule(MIXED, 30_000, 4096, 512, 2048), source, 512, 0, 4096)
    for place in {step[0].portion.name: step[0] for step in made.plan}.values():
        row = made.row(place)
        assert len(row.ids) == 2048 and sum(row.weights) > 5
        assert made.row(place) == row
        if place.portion.name == "short":
            assert max(row.positions) < 512 and len(row.starts) > 4


def test_training_keys_are_never_keys_of_the_tests(pocket: Encoder) -> None:
    from tasks.corpora.words import for_training

    source = Generated("pocket", pocket, 3)
    [portion] = PLAIN.portions
    text = "".join(
        pocket.tokenizer.decode(document.ids)
        for i in range(3)
        for document in source.documents(portion, i, 1024, (512, 1024))
    )
    keys = re.findall(r"magic numbers? for (\S+-\S+) (?:is|are)", text)
    assert keys and all(for_training(key) for key in keys)


def test_stories_hold_nothing_that_looks_like_a_test(pocket: Encoder) -> None:
    source = Generated("stories", pocket, 0)
    [portion] = PLAIN.portions
    text = "".join(
        pocket.tokenizer.decode(document.ids) for document in source.documents(portion, 0, 1024, (512, 1024))
    )
    assert len(text) > 2000 and not re.search(r"magic|pass key|Question|VAR|\d{4}", text)


def test_what_a_corpus_is_stands_in_the_key(tmp_path: Path) -> None:
    assert identity("pocket") != identity("stories")
    (tmp_path / "a.txt").write_text("first")
    before = identity(str(tmp_path))
    (tmp_path / "a.txt").write_text("other")
    from harness.training import corpus as training_data

    training_data._texts.cache_clear()
    assert identity(str(tmp_path)) != before and identity(str(tmp_path), ["test"]) != identity(str(tmp_path))
