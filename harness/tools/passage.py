"""The passage that a preflight reads behind more and more text: the same words always, in no test and no training."""

import random
from importlib import resources

from harness.model.lm import ExtendedLM
from tasks.corpora.world import story

SEED = 20_000_001  # of passkeys and filler; no experiment uses it by default


def passage() -> str:
    """The fixed text: our own, and in no test and no training."""
    return resources.files("harness.tools").joinpath("preflight.txt").read_text(encoding="utf-8")


def passage_tokens(lm: ExtendedLM) -> int:
    """How much of the passage is read: half of a short window, all of it in a long one."""
    return min(len(lm.encode(passage())), lm.spec.trained_length // 2)


def passage_loss(lm: ExtendedLM, start: int) -> float:
    """Mean loss of the passage behind `start` tokens of stories; the first token, which may have nothing before it,
    never counts."""
    ids = lm.encode(passage())[: passage_tokens(lm)]
    losses = lm.losses(filler(lm, start) + ids)[-(len(ids) - 1) :]
    return sum(losses) / len(losses)


def filler(lm: ExtendedLM, tokens: int) -> list[int]:
    """Exactly so many tokens of stories, always the same ones; the last ones stay next to the passage."""
    rng = random.Random(f"preflight {SEED}")
    ids: list[int] = []
    while len(ids) < tokens:
        ids += lm.encode(story(rng) + "\n")
    return ids[len(ids) - tokens :]
