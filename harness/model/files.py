"""Where a model's files are, and the hash that says which model it is.

A model is named by a folder, by the name of a model that ships with the package, or by a hub id. The hub is
asked only when that is allowed; a hub id that is in the local cache already works without it.
"""

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

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
NEEDED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")


def shipped_models() -> dict[str, Path]:
    """The models inside the package, by name."""
    root = Path(str(resources.files("harness"))) / "pocket"
    return {path.parent.name: path.parent for path in sorted(root.glob("*/config.json"))}


def model_folder(name: str, local_files_only: bool = True) -> Path:
    """The folder with all files of a model; downloads them when that is allowed. Raises ValueError in one line."""
    found = _local_folder(name)
    if found:
        return found
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(NEEDED), local_files_only=local_files_only))
    except Exception as error:  # the hub client has a dozen exception types, all of which mean: not here
        raise ValueError(_out_of_reach(name, local_files_only, error)) from None


def config_file(name: str, local_files_only: bool = True) -> Path:
    """A model's config.json; of a hub model nothing else is downloaded. Raises ValueError in one line."""
    found = _local_folder(name)
    if found:
        return found / "config.json"
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json", local_files_only=local_files_only))
    except Exception as error:
        raise ValueError(_out_of_reach(name, local_files_only, error)) from None


def _local_folder(name: str) -> Path | None:
    """The folder of that name, None when the name can only be a hub id."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is not a model folder: it has no config.json")
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is a file; name the folder of a model")
    if name.startswith("pocket-"):
        raise ValueError(f"no shipped model is named {name!r}; there are {', '.join(shipped) or 'none'}")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name):
        raise ValueError(f"there is no folder {name}, and it is no hub id (owner/name) either")
    return None


def _out_of_reach(name: str, local_files_only: bool, error: Exception) -> str:
    here = f"there is no folder {name}"
    if local_files_only:
        return f"{here}, and no model of that name in the local Hugging Face cache; downloads are not allowed here"
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return f"{here}, and the Hugging Face hub did not give it ({reason}); name a local folder"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a load reads. Raises ValueError when there are none or a named one is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and index.is_file():
        raise ValueError(f"{folder} is incomplete: {missing[0]} is missing")
    if missing:
        raise ValueError(f"{folder} has no model.safetensors; ropebench reads weights in the safetensors format only")
    return [folder / name for name in names]


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files. Raises ValueError when there is no vocabulary among them, or none that can be read."""
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not found:
        raise ValueError(f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}); save one into the folder")
    if found[0].suffix == ".model" and find_spec("sentencepiece") is None:
        raise ValueError(
            f"the tokenizer in {folder} is a SentencePiece file ({found[0].name}) and nothing here reads it: "
            "pip install sentencepiece protobuf, or save the tokenizer as tokenizer.json into the folder"
        )
    return found + [folder / name for name in TOKENIZER_EXTRAS if (folder / name).is_file()]


def weights_hash(folder: Path) -> str:
    """16 hex digits over names and contents of weights, configuration and tokenizer, whatever the order on disk.

    generation_config.json counts too: its end tokens decide where an answer stops.
    """
    extra = [folder / name for name in ("config.json", "generation_config.json") if (folder / name).is_file()]
    files = sorted({*weight_files(folder), *tokenizer_files(folder), *extra})
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = list(pool.map(_digest, files))
    lines = "".join(f"{file.name} {digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
