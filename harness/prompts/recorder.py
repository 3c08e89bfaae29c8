"""A model that only notes what it is asked: with it a test gives up its prompts, and no weights are needed."""

from collections.abc import Iterator, Sequence

from tasks.base import Generation, Tokenizer


class Recorder:
    """Implements `tasks.base.LM` with a tokenizer alone.

    Answers nothing, but the first `echoes` answers repeat the prompt; every token of a document costs it `loss` nats.
    What it was asked since the last `forget` stands in `prompts`, `documents` and `pairs`.
    """

    def __init__(self, tokens: Tokenizer, echoes: int = 0, loss: float = 0.0) -> None:
        self.tokens = tokens
        self._echoes, self._loss = echoes, loss
        self.forget()

    def forget(self) -> None:
        self.prompts: list[tuple[str, int]] = []  # (prompt, new tokens)
        self.documents: list[tuple[list[int], int]] = []  # (token ids, first scored position)
        self.pairs: list[tuple[str, str]] = []  # (context, continuation)

    @property
    def texts(self) -> list[str]:
        """All that it was asked, as text."""
        prompts = [prompt for prompt, _ in self.prompts]
        documents = [self.decode(ids) for ids, _ in self.documents]
        return [*prompts, *documents, *(context + continuation for context, continuation in self.pairs)]

    @property
    def added_tokens(self) -> int:
        return self.tokens.added_tokens

    def encode(self, text: str, special: bool = False) -> list[int]:
        return self.tokens.encode(text, special=True) if special else self.tokens.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokens.decode(ids)

    def plan_hash(self, length: int) -> str:
        return ""

    def generate(
        self, prompts: Sequence[str], new_tokens: int, longest: int | None = None, special: bool = False
    ) -> Iterator[Generation]:
        for prompt in prompts:
            self.prompts.append((prompt, new_tokens))
            self._echoes -= 1
            yield Generation(prompt if self._echoes >= 0 else "", 0, True, 0.0, "")

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        self.documents.append((list(ids), start))
        return [self._loss] * (len(ids) - start)

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        for pair in pairs:
            self.pairs.append(pair)
            yield 0.0, False
