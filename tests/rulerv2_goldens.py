"""Digests of the prompts of RULERv2's basic needle rows, and the way to make them again.

    git clone https://github.com/NVIDIA-NeMo/Skills skills && git -C skills checkout 8779b75
    python tests/rulerv2_goldens.py skills/

This runs prepare_niah.py of the checkout with the tokenizer of the goldens and rewrites tests/goldens/rulerv2.json. A
key is "ROW LENGTH", and LENGTH is ours: theirs is 129 less, without BOS and new tokens. The script needs tenacity.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ruler_goldens

GOLDENS = Path(__file__).parent / "goldens" / "rulerv2.json"
VALUES = {"mk_niah_basic": 1, "mv_niah_basic": 4}
LENGTHS, SAMPLES, OURS = (4096, 32768), 8, 129  # new tokens and BOS, which their length leaves out


def official(row: str, length: int, checkout: Path, folder: Path) -> list[str]:
    """The prompts that the checkout's own script makes."""
    package = folder / "scripts" / "ruler2"
    shutil.copytree(checkout / "nemo_skills" / "dataset" / "ruler2", package, dirs_exist_ok=True)
    (package / "__init__.py").write_text("")
    for name in ("punkt", "punkt_tab"):
        (folder / "nltk" / "tokenizers" / name).mkdir(parents=True, exist_ok=True)
    model = folder / "tokenizer"
    model.mkdir(exist_ok=True)
    (model / "tokenizer.json").write_text(ruler_goldens.tokenizer_json(ruler_goldens.OWN))
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    command = [sys.executable, "-m", "ruler2.prepare_niah", "--output_folder", str(folder), "--tokenizer_type", "hf"]
    command += ["--tokenizer_path", str(model), "--max_seq_length", str(length - OURS), "--num_samples", str(SAMPLES)]
    command += ["--random_seed", "42", "--num_needle_k", "1", "--num_needle_v", str(VALUES[row]), "--num_needle_q", "1"]
    command += ["--type_haystack", "needle", "--type_needle_k", "words", "--type_needle_v", "numbers"]
    paths = [str(folder / "scripts"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    environment["NLTK_DATA"] = str(folder / "nltk")
    subprocess.run([*command, "--num_digits_v", "10"], env=environment, check=True)
    lines = (folder / "test.jsonl").read_text().splitlines()
    return [json.loads(line)["question"] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of NVIDIA-NeMo/Skills at 8779b75")
    given = parser.parse_args()
    goldens = {}
    for row in VALUES:
        for length in LENGTHS:
            with tempfile.TemporaryDirectory() as folder:
                prompts = official(row, length, given.checkout.resolve(), Path(folder))
            goldens[f"{row} {length}"] = [ruler_goldens.digest(prompt) for prompt in prompts]
            print(row, length, len(prompts), flush=True)
    GOLDENS.write_text(json.dumps(goldens, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
