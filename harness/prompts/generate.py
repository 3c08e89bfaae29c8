"""Tests as files for other programs: samples as JSONL, and lm-eval tasks that run and score the same samples.

Samples come out of the prompt cache; what it lacks is made there first, in several processes where that pays.
"""

import os
import re
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

import tasks.base
from harness.model.files import shipped_models, tokenizer_hash
from harness.model.locate import tokenizer_folder
from harness.model.tokens import tokens_of
from harness.prompts.cache import PromptCache, cache_folder, copy_lines, prompts_key
from harness.prompts.elsewhere.task_files import README, group_file, task_file, utils_file
from harness.prompts.record import as_line, recorded
from harness.store import canonical, write_whole
from tasks.base import Task

# Tokens to be made above which further processes are faster: one starts in seconds and makes some million a minute.
PAYS = 4_000_000
ELSEWHERE = {"short": "lm_eval run --tasks {task}{where}", "long": "lm_eval run --tasks {task}"}


@dataclass(frozen=True)
class Job:
    """One file: a test with its parameters at one length and seed."""

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
class Made:
    """How a job ended: a file, or one line that says why there is none."""

    job: Job
    file: Path | None = None
    longest: int = 0  # tokens that hold its longest prompt with the answer; some tests leave BOS out of their length
    seconds: float = 0.0  # that making the samples took; 0 when they were in the cache
    error: str = ""


def jobs_of(
    names: Sequence[str],
    parameters: Mapping[str, Any],
    lengths: Sequence[int],
    seeds: Sequence[int],
    samples: int,
) -> dict[str, list[Job]]:
    """The jobs of every name, which may be a test, a suite or the beginning of one. Raises ValueError in one line."""
    if samples < 1 or any(length < 1 for length in lengths):
        raise ValueError(f"samples and lengths must be at least 1, got {samples} and {min(lengths)}")
    found: dict[str, list[Job]] = {}
    given = tuple(sorted(parameters.items()))
    for name in names:
        rows = tasks.base.expand(name)
        for row in rows:
            _refuse_lm_eval(row)
        seeded = {row: tasks.base.make(row, **parameters).seeded for row in rows}
        found[name] = [
            Job(row, given, length, seed, samples)
            for length in lengths
            for seed in seeds
            for row in rows
            if seeded[row] or seed == seeds[0]  # another seed would only give the same samples again
        ]
    return found


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
) -> list[Made]:
    """Write samples and task files into `out`; a test that cannot be made costs only its own files.

    `model` is a shipped model, a folder or a hub name; only its tokenizer is read. `workers` 0 decides by itself.
    Raises ValueError for what is wrong with all of them.
    """
    groups = jobs_of(names, parameters or {}, lengths, seeds, samples)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder for the samples")
    once = sorted({job.test for group in groups.values() for job in group if not job.task.seeded})
    if once and len(seeds) > 1:
        say(f"{', '.join(once)}: texts are taken in order and more seeds give nothing new; made for seed {seeds[0]}")
    folder = tokenizer_folder(model)
    digest = tokenizer_hash(folder)
    out.mkdir(parents=True, exist_ok=True)
    made: dict[str, Made] = {}
    with ExitStack() as stack:
        place = cache_folder() if cached else Path(stack.enter_context(TemporaryDirectory(dir=out, prefix=".made-")))
        cache = PromptCache(place)
        jobs = list({job.name: job for group in groups.values() for job in group}.values())
        for one in _made(jobs, cache, folder, digest, workers, say):
            made[one.job.name] = _written(one, cache, digest, folder, out)
    for name, group in groups.items():
        _write_tasks(out, name, [made[job.name] for job in group])
    whole = [one for one in made.values() if one.file]
    if whole:
        write_whole(out / "utils.py", utils_file())
        text = README.format(command=command(whole, out, model), longest=max(one.longest for one in whole))
        write_whole(out / "README.md", text)
    return [made[job.name] for job in jobs]


def command(made: Sequence[Made], out: Path, model: str) -> str:
    """What runs the files with the stock lm_eval."""
    longest = max(one.longest for one in made)
    names = ",".join(one.job.name for one in made[:2]) + (",…" if len(made) > 2 else "")
    return (
        f"lm_eval run --model hf --model_args pretrained={shipped_models().get(model, model)},max_length={longest} "
        f"--include_path {out} --tasks {names} --batch_size 1"
    )


def longest_prompt(file: Path) -> int:
    """The most tokens that a prompt of the file has. Searches the text: reading JSON takes ten times as long."""
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        # Inside a text the quotation mark would stand behind a backslash.
        return max(int(found[1]) for found in re.finditer(rb',"prompt_tokens":([0-9]+)', content))


def make(job: Job, cache: PromptCache, folder: Path, digest: str) -> tuple[float, str]:
    """Fill the cache with a job's samples: (seconds, one line that says what went wrong or "")."""
    started = time.perf_counter()
    try:
        task = job.task
        lines = map(as_line, recorded(task, tokens_of(folder), job.length, job.seed, job.samples))
        cache.fill(prompts_key(task, digest, job.length, job.seed), job.samples, lines)
    except (ValueError, OSError) as error:
        return 0.0, " ".join(str(error).split())
    return time.perf_counter() - started, ""


def _made(
    jobs: Sequence[Job], cache: PromptCache, folder: Path, digest: str, workers: int, say: Callable[[str], None]
) -> Iterator[Made]:
    """Every job as it is done: what the cache holds at once, then the rest, longest first."""
    missing = []
    for job in jobs:
        if cache.find(prompts_key(job.task, digest, job.length, job.seed), job.samples):
            yield Made(job)
        else:
            missing.append(job)
    missing.sort(key=lambda job: -job.length * job.samples)
    total = sum(job.length * job.samples for job in missing)
    processes = min(len(missing), workers or (os.cpu_count() or 1 if total > PAYS else 1))
    started, done = time.perf_counter(), 0
    for i, (job, (seconds, error)) in enumerate(_run(missing, processes, cache, folder, digest), start=1):
        done += job.length * job.samples
        left = (time.perf_counter() - started) * (total - done) / done
        outcome = f"FAILED: {error}" if error else f"{seconds:.1f} s"
        say(f"[{i}/{len(missing)}] {job.words} · {outcome}" + (f" · about {left:.0f} s left" if left >= 1 else ""))
        yield Made(job, seconds=seconds, error=error)


def _run(
    jobs: Sequence[Job], processes: int, cache: PromptCache, folder: Path, digest: str
) -> Iterator[tuple[Job, tuple[float, str]]]:
    if processes <= 1:
        yield from ((job, make(job, cache, folder, digest)) for job in jobs)
        return
    pool: Executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        running: dict[Future[tuple[float, str]], Job] = {
            pool.submit(make, job, cache, folder, digest): job for job in jobs
        }
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except BrokenProcessPool:
                yield (
                    running[future],
                    (0.0, "a process was ended from outside, often for its memory; use fewer workers"),
                )
    finally:
        pool.shutdown(cancel_futures=True)


def _written(one: Made, cache: PromptCache, digest: str, folder: Path, out: Path) -> Made:
    """The job's file copied into `out`; a damaged file of the cache is made again."""
    job = one.job
    if one.error:
        return one
    key, target = prompts_key(job.task, digest, job.length, job.seed), out / f"{job.name}.jsonl"
    seconds = one.seconds
    for _ in range(2):
        source = cache.find(key, job.samples)
        if source is not None and copy_lines(source, target, job.samples):
            return Made(job, target, longest_prompt(target) + job.task.new_tokens, seconds)
        if source is not None:
            source.unlink(missing_ok=True)
        seconds, error = make(job, cache, folder, digest)
        if error:
            return Made(job, error=error)
    return Made(job, error=f"the samples in {cache.folder} cannot be read back; is the disk full?")


def _write_tasks(out: Path, name: str, made: Sequence[Made]) -> None:
    for one in made:
        if one.file:
            task = one.job.task
            text = task_file(one.job.name, task.version, task.new_tokens, task.unit == "nats")
            write_whole(out / f"{one.job.name}.yaml", text)
    if len({one.job.test for one in made}) == 1:
        return
    for length, seed in {(one.job.length, one.job.seed): None for one in made}:
        members = [one for one in made if (one.job.length, one.job.seed) == (length, seed)]
        if all(one.file for one in members):  # a mean over what happened to work would carry the suite's name
            group = members[0].job.name.replace(_plain(members[0].job.test), _plain(name))
            write_whole(out / f"{group}.yaml", group_file(group, [one.job.name for one in members]))


def _refuse_lm_eval(name: str) -> None:
    suite, _, task = name.partition("/")
    if suite in ELSEWHERE:
        where = f" --include_path {Path(str(tasks.__file__)).parent / 'short' / 'pocket'}" if "pocket_" in task else ""
        line = ELSEWHERE[suite].format(task=task.rpartition("/")[2], where=where)
        raise ValueError(f"{name} is an lm-eval task already; run it elsewhere with: {line}")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
