"""LongBench and InfiniteBench through lm-eval, over toy documents: what fits is run whole, cutting is asked for."""

import fakes
import pytest

import tasks.base


def document(i, words):
    return {"context": f"key{i}: value{i} " * words, "input": f"key{i}?", "answer": [f"value{i}"], "options": []}


@pytest.fixture
def hub(monkeypatch):
    """InfiniteBench's key-value task with documents of 50, 500, 60, 600, 70 … words."""
    import datasets

    documents = [document(i, (50 + 10 * i) * (10 if i % 2 else 1)) for i in range(6)]
    split = datasets.Dataset.from_list(documents)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"kv_retrieval": split}))


def rows(lm, samples=6, length=1000, **parameters):
    return list(tasks.base.make("long/infinitebench_kv_retrieval", **parameters).run(lm, length, 0, samples))


def test_a_paper_is_its_six_tests():
    found = tasks.base.expand("long/longrope2-paper")
    assert len(found) == 6 and found[0] == "long/infinitebench_kv_retrieval"
    assert tasks.base.expand("long/longbench2") == ["long/longbench2"]
    task = tasks.base.make("long/longbench_lcc")
    assert (task.name, task.lengths, task.seeded) == ("long/longbench_lcc", "every", False)


def test_wrong_input_is_one_line():
    with pytest.raises(ValueError, match="over_length is 'midle'; did you mean 'middle'"):
        tasks.base.make("long/longbench_lcc", over_length="midle")
    with pytest.raises(ValueError, match="no parameter of long/longbench_lcc is named 'num_fewshot'"):
        tasks.base.make("long/longbench_lcc", num_fewshot=2)


@pytest.mark.slow
def test_documents_that_fit_are_run_whole(hub):
    lm = fakes.FakeLM()
    found = rows(lm)
    assert [row.extra["document"] for row in found] == [row.sample for row in found] == [0, 2, 4]
    assert all(row.prompt_tokens + 50 <= 1000 for row in found)
    assert all(f"value{row.sample}" in row.prompt and row.score == 0 for row in found)
    assert [row.sample for row in rows(fakes.FakeLM(), samples=2)] == [0, 2]
    right = rows(fakes.FakeLM(lambda prompt: prompt.split("key")[-1][:1].join(["value", "\n more"])))
    assert [row.score for row in right] == [1, 1, 1]


@pytest.mark.slow
def test_cutting_the_middle_keeps_both_ends(hub):
    found = rows(fakes.FakeLM(), over_length="middle")
    assert [row.sample for row in found] == [0, 1, 2, 3, 4, 5]
    for row in found:
        assert row.prompt_tokens + 50 <= 1000
        assert row.prompt.startswith("Extract") and row.prompt.endswith(f"key{row.sample}?")
    assert found[1].prompt_tokens + 50 == 1000


@pytest.mark.slow
def test_nothing_fits_or_nothing_may_be_cut(hub):
    with pytest.raises(ValueError, match="none of its 6 documents fits into 100 tokens, the shortest needs [0-9]+"):
        rows(fakes.FakeLM(), length=100)
    with pytest.raises(ValueError, match="3 of 6 prompts need up to"):
        rows(fakes.FakeLM(), over_length="refuse")


@pytest.mark.slow
def test_missing_packages_are_one_line():
    pytest.importorskip("lm_eval")
    try:
        import jieba  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="long/longbench_trec needs packages that are not installed.*jieba"):
            list(tasks.base.make("long/longbench_trec").run(fakes.FakeLM(), 1000, 0, 1))
