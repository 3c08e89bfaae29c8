"""A test's prompts as lines of a file: what each asks, what a right answer says, and which function scores it.

The test runs as it always does, with a recorder in the place of the model, so every test that keeps the contract works
and sample i is the same text here and in `ropebench run`, which reads the same cache.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NotRequired, TypedDict

from harness.experiment.cells import task_identity
from harness.prompts.cache import sealed
from harness.prompts.recorder import Recorder
from harness.store import Store, canonical, key_of
from tasks.answers import PromptTask
from tasks.base import Row, Task, Tokenizer
from tasks.scoring import name_of, score
from tasks.text import Sample

PROBES = 2  # samples of a test whose prompt comes back as the answer, to compare the scoring function with the test
LOSS = 1.0  # nats a token, of all documents: a test's `extra` may hold losses, and files keep their bytes


class Question(TypedDict):
    """What a model is asked, and how the answer is scored; of a loss, which tokens are."""

    prompt: str
    new_tokens: int
    stops: list[str]
    references: NotRequired[list[str]]  # of an answer, as the next
    scoring: NotRequired[str]
    scored: NotRequired[str]  # of a loss, as the next
    scored_tokens: NotRequired[int]


class WrongValues(TypedDict, total=False):
    """Wrong values that stand in the prompt too: by them a wrong answer is told from another."""

    others: list[str]
    values: list[str]


class RecordedSample(Question, WrongValues):
    """A line of a file of samples; the fields are explained in the README beside it."""

    id: str
    test: str
    version: int
    parameters: dict[str, Any]
    length: int
    seed: int
    sample: int
    prompt_tokens: int
    added_tokens: int
    depth: float | None
    extra: dict[str, Any]


def recorded(task: Task, tokens: Tokenizer, length: int, seed: int, samples: int) -> Iterator[RecordedSample]:
    """Samples 0 … samples-1 as JSON objects, one by one. Raises ValueError for a test that has no prompts to write."""
    lm = Recorder(tokens, PROBES, LOSS)
    identity = {**task_identity(task, length), "length": length, "seed": seed}
    scoring = name_of(task) if task.unit == "score" else ""
    count = 0
    asked: dict[int, Sample] = {}
    if isinstance(task, PromptTask):
        rows = task.answers(lm, _noted(task.prompts(tokens, length, seed, samples), asked), length)
    else:
        rows = task.run(lm, length, seed, samples)
    for row in rows:
        if lm.pairs:
            raise ValueError("a test that compares the losses of given answers cannot be written as prompts")
        question = _loss(lm, task, row) if task.unit == "nats" else _answer(lm, task, row, scoring)
        lm.forget()
        yield {
            "id": key_of({**identity, "sample": row.sample, "prompt": Store.prompt_name(row.prompt)})[:16],
            "test": task.name,
            "version": task.version_at(length),
            "parameters": identity["parameters"],
            "length": length,
            "seed": seed,
            "sample": row.sample,
            **question,
            "prompt_tokens": row.prompt_tokens,
            "added_tokens": tokens.added_tokens,
            "depth": row.depth,
            "extra": row.extra,
            **_wrong_values(asked.pop(row.sample, None)),
        }
        count += 1
    if count != samples:
        raise ValueError(f"{task.name} gave {count} samples at {length} tokens, {samples} were asked for")


def _wrong_values(sample: Sample | None) -> WrongValues:
    wrong: WrongValues = {}
    if sample is not None and sample.others:
        wrong["others"] = list(sample.others)
    if sample is not None and sample.values:
        wrong["values"] = sorted(sample.values)
    return wrong


def _answer(lm: Recorder, task: Task, row: Row, scoring: str) -> Question:
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


def _loss(lm: Recorder, task: Task, row: Row) -> Question:
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


def as_line(sample: RecordedSample) -> str:
    return sealed(canonical(sample))


def sample_of(line: bytes) -> Sample:
    """The sample in a line of a test that asks questions."""
    fields: RecordedSample = json.loads(line.decode("utf-8", "surrogatepass"))
    return Sample(
        prompt=fields["prompt"],
        references=tuple(fields["references"]),
        tokens=fields["prompt_tokens"] - fields["added_tokens"],
        depth=fields["depth"],
        others=tuple(fields.get("others", ())),
        extra=fields["extra"],
        values=frozenset(fields.get("values", ())),
    )
