"""The short-context suite: lm-eval's own scores over our LM, without network and without traces."""

import fakes
import pytest

import tasks.base
from tasks.corpora import world

POCKET = ("short/pocket_facts", "short/pocket_cloze", "short/pocket_arithmetic", "short/pocket_perplexity")


def rows(name, lm, samples=6, **parameters):
    return list(tasks.base.make(name, **parameters).run(lm, 512, 0, samples))


@pytest.mark.parametrize("name", POCKET)
def test_rows_keep_the_contract(name, capfd, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    lm = fakes.FakeLM()
    task, found = tasks.base.make(name), rows(name, lm)
    few = rows(name, fakes.FakeLM(), samples=2)
    assert task.category == "short" and task.lengths == "window"
    assert [row.sample for row in found] == list(range(6))
    assert [row.prompt for row in found[:2]] == [row.prompt for row in few]
    assert len({row.prompt for row in found}) == 6
    for row in found:
        assert row.prompt_tokens >= len(lm.encode(row.prompt)) + lm.added_tokens
        assert row.plan_hash.startswith("fake")
    out, err = capfd.readouterr()
    assert out == err == "", "lm-eval must be quiet"
    assert not list(tmp_path.iterdir()), "datasets must leave no files"


@pytest.mark.parametrize("name", POCKET[:3])
def test_perfect_answers_score_1_and_no_answers_0(name):
    wrong = rows(name, fakes.FakeLM(lambda _: "nothing"))
    table = {row.prompt: row.references[0] for row in wrong}
    right = rows(name, fakes.FakeLM(lambda prompt: f" {table[prompt]}\nmore"[: 99 if "arith" in name else -5]))
    assert all(row.score == 1 and row.failure == "" for row in right)
    assert all(row.generation.strip() == row.references[0] for row in right)
    if "arithmetic" in name:
        assert all(row.score == 0 and row.failure == "wrong value" for row in wrong)


def test_the_likeliest_choice_is_the_answer():
    wrong = {row["question"]: row["choices"][(row["answer"] + 1) % 4] for row in world.fact_questions(250)}
    for row in rows("short/pocket_facts", fakes.FakeLM(lambda prompt: wrong[prompt])):
        assert (row.score, row.failure, row.generation) == (0, "other choice", wrong[row.prompt])
        assert row.references[0] != row.generation


def test_perplexity_is_nats_per_token():
    for row in rows("short/pocket_perplexity", fakes.FakeLM(), samples=3):
        assert row.score == pytest.approx(1.0)
        assert row.extra["bytes"] == len(row.prompt.encode())


def test_long_documents_are_scored_in_windows_that_lose_nothing():
    from tasks.short.through_lm_eval import Adapter

    lm = fakes.FakeLM()
    document = " ".join(f"word {i}" for i in range(40))
    ids = lm.encode(document)
    loss = Adapter(lm, 21)._rolling_loss(document, ids)
    assert loss == pytest.approx(sum(1.0 + (token % 7) / 10 for token in ids[1:]))
    assert all(len(window) <= 20 for window in lm.documents)


def test_shots_stand_before_the_question():
    plain = rows("short/pocket_cloze", fakes.FakeLM(), samples=2)
    shots = rows("short/pocket_cloze", fakes.FakeLM(), samples=2, num_fewshot=2)
    assert [row.references for row in plain] == [row.references for row in shots]
    for bare, long in zip(plain, shots, strict=True):
        assert long.prompt.endswith(bare.prompt) and len(long.prompt) > 2 * len(bare.prompt)


def test_wrong_input_is_one_line():
    with pytest.raises(ValueError, match="num_fewshot must be a whole number"):
        tasks.base.make("short/pocket_facts", num_fewshot=-1)
    with pytest.raises(ValueError, match="did you mean 'num_fewshot'"):
        tasks.base.make("short/pocket_facts", num_fewshots=1)
    with pytest.raises(ValueError, match="has 250 documents, 300"):
        rows("short/pocket_facts", fakes.FakeLM(), samples=300)


@pytest.mark.slow
def test_stock_tasks_without_their_data_are_one_line(monkeypatch):
    with pytest.raises(ValueError, match="no task named 'no_such_task'"):
        rows("short/no_such_task", fakes.FakeLM())
    import datasets

    def offline(*_, **__):
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ValueError, match="cannot be loaded .ConnectionError: no route to the hub") as caught:
        rows("short/arc_easy", fakes.FakeLM())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_stock_tasks_run_from_local_rows(monkeypatch):
    import datasets

    questions = [
        {
            "id": str(i),
            "question": f"Which is {i}?",
            "choices": {"text": ["a", "b"], "label": ["A", "B"]},
            "answerKey": "A",
        }
        for i in range(4)
    ]
    split = datasets.Dataset.from_list(questions)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(train=split, validation=split, test=split)
    )
    found = rows("short/arc_easy", fakes.FakeLM(), samples=3, num_fewshot=1)
    assert [row.score for row in found] == [1, 1, 1]
    assert found[0].prompt.count("Question:") == 2


@pytest.mark.parametrize("bos", [True, False])
def test_scores_are_those_of_the_stock_model_class(bos):
    """Our LM, unextended, against lm-eval's own class for transformers models, request by request."""
    from types import SimpleNamespace

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    import extenders.base
    from harness.model.lm import ExtendedLM
    from harness.model.spec import spec_from_config
    from harness.rope.applied import applied
    from tasks.short.through_lm_eval import Adapter

    model, tokenizer = fakes.tiny_llama(), fakes.byte_tokenizer(bos)
    base = SimpleNamespace(model=model, tokenizer=tokenizer, spec=spec_from_config(model.config))
    questions = world.fact_questions(250)[:3]
    pairs = [(row["question"], f" {choice}") for row in questions for choice in row["choices"]]
    pairs += [("a space at the end ", "x"), ("two  ", " words"), ("", "no context")]
    prompts = [(row["question"], {"until": ["a", "\n"], "max_gen_toks": 9, "do_sample": False}) for row in questions]
    documents = [("A document that fits the window.",)]

    def requests(kind, arguments):
        return [Instance(kind, {}, one, 0, metadata=("t", i, 1)) for i, one in enumerate(arguments)]

    with applied(model, base.spec) as rotary:
        ours = Adapter(ExtendedLM(base, extenders.base.load("none")(target_length=512), rotary), 512)
        stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=512, softmax_dtype="float32")
        mine, theirs = (lm.loglikelihood(requests("loglikelihood", pairs)) for lm in (ours, stock))
        assert [greedy for _, greedy in mine] == [greedy for _, greedy in theirs]
        assert [one for one, _ in mine] == pytest.approx([one for one, _ in theirs], abs=1e-4)
        mine, theirs = (lm.generate_until(requests("generate_until", prompts)) for lm in (ours, stock))
        assert mine == theirs
        if not bos:  # where the tokenizer adds BOS, lm-eval puts it twice before whole documents; we do not
            mine, theirs = (
                lm.loglikelihood_rolling(requests("loglikelihood_rolling", documents)) for lm in (ours, stock)
            )
            assert mine == pytest.approx(theirs, abs=1e-4)
