"""lm-eval's own evaluation over our LM: adapter, choice of documents, and rows out of its samples."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM as EvalLM
from lm_eval.evaluator import evaluate as lm_eval_evaluate

from tasks.base import LM, Row
from tasks.short.lm_eval_tasks import load, quiet

METRICS = ("acc_norm", "acc", "exact_match", "score")  # the first that a task has is its score; `extra` has them all
DEFAULT_NEW_TOKENS = 256  # lm-eval's own default


@dataclass(frozen=True)
class Asked:
    """What is to be run. None: as the lm-eval task itself says."""

    test: str  # the name in an experiment file, which begins every error line
    task: str  # of lm-eval: a task or a group
    folder: Path | None = None  # of tasks that are not lm-eval's own
    num_fewshot: int | None = None
    max_new_tokens: int | None = None
    seeded: bool = True  # whether the seed is thought to draw anything
    data: Path | None = None  # of its rows as .jsonl files
    over_length: str = "refuse"  # a prompt that is too long: "refuse" the test, "skip" its document, cut its "middle"


class Adapter(EvalLM):  # type: ignore[misc]
    """Our LM in the shape that lm-eval asks for. Every prompt runs under its own plan; none is cut unless asked."""

    def __init__(self, lm: LM, window: int, test: str = "", over_length: str = "refuse") -> None:
        super().__init__()
        self.lm = lm
        self.window = window  # tokens of a prompt with its answer, and of one piece of a document in rolling tasks
        self.test, self.over_length = test, over_length
        self.seen: dict[tuple[str, int], dict[str, Any]] = {}  # (task, document) → what a row says about its prompt

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        pairs = self._fitting(requests)
        started = time.perf_counter()
        found = [(-loss, greedy) for loss, greedy in self.lm.answer_losses(pairs)]
        seconds = (time.perf_counter() - started) / max(1, len(requests))
        for request, (context, continuation) in zip(requests, pairs, strict=True):
            self._note(request, context, len(self.lm.encode(context + continuation)), 0, seconds)
        return found

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        found = []
        for request in requests:
            started = time.perf_counter()
            (text,) = request.args
            ids = self.lm.encode(text)
            found.append(-self._rolling_loss(text, ids))
            self._note(request, text, len(ids), 0, time.perf_counter() - started)
        return found

    def _rolling_loss(self, text: str, ids: Sequence[int]) -> float:
        """Summed loss of a document: in one piece where it fits, else in windows that share one token.

        In windows the document's first token is not counted, because it has no token before it.
        """
        size = self.window - self.lm.added_tokens
        if len(ids) <= size:
            [(loss, _)] = self.lm.answer_losses([("", text)])
            return loss
        return sum(sum(self.lm.losses(ids[start : start + size])) for start in range(0, len(ids) - 1, size - 1))

    def generate_until(self, requests: list[Instance]) -> list[str]:
        found: dict[int, str] = {}
        prompts = [prompt for prompt, _ in self._fitting(requests)]
        budgets = [new_tokens(request) for request in requests]
        for budget in sorted(set(budgets)):
            mine = [i for i, own in enumerate(budgets) if own == budget]
            for i, answer in zip(mine, self.lm.generate([prompts[i] for i in mine], budget), strict=True):
                until = requests[i].args[1].get("until") or []
                found[i] = _cut(answer.text, [until] if isinstance(until, str) else until)
                self._note(requests[i], prompts[i], len(self.lm.encode(prompts[i])), budget, answer.seconds)
                self.seen[_key(requests[i])] |= {"new_tokens": answer.tokens, "finished": answer.finished}
        return [found[i] for i in range(len(requests))]

    def tokens(self, request: Instance) -> int:
        """How many tokens a request takes: added tokens, prompt and answer."""
        text = request.args[0] if request.request_type == "generate_until" else request.args[0] + request.args[1]
        return self.lm.added_tokens + len(self.lm.encode(text)) + new_tokens(request)

    def _fitting(self, requests: list[Instance]) -> list[tuple[str, str]]:
        """(prompt, continuation) of every request; ("", …) is no text. Raises ValueError where one does not fit."""
        pairs = [(r.args[0], r.args[1] if isinstance(r.args[1], str) else "") for r in requests]
        long = {i: size for i, size in enumerate(map(self.tokens, requests)) if size > self.window}
        if long and self.over_length != "middle":
            raise ValueError(
                f"{self.test}: {len(long)} of {len(requests)} prompts need up to {max(long.values())} tokens with "
                f"their answers and it runs at {self.window}; give it longer `lengths`, fewer shots (num_fewshot) or "
                "fewer new tokens (max_new_tokens)"
            )
        for i in long:
            prompt, continuation = pairs[i]
            after = len(self.lm.encode(continuation)) + new_tokens(requests[i])
            pairs[i] = (self._without_middle(prompt, self.window - self.lm.added_tokens - after), continuation)
        return pairs

    def _without_middle(self, prompt: str, room: int) -> str:
        """The prompt without its middle, in at most `room` tokens: LongBench's own rule (arXiv:2308.14508)."""
        ids = self.lm.encode(prompt)
        for keep in range(room, 1, -1):  # the two halves can be more tokens together than apart
            text = self.lm.decode(ids[: keep // 2]) + self.lm.decode(ids[len(ids) - (keep - keep // 2) :])
            if len(self.lm.encode(text)) <= room:
                return text
        raise ValueError(f"{self.test}: a length of {self.window} tokens leaves {room} for the prompt")

    def _note(self, request: Instance, prompt: str, tokens: int, budget: int, seconds: float) -> None:
        tokens += self.lm.added_tokens
        before = self.seen.get(_key(request), {"seconds": 0.0, "prompt_tokens": 0})
        self.seen[_key(request)] = {
            "prompt": prompt,
            "prompt_tokens": max(tokens, before["prompt_tokens"]),
            "seconds": before["seconds"] + seconds,
            "plan_hash": self.lm.plan_hash(tokens + budget),
        }


def evaluate(lm: LM, asked: Asked, length: int, seed: int, samples: int) -> Iterator[Row]:
    """Rows of the first `samples` documents of one lm-eval task, or of a group, whose tasks take turns."""
    with quiet():
        adapter = Adapter(lm, length, asked.test, asked.over_length)
        loaded = load(asked.test, asked.task, asked.folder, asked.data)
        for task in loaded.values():
            _set(task, asked, seed)
        if asked.seeded and seed != 0 and not any(_draws(task) for task in loaded.values()):
            raise ValueError(
                f"{asked.test} draws no shots, so seed {seed} would repeat the rows of seed 0; give it num_fewshot: 0, "
                "which says so, and it runs once"
            )
        chosen = _chosen(loaded, adapter, asked, seed, samples)
        used = {kind: loaded[kind] for kind in loaded if kind in chosen}
        try:
            results = lm_eval_evaluate(
                adapter, {"tasks": used}, samples=chosen, bootstrap_iters=0, log_samples=True, verbosity="ERROR"
            )
        except AssertionError as error:  # more shots than there are
            raise ValueError(f"{asked.test}: {' '.join(str(error).split())}") from error
    order = {document: number for number, document in enumerate(_in_turn(loaded))}
    rows = {}
    for kind, documents in chosen.items():
        place = {document: i for i, document in enumerate(documents)}
        for sample in results["samples"][kind]:
            number = order[sample["doc_id"], kind]
            # A task with several filters (GSM8K) gives every document once per filter; the first is the strict one.
            if number not in rows:
                rows[number] = _row(number, kind, sample, adapter.seen[kind, place[sample["doc_id"]]], lm)
    yield from (rows[number] for number in sorted(rows))


def _set(task: Any, asked: Asked, seed: int) -> None:
    if asked.folder is None and task.OUTPUT_TYPE == "loglikelihood_rolling":
        raise ValueError(f"{asked.test} scores whole documents; use the test 'perplexity' with a folder of texts")
    # A task that says 0 shots means it (TruthfulQA's shots stand in its text); lm-eval's own rule.
    if asked.num_fewshot is not None and task.get_config("num_fewshot") != 0:
        task.set_config("num_fewshot", asked.num_fewshot)
    if asked.max_new_tokens is not None and task.OUTPUT_TYPE == "generate_until":
        task.set_config("generation_kwargs", {"max_gen_toks": asked.max_new_tokens}, update=True)
    task.set_fewshot_seed(seed=1234 + seed)


def _draws(task: Any) -> bool:
    sampler = getattr(getattr(task, "fewshot_cfg", None), "sampler", None)
    return bool(task.get_config("num_fewshot")) and sampler != "first_n"


def _in_turn(loaded: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(document, task) in the order of their sample numbers: the first of every task, the second of every task, …"""
    turns = {kind: turn for turn, kind in enumerate(loaded)}
    every = [(document, kind) for kind, task in loaded.items() for document in range(len(task.eval_docs))]
    return sorted(every, key=lambda one: (one[0], turns[one[1]]))


def _chosen(
    loaded: Mapping[str, Any], adapter: Adapter, asked: Asked, seed: int, samples: int
) -> dict[str, Sequence[int]]:
    """The documents to run, ascending, by task."""
    every = _in_turn(loaded)
    if asked.over_length != "skip":
        if len(every) < samples:
            raise ValueError(f"{asked.test} has {len(every)} documents, {samples} samples were asked for")
        counts = {kind: sum(one == kind for _, one in every[:samples]) for kind in loaded}
        return {kind: range(count) for kind, count in counts.items() if count}
    found: dict[str, list[int]] = {}
    shortest = 0
    for document, kind in every:
        size = _size(loaded[kind], document, adapter)
        shortest = min(shortest or size, size)
        if size <= adapter.window:
            found.setdefault(kind, []).append(document)
        if sum(map(len, found.values())) == samples:
            break
    if not found:
        raise ValueError(
            f"{asked.test}: none of its {len(every)} documents fits into {adapter.window} tokens, the shortest needs "
            f"{shortest}; use a larger length, or over_length: middle to cut them"
        )
    for task in loaded.values():
        task.set_fewshot_seed(seed=1234 + seed)  # looking has drawn shots
    return dict(found)


def _size(task: Any, document: int, adapter: Adapter) -> int:
    """Tokens of a document's longest request."""
    doc = task.eval_docs[document]
    context = task.fewshot_context(doc, task.get_config("num_fewshot") or 0)
    made = task.construct_requests(doc, context, metadata=(task.task_name, document, 1))
    return max(adapter.tokens(request) for request in (made if isinstance(made, list) else [made]))


def _row(number: int, kind: str, sample: dict[str, Any], seen: dict[str, Any], lm: LM) -> Row:
    metrics = {metric: sample[metric] for metric in sample["metrics"]}
    extra: dict[str, Any] = {"task": kind, "filter": sample["filter"], "document": sample["doc_id"]}
    extra["document_hash"] = str(sample["doc_hash"])[:16]
    if "bits_per_byte" in metrics:
        log_likelihood, size = metrics["bits_per_byte"]
        tokens = len(lm.encode(seen["prompt"]))
        extra |= {"tokens": tokens, "bytes": int(size)}
        return Row(sample=number, score=-log_likelihood / tokens, extra=extra, **seen)
    metric = next((metric for metric in METRICS if metric in metrics), sample["metrics"][0])
    score = float(metrics[metric])
    extra |= {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}
    first = sample["arguments"][0]
    if isinstance(first[1], str):  # multiple choice: one (context, continuation) for every choice
        choices = [continuation for _, continuation in sample["arguments"]]
        likely = max(range(len(choices)), key=lambda i: sample["filtered_resps"][i][0])
        target = sample["target"]
        right = choices[target] if isinstance(target, int) and target < len(choices) else str(target)
        written, failure = choices[likely].strip(), "other choice"
        references: tuple[str, ...] = (right.strip(),)
    else:
        target = sample["target"]
        written, failure = sample["resps"][0][0], "wrong value"
        references = tuple(map(str, target)) if isinstance(target, list) else (str(target),)
        failure = failure if written.strip() else "empty"
    return Row(
        sample=number,
        score=score,
        generation=written,
        references=references,
        failure="" if score >= 1 else failure,
        extra=extra,
        **seen,
    )


def new_tokens(request: Instance) -> int:
    """The budget of new tokens of a request; 0 where nothing is written."""
    if request.request_type != "generate_until":
        return 0
    return int(request.args[1].get("max_gen_toks", DEFAULT_NEW_TOKENS))


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [text.index(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text


def _key(request: Instance) -> tuple[str, int]:
    assert request.task_name is not None and request.doc_id is not None
    return request.task_name, request.doc_id
