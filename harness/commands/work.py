"""How the commands `run`, `compare` and `report` do their work: in which process, with which words.

An experiment with a user's method runs in a process of its own (harness/runner/apart.py), so that this one ends with 0
only when the work is done. Helpers of a run come here too, and end when nothing is left to do.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness import signals
from harness.commands.terminal import ARGUMENTS, clean, command_line, fail, from_here, print_table, say

if TYPE_CHECKING:
    from harness.experiment.file import Code, Experiment
    from harness.progress import Progress
    from harness.runner.run import Outcome
    from harness.runner.serving import Serving
    from harness.store import Store

CALIBRATION = 20.0  # seconds
DIFFERING = (0.1, 0.3)  # shares of answers that are right under one of two methods alone: near and far apart
Read = Callable[["Code"], tuple["Experiment", Path]]


class Elsewhere(ValueError):
    """A method is a user's file, which does not run in this process."""


def compute_and_report(
    read: Read,
    cache: bool,
    workers: int | None,
    device: str,
    report: bool,
    date: str | None,
    only_shipped: bool,
    servers: "Serving | None" = None,
) -> int:
    """The exit code of a run. `read` gives the experiment and the folder of its results; it is given what is to be told
    of each method that is a file, before that file runs."""
    from harness.runner.apart import answer_apart, apart, run_apart
    from harness.runner.helper import helper_command
    from harness.runner.team import SESSION

    here = apart() or SESSION in os.environ

    def work() -> int:
        shown = _shown()
        plan, folder = read(partial(_code, shown=shown, refused=only_shipped, here=here))
        outcome = _computed(plan, folder, shown, cache, workers, device, servers)
        if report:
            write_report(outcome.store, None, date)
        return 1 if outcome.failed or outcome.unsearched else 0

    try:
        return answer_apart(work) if apart() else work()
    except Elsewhere:
        return run_apart(helper_command(ARGUMENTS), output=None)


def _computed(
    plan: "Experiment",
    folder: Path,
    shown: "Progress",
    cache: bool,
    workers: int | None,
    device: str,
    servers: "Serving | None",
) -> "Outcome":
    """What came of a run, said in lines."""
    for note in plan.notes:
        shown.say(note)
    try:
        outcome = _compute(plan, folder, shown, cache, workers, device, servers)
    except KeyboardInterrupt:
        shown.close()
        if signals.PARENT in os.environ:  # the first process says it
            raise
        if _joined():
            fail("stopped; what this worker had finished is kept, and the run goes on without it", 130)
        again = command_line()
        fail(f"stopped; finished cells are kept in {folder}, and this command continues: {again}", 130)
    for cell, reason in outcome.failed:
        shown.say(f"failed: {cell.words}: {reason}")
    for label, reason in outcome.unsearched:
        shown.say(f"not evaluated, because its search failed: {label}: {reason}")
    kept = outcome.total - outcome.computed
    words = f"{outcome.total} cells: {outcome.computed - len(outcome.failed)} computed, {kept} kept from before"
    shown.say(words + (f", {len(outcome.failed)} FAILED (run again to try them again)" if outcome.failed else ""))
    return outcome


def print_plan(read: Read, workers: int | None, device: str, only_shipped: bool, points: float) -> None:
    """What a run would do, as a table, with a calibration of this machine, and what its samples can show.

    A user's method runs in this process: what it could answer for is a forecast."""
    from harness.progress import duration
    from harness.runner.engine import LocalEngine
    from harness.runner.run import plan_only
    from harness.runner.team import team_for

    shown = _shown()
    plan, folder = read(partial(_code, shown=shown, refused=only_shipped, here=True))
    signals.hear()
    team = team_for(plan.model_source, workers, [], device)
    shown.say(f"measuring this machine for about {CALIBRATION:.0f} s")
    stages = plan_only(plan, folder, LocalEngine(plan, shown, team.threads, device), CALIBRATION)
    rows = [[stage.name, f"{stage.units:,}", f"{stage.token_forwards:,}", duration(stage.seconds)] for stage in stages]
    total = sum(stage.seconds for stage in stages)
    forwards = sum(stage.token_forwards for stage in stages)
    rows.append(["all", "", f"{forwards:,}", duration(total)])
    print_table(["stage", "units", "token-forwards", "time of one process"], rows)
    if team.size > 1:
        print(f"with {team.size} processes at work about {duration(total / team.size)}")
    _print_samples(plan, points)


def _print_samples(plan: "Experiment", points: float) -> None:
    """What the experiment's samples can show of two methods, before anything is measured."""
    from reports.statistics.power import needed, seen

    rows = []
    for test in plan.tests:
        if test.task.unit != "score":
            continue
        samples = test.samples * (len(plan.seeds) if test.task.seeded else 1)
        shown = [seen(samples, share) for share in DIFFERING]
        wanted = [f"{needed(points / 100, share):,}" if points / 100 < share else "–" for share in DIFFERING]
        rows.append(
            [test.label, f"{samples:,}", *(f"{100 * one:.0f} points" if one < 1 else "none" for one in shown), *wanted]
        )
    if rows:
        print()
        few, many = (f"{100 * share:.0f} %" for share in DIFFERING)
        head = ["test", "samples", f"shows from, {few} differ", f"{many} differ"]
        print_table([*head, f"for {points:g} points, {few}", f"{many}"], rows)
        print(
            "shows: a difference of two methods at one length, significant at 5 % four times out of five, where so "
            "many answers are right under one of them alone; a table of many comparisons takes more"
        )


def run_preset(preset: str, methods: tuple[str, str], model: str | None, folder: Path, dtype: str, device: str) -> None:
    """Compute what the store misses; where a method is a user's file, in a process of its own, which cannot end this
    one. Raises ValueError when a cell failed."""
    from harness.experiment.preset import foreign, preset_experiment
    from harness.runner.apart import answer_apart, apart, run_apart
    from harness.runner.helper import helper_command
    from harness.runner.team import SESSION

    def work() -> int:
        plan = preset_experiment(preset, *methods, from_here(model) if model else None, dtype)
        outcome = _compute(plan, folder, _shown(), device=device)
        if outcome.failed:
            cell, reason = outcome.failed[0]
            raise ValueError(f"{len(outcome.failed)} cells failed, first {cell.words}: {reason}")
        return 0

    if apart():
        raise typer.Exit(answer_apart(work))
    if SESSION not in os.environ and any([foreign(name) for name in methods]):
        run_apart(helper_command(ARGUMENTS))
    else:
        work()


def _code(file: Path, shown: "Progress", refused: bool, here: bool) -> None:
    """Say that a method is somebody's code before it runs, or raise ValueError where such files are refused, or run in
    another process."""
    from harness.runner.team import Relay

    if refused:
        raise ValueError(f"the method {file} is code that would run; --only-shipped refuses it")
    if not here:
        raise Elsewhere
    if not isinstance(shown, Relay):
        shown.say(clean(f"the method {file} is code, and it runs now with your rights (--only-shipped refuses it)"))


def _joined() -> bool:
    """Whether this process joined a run that another command began."""
    from harness.runner.team import SESSION

    return SESSION in os.environ and signals.CHANNEL not in os.environ


def _shown() -> "Progress":
    """The progress of this process; a helper's goes to the process that started it."""
    from harness.progress import progress
    from harness.runner.team import SESSION, Relay

    return Relay() if SESSION in os.environ and not _joined() else progress()


def _compute(
    plan: "Experiment",
    folder: Path,
    shown: "Progress",
    cache: bool = True,
    workers: int | None = None,
    device: str = "auto",
    servers: "Serving | None" = None,
) -> "Outcome":
    """Compute what the store misses, with helpers where that pays. A helper ends here."""
    from harness.runner.engine import LocalEngine
    from harness.runner.helper import helper_command
    from harness.runner.run import run as run_cells
    from harness.runner.served import ServedEngine
    from harness.runner.team import team_for
    from reports.statistics import sequential

    signals.hear()
    if servers is not None:
        engine, only = ServedEngine(plan, servers, shown, device), frozenset(servers.addresses)
        if later := [method.label for method in plan.methods if method.label not in only]:
            shown.say(f"left for later, because no server is named for them: {', '.join(later)}")
        return run_cells(plan, folder, engine, shown, cache, only=only, judge=sequential)
    team = team_for(plan.model_source, workers, helper_command(ARGUMENTS), device)
    engine_here = LocalEngine(plan, shown, team.threads, device)
    outcome = run_cells(plan, folder, engine_here, shown, cache, team, judge=sequential)
    if not team.first:
        if _joined():
            shown.say("nothing is left to do for this worker")
        raise typer.Exit(0)
    return outcome


def write_report(store: "Store", out: Path | None, date: str | None) -> None:
    from harness.records import damage
    from reports.page import page

    signals.hear()
    found = damage.look(store, weights=False)
    if found.damaged:
        say(f"{damage.words(store.folder, found.damaged)}; they count as missing. See: ropebench check {store.folder}")
    if found.unsealed:
        say(f"{found.unsealed} records carry no seal, as before there were seals: an edited number would not be seen")
    print(clean(str(page.write_report(store, out, date, say))))
