"""Processes for a run from elsewhere: another card, another machine, a job of a cluster."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.terminal import clean, say, values

POLL = 1.0  # seconds between two looks at a store that nobody runs yet


def worker(
    store: Annotated[Path, typer.Argument(help="The store of a run that is at work, or will be.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the run to begin.")] = 0.0,
    device: options.Device = "auto",
    submit: Annotated[int, typer.Option(min=0, help="Submit so many workers as jobs instead of working here.")] = 0,
    cluster: Annotated[str, typer.Option(help="Where jobs go: slurm, or local (processes here).")] = "slurm",
    job: Annotated[
        list[str] | None, typer.Option("--job", help="KEY=VALUE of a job as submitit names it; repeatable.")
    ] = None,
) -> None:
    """Join a run: take its searches, trainings and cells until none is left. Start as many as there are cards."""
    if submit:
        from harness.tools.submit import submit_workers

        for number in submit_workers(store, submit, cluster, values(job or [], "--job"), wait, device):
            print(clean(number))
        return
    if job:
        raise ValueError("--job is for workers that are submitted; name their number with --submit")
    _join(store, wait, device)


def _join(store: Path, wait: float, device: str) -> None:
    """This process becomes the run's command, in its session."""
    from harness.runner import joining
    from harness.runner.helper import helper_command
    from harness.runner.team import SESSION

    until = time.monotonic() + wait
    while reason := joining.refusal(offer := joining.read(store / "team"), store):
        if time.monotonic() >= until:
            raise ValueError(reason)
        time.sleep(POLL)
    assert offer is not None
    say(f"joining the run in {store}")
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.chdir(offer.folder)
    sys.stdout.flush()
    command = helper_command([*offer.arguments, "--device", device])
    os.execve(command[0], command, {**os.environ, SESSION: offer.session, "PYTHONPATH": paths})
