"""Digests of the prompts of RULERv2, and the way to make them again.

    git clone https://github.com/NVIDIA-NeMo/Skills skills && git -C skills checkout 8779b75
    python tests/rulerv2_goldens.py skills/ [--rows qa_basic] [--lengths 4096 32768]

This runs the scripts of the checkout with the tokenizer of the goldens and rewrites tests/goldens/rulerv2.json. A key
is "ROW LENGTH", and LENGTH is ours: theirs is less, without BOS and new tokens. MMLU and HotpotQA are invented, in the
columns of the real data sets, and a package `datasets` of ten lines gives them to the scripts. HotpotQA's script draws
from the order of a Python set, which differs between runs; here its `set` keeps the order of the file. The scripts need
the packages tenacity and inflect. The goldens of the ten rows with data come from the two scripts of 5536f54, see
docs/ruler.md.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ruler_goldens

GOLDENS = Path(__file__).parent / "goldens" / "rulerv2.json"
LENGTHS, SAMPLES, RUN, BOS = (4096, 32768), 8, 100, 1
NEEDLES = "--num_needle_k 1 --num_needle_q 1 --type_haystack needle --type_needle_k words --type_needle_v numbers"
CHOICES = "--dataset mmlu --prompt_type instruct"
QUESTIONS = "--dataset hotpotqa --prompt_type instruct --fewshot 0"
# script and options, as prepare_data.py has them, and our new tokens
ROWS = {
    "mk_niah_basic": ("niah", f"{NEEDLES} --num_digits_v 10 --num_needle_v 1", 128),
    "mv_niah_basic": ("niah", f"{NEEDLES} --num_digits_v 10 --num_needle_v 4", 128),
    "mk_niah_easy": ("mmlu", f"{CHOICES} --fewshot 0 --num_order 0 --task_type retrieve --algo_type single", 512),
    "mk_niah_medium": ("mmlu", f"{CHOICES} --fewshot 5 --num_order 0 --task_type solve --algo_type 2steps", 512),
    "mk_niah_hard": ("mmlu", f"{CHOICES} --fewshot 5 --num_order 0 --task_type solve --algo_type single", 128),
    "mv_niah_easy": ("mmlu", f"{CHOICES} --fewshot 0 --num_order 4 --task_type niah --algo_type single", 1024),
    "mv_niah_medium": ("mmlu", f"{CHOICES} --fewshot 0 --num_order 4 --task_type retrieve --algo_type 2steps", 1024),
    "mv_niah_hard": ("mmlu", f"{CHOICES} --fewshot 0 --num_order 4 --task_type retrieve --algo_type single", 512),
    "qa_basic": ("qa", f"{QUESTIONS} --task_type retrieve --query_type doc", 32),
    "qa_easy": ("qa", f"{QUESTIONS} --task_type retrieve --query_type question", 32),
    "qa_medium": ("qa", f"{QUESTIONS} --task_type solve --algo_type 2steps", 1024),
    "qa_hard": ("qa", f"{QUESTIONS} --task_type solve --algo_type single", 128),
}
DATASETS = """
import json, os
def load_dataset(name, configuration=None):
    folder = os.path.join(os.environ["RULER2_DATA"], {"cais/mmlu": "mmlu", "hotpotqa/hotpot_qa": "hotpotqa"}[name])
    files = [file for file in os.listdir(folder)]
    return {file[:-len(".jsonl")]: [json.loads(line) for line in open(os.path.join(folder, file))] for file in files}
"""
RUNNING = """
import runpy, sys
name, sys.argv = sys.argv[1], sys.argv[1:]
kept = {"set": lambda items=(): list(dict.fromkeys(items))} if name.endswith("_qa") else {}
runpy.run_module(name, init_globals=kept, run_name="__main__")
"""


def write_data(folder: Path) -> None:
    """MMLU and HotpotQA, invented, the same on every machine; fewer others than a long prompt takes."""
    rng = random.Random("rulerv2 goldens")
    syllables = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split()

    def words(least: int, most: int) -> str:
        return " ".join("".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(rng.randint(least, most)))

    def choice() -> dict[str, Any]:
        asked = rng.choice(["Which is", "Where is", "Find  all of\n"]) + f" {words(4, 16)}{rng.choice('?.:')}"
        choices = [words(1, 3) for _ in range(4)]
        return {"question": asked, "subject": words(1, 1), "choices": choices, "answer": rng.randrange(4)}

    def asked() -> dict[str, Any]:
        titles = [words(1, 3).title() for _ in range(10)]
        sentences = [[f" {words(4, 16)}." for _ in range(rng.randint(1, 5))] for _ in titles]
        told = {"title": rng.sample(titles, 2) * rng.randint(1, 2), "sent_id": [0]}
        context = {"title": titles, "sentences": sentences}
        answer = rng.choice(["yes", "no", words(1, 3)])
        return {"question": f"Who is {words(3, 9)}?", "answer": answer, "supporting_facts": told, "context": context}

    for name, rows in (
        ("mmlu/test", [choice() for _ in range(140)]),
        ("mmlu/auxiliary_train", [choice() for _ in range(250)]),
        ("hotpotqa/validation", [asked() for _ in range(110)]),
        ("hotpotqa/train", (train := [asked() for _ in range(30)]) + train[:3]),
    ):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def official(row: str, length: int, checkout: Path, folder: Path) -> list[dict[str, Any]]:
    """The samples that the checkout's own script makes."""
    script, options, new_tokens = ROWS[row]
    package = folder / "scripts" / "ruler2"
    shutil.copytree(checkout / "nemo_skills" / "dataset" / "ruler2", package, dirs_exist_ok=True)
    (package / "__init__.py").write_text("")
    (folder / "scripts" / "datasets.py").write_text(DATASETS)
    write_data(folder / "data")
    for name in ("punkt", "punkt_tab"):
        (folder / "nltk" / "tokenizers" / name).mkdir(parents=True, exist_ok=True)
    model = folder / "tokenizer"
    model.mkdir(exist_ok=True)
    (model / "tokenizer.json").write_text(ruler_goldens.tokenizer_json(ruler_goldens.OWN))
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    command = [sys.executable, "-c", RUNNING, f"ruler2.prepare_{script}", "--output_folder", str(folder)]
    command += ["--tokenizer_type", "hf", "--tokenizer_path", str(model), "--random_seed", "42"]
    command += ["--max_seq_length", str(length - new_tokens - BOS), "--num_samples", str(RUN), *options.split()]
    paths = [str(folder / "scripts"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    environment.update(NLTK_DATA=str(folder / "nltk"), RULER2_DATA=str(folder / "data"))
    subprocess.run(command, env=environment, check=True)
    lines = (folder / "test.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:SAMPLES]]


def digest(row: str, prompt: str, answers: str | Sequence[str]) -> str:
    """Of the prompt, and of the right answers too where data are read."""
    told = [] if ROWS[row][0] == "niah" else [answers] if isinstance(answers, str) else answers
    return ruler_goldens.digest("\n".join([prompt, *told]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of NVIDIA-NeMo/Skills at 8779b75")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), help="in tokens")
    given = parser.parse_args()
    goldens = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}
    for row in given.rows:
        for length in given.lengths:
            with tempfile.TemporaryDirectory() as folder:
                made = official(row, length, given.checkout.resolve(), Path(folder))
            goldens[f"{row} {length}"] = [digest(row, one["question"], one["expected_answer"]) for one in made]
            print(row, length, len(made), flush=True)
            GOLDENS.write_text(json.dumps(goldens, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
