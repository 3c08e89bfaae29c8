"""Readers of experiments and stores under a fuzzer that is guided by coverage (tests/atheris_readers.py)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.experiment.file import shipped

TESTS = Path(__file__).resolve().parent
SECONDS = 60
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None, reason="atheris is not installed (pip install atheris)"
    ),
]


@pytest.mark.parametrize("kind", ["yaml", "store"])
def test_readers_give_a_value_or_one_line(kind: str, tmp_path: Path, tiny_store: Path) -> None:
    sound = list(shipped().values()) if kind == "yaml" else [path for path in tiny_store.rglob("*.json*")]
    for number, path in enumerate(sound):
        for seal in (b"\x00", b"\xff") if kind == "store" else (b"",):
            (tmp_path / f"{number}{seal.hex()}").write_bytes(seal + path.read_bytes())
    limits = [f"-max_total_time={SECONDS}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=20000"]
    command = [sys.executable, str(TESTS / "atheris_readers.py"), kind, *limits, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import synthetic_store as made

    return made.with_stages(made.realistic(tmp_path_factory.mktemp("store"), 2, ("none", "longrope2"), (512,))).folder
