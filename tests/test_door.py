"""`import ropebench`: the same numbers as a run, the model restored, wrong words in one line, and a quick import."""

import contextlib
import inspect
import io
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_engine import FakeEngine, Quiet, experiment
from test_experiment import METHOD

import ropebench
from harness.model.load import LoadedModel
from harness.runner.run import run
from reports.gate import gate

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
TARGET = 1024


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return ropebench.load("pocket-llama")


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return ropebench.load(tiny_model_folder)


def logits(model: LoadedModel) -> torch.Tensor:
    ids = torch.arange(2, 100)[None]
    with torch.inference_mode():
        answer: torch.Tensor = model.model(ids).logits
    return answer


def test_the_import_is_quick_and_brings_no_library() -> None:
    code = "import sys, time; t = time.perf_counter(); import ropebench; print(time.perf_counter() - t, *sys.modules)"
    seconds, modules = [], set()
    for _ in range(3):  # the quickest of three: the machine may be busy
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        first, *names = done.stdout.split()
        seconds.append(float(first))
        modules |= set(names)
    assert {"torch", "transformers", "pandas", "numpy", "scipy", "matplotlib", "lm_eval"}.isdisjoint(modules)
    assert min(seconds) < 0.5


def test_files_of_common_names_beside_a_notebook_are_not_run(tmp_path: Path) -> None:
    """A working folder is first on the path of a notebook, and `tasks.py` a likely name in it."""
    for name in ("extenders", "harness", "reports", "tasks"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the working folder was run')")
    code = f"import sys; sys.path[:] = ['', *sys.path, {str(ROOT)!r}]; import ropebench; print(ropebench.tests())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "needle" in done.stdout, done.stderr
    (tmp_path / "tasks.py").write_text("mine = 1")
    done = subprocess.run([sys.executable, "-c", f"import tasks; {code}"], cwd=tmp_path, capture_output=True, text=True)
    assert "tasks.py was imported as 'tasks', which is a package of ropebench; rename that file" in done.stderr


@pytest.mark.slow
def test_scores_are_those_of_a_run(tmp_path: Path, model: LoadedModel) -> None:
    tests: dict[str, dict[str, Any]] = {"needle": {}, "passkey": {"samples": 2}, "perplexity": {"samples": 1}}
    content = {
        "model": "pocket-llama", "target_length": TARGET, "lengths": [600], "samples": 3,
        "extenders": ["none", {"yarn": {"beta_fast": 16}}], "tests": [{name: given} for name, given in tests.items()],
    }  # fmt: skip
    outcome = ropebench.run(content, out=tmp_path / "store")
    assert not outcome.failed
    stored = ropebench.rows(outcome, prompts=True)
    shared = [name for name in stored.columns if name not in ("key", "seconds")]
    for label, parameters in (("none", {}), ("yarn", {"beta_fast": 16})):
        with ropebench.under(model, label, target_length=TARGET, **parameters) as lm:
            for name, given in tests.items():
                asked = ropebench.ask(lm, name, length=600, samples=given.get("samples", 3))
                here = stored[(stored.label == label) & (stored.task == name)].reset_index(drop=True)
                left, right = (frame[shared].fillna({"depth": -1}).to_dict("records") for frame in (asked, here))
                for row in (*left, *right):
                    row["references"] = tuple(row["references"])
                assert left == right
    again = ropebench.run(content, out=tmp_path / "store")
    assert (again.computed, again.total) == (0, 6)


def test_the_model_is_as_loaded_after_the_block_and_after_an_error(tiny: LoadedModel) -> None:
    before = logits(tiny)
    with ropebench.under(tiny, "pi", target_length=128) as lm:
        list(lm.generate(["a b c"], 2))
        assert not torch.equal(logits(tiny), before)
    assert torch.equal(logits(tiny), before)
    with pytest.raises(ZeroDivisionError), ropebench.under(tiny, "pi", target_length=128) as lm:
        list(lm.generate(["a b c"], 2))
        raise ZeroDivisionError
    assert torch.equal(logits(tiny), before)
    with pytest.raises(ValueError, match="the block of this model was left"):
        ropebench.ask(lm, "perplexity", length=64, samples=1)


def test_a_plan_is_pinned_for_each_prompts_length(tiny: LoadedModel) -> None:
    with ropebench.under(tiny, "dynamic_ntk", target_length=512) as lm:
        short, long = lm.generate(["a", "a b c d e f g h " * 10], 4)
        assert short.plan_hash == lm.plan_hash(1 + lm.added_tokens + 4) != long.plan_hash


def test_a_method_is_a_name_a_file_or_a_class(tiny: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)

    @dataclass(frozen=True, kw_only=True)
    class Mine(ropebench.Extender):
        split: float = 0.5

        def plan(self, rope: ropebench.RopeSpec, length: int) -> ropebench.RopePlan:
            n = len(rope.inv_freq)
            return ropebench.RopePlan.rescaled(rope, [1 if i < self.split * n else self.factor(rope) for i in range(n)])

    plans = []
    for method in (tmp_path / "mine.py", str(tmp_path / "mine.py"), Mine):
        with ropebench.under(tiny, method, target_length=128, split=0.25) as lm:
            answers = ropebench.ask(lm, "perplexity", length=96, samples=1)
            plans.append((lm.plan(96).hash, answers.score[0]))
            content = ropebench.plan(method, model=tiny, target_length=128, split=0.25)
            assert content["planned"]["hash"] == lm.plan(128).hash
    assert len(set(plans)) == 1


def test_plan_is_that_of_the_command(tiny_model_folder: Path, tiny: LoadedModel) -> None:
    by_folder = ropebench.plan("yarn", model=tiny_model_folder, target_length=128, length=100, beta_fast=16)
    by_model = ropebench.plan("yarn", model=tiny, target_length=128, length=100, beta_fast=16)
    assert by_folder == by_model and by_folder["length"] == 100 and by_folder["parameters"]["beta_fast"] == 16


def wrong(model: LoadedModel, **words: Any) -> Callable[[], Any]:
    return lambda: ropebench.under(model, **{"method": "yarn", "target_length": 128, **words}).__enter__()


def test_wrong_words_are_one_line(tiny: LoadedModel, tmp_path: Path) -> None:
    said: list[tuple[Callable[[], Any], str]] = [
        (lambda: ropebench.load("pocket-lama"), "there are pocket-llama"),
        (lambda: ropebench.load(tmp_path, dtpye="float32"), "did you mean 'dtype'?"),
        (lambda: ropebench.load("pocket-llama", dtype="float3"), "dtype 'float3'"),
        (wrong(tiny, method="yarm"), "did you mean 'yarn'?"),
        (wrong(tiny, method="yarm.py"), "yarm.py does not exist"),
        (wrong(tiny, method=int), "int is no method"),
        (wrong(tiny, beta_fats=3), "did you mean 'beta_fast'?"),
        (wrong(tiny, crossing="fixd"), "did you mean 'fixed'?"),
        (wrong(tiny, target_length=64), "must be above the 64 tokens"),
        (lambda: ropebench.under(tiny, "yarn", target_lenght=128), "did you mean 'target_length'?"),
        (lambda: ropebench.run("quik"), "did you mean 'quick'?"),
        (lambda: ropebench.run("quick", sample=3), "did you mean 'samples'?"),
        (lambda: ropebench.run({"model": "pocket-llama"}), "key 'target_length' is missing"),
        (lambda: ropebench.rows(tmp_path), "not a result store"),
        (lambda: ropebench.compare(tmp_path, tmp_path), "not a result store"),
        (lambda: ropebench.plan("yarn", model="pocket-llama"), "missing a required argument: 'target_length'"),
    ]
    with ropebench.under(tiny, "pi", target_length=128) as lm:
        said += [
            (lambda: ropebench.ask(lm, "nedle", length=64), "did you mean 'needle'?"),
            (lambda: ropebench.ask(lm, "needle", length=64, depht=1), "no parameter of needle is named 'depht'"),
            (lambda: ropebench.ask(lm, "needle", length=256), "beyond the target_length 128"),
            (lambda: ropebench.ask(lm, "needle"), "missing a required argument: 'length'"),
            (lambda: ropebench.ask(lm, "needle", length=64, samples=0), "samples must be a whole number"),
        ]
        for call, words in said:
            with pytest.raises(ValueError, match=re.escape(words)) as caught:
                call()
            assert "\n" not in str(caught.value)


def test_a_store_is_read_compared_and_reported(tmp_path: Path) -> None:
    outcome = run(experiment(), tmp_path / "store", FakeEngine(), Quiet())
    for store in (outcome, outcome.store, tmp_path / "store", str(tmp_path / "store")):
        frame = ropebench.rows(store)
        assert {"label", "task", "length", "seed", "sample", "score", "generation"} <= set(frame.columns)
        assert len(frame) == 12 * 4
    assert set(ropebench.rows(outcome, prompts=True).prompt) >= {"64 0 0", "256 1 3"}
    answer = ropebench.compare(outcome, outcome, margin=2.0, base_label="none", candidate_label="pi")
    assert isinstance(answer, gate.GateResult) and answer.margin == 2.0 and answer.pairs == (("none", "pi"),)
    assert ropebench.report(outcome, out=tmp_path / "page").read_text().startswith("<!doctype html>")


def test_the_module_is_the_command_too() -> None:
    done = subprocess.run([sys.executable, "-m", "ropebench", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"ropebench {ropebench.__version__}\n", done.stderr


def test_there_are_names() -> None:
    assert {"yarn", "longrope2"} <= set(ropebench.methods()) and "needle" in ropebench.tests()
    assert ropebench.models() == ["pocket-llama", "pocket-phi"] and "quick" in ropebench.experiments()


def test_every_function_has_types_and_an_example() -> None:
    functions = {name: getattr(ropebench, name) for name in ropebench.__all__}
    functions = {name: value for name, value in functions.items() if inspect.isfunction(value)}
    assert len(functions) == 12
    for name, function in functions.items():
        given = inspect.signature(function)
        assert given.return_annotation is not inspect.Signature.empty, name
        assert all(one.annotation is not inspect.Parameter.empty for one in given.parameters.values()), name
        assert re.search(rf"^    .*ropebench\.{name}\(", function.__doc__ or "", re.M), name


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_shows_what_its_code_prints(code: tuple[str, str]) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code[0], "docs/python.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == code[1]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0" and citation["version"] == ropebench.__version__
    assert citation["license"] == project["license"] and citation["authors"] == project["authors"]


def test_the_door_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "ropebench.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "harness/__init__.py"
