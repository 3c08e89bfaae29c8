"""Several processes (gloo, FSDP2) train as one does, also where they share sequences; sharded weights under a plan give
the same logits."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import fakes
import pytest
import torch

from extenders.training.batch import Batch
from harness.training.context_parallel import Split, split_of
from harness.training.objective import Objective

HERE = Path(__file__).resolve().parent


def train_in(processes: int, out: Path, context_parallel: int = 1) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    plain |= {"PYTHONPATH": f"{HERE.parent}:{HERE}", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    running = []
    for rank in range(processes):
        place = {"RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = plain | (place if processes > 1 else {})
        command = [sys.executable, str(HERE / "two_processes.py"), str(out), str(context_parallel)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    said = [one.communicate(timeout=280)[0].decode() for one in running]
    assert [one.returncode for one in running] == [0] * processes, said[0][-3000:]
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_in(1, tmp_path_factory.mktemp("one") / "one.json")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "context_parallel"),
    [(2, 1), (2, 2), pytest.param(4, 2, marks=pytest.mark.full), pytest.param(4, 4, marks=pytest.mark.full)],
)
def test_several_processes_follow_one(one: Any, tmp_path: Path, processes: int, context_parallel: int) -> None:
    two = train_in(processes, tmp_path / "more.json", context_parallel)
    assert (one["processes"], one["sharded"], two["processes"]) == (1, 0, processes) and two["sharded"] > 10
    assert two["logits"] < 1e-5  # FSDP2 under a plan
    assert two["order"] == one["order"]
    assert len(one["losses"]) == len(two["losses"]) > 8
    for a, b in zip(one["losses"], two["losses"], strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[kind] - b[kind]) < 1e-4 for kind in a)
    for name, value in one["weights"].items():
        assert two["weights"][name] == pytest.approx(value, abs=1e-3), name


def test_what_cannot_be_shared_is_said() -> None:
    assert split_of(0, 1, 1, 4) is None
    with pytest.raises(ValueError, match=re.escape("context_parallel 2 does not divide the 3 processes")):
        split_of(0, 3, 2, 4)
    with pytest.raises(ValueError, match=re.escape("context_parallel 3 does not divide the model's 4 attention heads")):
        split_of(0, 3, 3, 4)
    rows = torch.zeros(1, 6)
    whole = Batch("long", "original", rows.long(), torch.arange(6)[None] + 3, rows.long(), rows, ((0, 4),))
    part = whole.part(0, 2)
    assert part.positions_BS.tolist() == [[3, 4, 5]] and part.starts == whole.starts and part.longest == 9
    with pytest.raises(ValueError, match="sequences of 6 tokens cannot be shared by 4 processes"):
        whole.part(0, 4)
    model = fakes.tiny_llama()
    with pytest.raises(ValueError, match="set context_parallel to 1"):
        Objective(model, 0.25, Split(None, 2))
