"""A PEFT adapter's folder as a model: put on its base and merged once, kept by the content of both.

The merged folder lies in `models/` of the cache folder and is read like any other, so its hash covers what the adapter
did to the base. Configuration and tokenizer are the base's; a tokenizer beside the adapter comes before that.
"""

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from transformers import AutoModelForCausalLM

from harness.model.files import TOKENIZER_EXTRAS, TOKENIZER_FILES, weights_hash
from harness.model.quiet import quiet

VERSION = 1  # raised when the same two folders would be merged otherwise
WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def base_name(folder: Path) -> str:
    """The model that the adapter was trained on, as its file names it. Raises ValueError, one line."""
    file = folder / "adapter_config.json"
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name:
        raise ValueError(f"{file} names no base model (base_model_name_or_path); write its folder or hub name there")
    beside = folder / name
    base = beside if beside.is_dir() else Path(name).expanduser()
    if is_adapter(base):
        raise ValueError(
            f"the base of the adapter {folder} is an adapter itself ({name}); merge that one into its base"
        )
    return str(beside) if beside.is_dir() else name


def merged(folder: Path, base: Path, cache: Path) -> Path:
    """The folder of base and adapter merged; made on the first call. Raises ValueError, one line."""
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {WEIGHTS}; ropebench reads weights in the safetensors format only")
    digest = hashlib.sha256(weights_hash(base).encode())
    own_files = [folder / name for name in (*TOKENIZER_FILES, *TOKENIZER_EXTRAS) if (folder / name).is_file()]
    for file in (folder / "adapter_config.json", folder / WEIGHTS, *own_files):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    target = cache / "models" / f"{folder.name}-{digest.hexdigest()[:16]}-{VERSION}"
    if (target / "config.json").is_file():
        return target
    if find_spec("peft") is None:
        raise ValueError(f"{folder} is a PEFT adapter, and merging it needs peft: pip install 'ropebench[adapters]'")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}-", suffix=".partial", dir=target.parent) as name:
        made = Path(name) / "model"
        _merge(folder, base, made)
        for file in (
            *sorted(base.glob("*.json")),
            *sorted(base.glob("*.model")),
            *sorted(base.glob("*.txt")),
            *own_files,
        ):
            if not file.name.startswith("model.safetensors"):
                shutil.copy(file, made / file.name)
        try:
            os.rename(made, target)
        except OSError:  # another process was first
            if not (target / "config.json").is_file():
                raise
    return target


def _merge(folder: Path, base: Path, made: Path) -> None:
    peft = importlib.import_module("peft")
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                base, dtype="auto", use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            peft.PeftModel.from_pretrained(model, folder).merge_and_unload(safe_merge=True).save_pretrained(made)
        except Exception as error:  # an adapter fails in as many ways as there are kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(f"the adapter in {folder} does not fit its base {base} ({reason})") from None
