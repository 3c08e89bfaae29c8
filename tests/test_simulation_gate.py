"""The gate at its preset's size: a planted drop of 3 points fails, a change that changes nothing passes.

Truth is drawn for every group of `harness/experiments/ci.yaml` and goes through the gate's own decision. Decoding is
greedy, so a change that changes nothing gives the same answers, or nearly: DISCORDANCE is the share of samples that
are answered right on one side only, half of them on each side. docs/gate.md says where it was measured. The planted
drop is the hardest to see: in one category at one length, all else unchanged.

The ordinary suite draws a few hundred times; the full size is

    python -m pytest tests/test_simulation_gate.py -m full -s
"""

from collections import Counter

import numpy as np
import pytest

from harness.experiment import file as experiment
from reports.gate.gate import PRESETS
from reports.statistics.intervals import generator
from reports.statistics.noninferiority import Group, decide

DISCORDANCE = 0.02
LOSS_SPREAD = 0.01  # nats per token, between documents, of the difference of two nearly equal plans
RIGHT = 0.9  # what both sides score
DROP = 3.0  # points; of perplexity 3 %
FULL = [pytest.mark.full, pytest.mark.slow]


def groups_of_preset() -> list[tuple[str, str, int, list[int]]]:
    """(category, unit, length, samples of each test) as the gate would group them."""
    plan = experiment.read(experiment.find("ci"))
    found: dict[tuple[str, str, int], list[int]] = {}
    for test in plan.tests:
        for length in (512,) if test.task.lengths == "window" else plan.lengths:
            found.setdefault((test.task.category, test.task.unit, length), []).append(test.samples)
    return [(*key, sizes) for key, sizes in found.items()]


def scores(rng: np.random.Generator, n: int, unit: str, drop: float) -> tuple[np.ndarray, np.ndarray]:
    """(candidate, base) of one test whose true drop is `drop` points."""
    if unit == "nats":
        base = rng.normal(3.0, 0.3, n)
        return base + np.log1p(drop / 100) + rng.normal(0, LOSS_SPREAD, n), base
    lost, won = DISCORDANCE / 2 + drop / 100, DISCORDANCE / 2
    luck = rng.random(n)
    base = np.where(luck < lost, 1.0, np.where(luck < lost + won, 0.0, rng.random(n) < RIGHT))
    candidate = np.where(luck < lost, 0.0, np.where(luck < lost + won, 1.0, base))
    return candidate, base


def passed(rng: np.random.Generator, planted: int | None) -> bool:
    """One run of the gate. `planted`: only this group is run, and it drops; the gate fails if it fails, and whether a
    group passes depends on no other (test_groups_pass_alone_as_together), so the others can be left out."""
    groups = []
    for i, (category, unit, length, sizes) in enumerate(groups_of_preset()):
        if planted in (None, i):
            tests = [scores(rng, n, unit, 0.0 if planted is None else DROP) for n in sizes]
            groups.append(Group("yarn", category, length, unit, tests))
    return all(one.passed for one in decide(groups, PRESETS["ci"]))


def test_groups_pass_alone_as_together() -> None:
    rng = generator("gate alone")
    for _ in range(5):
        groups = [
            Group("yarn", category, length, unit, [scores(rng, n, unit, 1.5) for n in sizes])
            for category, unit, length, sizes in groups_of_preset()
        ]
        together = [one.passed for one in decide(groups, PRESETS["ci"])]
        assert together == [decide([group], PRESETS["ci"])[0].passed for group in groups]


@pytest.fixture(autouse=True, scope="module")
def read_once() -> object:
    """The preset is a file: read it once for thousands of runs."""
    with pytest.MonkeyPatch.context() as patch:
        found = groups_of_preset()
        patch.setattr(f"{__name__}.groups_of_preset", lambda: found)
        yield


@pytest.mark.parametrize("runs", [200, pytest.param(4000, marks=FULL)])
def test_a_null_change_passes(runs: int) -> None:
    rng = generator(f"gate null {runs}")
    quiet = sum(passed(rng, None) for _ in range(runs)) / runs
    print(f"null changes passed: {100 * quiet:.2f} % of {runs}")
    assert quiet >= 0.95  # of 200 runs: 93 % would be noticed four times out of five, 90 % nearly always


@pytest.mark.parametrize("runs", [100, pytest.param(2000, marks=FULL)])
def test_a_planted_drop_fails_wherever_it_is(runs: int) -> None:
    rng = generator(f"gate drop {runs}")
    caught = Counter({i: sum(not passed(rng, i) for _ in range(runs)) for i in range(len(groups_of_preset()))})
    for i, (category, unit, length, sizes) in enumerate(groups_of_preset()):
        print(f"drop in {category} ({unit}, {sum(sizes)} samples) at {length}: caught {100 * caught[i] / runs:.2f} %")
    assert min(caught.values()) / runs >= (0.95 if runs >= 1000 else 0.92)
