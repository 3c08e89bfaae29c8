"""Read and score the samples beside this file; the task files name these functions and lm_eval calls them.

Written by `ropebench generate`. Scoring needs ropebench installed (its package `tasks`); the .jsonl files need nothing.
"""

import json
from pathlib import Path
from typing import Any

import datasets


def samples(file: str, **_: Any) -> dict[str, datasets.Dataset]:
    """The samples of one .jsonl file, as lm_eval wants them."""
    rows = []
    with (Path(__file__).parent / file).open(encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            prompt = one.pop("prompt")
            target = one.pop("scored") if "scored" in one else ", ".join(one["references"])
            rows.append({"prompt": prompt, "target": target, "sample": json.dumps(one)})
    return {"test": datasets.Dataset.from_list(rows)}


def scored_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The score of one answer, in [0, 1]."""
    try:
        from tasks.scoring import score
    except ImportError:
        raise ImportError(
            "scoring needs ropebench in this environment; without it, score answers against 'references' of the .jsonl"
        ) from None
    one = json.loads(doc["sample"])
    return {"score": score(one["scoring"], results[0], one["references"], depth=one["depth"], extra=one["extra"])}


def scored_loss(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """The loss of one document in nats per token."""
    log_likelihood, _ = results[0]
    return {"score": -log_likelihood / json.loads(doc["sample"])["scored_tokens"]}
