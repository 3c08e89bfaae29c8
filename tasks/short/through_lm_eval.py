"""lm-eval's own evaluation over our LM: adapter, task loading, and rows out of its samples."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lm_eval.api.task
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM as EvalLM
from lm_eval.evaluator import evaluate as lm_eval_evaluate
from lm_eval.tasks import TaskManager

from tasks.base import LM, Row

METRICS = ("acc_norm", "acc", "exact_match")  # the first that a task has is its score; all of them are in `extra`
DEFAULT_NEW_TOKENS = 256  # lm-eval's own default


class Adapter(EvalLM):  # type: ignore[misc]
    """Our LM in the shape that lm-eval asks for. Texts are never cut; every prompt runs under its own plan."""

    def __init__(self, lm: LM, window: int) -> None:
        super().__init__()
        self.lm = lm
        self.window = window  # tokens of one piece of a document in rolling tasks
        self.seen: dict[tuple[str, int], dict[str, Any]] = {}  # (task, document) → what a row says about its prompt

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        started = time.perf_counter()
        found = [(-loss, greedy) for loss, greedy in self.lm.answer_losses([request.args for request in requests])]
        seconds = (time.perf_counter() - started) / max(1, len(requests))
        for request in requests:
            text = request.args[0] + request.args[1]
            self._note(request, request.args[0], len(self.lm.encode(text)), 0, seconds)
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
        budgets = [int(request.args[1].get("max_gen_toks", DEFAULT_NEW_TOKENS)) for request in requests]
        for budget in sorted(set(budgets)):
            mine = [i for i, own in enumerate(budgets) if own == budget]
            for i, answer in zip(mine, self.lm.generate([requests[i].args[0] for i in mine], budget), strict=True):
                until = requests[i].args[1].get("until") or []
                found[i] = _cut(answer.text, [until] if isinstance(until, str) else until)
                prompt = requests[i].args[0]
                self._note(requests[i], prompt, len(self.lm.encode(prompt)), budget, answer.seconds)
                self.seen[_key(requests[i])] |= {"new_tokens": answer.tokens, "finished": answer.finished}
        return [found[i] for i in range(len(requests))]

    def _note(self, request: Instance, prompt: str, tokens: int, new_tokens: int, seconds: float) -> None:
        tokens += self.lm.added_tokens
        before = self.seen.get(_key(request), {"seconds": 0.0, "prompt_tokens": 0})
        self.seen[_key(request)] = {
            "prompt": prompt,
            "prompt_tokens": max(tokens, before["prompt_tokens"]),
            "seconds": before["seconds"] + seconds,
            "plan_hash": self.lm.plan_hash(tokens + new_tokens),
        }


def evaluate(
    lm: LM, name: str, folder: Path | None, num_fewshot: int | None, length: int, seed: int, samples: int
) -> Iterator[Row]:
    """Rows of the first `samples` documents of one lm-eval task (or of a group, whose tasks take turns)."""
    with _quiet():
        loaded = _load(name, folder)
        kinds = list(loaded["tasks"])
        for task in loaded["tasks"].values():
            _check_kind(task, name, folder)
            # A task that says 0 shots means it (TruthfulQA's shots stand in its text); lm-eval's own rule.
            if num_fewshot is not None and task.get_config("num_fewshot") != 0:
                task.set_config("num_fewshot", num_fewshot)
            task.set_fewshot_seed(seed=1234 + seed)
        adapter = Adapter(lm, length)
        each = -(-samples // len(kinds))
        results = lm_eval_evaluate(adapter, loaded, limit=each, bootstrap_iters=0, log_samples=True)
    rows = {}
    for turn, kind in enumerate(kinds):
        for sample in results["samples"][kind]:
            number = sample["doc_id"] * len(kinds) + turn
            # A task with several filters (GSM8K) gives every document once per filter; the first is the strict one.
            if number < samples and number not in rows:
                rows[number] = _row(number, kind, sample, adapter.seen[kind, sample["doc_id"]], lm)
    if len(kinds) == 1 and len(rows) < samples:
        raise ValueError(f"short/{name} has {len(rows)} documents, {samples} samples were asked for")
    yield from (rows[number] for number in sorted(rows))


def _row(number: int, kind: str, sample: dict[str, Any], seen: dict[str, Any], lm: LM) -> Row:
    metrics = {metric: sample[metric] for metric in sample["metrics"]}
    extra: dict[str, Any] = {"task": kind, "filter": sample["filter"]}
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


def _load(name: str, folder: Path | None) -> Any:
    manager = _manager(folder)
    if name not in manager.all_tasks:
        raise ValueError(f"lm-eval has no task named {name!r}; list them with: lm_eval ls tasks")
    try:
        return manager.load(name)
    except Exception as error:  # datasets and the hub raise dozens of kinds
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"short/{name} cannot be loaded ({type(error).__name__}: {reason}); its data must be in the Hugging Face "
            "cache or the hub reachable"
        ) from error


@cache
def _manager(folder: Path | None) -> Any:
    """lm-eval's index of tasks: ours in milliseconds, its own some 15,000 names in ten seconds or more."""
    return TaskManager(include_path=folder, include_defaults=folder is None)


def _check_kind(task: Any, name: str, folder: Path | None) -> None:
    if folder is None and task.OUTPUT_TYPE == "loglikelihood_rolling":
        raise ValueError(f"short/{name} scores whole documents; use the test 'perplexity' with a folder of texts")


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [text.index(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text


def _key(request: Instance) -> tuple[str, int]:
    assert request.task_name is not None and request.doc_id is not None
    return request.task_name, request.doc_id


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no remarks of lm-eval; the harness shows progress by itself."""
    logger = logging.getLogger("lm_eval")
    level, bar = logger.level, lm_eval.api.task.tqdm
    logger.setLevel(logging.ERROR)
    lm_eval.api.task.tqdm = lambda items, **_: items
    try:
        yield
    finally:
        logger.setLevel(level)
        lm_eval.api.task.tqdm = bar
