"""The tokenizer of a model: encodes, decodes and counts; no weights are read.

This is all that making prompts needs. `harness.model.lm.ExtendedLM` is one of these with a model behind it.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer


class Tokens:
    """A transformers tokenizer as tests see it; implements `tasks.base.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.before = added_before(tokenizer)

    @property
    def added_tokens(self) -> int:
        return len(self.before)

    def encode(self, text: str, special: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer(
            text, add_special_tokens=False, verbose=False, split_special_tokens=not special
        ).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def with_start(self, ids: list[int]) -> list[int]:
        """BOS once: not again where the text brings its own, as chat templates do."""
        return ids if self.before and ids[: len(self.before)] == self.before else self.before + ids


def added_before(tokenizer: Any) -> list[int]:
    """What the tokenizer itself puts before a text: BOS where the model was trained with one, else nothing."""
    bare: list[int] = tokenizer("a", add_special_tokens=False).input_ids
    full: list[int] = tokenizer("a").input_ids
    for i in range(len(full) - len(bare) + 1):
        if full[i : i + len(bare)] == bare:
            return full[:i]
    return []


def load_tokenizer(folder: Path) -> Any:
    """The transformers tokenizer in a folder. Raises ValueError in one line when it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizer classes fail in many ways on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the tokenizer in {folder} cannot be loaded ({reason})") from None


@cache
def tokens_of(folder: Path) -> Tokens:
    """The tokenizer in a folder, loaded once. Raises ValueError in one line when it cannot be loaded."""
    return Tokens(load_tokenizer(folder))
