"""The command line: help without heavy imports, wrong input as one line and exit code 2, the other exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_engine import Count, FakeEngine, Quiet, experiment

import harness
from harness import cli
from harness.commands.catalogue import LISTS
from harness.experiment.file import Test, shipped
from harness.runner.run import run
from harness.store import FORMAT

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "pandas", "numpy", "matplotlib", "datasets", "lm_eval", "scipy"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["plan", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; from harness import cli; cli.answer({words!r}); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: ropebench" in done.stdout
    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())
    assert not {"harness.runner.run", "harness.experiment.file"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *(["list", what] for what in LISTS if what != "families"),  # reads configurations with transformers
        ["--version"],
        ["plan", "yarm", "--model", "m", "--target-length", "9"],
    ],
)
def test_answers_that_need_no_model_library(words: list[str]) -> None:
    code = f"import sys; from harness import cli; cli.answer({words!r}); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"torch", "transformers"}.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_pager_that_was_closed_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from harness import cli; cli.main(['list', 'tests'])"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), told) == (0, b"")


@pytest.mark.slow
def test_a_store_is_read_without_a_model_library(tmp_path: Path) -> None:
    run(experiment(), tmp_path / "store", FakeEngine(), Quiet())
    for words in (["status", str(tmp_path / "store")], ["report", str(tmp_path / "store"), "--out", str(tmp_path)]):
        code = f"import sys; from harness import cli; assert cli.answer({words!r}) == 0; print(*sorted(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert {"torch", "transformers"}.isdisjoint(done.stdout.splitlines()[-1].split())


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(["--version"]) == 0
    assert capsys.readouterr().out == f"ropebench {harness.__version__}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("plan yarn_tun", ["yarn_tuned"]),
        ("run qu", ["quick"]),
        ("generate passk", ["passkey"]),
        ("search yarn_tuned --model pocket-l", ["pocket-llama"]),
        ("pref", ["preflight"]),
    ],
)
def test_the_shell_completes_names(words: str, offered: list[str]) -> None:
    asked = {"_ROPEBENCH_COMPLETE": "complete_bash", "COMP_WORDS": f"ropebench {words}"}
    asked["COMP_CWORD"] = str(len(words.split()))
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli"], cwd=ROOT, env=os.environ | asked, capture_output=True, text=True
    )
    assert done.stdout.split() == offered, done.stderr


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.answer([])
    shown = capsys.readouterr()
    assert code in (0, 2)
    assert "Usage: ropebench" in shown.out + shown.err


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.answer(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert line.startswith("ropebench: ")
    return line


def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "run.json").write_text(json.dumps({"format": FORMAT + 1}))
    (tmp_path / "typo.yaml").write_text("model: a\ntarget_lenght: 3")
    assert "did you mean 'quick'?" in refused(["run", "quik"], capsys)
    assert "did you mean 'target_length'?" in refused(["run", str(tmp_path / "typo.yaml")], capsys)
    assert "did you mean 'samples'?" in refused(["run", "quick", "--set", "sample=3"], capsys)
    assert "NAME=VALUE" in refused(["run", "quick", "--set", "samples"], capsys)
    assert "given twice" in refused(["run", "quick", "--set", "samples=1", "--set", "samples=2"], capsys)
    assert "not a result store" in refused(["status", str(tmp_path)], capsys)
    assert "not a result store" in refused(["report", str(tmp_path)], capsys)
    assert "newer ropebench" in refused(["status", str(newer)], capsys)
    (newer / "run.json").write_text(json.dumps({"format": FORMAT, "name": "nothing"}))
    assert "describes no run ('model' is absent)" in refused(["status", str(newer)], capsys)
    assert "did you mean 'models'?" in refused(["list", "model"], capsys)
    assert "No such option" in refused(["run", "--sed", "3"], capsys)
    assert "No such command" in refused(["rnu"], capsys)
    assert "did you mean 'yarn'?" in refused(["plan", "yarm", "--model", "m", "--target-length", "9"], capsys)
    assert "Missing option" in refused(["plan", "yarn"], capsys)


def test_control_signs_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in refused(["run", "\x1b[31mred"], capsys)


def test_the_traceback_is_there_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROPEBENCH_TRACEBACK", "1")
    assert cli.answer(["status", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("ROPEBENCH_TRACEBACK", "0")
    assert cli.answer(["--traceback", "status", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("harness.store.Store.open", broken)
    with pytest.raises(ZeroDivisionError):
        cli.answer(["status", str(tmp_path)])


def test_status_counts_and_gives_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(experiment(tests=(Test("count", Count(broken_at=128), 4),)), tmp_path, FakeEngine(), Quiet())
    outcome.store.cell_path(outcome.store.run()["cells"][0]["key"]).unlink()
    assert cli.answer(["status", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["none", "3", "2", "1"],
        ["pi", "4", "2", "0"],
        ["all", "7", "4", "1"],
    ]
    assert "failed: RuntimeError: out of memory" in lines
    assert "  pi · count · 128 tokens · seed 1" in lines


def fake_run(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None, **changes: Any) -> None:
    """Puts the fake engine and experiment in the place of the real ones."""
    monkeypatch.setattr("harness.runner.engine.LocalEngine", lambda *_: FakeEngine())
    monkeypatch.setattr("harness.experiment.file.read", lambda *_: experiment(**changes))
    if stop_after is not None:
        progress = Quiet()

        def end(cell: Any, seconds: float, error: str) -> None:
            progress.ended.append((cell, error))
            if len(progress.ended) == stop_after:
                raise KeyboardInterrupt

        progress.end = end  # type: ignore[method-assign]
        monkeypatch.setattr("harness.progress.progress", lambda: progress)


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(monkeypatch, stop_after=2)
    monkeypatch.setattr(sys, "argv", ["ropebench", "run", "quick", "--out", str(tmp_path / "a b")])
    assert cli.answer(sys.argv[1:]) == 130
    [line] = capsys.readouterr().err.splitlines()
    assert f"finished cells are kept in {tmp_path / 'a b'}" in line
    assert line.endswith(f"ropebench run quick --out '{tmp_path / 'a b'}'")
    assert len(list((tmp_path / "a b" / "cells").iterdir())) == 2


def test_ctrl_c_in_other_commands_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.tools.train_alone.train_alone", stopped)
    command = "train yarn --recipe plain --model pocket-llama --target-length 1024 --tokens 5"
    assert cli.answer(command.split()) == 130
    assert capsys.readouterr().err == f"ropebench: stopped; this command continues: ropebench {command}\n"
    monkeypatch.setattr("harness.store.Store.open", stopped)
    assert cli.answer(["status", "x"]) == 130
    assert capsys.readouterr().err == "ropebench: stopped\n"


def test_failed_cells_end_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(monkeypatch, tests=(Test("count", Count(broken_at=128), 4),))
    assert cli.answer(["run", "quick", "--out", str(tmp_path), "--no-report"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == "12 cells: 8 computed, 0 kept from before, 4 FAILED (run again to try them again)"
    assert "failed: pi · count · 128 tokens · seed 0: RuntimeError: out of memory" in shown
    fake_run(monkeypatch)
    assert cli.answer(["run", "quick", "--out", str(tmp_path), "--no-report"]) == 0
    assert "12 cells: 12 computed, 0 kept from before" in capsys.readouterr().err


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for what, expected in (("extenders", "yarn"), ("tests", "needle"), ("factors", "published:")):
        assert cli.answer(["list", what]) == 0
        assert any(line.startswith(expected) for line in capsys.readouterr().out.splitlines())
    assert cli.answer(["list", "experiments"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in shipped())


def test_lists_show_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    cli.answer(["list", "extenders"])
    shown = capsys.readouterr().out
    assert "    beta_fast: a number, 32.0 unless given" in shown
    assert "target_length" not in shown


def test_plan_prints_json_and_needs_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps({**config, "rope_theta": 10000.0}))
    words = ["plan", "pi", "--model", str(tmp_path), "--target-length", "256"]
    assert cli.answer([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["trained"]["trained_length"] == 64 and len(content["trained"]["inv_freq"]) == 8
    assert content["planned"]["rescale_factors"] == [4.0] * 8
    assert content["planned"]["inv_freq"][0] == 0.25 and len(content["planned"]["hash"]) == 16
    assert cli.answer(words) == 0
    assert "rescale factor" in capsys.readouterr().out
    assert cli.answer(["plan", "yarn", *words[2:], "-p", "beta_fast=16", "-p", "truncate=false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["truncate"] is False
    assert "did you mean 'beta_fast'?" in refused(["plan", "yarn", *words[2:], "-p", "beta_fats=16"], capsys)
    assert "above the trained length 64" in refused([*words[:-1], "64"], capsys)
    assert "between 1 and the target length" in refused([*words, "--length", "300"], capsys)


def test_doctor_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr("socket.create_connection", unreachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert cli.answer(["doctor"]) == 0
    shown = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "does not answer" in shown["hub"] and "local folders work" in shown["hub"]
    assert {"python", "processor", "memory", "free disk", "torch", "attention: sdpa"} <= set(shown)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cli.answer(["doctor"])
    assert "switched off by HF_HUB_OFFLINE" in capsys.readouterr().out
