"""What all tests share: no network, no GPU where there is none, and a tiny random model in a folder."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

gc.disable()  # until all is imported: pytest_collection_finish
# Before any Hugging Face import: a test that reaches for the hub fails at once instead of waiting for it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two threads on matrices of tests wait for each other longer than they compute, above all where something else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROPEBENCH_STRICT_REPORT"] = "1"  # a part of a report that cannot be made is an error here
os.environ.pop("ROPEBENCH_EXTENDERS", None)
os.environ.pop("ROPEBENCH_TRACEBACK", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """The suite runs on all cores (None); files and tests that somebody names run in this process: it starts sooner."""
    return 0 if config.option.file_or_dir else None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker("slow")  # -m "not slow" takes the place of pyproject's -m "not full"
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """What imports have made stays, so no collection of garbage needs to look at it again (bench collects often)."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def prompts_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of prompts in somebody's home."""
    os.environ["ROPEBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def files_need_not_outlive_the_machine() -> Iterator[None]:
    """Waiting for the disk protects from a power cut alone, and takes milliseconds for each of thousands of files."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def users_methods_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` with a user's method stays in this process, where it starts sooner and what it says can be read."""
    monkeypatch.setattr("harness.runner.apart.apart", lambda: True)
    monkeypatch.setattr("harness.runner.apart.answer_apart", lambda work: work())


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a window of 64 tokens and a byte tokenizer, saved as users save models."""
    from fakes import byte_tokenizer, tiny_llama

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
