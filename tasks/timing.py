"""What prompts cost to make, in CPU seconds, which other programs on the machine do not change.

    python -m tasks.timing path/to/tokenizer.json [--tests needle ruler-head/vt] [--lengths 131072] [--samples 5]

`first` is the first sample of a run, which also learns what words cost; `sample` each further one; `whole` is what
tokenising one such prompt once costs. RULER's rows with their data: `python -m tasks.ruler.timing`.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tasks.base
from tasks.answers import PromptTask
from tasks.base import Tokenizer
from tasks.ruler.timing import Cost, TokenizerLM

TESTS = ("needle", "passkey", "key_value", "facts_in_text", "unmatched_needle")


def costs(lm: Tokenizer, names: Sequence[str], lengths: Sequence[int], samples: int) -> Iterator[Cost]:
    """The cost of every test, lengths first, as each is measured. Raises ValueError for a test without prompts."""
    for length in lengths:
        for name in (row for given in names for row in tasks.base.expand(given)):
            task = tasks.base.make(name)
            if not isinstance(task, PromptTask):
                raise ValueError(f"{name} does not ask one question a sample; there are {', '.join(TESTS)} and RULER's")
            started = time.process_time()
            prompts = task.prompts(lm, length, 0, samples + 1)
            prompt = next(prompts).prompt
            first = time.process_time()
            for _ in prompts:
                pass
            last = time.process_time()
            lm.encode(prompt)
            yield Cost(name, length, first - started, (last - first) / samples, time.process_time() - last)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tokenizer", help="a tokenizer.json")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 32768, 131072], help="in tokens")
    parser.add_argument("--samples", type=int, default=5)
    given = parser.parse_args()
    if given.samples < 1 or not Path(given.tokenizer).is_file():
        parser.error(f"needs the path of a tokenizer.json and at least one sample, got {given.tokenizer!r}")
    print(f"{'test':34} {'tokens':>7} {'first':>8} {'sample':>8} {'whole':>8}   CPU seconds")
    lm: Any = TokenizerLM(given.tokenizer)
    for cost in costs(lm, given.tests, given.lengths, given.samples):
        print(f"{cost.name:34} {cost.length:>7} {cost.first:8.3f} {cost.sample:8.4f} {cost.whole:8.4f}", flush=True)


if __name__ == "__main__":
    main()
