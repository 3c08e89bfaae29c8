"""Stand-ins for tests: a model that answers from a table, a byte tokenizer and tiny random models."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tasks.base import Generation

WORDS = (
    "a the old man child river boat walks sings finds keeps bread stone letter under behind near bright cold".split()
)

# tests of ours that ask one question a sample, by default settings
PROMPT_TESTS = (
    "needle",
    "passkey",
    "key_value",
    "facts_in_text",
    "unmatched_needle",
    "ordinal",
    "which_first",
    "first_value",
    "graphwalks",
)


class FakeLM:
    """A `tasks.base.LM` of words, spaces and marks. `answer(prompt)` writes; it scores its own answers as certain."""

    added_tokens = 1

    def __init__(self, answer: Callable[[str], str] = lambda _: "") -> None:
        self.answer = answer
        self.vocabulary: dict[str, int] = {}
        self.pieces: list[str] = []
        self.asked: list[tuple[str, int]] = []  # (prompt, new tokens)
        self.special: set[bool] = set()  # as what it was asked
        self.documents: list[list[int]] = []

    def encode(self, text: str, special: bool = False) -> list[int]:
        ids = []
        for piece in re.findall(r"\s?(?:[A-Za-z]+|[0-9]|\S)|\s", text):
            if piece not in self.vocabulary:
                self.vocabulary[piece] = len(self.pieces)
                self.pieces.append(piece)
            ids.append(self.vocabulary[piece])
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.pieces[token] for token in ids)

    def plan_hash(self, length: int) -> str:
        return f"fake{length:012d}"

    def generate(
        self, prompts: Sequence[str], new_tokens: int, longest: int | None = None, special: bool = False
    ) -> Iterator[Generation]:
        self.special.add(special)
        for prompt in prompts:
            self.asked.append((prompt, new_tokens))
            text = self.answer(prompt)
            tokens = len(self.encode(text))
            length = len(self.encode(prompt)) + self.added_tokens + new_tokens
            yield Generation(text, tokens, True, 0.0, self.plan_hash(min(length, longest or length)))

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        self.documents.append(list(ids))
        return [1.0 + (token % 7) / 10 for token in ids[start:]]

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        for context, continuation in pairs:
            self.asked.append((context, 0))
            right = bool(continuation.strip()) and self.answer(context).strip() == continuation.strip()
            yield (0.1 if right else 1.0) * len(self.encode(continuation)), right


def story(rng: random.Random) -> str:
    """About eighty words of nonsense, in sentences."""
    lines = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(5, 11))) for _ in range(10)]
    return " ".join(f"{line.capitalize()}." for line in lines)


def byte_tokenizer(bos: bool = True) -> Any:
    """A Hugging Face tokenizer of single bytes: ids 0 … 255 and <s> 256, </s> 257; puts <s> before a text if asked."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)} | {"<s>": 256, "</s>": 257}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 256)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def tiny_model(family: str = "llama", seed: int = 0, **settings: Any) -> Any:
    """A random two-layer model in float32, 260 tokens, window 64; `family` is a Hugging Face model type."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": 260,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "pad_token_id": None,
    }
    config = AutoConfig.for_model(family, **(sizes | settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()


def tiny_llama(seed: int = 0, **settings: Any) -> Any:
    return tiny_model("llama", seed, **settings)
