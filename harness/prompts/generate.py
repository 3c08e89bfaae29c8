"""Tests as files for other programs: samples as JSONL, and lm-eval tasks that run and score the same samples.

Samples come out of the prompt cache; what it lacks is made there first, in several processes where that pays.
"""

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig

import tasks.base
from harness.files_on_disk import cache_folder
from harness.model.files import shipped_models, tokenizer_hash
from harness.model.load import resolved
from harness.model.locate import tokenizer_folder
from harness.model.tokens import tokens_of
from harness.prompts.cache import PromptCache, copy_lines, prompts_key
from harness.prompts.elsewhere.task_files import README, group_file, task_file_text, utils_file
from harness.prompts.record import as_line, recorded
from harness.store import canonical, write_whole
from tasks.base import Task

# Tokens to be made above which further processes are faster: one starts in seconds and makes some million a minute.
PAYS = 4_000_000
SPLIT_BY_LM_EVAL = set(",={}[]()\"'")  # signs that its key=value form of model_args splits at, or reads as more
ELSEWHERE = {"short": "lm_eval run --tasks {task}{where}", "long": "lm_eval run --tasks {task}"}


@dataclass(frozen=True)
class TaskFile:
    """One file to write: a test with its parameters at one length and seed."""

    test: str
    parameters: tuple[tuple[str, Any], ...]
    length: int  # tokens, prompt plus new tokens
    seed: int
    samples: int

    @property
    def task(self) -> Task:
        return tasks.base.make(self.test, **dict(self.parameters))

    @property
    def name(self) -> str:
        """Of the file and of the lm-eval task. Letters, digits and _ only: lm_eval splits lists of names at commas."""
        name = f"ropebench_{_plain(self.test)}_{self.length}"
        if self.parameters:
            name += "_" + sha256(canonical(dict(self.parameters)).encode()).hexdigest()[:6]
        return name if self.seed == 0 else f"{name}_seed{self.seed}"

    @property
    def words(self) -> str:
        seed = f" · seed {self.seed}" if self.seed else ""
        return f"{self.test} · {self.length} tokens{seed} · {self.samples} samples"


@dataclass(frozen=True)
class Written:
    """What came of a task file: its path, or one line that says why there is none."""

    task_file: TaskFile
    file: Path | None = None
    longest: int = 0  # tokens that hold its longest prompt with the answer; some tests leave BOS out of their length
    seconds: float = 0.0  # that making the samples took; 0 when they were in the cache
    error: str = ""


@dataclass(frozen=True)
class Maker:
    """Makes samples into a cache with the tokenizer of one model."""

    cache: PromptCache
    tokenizer: Path  # folder
    tokenizer_hash: str

    def cached(self, task_file: TaskFile) -> Path | None:
        """The file of the cache that holds these samples and perhaps more."""
        return self.cache.find(self._key(task_file), task_file.samples)

    def make(self, task_file: TaskFile) -> tuple[float, str]:
        """Fill the cache with the samples: (seconds, one line that says what went wrong or "")."""
        started = time.perf_counter()
        length, seed, samples = task_file.length, task_file.seed, task_file.samples
        try:
            lines = map(as_line, recorded(task_file.task, tokens_of(self.tokenizer), length, seed, samples))
            self.cache.fill(self._key(task_file), samples, lines)
        except (ValueError, OSError) as error:
            return 0.0, " ".join(str(error).split())
        return time.perf_counter() - started, ""

    def _key(self, task_file: TaskFile) -> str:
        return prompts_key(task_file.task, self.tokenizer_hash, task_file.length, task_file.seed)


def files_of(
    names: Sequence[str],
    parameters: Mapping[str, Any],
    lengths: Sequence[int],
    seeds: Sequence[int],
    samples: int,
) -> dict[str, list[TaskFile]]:
    """The files of every name, which may be a test, a suite or the beginning of one. Raises ValueError in one line."""
    if samples < 1 or any(length < 1 for length in lengths):
        raise ValueError(f"samples and lengths must be at least 1, got {samples} and {min(lengths)}")
    groups: dict[str, list[TaskFile]] = {}
    given = tuple(sorted(parameters.items()))
    for name in names:
        tests = tasks.base.expand(name)
        for test in tests:
            _refuse_lm_eval(test)
        seeded = {test: tasks.base.make(test, **parameters).seeded for test in tests}
        groups[name] = [
            TaskFile(test, given, length, seed, samples)
            for length in lengths
            for seed in seeds
            for test in tests
            if seeded[test] or seed == seeds[0]  # another seed would only give the same samples again
        ]
    return groups


def generate(
    names: Sequence[str],
    out: Path,
    *,
    model: str,
    lengths: Sequence[int],
    samples: int,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    workers: int = 0,
    cached: bool = True,
    say: Callable[[str], None] = print,
) -> list[Written]:
    """Write samples and task files into `out`; a test that cannot be made costs only its own files.

    `model` is a shipped model, a folder or a hub name; only its tokenizer is read. `workers` 0 decides by itself.
    Raises ValueError for what is wrong with all of them.
    """
    groups = files_of(names, parameters or {}, lengths, seeds, samples)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder for the samples")
    task_files = {task_file.name: task_file for group in groups.values() for task_file in group}
    unseeded = sorted({task_file.test for task_file in task_files.values() if not task_file.task.seeded})
    if unseeded and len(seeds) > 1:
        say(
            f"{', '.join(unseeded)}: texts are taken in order and more seeds give nothing new; made for seed {seeds[0]}"
        )
    folder = tokenizer_folder(model)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        place = cache_folder() if cached else Path(stack.enter_context(TemporaryDirectory(dir=out, prefix=".made-")))
        maker = Maker(PromptCache(place), folder, tokenizer_hash(folder))
        made = _made(list(task_files.values()), maker, workers, say)
        written = {result.task_file.name: _written(result, maker, out) for result in made}
    for name, group in groups.items():
        _write_tasks(out, name, [written[task_file.name] for task_file in group])
    results = [written[name] for name in task_files]
    _write_for_readers(out, [result for result in written.values() if result.file], model)
    return results


def command(written: Sequence[Written], out: Path, model: str) -> str:
    """What runs the files with the stock lm_eval, to be pasted into a shell: in the dtype of `ropebench run`, and with
    losses in float32 as there."""
    place = str(shipped_models().get(model, model))
    longest = max(result.longest for result in written)
    settings = {"pretrained": place, "max_length": longest, "dtype": _dtype(model), "softmax_dtype": "float32"}
    given = ",".join(f"{name}={value}" for name, value in settings.items())
    if not SPLIT_BY_LM_EVAL.isdisjoint(place):
        given = json.dumps(settings, ensure_ascii=False)
    names = ",".join(result.task_file.name for result in written)
    options = {
        "--model": "hf",
        "--model_args": given,
        "--include_path": str(out),
        "--tasks": names,
        "--batch_size": "1",
    }
    return shlex.join(["lm_eval", "run", *(word for option in options.items() for word in option)])


def _dtype(model: str) -> str:
    """What `ropebench run` runs the model in here; float32 where only its tokenizer is known."""
    folder = tokenizer_folder(model)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return resolved(folder, config, "auto", "sdpa", "cuda" if torch.cuda.is_available() else "cpu")[0]
    except (OSError, ValueError):
        return "float32"


def longest_prompt(file: Path) -> int:
    """The most tokens that a prompt of the file has. Searches the text: reading JSON takes ten times as long."""
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        # Inside a text the quotation mark would stand behind a backslash.
        return max(int(match[1]) for match in re.finditer(rb',"prompt_tokens":([0-9]+)', content))


def _made(task_files: Sequence[TaskFile], maker: Maker, workers: int, say: Callable[[str], None]) -> Iterator[Written]:
    """Every task file once its samples are in the cache: what it holds at once, then the rest, longest first."""
    missing = []
    for task_file in task_files:
        if maker.cached(task_file):
            yield Written(task_file)
        else:
            missing.append(task_file)
    missing.sort(key=lambda task_file: -task_file.length * task_file.samples)
    total = sum(task_file.length * task_file.samples for task_file in missing)
    processes = min(len(missing), workers or (os.cpu_count() or 1 if total > PAYS else 1))
    started, done = time.perf_counter(), 0
    for i, (task_file, (seconds, error)) in enumerate(_run(missing, maker, processes), start=1):
        done += task_file.length * task_file.samples
        left = (time.perf_counter() - started) * (total - done) / done
        outcome = f"FAILED: {error}" if error else f"{seconds:.1f} s"
        remaining = f" · about {left:.0f} s left" if left >= 1 else ""
        say(f"[{i}/{len(missing)}] {task_file.words} · {outcome}{remaining}")
        yield Written(task_file, seconds=seconds, error=error)


def _run(task_files: Sequence[TaskFile], maker: Maker, processes: int) -> Iterator[tuple[TaskFile, tuple[float, str]]]:
    if processes <= 1:
        yield from ((task_file, maker.make(task_file)) for task_file in task_files)
        return
    pool: Executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        running: dict[Future[tuple[float, str]], TaskFile] = {
            pool.submit(maker.make, task_file): task_file for task_file in task_files
        }
        for future in as_completed(running):
            try:
                outcome = future.result()
            except BrokenProcessPool:
                outcome = 0.0, "a process was ended from outside, often for its memory; use fewer workers"
            yield running[future], outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _written(result: Written, maker: Maker, out: Path) -> Written:
    """The samples copied into `out`; a damaged file of the cache is made again."""
    if result.error:
        return result
    task_file, seconds = result.task_file, result.seconds
    target = out / f"{task_file.name}.jsonl"
    for _ in range(2):
        source = maker.cached(task_file)
        if source is not None and copy_lines(source, target, task_file.samples):
            return Written(task_file, target, longest_prompt(target) + task_file.task.new_tokens, seconds)
        if source is not None:
            source.unlink(missing_ok=True)
        seconds, error = maker.make(task_file)
        if error:
            return Written(task_file, error=error)
    return Written(task_file, error=f"the samples in {maker.cache.folder} cannot be read back; is the disk full?")


def _write_tasks(out: Path, name: str, group: Sequence[Written]) -> None:
    """The lm-eval tasks of a name's files, and a group of them for each length and seed."""
    for result in group:
        if result.file:
            task = result.task_file.task
            text = task_file_text(
                result.task_file.name,
                task.version_at(result.task_file.length),
                task.new_tokens,
                task.unit == "nats",
            )
            write_whole(out / f"{result.task_file.name}.yaml", text)
    task_files = [result.task_file for result in group]
    if len({task_file.test for task_file in task_files}) == 1:
        return
    whole = {result.task_file.name for result in group if result.file}
    for length, seed in {(task_file.length, task_file.seed): None for task_file in task_files}:
        members = [task_file for task_file in task_files if (task_file.length, task_file.seed) == (length, seed)]
        member_names = [member.name for member in members]
        if whole.issuperset(member_names):  # a mean over what happened to work would carry the suite's name
            suite = members[0].name.replace(_plain(members[0].test), _plain(name))
            write_whole(out / f"{suite}.yaml", group_file(suite, member_names))


def _write_for_readers(out: Path, written: Sequence[Written], model: str) -> None:
    """What the task files import, and how to run them."""
    if written:
        write_whole(out / "utils.py", utils_file())
        longest = max(result.longest for result in written)
        write_whole(out / "README.md", README.format(command=command(written, out, model), longest=longest))


def _refuse_lm_eval(name: str) -> None:
    suite, _, task = name.partition("/")
    if suite in ELSEWHERE:
        where = f" --include_path {Path(str(tasks.__file__)).parent / 'short' / 'pocket'}" if "pocket_" in task else ""
        line = ELSEWHERE[suite].format(task=task.rpartition("/")[2], where=where)
        raise ValueError(f"{name} is an lm-eval task already; run it elsewhere with: {line}")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
