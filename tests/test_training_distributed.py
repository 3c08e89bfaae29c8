"""Two processes (gloo, FSDP2) train as one does, and sharded weights under a plan give the same logits."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def train_in(processes: int, out: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    plain |= {"PYTHONPATH": f"{HERE.parent}:{HERE}", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    running = []
    for rank in range(processes):
        place = {"RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = plain | (place if processes > 1 else {})
        command = [sys.executable, str(HERE / "two_processes.py"), str(out)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    said = [one.communicate(timeout=280)[0].decode() for one in running]
    assert [one.returncode for one in running] == [0] * processes, said[0][-3000:]
    return json.loads(out.read_text())


@pytest.mark.slow
def test_two_processes_follow_one(tmp_path: Path) -> None:
    one, two = train_in(1, tmp_path / "one.json"), train_in(2, tmp_path / "two.json")
    assert (one["processes"], one["sharded"], two["processes"]) == (1, 0, 2) and two["sharded"] > 10
    assert two["logits"] < 1e-5  # FSDP2 under a plan
    assert two["order"] == one["order"]
    assert len(one["losses"]) == len(two["losses"]) > 8
    for a, b in zip(one["losses"], two["losses"], strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[kind] - b[kind]) < 1e-4 for kind in a)
    for name, value in one["weights"].items():
        assert two["weights"][name] == pytest.approx(value, abs=1e-3), name
