"""The whole chain on a random model in a folder, as a user drives it: file → run → store → report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_experiment import METHOD
from test_store import files

from harness import cli
from harness.store import Store

FILE = """
model: {model}
target_length: 512
lengths: [256, 512]
extenders: [none, dynamic_ntk{more}]
tests: [passkey, {{needle: {{samples: 1, lengths: [512]}}}}, {{perplexity: {{samples: 1}}}}]
samples: 2
"""


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an experiment file."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, tiny_model_folder)
    return tmp_path


def write(folder: Path, model: Path, more: str = "") -> None:
    (folder / "mine.yaml").write_text(FILE.format(model=model, more=more))


@pytest.mark.slow
@pytest.mark.usefixtures("users_methods_here")
def test_from_a_file_to_a_report(place: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(["run", "mine.yaml", "--date", "2026-01-01"]) == 0
    report = Path(capsys.readouterr().out.splitlines()[-1])
    assert report == Path("results/mine/report.html") and "<html" in report.read_text()[:300]
    store = Store.open(Path("results/mine"))
    cells = list(store.cells())
    assert len(cells) == 2 * (2 + 1 + 2)
    for planned, cell in cells:
        assert cell is not None and cell["status"] == "done", cell
        plans = next(m["plans"] for m in store.run()["methods"] if m["label"] == planned["label"])
        assert cell["proof"][str(planned["length"])]["plan_hash"] == plans[str(planned["length"])]["hash"]
        assert cell["proof"][str(planned["length"])]["max_difference"] < 1e-3
        assert all(row["prompt_tokens"] + row["new_tokens"] <= planned["length"] for row in cell["rows"])
        assert cell["cost"]["token_forwards"] > 0
    losses = {(p["label"], p["length"]): c["rows"][0]["score"] for p, c in cells if c and p["task"] == "perplexity"}
    assert losses["none", 512] != losses["dynamic_ntk", 512]
    assert store.prompt(cells[0][1]["rows"][0]["prompt"])  # type: ignore[index]

    before = files(Path("results/mine"))
    assert cli.answer(["run", "mine.yaml", "--date", "2026-01-01"]) == 0
    assert "0 computed, 10 kept" in capsys.readouterr().err
    assert files(Path("results/mine")) == before

    Path("my_idea.py").write_text(METHOD)
    write(place, tiny_model_folder, ", my_idea")
    assert cli.answer(["run", "mine.yaml", "--no-report"]) == 0
    assert "15 cells: 5 computed, 10 kept from before" in capsys.readouterr().err
    assert cli.answer(["status", "results/mine"]) == 0
    assert ["my_idea", "5", "0", "0"] in [line.split() for line in capsys.readouterr().out.splitlines()]


STOPPED = '''"""The slowest pairs stand still."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class Stopped(Extender):
    pairs: int = 1

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan((*rope.inv_freq[: -self.pairs], *[0.0] * self.pairs), rope.attention_factor)
'''


@pytest.mark.slow
@pytest.mark.usefixtures("users_methods_here")
def test_a_method_that_stops_pairs_gets_a_report(place: Path, tiny_model_folder: Path) -> None:
    """Infinity as a rescale factor: cells, proof, store and report hold, for one pair as for all four."""
    Path("stopped.py").write_text(STOPPED)
    Path("mine.yaml").write_text(
        f"model: {tiny_model_folder}\ntarget_length: 512\nlengths: [512]\nsamples: 1\ntests: [passkey]\n"
        "extenders: [none, stopped, {stopped: {label: all stopped, pairs: 4}}]\n"
    )
    assert cli.answer(["run", "mine.yaml", "--date", "2026-01-01"]) == 0
    store = Store.open(Path("results/mine"))
    cells = list(store.cells())
    assert len(cells) == 3 and all(cell and cell["status"] == "done" for _, cell in cells)
    for _, cell in cells:
        assert cell and cell["proof"]["512"]["max_difference"] < 1e-3
    run = (Path("results/mine") / "run.json").read_text()
    assert "Infinity" not in run and "NaN" not in run
    plans = [method["plans"]["512"]["inv_freq"] for method in json.loads(run)["methods"]]
    assert [plan.count(0.0) for plan in plans] == [0, 1, 4]
    report = Path("results/mine/report.html").read_text()
    assert "stopped (λ = ∞)" in report


def test_resume_in_any_order_gives_the_same_rows(place: Path) -> None:
    assert cli.answer(["run", "mine.yaml", "--out", "whole", "--no-report"]) == 0
    assert cli.answer(["run", "mine.yaml", "--out", "parts", "--no-report"]) == 0
    keys = [planned["key"] for planned, _ in Store.open(Path("parts")).cells()]
    whole, parts = Store.open(Path("whole")), Store.open(Path("parts"))
    for key in keys[::2]:
        parts.cell_path(key).unlink()
    assert cli.answer(["run", "mine.yaml", "--out", "parts", "--no-report"]) == 0
    for key in keys:
        assert without_times(parts.cell(key)) == without_times(whole.cell(key))


def without_times(cell: Any) -> Any:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in cell["rows"]]


def test_a_broken_model_folder_is_one_line(
    place: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(model: Path) -> str:
        capsys.readouterr()
        assert cli.answer(["run", "mine.yaml", "--model", str(model), "--no-report"]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("ropebench: ")
        return line

    copies = {}
    for name in ("no_tokenizer", "no_rope", "no_weights"):
        copies[name] = place / name
        copies[name].mkdir()
        for path in tiny_model_folder.iterdir():
            if not (name == "no_tokenizer" and path.name.startswith("tokenizer")):
                if not (name == "no_weights" and path.suffix == ".safetensors"):
                    (copies[name] / path.name).write_bytes(path.read_bytes())
    (copies["no_rope"] / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_positions": 64}))
    assert "tokenizer" in refused(copies["no_tokenizer"])
    assert "RoPE" in refused(copies["no_rope"])
    assert "safetensors" in refused(copies["no_weights"])
    assert "nowhere" in refused(place / "nowhere")
    assert not Path("results").exists()
    words = ["run", "mine.yaml", "--set", "target_length=64", "--set", "lengths=[64]", "--set", "tests=[passkey]"]
    assert cli.answer([*words, "--no-report"]) == 2
    assert "must be above the 64 tokens" in capsys.readouterr().err


def test_nan_logits_are_a_failed_cell(place: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import load_file, save_file

    broken = place / "broken"
    broken.mkdir()
    for path in tiny_model_folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert cli.answer(["run", "mine.yaml", "--model", str(broken), "--out", "nan", "--no-report"]) == 1
    assert "NaN" in capsys.readouterr().err
    assert all(cell and cell["status"] == "failed" for _, cell in Store.open(Path("nan")).cells())


def started(place: Path, *words: str, **variables: str) -> "subprocess.Popen[str]":
    """`ropebench run mine.yaml` with these words as a process of its own."""
    root = str(Path(cli.__file__).resolve().parent.parent)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background passes on deafness
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "run", "mine.yaml", "--no-report", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": root, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, heard)
    return process


def wait_for_a_cell(process: "subprocess.Popen[str]", place: Path, seconds: float, step: float) -> None:
    deadline = time.monotonic() + seconds
    while not list((place / "results" / "mine" / "cells").glob("*.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(step)


@pytest.mark.slow
def test_the_command_stops_on_ctrl_c_and_goes_on(place: Path) -> None:
    process = started(place, "--set", "samples=30")
    wait_for_a_cell(process, place, 120, 0.01)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert "finished cells are kept in results/mine" in shown.splitlines()[-1]
