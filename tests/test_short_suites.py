"""Papers' short-context suites over toy data: shots, refusals, seeds, sample numbers; and what happens without data."""

from importlib.metadata import version

import fakes
import pytest

import tasks.base
from harness.experiment.cells import task_identity
from tasks import short
from tasks.short import PAPERS

LETTERS = ["A", "B", "C", "D"]


def toy(path, name=None, **_):
    """Rows in the shape of the hub's data sets, enough for the shots that papers use."""
    import datasets

    def split(rows):
        return datasets.Dataset.from_list(rows)

    if path == "cais/mmlu":
        size = {"anatomy": 2, "astronomy": 5}.get(name, 3)
        rows = [{"question": f"{name} {i}?", "choices": LETTERS, "answer": i % 4} for i in range(8)]
        return {"dev": split(rows[:5]), "test": split(rows[:size])}
    if path == "allenai/ai2_arc":
        choices = {"text": ["right", "wrong"], "label": ["A", "B"]}
        rows = [{"question": f"Arc {i}?", "choices": choices, "answerKey": "A"} for i in range(30)]
        return {"train": split(rows), "validation": split(rows), "test": split(rows[:4])}
    if path == "Rowan/hellaswag":
        rows = [
            {
                "activity_label": "Baking",
                "ctx_a": f"Step {i}.",
                "ctx_b": "she",
                "endings": ["bakes.", "runs.", "sings.", "sleeps."],
                "label": "0",
            }
            for i in range(15)
        ]
        return {"train": split(rows), "validation": split(rows[:4])}
    if path == "openai/gsm8k":
        rows = [{"question": f"What is {i} and 1?", "answer": f"Add.\n#### {i + 1}"} for i in range(12)]
        return {"train": split(rows), "test": split(rows[:4])}
    raise ConnectionError(f"Couldn't reach '{path}'\non the Hub")


@pytest.fixture
def hub(monkeypatch):
    import datasets

    monkeypatch.setattr(
        datasets, "load_dataset", lambda path, name=None, **more: datasets.DatasetDict(toy(path, name, **more))
    )


def rows(name, lm, samples=3, seed=0, length=4096, **parameters):
    return list(tasks.base.make(name, **parameters).run(lm, length, seed, samples))


def test_a_paper_is_its_tests_with_its_shots():
    assert tasks.base.expand("short/longrope2-paper") == [
        f"short/longrope2-paper/{task}" for task in ("mmlu", "mmlu_pro", "hellaswag", "truthfulqa_mc2", "gsm8k")
    ]
    shots = {task: tasks.base.make(f"short/longrope-paper/{task}").num_fewshot for task in PAPERS["longrope-paper"]}
    assert shots == {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0}
    ours, plain = tasks.base.make("short/longrope2-paper/gsm8k"), tasks.base.make("short/gsm8k", num_fewshot=5)
    assert (ours.name, ours.parameters()) == (plain.name, plain.parameters())
    assert ours.name == "short/gsm8k" and ours.parameters()["num_fewshot"] == 5
    assert tasks.base.make("short/longrope2-paper/gsm8k", num_fewshot=8).num_fewshot == 8


def test_papers_are_listed_with_their_tests():
    from harness.tools import listing

    entries = {name: details for name, _, details in listing.tests()}
    assert entries["short/longrope-paper"][1:] == tasks.base.expand("short/longrope-paper")
    assert set(tasks.base.needing_data()) <= set(entries) and not set(tasks.base.needing_data()) & set(
        tasks.base.names()
    )


def test_the_version_of_lm_eval_is_in_the_identity_of_its_own_tasks(monkeypatch):
    for name in (
        "short/gsm8k",
        "long/longbench_lcc",
        "long/longbench2",
        "short/pocket_facts",
        "short/pocket_perplexity",
    ):
        task = tasks.base.make(name)
        before = task_identity(task)
        with monkeypatch.context() as changed:
            changed.setattr(short, "version", lambda _: "9.9")
            after = task_identity(task)
        assert (before == after) == name.startswith("short/pocket_")
        assert before["parameters"].get("lm_eval") == (None if before == after else version("lm_eval"))


def test_only_drawn_shots_depend_on_the_seed():
    def seeded(name, **given):
        return tasks.base.make(name, **given).seeded

    assert not seeded("short/pocket_facts") and seeded("short/pocket_facts", num_fewshot=2)
    assert not seeded("short/longrope2-paper/mmlu") and not seeded("short/longrope2-paper/truthfulqa_mc2")
    assert seeded("short/longrope2-paper/hellaswag") and seeded("short/arc_easy")
    assert not seeded("short/arc_easy", num_fewshot=0)


def test_a_test_that_draws_nothing_is_planned_for_one_seed():
    from fake_engine import ROPE, experiment

    from harness.experiment.cells import Base, cells_of
    from harness.experiment.file import Test

    tests = tuple(
        Test(name, tasks.base.make(name, **given), 4)
        for name, given in {"short/pocket_facts": {}, "short/pocket_cloze": {"num_fewshot": 2}}.items()
    )
    cells = cells_of(experiment(tests=tests, seeds=(3, 5)), Base("w" * 16, ROPE, "float32", "sdpa"))
    assert {(cell.test.label, cell.seed) for cell in cells} == {
        ("short/pocket_facts", 3),
        ("short/pocket_cloze", 3),
        ("short/pocket_cloze", 5),
    }


def test_wrong_names_are_one_line():
    with pytest.raises(ValueError, match="did you mean 'short/longrope2-paper/gsm8k'"):
        tasks.base.make("short/longrope2-paper/gsm9k")
    with pytest.raises(ValueError, match="max_new_tokens must be a whole number from 1 up"):
        tasks.base.make("short/gsm8k", max_new_tokens=0)


@pytest.mark.slow
def test_papers_shots_stand_in_the_prompts(hub):
    said = {"arc_challenge": "Question:", "hellaswag": "Baking:", "gsm8k": "Question:", "mmlu": "Answer:"}
    suites = {"arc_challenge": "longrope-paper", "hellaswag": "longrope-paper", "gsm8k": "longrope2-paper"}
    for task, word in said.items():
        name = f"short/{suites.get(task, 'longrope-paper')}/{task}"
        shots = tasks.base.make(name).num_fewshot
        found = rows(name, fakes.FakeLM())
        assert [row.sample for row in found] == [0, 1, 2]
        assert all(row.prompt.count(word) == shots + 1 for row in found), name
        again = rows(name, fakes.FakeLM())
        assert [row.prompt for row in again] == [row.prompt for row in found]
        other = rows(name, fakes.FakeLM(), seed=1) if task != "mmlu" else []
        assert task == "mmlu" or [row.prompt for row in other] != [row.prompt for row in found]
        assert [row.references for row in other] in ([], [row.references for row in found])


@pytest.mark.slow
def test_a_groups_tasks_take_turns_and_none_is_run_in_vain(hub):
    lm = fakes.FakeLM()
    few = rows("short/mmlu", lm, samples=3, num_fewshot=0)
    assert len(lm.asked) == 3 * 4, "four choices for each of three documents"
    total = 57 * 3 + 2 - 1
    every = rows("short/mmlu", fakes.FakeLM(), samples=total, num_fewshot=0)
    assert [row.prompt for row in every[:3]] == [row.prompt for row in few]
    assert [row.extra["document"] for row in every] == sorted(row.extra["document"] for row in every)
    counts = {task: sum(row.extra["task"] == task for row in every) for task in ("mmlu_anatomy", "mmlu_astronomy")}
    assert counts == {"mmlu_anatomy": 2, "mmlu_astronomy": 5}
    with pytest.raises(ValueError, match=f"short/mmlu has {total} documents, {total + 1} samples"):
        rows("short/mmlu", fakes.FakeLM(), samples=total + 1, num_fewshot=0)


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_the_model_is_asked(hub):
    lm = fakes.FakeLM()
    with pytest.raises(ValueError, match="short/gsm8k: 3 of 3 prompts need up to [0-9]+ tokens .* it runs at 256"):
        rows("short/gsm8k", lm, length=256, num_fewshot=1)
    assert not lm.asked
    found = rows("short/gsm8k", lm, length=256, num_fewshot=1, max_new_tokens=32)
    assert all(row.prompt_tokens + 32 <= 256 for row in found)


@pytest.mark.slow
def test_a_second_seed_never_repeats_the_rows(hub):
    assert rows("short/arc_easy", fakes.FakeLM())
    with pytest.raises(ValueError, match="draws no shots, so seed 1 would repeat .* num_fewshot: 0"):
        rows("short/arc_easy", fakes.FakeLM(), seed=1)
    assert rows("short/arc_easy", fakes.FakeLM(), seed=1, num_fewshot=0)


@pytest.mark.slow
def test_more_shots_than_there_are_is_one_line(hub):
    with pytest.raises(ValueError, match="short/mmlu: .*exceeds the 5 that are available") as caught:
        rows("short/mmlu", fakes.FakeLM(), num_fewshot=6)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_every_stock_test_without_data_is_one_line_of_its_own(monkeypatch, hub, capfd):
    from tasks.short import lm_eval_tasks

    monkeypatch.setattr(lm_eval_tasks, "_hub", {"reached": True})
    for name, source in {
        "short/truthfulqa_mc2": "truthfulqa/truthful_qa",
        "short/mmlu_pro": "TIGER-Lab/MMLU-Pro",
    }.items():
        with pytest.raises(
            ValueError, match=f"{name} cannot be loaded .ConnectionError: Couldn't reach '{source}' on"
        ) as e:
            rows(name, fakes.FakeLM())
        assert "HF_HOME" in str(e.value) and "\n" not in str(e.value)
    assert rows("short/longrope2-paper/gsm8k", fakes.FakeLM()), "a test whose data are there still runs"
    with pytest.raises(ValueError, match="short/arc_chalenge: lm-eval has no task named 'arc_chalenge'"):
        rows("short/arc_chalenge", fakes.FakeLM())
    assert capfd.readouterr() == ("", "")


def test_rows_from_a_folder_need_no_hub(monkeypatch, tmp_path):
    """Of the files alone, of a group in a folder for each part; what lies in the folder is part of the identity."""
    import datasets

    original = datasets.load_dataset

    def no_hub(path, *given, **more):
        if path != "json":
            raise ConnectionError(f"Couldn't reach '{path}'")
        return original(path, *given, **more)

    monkeypatch.setattr(datasets, "load_dataset", no_hub)
    place = tmp_path / "arc"
    place.mkdir()
    with pytest.raises(ValueError, match="short/arc_challenge: .*arc holds no .jsonl files"):
        rows("short/arc_challenge", fakes.FakeLM(), folder=str(place))
    arc = toy("allenai/ai2_arc")
    for split in ("train", "validation", "test"):
        arc[split].to_json(place / f"{split}.jsonl")
    found = rows("short/arc_challenge", fakes.FakeLM(), num_fewshot=1, folder=str(place))
    assert len(found) == 3 and "Arc " in found[0].prompt and datasets.load_dataset is no_hub
    given = tasks.base.make("short/arc_challenge", folder=str(place))
    before = task_identity(given)["parameters"]["folder"]
    (place / "test.jsonl").write_text((place / "test.jsonl").read_text().replace("right", "true"))
    assert task_identity(given)["parameters"]["folder"] != before and before.startswith("content-")
    assert "folder" not in task_identity(tasks.base.make("short/arc_challenge"))["parameters"]
    with pytest.raises(ValueError, match="there is no folder"):
        tasks.base.make("short/arc_challenge", folder=str(tmp_path / "nothing"))
