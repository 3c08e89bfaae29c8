"""Workers as jobs of a cluster, through submitit (facebookincubator/submitit): Slurm, or processes of this machine."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.runner.helper import helper_command

CLUSTERS = ("slurm", "local")


def submit_workers(
    store: Path, count: int, cluster: str, parameters: Mapping[str, Any], wait: float, device: str
) -> list[str]:
    """Submit so many `ropebench worker` as one array; gives the jobs' numbers. Their output lies beside the store.

    `parameters` are submitit's (timeout_min, gpus_per_node, slurm_partition, …). Raises ValueError without submitit,
    for an unknown cluster, and for what submitit refuses.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"--cluster must be {' or '.join(CLUSTERS)}, got {cluster!r}")
    try:
        submitit = importlib.import_module("submitit")
    except ImportError:
        raise ValueError(
            "jobs are submitted through submitit; install it with: pip install 'ropebench[cluster]'"
        ) from None
    place = store.resolve()
    words = helper_command(["worker", str(place), "--wait", f"{wait:g}", "--device", device])
    try:
        executor = submitit.AutoExecutor(folder=place.with_name(f"{place.name}-workers"), cluster=cluster)
        executor.update_parameters(**{"name": "ropebench", **parameters})
        with executor.batch():
            jobs = [executor.submit(submitit.helpers.CommandFunction(words)) for _ in range(count)]
    except Exception as error:  # of submitit: a wrong parameter, no Slurm here
        raise ValueError(f"the workers were not submitted: {error}") from None
    return [str(job.job_id) for job in jobs]
