"""The same samples through the stock lm_eval and through ropebench get the same answers and the same scores."""

import json

import pytest

TESTS = [("needle", 512), ("ruler-pocket/niah_single_2", 512), ("ruler-pocket/vt", 512), ("needle", 1024)]
SAMPLES = 3


@pytest.fixture(scope="module")
def folder():
    from harness.model.files import shipped_models

    return shipped_models()["pocket-llama"]


def through_lm_eval(folder, out, names):
    """lm_eval's own entry point, model class and task loader, greedy on the CPU: results and samples by task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    return simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "dtype": "float32", "max_length": 1024},
        device="cpu",
        batch_size=1,
        tasks=names,
        task_manager=TaskManager(include_path=str(out), include_defaults=False),
        bootstrap_iters=0,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_answers_and_scores_are_those_of_a_run(folder, tmp_path, monkeypatch):
    import extenders.base
    import tasks.base
    from harness.model.lm import ExtendedLM
    from harness.model.load import load_model
    from harness.prompts.generate import generate
    from harness.rope.applied import applied

    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    made = []
    for test, length in [*TESTS, ("perplexity", 256)]:
        made += generate([test], tmp_path, model="pocket-llama", lengths=[length], samples=SAMPLES, say=lambda _: None)
    results = through_lm_eval(folder, tmp_path, [one.task_file.name for one in made])
    loaded = load_model("pocket-llama")
    with applied(loaded.model, loaded.spec) as rotary:
        lm = ExtendedLM(loaded, extenders.base.load("none")(target_length=1024), rotary)
        for one in made:
            rows = list(tasks.base.make(one.task_file.test).run(lm, one.task_file.length, 0, SAMPLES))
            theirs = sorted(results["samples"][one.task_file.name], key=lambda sample: sample["doc_id"])
            lines = [json.loads(line) for line in one.file.read_text().splitlines()]
            for row, sample, line in zip(rows, theirs, lines, strict=True):
                assert sample["arguments"][0][0] == line["prompt"], "not a byte of a prompt moves"
                if one.task_file.test == "perplexity":
                    assert sample["score"] == pytest.approx(row.score, abs=2e-5)
                    continue
                assert sample["resps"][0][0] == row.generation and line["prompt"] == row.prompt
                assert sample["score"] == row.score
            mean = sum(row.score for row in rows) / len(rows)
            assert results["results"][one.task_file.name]["score,none"] == pytest.approx(mean, abs=2e-5)
        assert any(sample["score"] > 0 for sample in results["samples"]["ropebench_needle_512"]), "a model that answers"
