"""The files of a model folder: which ones count, and the hash that says which model it is. Reads no weights into torch.

Where a model's folder is, by its name, is in `harness.model.locate`.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from harness.model.weight_header import INDEX, indexed_files, narrow_weights, parameter_count

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
TOKENIZER_EXTRAS = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip


def shipped_models() -> dict[str, Path]:
    """The models inside the package, by name."""
    root = Path(str(resources.files("harness"))) / "pocket"
    return {path.parent.name: path.parent for path in sorted(root.glob("*/config.json"))}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a load reads, as transformers chooses: one whole file before those of an index.

    Raises ValueError when there are none, when a named one is missing, or when something else in the folder would
    change the weights that run. Whether the files are whole, `check_weights` says.
    """
    _refuse_other_weights(folder)
    whole, index = folder / "model.safetensors", folder / INDEX
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise ValueError(f"{folder} has no model.safetensors; ropebench reads weights in the safetensors format only")
    names = indexed_files(index)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} is incomplete: {missing[0]} is missing")
    return [folder / name for name in names]


def _refuse_other_weights(folder: Path) -> None:
    """transformers puts an adapter on the model where peft is installed, and reads a file that config.json names."""
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"{folder} holds a model and an adapter (adapter_config.json), and which of them runs would depend on the "
            "installed packages; move the adapter into a folder of its own, or merge it"
        )
    config = folder / "config.json"
    try:
        content = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except (ValueError, RecursionError):
        return  # said where the configuration is read
    if isinstance(content, dict) and content.get("transformers_weights"):
        raise ValueError(
            f"{config} names other weights (transformers_weights); take that key out and name them model.safetensors"
        )


def check_weights(folder: Path) -> int:
    """How many weights a model stores, by the headers of its files; tied ones are stored, and so counted, once. Raises
    ValueError, one line, for a file that is damaged, cut off or not fetched."""
    files = weight_files(folder)
    count = sum(parameter_count(file) for file in files)
    narrow = [name for file in files for name in narrow_weights(file)] if not _names_quantisation(folder) else []
    if narrow:
        raise ValueError(
            f"{folder} holds {len(narrow)} weights of 8 bits, such as {narrow[0]}, and its configuration names no "
            "quantisation (quantization_config), so their scales are unknown; name the checkpoint that was quantised"
        )
    return count


def _names_quantisation(folder: Path) -> bool:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True  # said where the configuration is read
    parts = [content, *content.values()] if isinstance(content, dict) else []
    return any(isinstance(part, dict) and part.get("quantization_config") for part in parts)


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files. Raises ValueError when there is no vocabulary among them, or none that can be read."""
    vocabularies = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not vocabularies:
        raise ValueError(f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}); save one into the folder")
    if vocabularies[0].suffix == ".model" and find_spec("sentencepiece") is None:
        raise ValueError(
            f"the tokenizer in {folder} is a SentencePiece file ({vocabularies[0].name}) and nothing here reads it: "
            "pip install sentencepiece protobuf, or save the tokenizer as tokenizer.json into the folder"
        )
    return vocabularies + [folder / name for name in TOKENIZER_EXTRAS if (folder / name).is_file()]


def weights_hash(folder: Path) -> str:
    """16 hex digits over names and contents of weights, configuration and tokenizer, whatever the order on disk.

    generation_config.json counts too: its end tokens decide where an answer stops. A converted model is named by the
    file that it came from, since other library versions write other bytes for the same numbers.
    """
    extra = [folder / name for name in ("config.json", "generation_config.json") if (folder / name).is_file()]
    return _hash_of(folder, {*weight_files(folder), *tokenizer_files(folder), *extra})


def tokenizer_hash(folder: Path) -> str:
    """16 hex digits over names and contents of the tokenizer's files; of a converted model's, over its file."""
    return _hash_of(folder, tokenizer_files(folder))


def digests(files: Iterable[Path]) -> dict[str, str]:
    """sha256 of every file by its name, names in order."""
    ordered = sorted(files)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return {file.name: digest for file, digest in zip(ordered, pool.map(_digest, ordered), strict=True)}


def _hash_of(folder: Path, files: Iterable[Path]) -> str:
    found = digests(files)
    lines = "".join(f"{name} {digest}\n" for name, digest in found.items())
    origin = folder / "origin.json"
    if origin.is_file():
        content = json.loads(origin.read_text(encoding="utf-8"))
        if found.items() <= content.get("written", {}).items():  # as the conversion left them
            lines = f"{content['sha256']} converted {content['converted_by']['ropebench']} {' '.join(found)}"
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
