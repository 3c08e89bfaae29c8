"""What RULER's exact prompts cost to make, in CPU seconds, which other programs on the machine do not change.

    python -m tasks.ruler.timing path/to/tokenizer.json [--lengths 4096 131072] [--samples 20] [--folder DATA]

Without a folder the rows that need data are made from their stand-ins. `whole` is what tokenising one such prompt
once costs, of which the original does two or three per sample.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.base import LM
from tasks.ruler import exact


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one row at one length."""

    name: str
    length: int  # tokens
    first: float  # search for the size and first sample
    sample: float  # each further one
    whole: float  # tokenising the first prompt once


class TokenizerLM:
    """As much of an LM as making prompts takes: the tokenizer of a file."""

    added_tokens = 0

    def __init__(self, path: str) -> None:
        from tokenizers import Tokenizer

        self.tokenizer: Any = Tokenizer.from_file(path)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def costs(lm: LM, lengths: list[int], samples: int, folder: str = "", profile: str = "ruler-head") -> Iterator[Cost]:
    """The cost of every row, lengths first, as each is measured."""
    for length in lengths:
        for row in exact.ROWS:
            task = exact.make(f"{profile}/{row}", folder=folder if exact.ROWS[row].file else "")
            if task.missing or (row == "cwe" and not task.file):
                task = exact.make(f"{profile}{exact.STANDIN}/{row}")
            started = time.process_time()
            drafts = task.drafts(lm, length, 0)
            prompt = next(drafts).build()
            first = time.process_time()
            for draft in islice(drafts, samples):
                draft.build()
            last = time.process_time()
            lm.encode(prompt)
            yield Cost(task.name, length, first - started, (last - first) / samples, time.process_time() - last)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tokenizer", help="a tokenizer.json")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 32768, 131072], help="in tokens")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--folder", default="", help="RULER's data files")
    parser.add_argument("--profile", default="ruler-head", choices=list(exact.VERSIONS))
    given = parser.parse_args()
    if given.samples < 1 or not Path(given.tokenizer).is_file():
        parser.error(f"needs the path of a tokenizer.json and at least one sample, got {given.tokenizer!r}")
    print(f"{'test':34} {'tokens':>7} {'first':>8} {'sample':>8} {'whole':>8}   CPU seconds")
    lm: Any = TokenizerLM(given.tokenizer)
    for cost in costs(lm, given.lengths, given.samples, given.folder, given.profile):
        print(f"{cost.name:34} {cost.length:>7} {cost.first:8.3f} {cost.sample:8.4f} {cost.whole:8.4f}", flush=True)


if __name__ == "__main__":
    main()
