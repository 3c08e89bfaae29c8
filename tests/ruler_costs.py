"""What does a prompt of RULER cost to make, by NVIDIA's script and by ours, in CPU seconds of one run?

    git clone https://github.com/NVIDIA/RULER head && git -C head checkout c3f5e3b
    ROPEBENCH_TOKENIZERS=FOLDER python tests/ruler_costs.py head/ [--length 131072] [--rows vt cwe]
        [--tokenizer smollm2] [--samples 3] [--ours 100]

Writes the table of docs/ruler.md. The script of the checkout is not changed: it runs as it is, with a tqdm that notes
the time. Seconds are those of the process, user and system, one thread each. `search` is what comes before the first
sample when the tokenizer is loaded (for ours with the first sample), `sample` the median of those that follow, and
`100 samples` a sample's share in a run of a hundred, search and all: NVIDIA's is reckoned from the two before it, ours
is measured. The data are those of the goldens, the scripts need the package tenacity, and the tokenizers are those of
tests/ruler_tokenizers.py.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path

import ruler_goldens

RUN = 100  # samples
# Before NVIDIA's script: notes the process time when the tokenizer is loaded and before and after every sample.
NOTING = """
import json, os, runpy, sys, time
sys.argv = sys.argv[1:]
sys.path.append("..")
import tokenizer, tqdm, transformers
marks = []
def select(*arguments, made=tokenizer.select_tokenizer):
    loaded = made(*arguments)
    marks.append(time.process_time())
    return loaded
def noted(items):
    del marks[1:]  # vt makes its example first
    marks.append(time.process_time())
    for item in items:
        yield item
        marks.append(time.process_time())
tokenizer.select_tokenizer, tqdm.tqdm = select, noted
runpy.run_path(sys.argv[0], run_name="__main__")
open(os.environ["RULER_COSTS"], "w").write(json.dumps(marks))
"""


def theirs(row: str, length: int, samples: int, checkout: Path, folder: Path, name: str) -> list[float]:
    """CPU seconds of the script: before the first sample, then of every sample."""
    notes = folder / "marks.json"
    os.environ["RULER_COSTS"] = str(notes)
    ruler_goldens.official(row, length, samples, checkout, folder, name=name, before=["-c", NOTING])
    return [after - before for before, after in pairwise(json.loads(notes.read_text()))]


def ours(row: str, length: int, samples: int, data: Path, name: str) -> list[float]:
    """CPU seconds of ours: of the first sample with all that comes before it, then of every sample."""
    from tasks.ruler import exact

    lm = ruler_goldens.GoldenLM(name)
    marks = [time.process_time()]
    task = exact.make(f"ruler-head/{row}", folder=str(data) if exact.ROWS[row].file else "")
    for draft in islice(task.drafts(lm, length, 0), samples):
        draft.build()
        marks.append(time.process_time())
    return [after - before for before, after in pairwise(marks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path, help="a checkout of RULER at c3f5e3b")
    parser.add_argument("--length", type=int, default=131072, help="in tokens")
    parser.add_argument("--rows", nargs="+", default=list(ruler_goldens.SCRIPTS), choices=list(ruler_goldens.SCRIPTS))
    parser.add_argument("--tokenizer", default="smollm2", choices=list(ruler_goldens.TOKENIZERS))
    parser.add_argument("--samples", type=int, default=3, help="of NVIDIA's script")
    parser.add_argument("--ours", type=int, default=RUN, help="samples of ours")
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    print("| row | NVIDIA's search | sample | 100 samples | our search | sample | 100 samples | share of NVIDIA's |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ruler_goldens.write_data(folder / "json")
        import nltk

        nltk.data.path.insert(0, str(folder / "json" / "nltk_data"))
        for row in given.rows:
            search, *each = theirs(row, given.length, given.samples, given.head.resolve(), folder, given.tokenizer)
            first, *rest = ours(row, given.length, given.ours, folder / "json", given.tokenizer)
            sample, own = statistics.median(each), statistics.median(rest)
            run, own_run = search / RUN + sample, (first + sum(rest)) / given.ours
            shown = f"{search:.2f} | {sample:.3f} | {run:.3f} | {first:.2f} | {own:.4f} | {own_run:.4f}"
            print(f"| {row} | {shown} | {own / sample:.1%}; {own_run / run:.1%} |", flush=True)


if __name__ == "__main__":
    main()
