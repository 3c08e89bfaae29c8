"""The batches of pocket pre-training: those of step i depend on the recipe's seed and on i alone."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from harness.pocket import data, tokenizer
from harness.pocket.recipe import PocketRecipe


class PocketBatches:
    """Batches by step: token ids and loss weights, both (B, S+1)."""

    def __init__(self, recipe: PocketRecipe, folder: Path) -> None:
        self.recipe = recipe
        self.encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.begin: int = self.encode(tokenizer.BEGIN)[0]
        self.end: int = self.encode(data.END)[0]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.encoder.encode(text, add_special_tokens=False).ids
        return ids

    def row(self, rng: random.Random, kind: str, length: int) -> tuple[list[int], list[float]]:
        """One sequence of length+1 ids with the weight of predicting each."""
        ids: list[int] = [self.begin]
        weights = [0.0]
        for text, weight in data.sequence(rng, kind, length, lambda string: len(self.encode(string))):
            added = self.encode(text)
            ids += added
            weights += [weight] * len(added)
            if added[-1] == self.end and kind in data.SMALL:  # every small document starts as at evaluation
                ids.append(self.begin)
                weights.append(0.0)
        missing = max(0, length + 1 - len(ids))
        return ids[: length + 1] + [self.end] * missing, weights[: length + 1] + [0.0] * missing

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(f"{self.recipe.name}/{self.recipe.seed}/{step}")
        phase = self.recipe.phase(step)
        length = rng.choices(list(phase.lengths), list(phase.lengths.values()))[0]
        kinds = {kind: share for kind, share in phase.kinds.items() if data.MAKERS[kind][1] <= length}
        rows = []
        for _ in range(self.recipe.tokens_per_step // length):
            rows.append(self.row(rng, rng.choices(list(kinds), list(kinds.values()))[0], length))
        # context tokens weigh little: score one in ten of them at ten times the weight, and skip the rest
        weights = [[w if w > data.CONTEXT else 10 * w * (rng.random() < 0.1) for w in row] for _, row in rows]
        return torch.tensor([ids for ids, _ in rows]), torch.tensor(weights)
