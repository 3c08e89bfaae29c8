"""From the name of a model to its folder: a folder, a GGUF file, a model that ships with a package, or a hub id.

The hub is asked only when that is allowed; a hub id that is in the local cache already works without it.
"""

import re
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download

from harness.files_on_disk import cache_folder
from harness.model import adapter
from harness.model.files import TOKENIZER_EXTRAS, TOKENIZER_FILES, shipped_models, tokenizer_files
from harness.model.gguf import convert
from harness.model.packaged import PACKAGED, packaged_file
from harness.model.quiet import quiet_hub

NEEDED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
NEEDED_BY_TOKENIZER = (*TOKENIZER_FILES, *TOKENIZER_EXTRAS, "config.json")


def model_folder(name: str, local_files_only: bool = True) -> Path:
    """The folder with all files of a model; downloads them when that is allowed. Raises ValueError in one line."""
    folder = local_folder(name)
    if folder is not None and adapter.is_adapter(folder):
        return adapter.merged(folder, model_folder(adapter.base_name(folder), local_files_only), cache_folder())
    if folder is not None:
        return folder
    try:
        with quiet_hub():
            return Path(snapshot_download(name, allow_patterns=list(NEEDED), local_files_only=local_files_only))
    except Exception as error:  # the hub client has a dozen exception types, all of which mean: not here
        raise ValueError(_out_of_reach(name, local_files_only, error)) from None


def config_file(name: str, local_files_only: bool = True) -> Path:
    """A model's config.json; of a hub model nothing else is downloaded. Raises ValueError in one line."""
    folder = local_folder(name)
    if folder is not None and adapter.is_adapter(folder):
        return config_file(adapter.base_name(folder), local_files_only)
    if folder is not None:
        return folder / "config.json"
    try:
        with quiet_hub():
            return Path(hf_hub_download(name, "config.json", local_files_only=local_files_only))
    except Exception as error:
        raise ValueError(_out_of_reach(name, local_files_only, error)) from None


def tokenizer_folder(name: str) -> Path:
    """The folder with a model's tokenizer, which may hold nothing else; of a hub model only the tokenizer is
    downloaded. Raises ValueError in one line."""
    if name in shipped_models():
        return shipped_models()[name]
    folder = gguf_folder(name) or Path(name).expanduser()
    if adapter.is_adapter(folder) and not any((folder / file).is_file() for file in TOKENIZER_FILES):
        return tokenizer_folder(adapter.base_name(folder))
    if not folder.is_dir():
        folder = _tokenizer_from_hub(name)
    tokenizer_files(folder)
    return folder


def local_folder(name: str) -> Path | None:
    """The model folder of that name, None when the name can only be a hub id."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    converted = gguf_folder(name)
    if converted is not None:
        return converted
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not adapter.is_adapter(folder):
            raise ValueError(f"{folder} is not a model folder: it has no config.json")
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is a file; name the folder of a model, or a .gguf file")
    if name.startswith("pocket-"):
        raise ValueError(f"no shipped model is named {name!r}; there are {', '.join(shipped) or 'none'}")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name):
        raise ValueError(f"there is no folder {name}, and it is no hub id (owner/name) either")
    return None


def gguf_folder(name: str) -> Path | None:
    """The converted folder of a .gguf file or of a model that a Python package brings; None for other names."""
    file = packaged_file(name) if name in PACKAGED else Path(name).expanduser()
    if file.suffix != ".gguf":
        return None
    if not file.is_file():
        raise ValueError(f"there is no file {name}")
    return convert(file, cache_folder())


def _out_of_reach(name: str, local_files_only: bool, error: Exception) -> str:
    here = f"there is no folder {name}"
    if local_files_only:
        return f"{here}, and no model of that name in the local Hugging Face cache; downloads are not allowed here"
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return f"{here}, and the Hugging Face hub did not give it ({reason}); name a local folder"


def _tokenizer_from_hub(name: str) -> Path:
    try:
        with quiet_hub():
            return Path(snapshot_download(name, allow_patterns=list(NEEDED_BY_TOKENIZER)))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"there is no folder {name}, and the Hugging Face hub did not give its tokenizer ({reason}); name a folder"
        ) from None
