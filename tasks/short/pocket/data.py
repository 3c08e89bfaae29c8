"""Documents of the pocket short suite, made from the invented world; the YAML files name these functions."""

import random
from typing import Any

import datasets

from tasks.corpora import world

DOCUMENTS = 500
FACTS = 250  # the world holds some 300 held-out facts


def facts(**_: Any) -> dict[str, datasets.Dataset]:
    return {"test": datasets.Dataset.from_list(world.fact_questions(FACTS))}


def cloze(**_: Any) -> dict[str, datasets.Dataset]:
    return {"test": datasets.Dataset.from_list(world.cloze_questions(DOCUMENTS))}


def arithmetic(**_: Any) -> dict[str, datasets.Dataset]:
    documents = [{key: str(value) for key, value in row.items()} for row in world.arithmetic_questions(DOCUMENTS)]
    return {"test": datasets.Dataset.from_list(documents)}


def stories(**_: Any) -> dict[str, datasets.Dataset]:
    rngs = [random.Random(f"pocket perplexity {i}") for i in range(DOCUMENTS)]
    texts = ["\n".join(world.story(rng) for _ in range(3)) for rng in rngs]
    return {"test": datasets.Dataset.from_list([{"text": text} for text in texts])}
