"""The preflight passes a good plan on a real model and fails broken ones, each for its own reason."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extenders.base import Extender, RopePlan, RopeSpec, load
from harness import cli
from harness.experiment.file import Method
from harness.model.files import shipped_models
from harness.tools import preflight
from harness.tools.preflight import Check, Preflight, examine
from harness.tools.time_budget import TimeBudget

TARGET = 1024


@pytest.fixture(scope="module")
def loaded() -> Any:
    from harness.model.load import load_model

    return load_model("pocket-llama")


@pytest.fixture(scope="module")
def theta_of_loaded(loaded: Any) -> Callable[..., Check]:
    """The check of rope_theta takes most of the time and reads the model, not the plan: half of its tokens, once."""
    check, made = preflight._theta, []

    def once(fixed: Any, spec: RopeSpec, budget: Any) -> Check:
        assert spec == loaded.spec
        if not made:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(preflight, "THETA_TOKENS", 1024)
                made.append(check(fixed, spec, budget))
        return made[0]

    return once


@pytest.fixture
def theta_read_once(theta_of_loaded: Callable[..., Check], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_theta", theta_of_loaded)


@pytest.fixture
def without_passkeys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slowest check; one test with it is enough."""
    monkeypatch.setattr(preflight, "_passkeys", lambda *_: Check("passkeys", "left out"))


def method(name: str, target: int = TARGET) -> Method:
    return Method(name, load(name)(target_length=target))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForAnotherTheta(Extender):
    """Yarn as it would be for a model of another rope_theta."""

    times: float

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        theta, pairs = rope.rope_theta * self.times, len(rope.inv_freq)
        other = dataclasses.replace(rope, rope_theta=theta, inv_freq=tuple(theta ** (-i / pairs) for i in range(pairs)))
        return load("yarn")(target_length=self.target_length).plan(other, length)


def failed(found: Preflight) -> dict[str, str]:
    return {check.name: check.reason for check in found.failed}


@pytest.mark.slow
@pytest.mark.usefixtures("theta_read_once")
def test_a_good_plan_passes(loaded: Any) -> None:
    found = examine(loaded, method("yarn"))
    assert failed(found) == {}
    assert [check.name for check in found.checks] == [
        "plan",
        "rope_theta",
        "loss inside the window",
        "loss beyond the window",
        "plan runs",
        "plan matters",
        "passkeys",
    ]
    assert list(found.losses) == [0, 255, 512, 767]
    inside = [(plain, extended) for start, (plain, extended) in found.losses.items() if start < 512]
    assert all(plain is not None and abs(extended - plain) < preflight.INSIDE / 2 for plain, extended in inside)
    assert "not judged" not in found.checks[-1].measured


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fading(Extender):
    """The slowest pairs fade until the last one stands still."""

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        factor, pairs = self.factor(rope), len(rope.inv_freq)
        factors = load("yarn")(target_length=self.target_length).plan(rope, length).rescale_factors(rope)
        return RopePlan.rescaled(rope, [*factors[: pairs - 3], 10 * factor, 100 * factor, float("inf")])


@pytest.mark.slow
@pytest.mark.usefixtures("without_passkeys", "theta_read_once")
def test_a_plan_that_stops_pairs_passes(loaded: Any) -> None:
    result = examine(loaded, Method("fading", Fading(target_length=TARGET)))
    assert failed(result) == {}
    assert "rescale factors 1 to 200, 1 of 32 pairs stopped" in result.checks[0].measured


@pytest.mark.slow
@pytest.mark.usefixtures("without_passkeys", "theta_read_once")
@pytest.mark.parametrize("times", [1 / 50, 1 / 4, 16.0])
def test_a_plan_for_another_rope_theta_fails(loaded: Any, times: float) -> None:
    """A fiftieth is the classic: 10,000 where 500,000 was trained."""
    told = failed(examine(loaded, Method("wrong", ForAnotherTheta(target_length=TARGET, times=times))))
    assert "made for another rope_theta" in told["plan"]
    assert "rope_theta" not in told  # the model itself is fine
    if times < 1 / 10:
        assert "does not fit this model" in told["loss inside the window"]


@pytest.mark.slow
@pytest.mark.usefixtures("without_passkeys")
def test_a_model_whose_rope_theta_was_altered_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.model.load import load_model

    monkeypatch.setattr(preflight, "THETA_TOKENS", 512)  # four times theta shows in one document
    folder = tmp_path / "altered"
    shutil.copytree(shipped_models()["pocket-llama"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] *= 4
    (folder / "config.json").write_text(json.dumps(config))
    told = failed(examine(load_model(str(folder)), method("yarn")))
    assert "it was not trained with this one" in told["rope_theta"] and "with 0.25 times that" in told["rope_theta"]


@pytest.mark.usefixtures("without_passkeys")
def test_an_ignored_plan_fails(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model runs unextended beyond its window: its cos and sin say so, and its losses."""
    monkeypatch.setattr("harness.rope.applied.Applied.use", _as_trained_only)
    monkeypatch.setattr(preflight, "_theta", lambda *_: Check("rope_theta", "left out"))
    told = failed(examine(loaded, method("yarn")))
    assert "does not run with the plan" in told["plan runs"]
    assert "the plan is ignored" in told["plan matters"]


def _as_trained_only(self: Any, plans: Any, mapped: bool = False) -> None:
    for _, forward in self._forwards:
        forward.rotations[self.spec.layer_type].pin([RopePlan.as_trained(self.spec)], self.spec, each_row=False)


@pytest.mark.slow
@pytest.mark.usefixtures("theta_read_once")
def test_passkeys_fail_where_loss_sees_nothing(loaded: Any) -> None:
    told = failed(examine(loaded, Method("wrong", ForAnotherTheta(target_length=2048, times=1 / 4))))
    assert "half as many are wanted" in told["passkeys"]
    assert "loss inside the window" not in told and "loss beyond the window" not in told


@pytest.mark.slow
def test_the_unextended_model_fails_beyond_its_window(loaded: Any) -> None:
    """A plan that is applied and good for nothing: retrieval shows it where loss does not."""
    told = failed(examine(loaded, method("none", 4096)))
    assert "so nothing is extended" in told["plan"] and "the plan is ignored" in told["plan matters"]
    assert "half as many are wanted" in told["passkeys"]
    assert "plan runs" not in told and "rope_theta" not in told  # it runs, as planned: unextended


def test_a_model_that_gives_nan_fails_and_says_so(tiny_model_folder: Path) -> None:
    import torch

    from harness.model.load import load_model

    loaded = load_model(str(tiny_model_folder))
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight.fill_(float("nan"))
    told = failed(examine(loaded, method("yarn", 128)))
    assert "NaN" in told["rope_theta"] and "NaN" in told["loss inside the window"]


def test_passkeys_that_a_model_cannot_do_are_not_judged(tiny_model_folder: Path) -> None:
    from harness.model.load import load_model

    found = examine(load_model(str(tiny_model_folder), trained_length=256), method("yarn", 512))
    assert "not judged: 0 of 8" in found.checks[-1].measured and found.checks[-1].ok


def test_a_budget_in_seconds_leaves_out_what_does_not_fit_and_says_so(
    tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    given = {"trained_length": 64, "seconds": 1e-6, "say": said.append}
    found = preflight.preflight("yarn", {}, str(tiny_model_folder), 512, **given)
    assert [check.name for check in found.checks] == list(preflight.ORDER)
    told = {check.name: check.measured for check in found.checks}
    for name in ("rope_theta", "passkeys"):
        assert re.fullmatch(r"not judged: about \d+ s would be needed and 0 s are left", told[name])
    assert len(found.losses) == 3, "nothing between the window and the target"
    assert said[0].startswith("loading ") and all("the passage behind" in line for line in said[1:])
    assert re.fullmatch(r"the passage behind 4\d\d tokens \(512 tokens(, about \d+ s)?\)", said[-1])
    with pytest.raises(ValueError, match="seconds must be above 0, got 0"):
        preflight.preflight("yarn", {}, str(tiny_model_folder), 512, seconds=0.0)


def test_a_budget_knows_from_what_it_read() -> None:
    budget = TimeBudget(100.0)
    assert budget.allows((10**6, 10**6)), "nothing is known yet"
    budget._measured = [(1, 1000, 2.0), (1, 2000, 6.0)]  # 0.001 n + 0.000001 n²
    assert budget.needed(2, 4000) == pytest.approx(40.0)
    assert budget.allows((2, 4000), (2, 4000)) and not budget.allows((2, 4000), (4, 4000))
    assert budget.short((2, 4000), (4, 4000)) == "not judged: about 120 s would be needed and 100 s are left"


def test_wrong_input_is_refused(tiny_model_folder: Path) -> None:
    model = str(tiny_model_folder)
    with pytest.raises(ValueError, match="must be above the trained length 64"):
        preflight.preflight("yarn", {}, model, 64)
    with pytest.raises(ValueError, match="did you mean 'yarn'"):
        preflight.preflight("yarm", {}, model, 128)
    with pytest.raises(ValueError, match="did you mean 'beta_fast'"):
        preflight.preflight("yarn", {"beta_fats": 1}, model, 128)


def test_the_command_and_its_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = Check("plan", "abc")
    bad = Check("passkeys", "0 of 8", "0 of 8 at 4,096 tokens: half as many are wanted")
    words = ["preflight", "yarn", "--model", "pocket-llama", "--target-length", "4096"]
    for checks, code in (((good,), 0), ((good, bad), 1)):
        found = Preflight({0: (1.0, 1.1), 512: (None, 1.2)}, checks)
        monkeypatch.setattr(preflight, "preflight", lambda *_, made=found: made)
        assert cli.answer(words) == code
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "failed: passkeys: 0 of 8 at 4,096 tokens: half as many are wanted"
    assert any(line.startswith("512") and line.endswith("1.200") for line in shown)
