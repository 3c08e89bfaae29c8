"""The gate: what passes, what fails, what cannot be compared, and what is said about it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gate_store
import numpy as np
import pytest
from fake_engine import Count, FakeEngine, experiment
from scipy.stats import binom

import extenders
from harness import cli
from harness.experiment.file import Test
from harness.experiment.preset import preset_experiment
from reports.gate import formats as gate_formats
from reports.gate import gate, pairing
from reports.gate.gate import CannotCompare, compare
from reports.statistics.noninferiority import Group, decide, lowest, margin_of


def group(candidate: list[float], base: list[float], unit: str = "score", **more: Any) -> Group:
    pair = (np.array(candidate, dtype=float), np.array(base, dtype=float))
    return Group(more.pop("label", "yarn"), "retrieval", 512, unit, [pair], ("needle",), **more)


def flips(n: int, lost: int, won: int = 0) -> Group:
    """n samples, of which the candidate loses and wins so many."""
    base = [1.0] * lost + [0.0] * won + [1.0] * (n - lost - won)
    candidate = [0.0] * lost + [1.0] * won + [1.0] * (n - lost - won)
    return group(candidate, base)


def word(one: Group, points: float = 2.0) -> str:
    return decide([one], points)[0].word


def test_a_decision_needs_samples() -> None:
    assert word(flips(400, 0)) == "pass"
    assert word(flips(400, 5, 4)) == "pass"
    assert word(flips(400, 12, 0)) == "drop"
    assert word(flips(50, 0)) == "not shown"  # no difference, and far too few samples to exclude one
    assert word(flips(50, 2, 1)) == "not shown"
    assert word(flips(1, 0)) == "not shown"
    assert word(group([0.0] * 400, [0.0] * 400)) == "no signal"
    assert word(flips(400, 0, 30)) == "pass"  # better


def test_a_small_real_drop_inside_the_margin_passes() -> None:
    assert word(flips(4000, 25, 5), 1.0) == "pass"


def let_through(n: int, margin: float, won: float) -> float:
    """How often a true drop of the margin passes, summed over all outcomes."""
    lost, rate = won + margin, 0.0
    for wins in range(int(binom.ppf(1 - 1e-9, n, won)) + 1):
        losses = np.arange(n - wins + 1)
        chances = binom.pmf(wins, n, won) * binom.pmf(losses, n - wins, lost / (1 - won))
        for count in losses[chances > 1e-9]:
            if lowest(wins, int(count), n) <= -margin:
                break  # more losses pass even less
            rate += chances[count]
    return float(rate)


@pytest.mark.parametrize(("n", "margin"), [(50, 0.05), (100, 0.025), (300, 0.025), (600, 0.025), (900, 0.01)])
def test_drops_at_the_margin_are_let_through_at_most_one_time_in_twenty(n: int, margin: float) -> None:
    """Exact sums, whatever the discordance; beside it, that the limit is no more careful than it need be."""
    rates = [let_through(n, margin, won) for won in (0.0, 0.005, 0.02, 0.1)]
    assert max(rates) <= 0.05
    assert let_through(n, margin, 0.1) > 0.03


def test_the_lower_limit_by_hand() -> None:
    # Nothing differs in 50: 0 - 0.5 + 50 Δ = 1.645 √(50 Δ (1 - Δ)) at Δ = 0.0689
    gap = 0.0689303
    assert 50 * gap - 0.5 == pytest.approx(1.6448536 * (50 * gap * (1 - gap)) ** 0.5, rel=1e-5)
    assert lowest(0, 0, 50) == pytest.approx(-gap, abs=1e-6)
    assert lowest(0, 50, 50) == -1.0 and lowest(3, 5, 100) > lowest(3, 6, 100)


@pytest.mark.parametrize("seeded", [True, False])
def test_several_trainings_are_decided_by_their_seeds(seeded: bool) -> None:
    """Three trainings lose 0, 6 and 0 of 60 answers: pooled that passes 8 points, of three models it shows nothing."""
    right = np.ones(60)
    seeds = [pairing.PairedScores(i, seeded, tuple(range(60)), np.where(np.arange(60) < n, 0.0, 1.0), right)
             for i, n in enumerate((0, 6, 0))]  # fmt: skip
    pooled = group([value for one in seeds for value in one.candidate], [1.0] * 180)
    assert word(pooled, 8.0) == "pass"
    [decision] = decide([replace(pooled, of_seeds=pairing._of_seeds([seeds]))], 8.0)
    assert decision.word == "not shown" and decision.difference == pytest.approx(-0.1 / 3)
    if seeded:  # Student's t: 2.92 · 0.0577 / √3 below the mean
        assert decision.low == pytest.approx(-0.1 / 3 - 2.919986 * 0.1 / 3, abs=1e-5)
    assert pairing._of_seeds([seeds[:1]]) is None


@pytest.mark.parametrize("seeded", [True, False])
def test_trainings_that_agree_by_luck_pass_nothing(seeded: bool) -> None:
    """Two trainings answer 20 samples each like the base: no spread, and far too few samples to exclude two points."""
    right = np.ones(20)
    seeds = [pairing.PairedScores(i, seeded, tuple(range(20)), right, right) for i in range(2)]
    candidate, base = pairing._pooled(seeds)
    assert len(candidate) == len(base) == (40 if seeded else 20)
    one = replace(group(list(candidate), list(base)), of_seeds=pairing._of_seeds([seeds]))
    assert word(one) == "not shown"


def test_trainings_that_all_lose_everything_are_a_real_drop() -> None:
    right = np.ones(20)
    seeds = [pairing.PairedScores(i, True, tuple(range(20)), 0 * right, right) for i in range(3)]
    candidate, base = pairing._pooled(seeds)
    one = replace(group(list(candidate), list(base)), of_seeds=pairing._of_seeds([seeds]))
    assert word(one) == "drop"


def test_losses_are_better_when_lower_and_their_margin_is_of_perplexity() -> None:
    assert margin_of("score", 1.0) == 0.01 and margin_of("nats", 1.0) == pytest.approx(np.log(1.01))
    base = np.random.default_rng(0).normal(3, 0.3, 12)
    noise = np.random.default_rng(1).normal(0, 0.002, 12)
    assert word(group(list(base + noise), list(base), "nats")) == "pass"
    assert word(group(list(base + noise + 0.03), list(base), "nats")) == "drop"
    assert word(group(list(base + noise - 0.03), list(base), "nats")) == "pass"
    assert word(group(list(base), list(base), "nats")) == "pass"  # computed alike to the last digit
    worse = decide([group(list(base + noise + 0.03), list(base), "nats")], 2.0)[0]
    assert worse.difference == pytest.approx(-0.03, abs=0.002)


def test_drops_are_called_real_only_after_correction() -> None:
    alone = decide([flips(100, 8, 1)], 2.0)[0]
    assert alone.word == "drop" and alone.p < 0.05
    among = decide([flips(100, 8, 1), *[flips(400, 0)] * 9], 2.0)[0]
    assert among.word == "not shown" and among.p > 0.05 and not among.passed


def test_the_samples_needed_are_enough_when_nothing_changed() -> None:
    found = decide([flips(100, 1, 1)], 2.0)[0]
    assert found.word == "not shown"
    n = found.needed
    assert decide([flips(n, round(n * 0.01), round(n * 0.01))], 2.0)[0].word == "pass"
    assert n < 4000


@pytest.mark.parametrize("points", [0.0, -1.0, 100.0, float("nan")])
def test_margins_that_mean_nothing(points: float) -> None:
    with pytest.raises(ValueError, match="margin must be above 0 and below 100"):
        decide([flips(10, 0)], points)


def dropped(share: float, length: int = 1024, category: str = "vt") -> gate_store.Score:
    return lambda label, task, at, i: 0.0 if category in task and at == length and i < share * 400 else 1.0


def test_stores_are_compared_by_category_and_length(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "base")
    gate_store.write(tmp_path / "same", plans="'")
    gate_store.write(tmp_path / "worse", dropped(0.05), plans="'")
    good = compare(tmp_path / "base", tmp_path / "same")
    assert good.passed and good.exit_code == 0 and good.pairs == (("yarn", "yarn"),)
    assert [(one.group.category, one.group.length, one.n) for one in good.decisions] == [
        ("retrieval", 512, 800),
        ("retrieval", 1024, 800),
        ("tracking", 512, 400),
        ("tracking", 1024, 400),
    ]
    bad = compare(tmp_path / "base", tmp_path / "worse")
    assert [one.word for one in bad.decisions] == ["pass", "pass", "pass", "drop"] and bad.exit_code == 1
    assert bad.decisions[3].difference == pytest.approx(-0.05)
    assert compare(tmp_path / "worse", tmp_path / "base").passed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": {"model": {"weights_hash": "other"}}}, "base model: 9f2c4b6a1d3e5f70 against other"),
        ({"run": {"model": {"rope": {"trained_length": 256}}}}, "trained length: 512 against 256"),
        ({"run": {"target_length": 8192}}, "target length: 4096 against 8192"),
        ({"run": {"crossing": "recompute"}}, "crossing: fixed against recompute"),
        ({"task": {"version": 2}}, "version of the test: 1 against 2 (needle at 512 tokens and 5 more)"),
        ({"task": {"parameters": {"depths": 5}}}, "parameters of the test: {} against {"),
        ({"task": {"new_tokens": 20}}, "budget of new tokens: 10 against 20 (needle at 512 tokens and 5 more)"),
        ({"identity": {"dtype": "bfloat16"}}, "dtype: float32 against bfloat16 (needle at 512 tokens and 5 more)"),
        ({"identity": {"attention": "eager"}}, "attention: sdpa against eager (needle at 512 tokens and 5 more)"),
        ({"engine": "vllm"}, "engine: made up against vllm (needle at 512 tokens and 5 more)"),
        ({"seed": 1}, "seed 0 is only in"),
        ({"samples": 39}, "samples: 40 against 39 (needle at 512 tokens and 5 more)"),
        ({"lengths": (512,)}, ": needle (at 1024 tokens)"),
        ({"tasks": {"needle": "retrieval", "passkey": "retrieval"}}, ": ruler-pocket/vt (at 512 tokens and 1 more)"),
        ({"units": {"needle": "nats"}}, "unit of the test: score against nats (needle at 512 tokens and 1 more)"),
        ({"prompt": "!"}, "the prompts differ, so samples cannot be paired (needle at 512 tokens and 5 more)"),
        ({"labels": ("ntk",)}, "has no method 'yarn'; it has ntk"),
    ],
)
def test_other_conditions_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    gate_store.write(tmp_path / "base", samples=40)
    gate_store.write(tmp_path / "candidate", **({"samples": 40} | changes))
    with pytest.raises(CannotCompare) as caught:
        compare(tmp_path / "base", tmp_path / "candidate")
    assert any(words in reason for reason in caught.value.reasons), caught.value.reasons


def test_conditions_may_be_allowed_to_differ_and_are_named(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "base", samples=400)
    gate_store.write(tmp_path / "candidate", samples=390, identity={"dtype": "bfloat16"})
    with pytest.raises(CannotCompare, match="--allow samples --allow dtype$"):
        compare(tmp_path / "base", tmp_path / "candidate")
    found = compare(tmp_path / "base", tmp_path / "candidate", 2.0, allow=["samples", "dtype"])
    assert found.decisions[0].n == 780
    assert any("dtype: float32 against bfloat16" in note for note in found.notes)
    with pytest.raises(ValueError, match="no condition is named 'dtypes'"):
        compare(tmp_path / "base", tmp_path / "candidate", allow=["dtypes"])


def test_a_store_that_does_not_say_its_crossing_ran_with_the_usual_one(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "older")
    gate_store.write(tmp_path / "newer", run={"crossing": "fixed"})
    gate_store.write(tmp_path / "other", run={"crossing": "recompute"})
    assert compare(tmp_path / "older", tmp_path / "newer").passed
    with pytest.raises(CannotCompare, match="--allow crossing$"):
        compare(tmp_path / "older", tmp_path / "other")
    assert compare(tmp_path / "older", tmp_path / "other", allow=["crossing"]).passed


def test_methods_of_one_store(tmp_path: Path) -> None:
    score: gate_store.Score = lambda label, task, length, i: 0.0 if label == "ntk" and i < 40 else 1.0  # noqa: E731
    gate_store.write(tmp_path / "store", score, labels=("yarn", "ntk"))
    found = compare(tmp_path / "store", tmp_path / "store", base_label="yarn", candidate_label="ntk")
    assert {one.word for one in found.decisions} == {"drop"}
    assert found.decisions[0].group.label == "ntk against yarn"
    for labels in ((None, None), ("yarn", "yarn")):
        with pytest.raises(CannotCompare, match="the same store"):
            compare(tmp_path / "store", tmp_path / "store", 1.0, *labels)
    with pytest.raises(CannotCompare, match="no method 'pi'; it has yarn, ntk"):
        compare(tmp_path / "store", tmp_path / "store", base_label="yarn", candidate_label="pi")


def test_a_new_method_is_named_and_a_lost_one_refused(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "one")
    gate_store.write(tmp_path / "two", labels=("yarn", "mine"))
    assert "not compared, for the base has no such method: mine" in compare(tmp_path / "one", tmp_path / "two").notes
    with pytest.raises(CannotCompare, match="no method 'mine'"):
        compare(tmp_path / "two", tmp_path / "one")


def test_unfinished_and_damaged_stores_are_refused(tmp_path: Path) -> None:
    base = gate_store.write(tmp_path / "base")
    candidate = gate_store.write(tmp_path / "candidate")
    keys = [cell["key"] for cell in candidate.run()["cells"]]
    candidate.cell_path(keys[0]).unlink()
    candidate.cell_path(keys[1]).write_text('{"key": "' + keys[1])  # half written
    foreign = json.loads(candidate.cell_path(keys[2]).read_text())
    candidate.cell_path(keys[2]).write_text(json.dumps({**foreign, "rows": [{"sample": 0, "score": 7}]}))
    broken = json.loads(candidate.cell_path(keys[3]).read_text())
    candidate.put_cell(keys[3], {**broken, "status": "failed", "error": "out of memory"})
    strange = json.loads(candidate.cell_path(keys[4]).read_text())
    candidate.put_cell(keys[4], {**strange, "identity": {}})
    with pytest.raises(CannotCompare) as caught:
        compare(base.folder, candidate.folder)
    told = "\n".join(caught.value.reasons)
    assert "needle at 512 tokens, seed 0 is missing" in told and "needle at 1024 tokens, seed 0 is missing" in told
    assert "passkey at 512 tokens, seed 0 is failed (damaged cell file: the score of sample 0 is 7, outside" in told
    assert "passkey at 1024 tokens, seed 0 is failed (out of memory)" in told
    assert "does not say how it was made" in told
    with pytest.raises(ValueError, match="not a result store"):
        compare(tmp_path, base.folder)


def test_controls_count_nowhere_and_zeros_show_nothing(tmp_path: Path) -> None:
    zero: gate_store.Score = lambda label, task, length, i: float(task == "passkey")  # noqa: E731
    tasks = {"passkey": "retrieval", "blank": "control", "ruler-pocket/vt": "tracking"}
    for name in ("base", "candidate"):
        gate_store.write(tmp_path / name, zero, tasks=tasks)
    found = compare(tmp_path / "base", tmp_path / "candidate")
    assert [one.group.names for one in found.decisions] == [("passkey",)] * 2 + [("ruler-pocket/vt",)] * 2
    assert [one.word for one in found.decisions] == ["pass"] * 2 + ["no signal"] * 2 and found.passed
    for name in ("zero", "nought"):
        gate_store.write(tmp_path / name, lambda *_: 0.0)
    with pytest.raises(CannotCompare, match="score 0 on every test"):
        compare(tmp_path / "zero", tmp_path / "nought")


def test_one_sample_passes_nothing(tmp_path: Path) -> None:
    for name in ("base", "candidate"):
        gate_store.write(tmp_path / name, samples=1)
    found = compare(tmp_path / "base", tmp_path / "candidate")
    assert {one.word for one in found.decisions} == {"not shown"} and found.exit_code == 1
    assert "one sample shows nothing" in gate_formats.why(found.decisions[0])


def test_equal_keys_with_other_scores_are_pointed_at(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "base")
    gate_store.write(tmp_path / "candidate", dropped(0.05))
    found = compare(tmp_path / "base", tmp_path / "candidate")
    assert any("1 of 6 cells have the same key and other scores" in note for note in found.notes)


# ---- words ----


def test_junit(tmp_path: Path) -> None:
    gate_store.write(tmp_path / "base", labels=("a<b>&\x1b",))
    gate_store.write(tmp_path / "worse", dropped(0.05), labels=("a<b>&\x1b",))
    root = ElementTree.fromstring(gate_formats.junit(compare(tmp_path / "base", tmp_path / "worse")))
    assert root.tag == "testsuite" and (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "0")
    assert [case.get("name") for case in root] == [
        "retrieval at 512 tokens",
        "retrieval at 1024 tokens",
        "tracking at 512 tokens",
        "tracking at 1024 tokens",
    ]
    failure = root[3].find("failure")
    assert failure is not None and failure.get("type") == "drop" and "ruler-pocket/vt" in (failure.text or "")
    assert root[0].get("classname") == "ropebench.a<b>& "
    refused = ElementTree.fromstring(gate_formats.junit(CannotCompare(["one", "two"])))
    error = refused.find("testcase/error")
    assert error is not None and error.text == "one\ntwo" and refused.get("errors") == "1"


def test_the_comment_is_inert(tmp_path: Path) -> None:
    label = "<img src=x>|[a](b)@all"
    gate_store.write(tmp_path / "base", labels=(label,))
    gate_store.write(tmp_path / "worse", dropped(0.05), labels=(label,))
    text = gate_formats.markdown(compare(tmp_path / "base", tmp_path / "worse"))
    assert text.startswith("### ropebench gate: failed: 1 of 4 groups of tests: 1 with a real drop")
    assert "<img" not in text and "|[a]" not in text and "@all" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ✅") or line.startswith("| ❌")]
    assert len(rows) == 4 and rows[3].endswith("| −5.00 (limit −7.26) | 400 |".replace("−", "-"))
    refused = gate_formats.markdown(CannotCompare(["dtype: a against <b>"]))
    assert "cannot compare" in refused and "&lt;b&gt;" in refused


# ---- the command ----


def test_the_command_and_its_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, share in (("base", 0.0), ("same", 0.0), ("worse", 0.05)):
        gate_store.write(tmp_path / name, dropped(share), plans=name)
    gate_store.write(tmp_path / "other", identity={"dtype": "bfloat16"})
    files = ["--junit", str(tmp_path / "out" / "gate.xml"), "--markdown", str(tmp_path / "out" / "gate.md")]
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "same"), "--margin", "1"]) == 0
    assert "passed: no drop of 1 points or more in 4 groups" in capsys.readouterr().out
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "worse"), *files]) == 1
    assert "yarn · tracking · 1,024 tokens" in capsys.readouterr().out
    assert "failure" in (tmp_path / "out" / "gate.xml").read_text()
    assert "failed" in (tmp_path / "out" / "gate.md").read_text()
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "other"), *files]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("ropebench: cannot compare: dtype: float32 against bfloat16 (needle")
    assert "error" in (tmp_path / "out" / "gate.xml").read_text()
    assert "cannot compare" in (tmp_path / "out" / "gate.md").read_text()
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "nowhere")]) == 2
    assert "not a result store" in capsys.readouterr().err
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "same"), "--preset", "cl"]) == 2
    assert "no preset is named 'cl'" in capsys.readouterr().err
    assert cli.answer(["compare", str(tmp_path / "base"), str(tmp_path / "same"), "--preset", "ci"]) == 0
    assert f"no drop of {gate.PRESETS['ci']:g} points" in capsys.readouterr().out


# ---- the preset ----


def test_a_preset_is_run_with_two_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = preset_experiment("ci", "yarn", "ntk")
    assert [method.label for method in plan.methods] == ["yarn", "ntk"]  # not the unextended model
    assert plan.name == "ci-yarn-ntk" and plan.target_length == 2048
    assert {test.samples for test in plan.tests if test.task.unit == "score"} == {200, 300}
    (tmp_path / "mine.py").write_text((Path(extenders.__file__).parent / "pi.py").read_text())
    assert [m.label for m in preset_experiment("ci", "yarn", str(tmp_path / "mine.py")).methods] == ["yarn", "mine"]
    monkeypatch.chdir(tmp_path)
    assert [m.label for m in preset_experiment("ci", "mine", "pi").methods] == ["mine", "pi"]
    assert [m.label for m in preset_experiment("ci", "none", "pi").methods] == ["none", "pi"]
    with pytest.raises(ValueError, match="both 'yarn'"):
        preset_experiment("ci", "yarn", "yarn")
    with pytest.raises(ValueError, match="no extender is named 'yarm'"):
        preset_experiment("ci", "yarm", "ntk")


def test_the_command_runs_what_the_preset_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr("harness.runner.engine.LocalEngine", lambda *_: engine)
    monkeypatch.setattr("harness.experiment.preset.preset_experiment", lambda *_: experiment())
    words = ["compare", "none", "pi", "--preset", "ci", "--out", str(tmp_path / "store")]
    assert cli.answer(words) == 1  # equal answers, and far too few samples
    assert "not shown" in capsys.readouterr().out and engine.opened == 1
    assert cli.answer(words) == 1 and engine.opened == 1
    monkeypatch.setattr(
        "harness.experiment.preset.preset_experiment",
        lambda *_: experiment(tests=(Test("count", Count(empty=True), 4),)),
    )
    assert cli.answer([*words[:-1], str(tmp_path / "broken")]) == 2
    assert "cells failed, first" in capsys.readouterr().err
