"""What all tests share: no network, no GPU where there is none, and a tiny random model in a folder."""

import os
from pathlib import Path

import pytest

# Before any Hugging Face import: a test that reaches for the hub fails at once instead of waiting for it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("ROPEBENCH_EXTENDERS", None)
os.environ.pop("ROPEBENCH_TRACEBACK", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def prompts_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of prompts in somebody's home."""
    os.environ["ROPEBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a window of 64 tokens and a byte tokenizer, saved as users save models."""
    from fakes import byte_tokenizer, tiny_llama

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
