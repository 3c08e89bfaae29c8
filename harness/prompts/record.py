"""A test's prompts without a model: what each asks, what a right answer says, and which function scores it.

The test runs as it always does, over a stand-in that writes nothing down but what it was asked, so every test that
keeps the contract works and sample i is the same text here and in `ropebench run`, which reads the same cache.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from harness.experiment.cells import task_identity
from harness.prompts.cache import PromptCache, prompts_key, sealed, sound_lines
from harness.store import Store, canonical, key_of
from tasks.answers import PromptTask
from tasks.base import LM, Generation, Row, Task, Tokenizer
from tasks.scoring import name_of, score
from tasks.text import Sample

PROBES = 2  # samples of a test whose prompt comes back as the answer, to compare the scoring function with the test


class Recorder:
    """Implements `tasks.base.LM` with a tokenizer alone: answers with nothing, or with the prompt while it probes."""

    def __init__(self, tokens: Tokenizer) -> None:
        self.tokens = tokens
        self.prompts: list[tuple[str, int]] = []  # (prompt, new tokens) since the last row
        self.documents: list[tuple[list[int], int]] = []  # (token ids, first scored position) since the last row
        self.probes = PROBES

    @property
    def added_tokens(self) -> int:
        return self.tokens.added_tokens

    def encode(self, text: str) -> list[int]:
        return self.tokens.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokens.decode(ids)

    def plan_hash(self, length: int) -> str:
        return ""

    def generate(self, prompts: Sequence[str], new_tokens: int, longest: int | None = None) -> Iterator[Generation]:
        for prompt in prompts:
            self.prompts.append((prompt, new_tokens))
            self.probes -= 1
            yield Generation(prompt if self.probes >= 0 else "", 0, True, 0.0, "")

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        self.documents.append((list(ids), start))
        return [1.0] * (len(ids) - start)

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        raise ValueError("a test that compares the losses of given answers cannot be written as prompts")


def recorded(task: Task, tokens: Tokenizer, length: int, seed: int, samples: int) -> Iterator[dict[str, Any]]:
    """Samples 0 … samples-1 as JSON objects, one by one. Raises ValueError for a test that has no prompts to write."""
    lm = Recorder(tokens)
    shared = {**task_identity(task), "length": length, "seed": seed}
    scoring = name_of(task) if task.unit == "score" else ""
    count = 0
    asked: dict[int, Sample] = {}
    if isinstance(task, PromptTask):
        rows = task.answers(lm, _noted(task.prompts(tokens, length, seed, samples), asked), length)
    else:
        rows = task.run(lm, length, seed, samples)
    for row in rows:
        one = _loss(lm, task, row) if task.unit == "nats" else _answer(lm, task, row, scoring)
        lm.prompts, lm.documents = [], []
        name = key_of({**shared, "sample": row.sample, "prompt": Store.prompt_name(row.prompt)})[:16]
        yield {
            "id": name,
            "test": task.name,
            "version": task.version,
            "parameters": shared["parameters"],
            "length": length,
            "seed": seed,
            "sample": row.sample,
            **one,
            "prompt_tokens": row.prompt_tokens,
            "added_tokens": tokens.added_tokens,
            "depth": row.depth,
            "extra": row.extra,
            **_wrong(asked.pop(row.sample, None)),
        }
        count += 1
    if count != samples:
        raise ValueError(f"{task.name} gave {count} samples at {length} tokens, {samples} were asked for")


def _answer(lm: Recorder, task: Task, row: Row, scoring: str) -> dict[str, Any]:
    """A prompt that is to be answered."""
    if [prompt for prompt, _ in lm.prompts] != [row.prompt]:
        raise ValueError(f"{task.name} does not ask one question a sample, so it cannot be written as prompts")
    again = score(scoring, row.generation, row.references, depth=row.depth, extra=row.extra)
    if again != row.score:
        raise ValueError(
            f"{task.name}: {scoring} scores sample {row.sample} with {again} and the test itself with {row.score}; "
            "give the test's class a `scoring` that names its function"
        )
    [(_, new_tokens)] = lm.prompts
    if new_tokens != task.new_tokens:
        raise ValueError(f"{task.name} says that an answer has {task.new_tokens} new tokens and asks for {new_tokens}")
    return {
        "prompt": row.prompt,
        "references": list(row.references),
        "new_tokens": new_tokens,
        "stops": [],
        "scoring": scoring,
    }


def _loss(lm: Recorder, task: Task, row: Row) -> dict[str, Any]:
    """A document whose loss is to be measured: given are the tokens before the first scored one, scored is the rest."""
    if len(lm.documents) != 1:
        raise ValueError(f"{task.name} reads a document in several passes here, so it cannot be written as prompts")
    [(ids, start)] = lm.documents
    given, scored = lm.decode(ids[:start]), lm.decode(ids[start:])
    if lm.encode(given + scored) != ids or lm.encode(given) != ids[:start] or given != given.rstrip():
        raise ValueError(
            f"{task.name}: the text of sample {row.sample} does not give its tokens back when it is encoded again, so "
            "another program would score other tokens"
        )
    return {"prompt": given, "scored": scored, "scored_tokens": len(ids) - start, "new_tokens": 0, "stops": []}


def _noted(samples: Iterable[Sample], asked: dict[int, Sample]) -> Iterator[Sample]:
    for i, sample in enumerate(samples):
        asked[i] = sample
        yield sample


def _wrong(sample: Sample | None) -> dict[str, Any]:
    """Wrong values that stand in the prompt too: by them a wrong answer is told from another."""
    found = {} if sample is None else {"others": list(sample.others), "values": sorted(sample.values)}
    return {name: values for name, values in found.items() if values}


def as_line(one: dict[str, Any]) -> str:
    return sealed(canonical(one))


def sample_of(line: bytes) -> Sample:
    """The sample in a line of a test that asks questions."""
    one = json.loads(line.decode("utf-8", "surrogatepass"))
    return Sample(
        prompt=one["prompt"],
        references=tuple(one["references"]),
        tokens=one["prompt_tokens"] - one["added_tokens"],
        depth=one["depth"],
        others=tuple(one.get("others", ())),
        extra=one["extra"],
        values=frozenset(one.get("values", ())),
    )


@dataclass(frozen=True)
class KeptPrompts:
    """Runs tests with the prompts of the cache; what it lacks is made and kept for the next method, run or machine."""

    cache: PromptCache
    tokenizer: str  # hash of its files

    def rows(self, task: Task, lm: LM, length: int, seed: int, samples: int) -> Iterator[Row]:
        """What `task.run` gives. A test that is no part of this package may change unseen and is never kept."""
        if not isinstance(task, PromptTask) or not type(task).__module__.startswith("tasks."):
            return task.run(lm, length, seed, samples)
        return task.answers(lm, self.prompts(task, lm, length, seed, samples), length)

    def prompts(self, task: PromptTask, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[Sample]:
        key = prompts_key(task, self.tokenizer, length, seed)
        given = 0
        for _ in range(2):  # a second time where the file turns out to be damaged
            try:
                path = self.cache.find(key, samples)
                if path is None:
                    lines = map(as_line, recorded(task, lm, length, seed, samples))
                    path = self.cache.fill(key, samples, lines)
                for line in islice(sound_lines(path), given, samples):
                    yield sample_of(line)
                    given += 1
                if given == samples:
                    return
                path.unlink(missing_ok=True)
            except OSError:  # a home without room or rights: prompts are made as if there were no cache
                break
        yield from islice(task.prompts(lm, length, seed, samples), given, None)
