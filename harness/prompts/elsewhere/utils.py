"""Read and score the samples beside this file; the task files name these functions and lm_eval calls them.

Written by `ropebench generate`. Scoring needs ropebench installed (its package `tasks`); the .jsonl files need nothing.
"""

import json
from pathlib import Path
from typing import Any

import datasets

try:
    from tasks.scoring import score
except ImportError:  # reading the samples and measuring losses need no ropebench
    score = None  # type: ignore[assignment]


def samples(file: str, **_: Any) -> dict[str, datasets.Dataset]:
    """The samples of one .jsonl file, as lm_eval wants them."""
    rows = []
    with (Path(__file__).parent / file).open(encoding="utf-8") as lines:
        for line in lines:
            sample = json.loads(line)
            prompt = sample.pop("prompt")
            target = sample.pop("scored") if "scored" in sample else ", ".join(sample["references"])
            rows.append({"prompt": prompt, "target": target, "sample": json.dumps(sample)})
    return {"test": datasets.Dataset.from_list(rows)}


def scored_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The score of one answer, in [0, 1]."""
    if score is None:
        raise ImportError(
            "scoring needs ropebench in this environment; without it, score answers against 'references' of the .jsonl"
        )
    sample = json.loads(doc["sample"])
    references, depth, extra = sample["references"], sample["depth"], sample["extra"]
    return {"score": score(sample["scoring"], results[0], references, depth=depth, extra=extra)}


def scored_loss(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """The loss of one document in nats per token."""
    log_likelihood, _ = results[0]
    return {"score": -log_likelihood / json.loads(doc["sample"])["scored_tokens"]}
