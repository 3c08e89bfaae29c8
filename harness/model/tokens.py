"""A tokenizer without its model, which is all that making prompts needs: no weights are read."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.model.files import TOKENIZER_EXTRAS, TOKENIZER_FILES, shipped_models, tokenizer_files


class Tokens:
    """Encodes and counts exactly as `harness.model.lm.ExtendedLM` does."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.before = added_before(tokenizer)

    @property
    def added_tokens(self) -> int:
        return len(self.before)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


def added_before(tokenizer: Any) -> list[int]:
    """What the tokenizer itself puts before a text: BOS where the model was trained with one, else nothing."""
    bare: list[int] = tokenizer("a", add_special_tokens=False).input_ids
    full: list[int] = tokenizer("a").input_ids
    for i in range(len(full) - len(bare) + 1):
        if full[i : i + len(bare)] == bare:
            return full[:i]
    return []


@cache
def tokens_of(folder: Path) -> Tokens:
    """The tokenizer in a folder. Raises ValueError in one line when it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return Tokens(AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True))
    except Exception as error:  # tokenizer classes fail in many ways on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the tokenizer in {folder} cannot be loaded ({reason})") from None


def tokenizer_folder(name: str) -> Path:
    """The folder with a model's tokenizer: a shipped model, a local folder, or a hub name, of which only the tokenizer
    is downloaded. Raises ValueError in one line."""
    if name in shipped_models():
        return shipped_models()[name]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name)
    tokenizer_files(folder)
    return folder


def tokenizer_hash(folder: Path) -> str:
    """16 hex digits over names and contents of the tokenizer's files."""
    files = sorted(tokenizer_files(folder))
    lines = "".join(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*TOKENIZER_FILES, *TOKENIZER_EXTRAS, "config.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub client has a dozen exception types, all of which mean: not here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"there is no folder {name}, and the Hugging Face hub did not give its tokenizer ({reason}); name a folder"
        ) from None
