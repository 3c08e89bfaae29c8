"""A GGUF file as a model: converted once into a folder that every other part reads, kept by the file's content.

Weights are dequantised to float32, which loses nothing: llama.cpp on the same numbers in F32 gives the same greedy text
(on the quantised file it rounds activations too, so its text may differ after some words). What transformers' own
loader (5.22) gets wrong on the way, and what is done about it:

- The configuration keeps a quantisation block, with which the model can be neither saved nor loaded again: removed.
- `tokenizer.ggml.pre`, the rule that cuts text before byte pairs are merged, is ignored: set from a table here
  ("\\n\\n1" is three tokens for SmolLM2 otherwise, and llama.cpp has two). A rule that the table lacks is refused.
- Quantised weights would run in float32 where nothing else is asked for: the configuration says bfloat16, as it does in
  the checkpoints that were quantised.
- Factor tensors and scaling fields of RoPE are ignored: a file that has them is refused: its numbers would be wrong.

Converted folders lie in `models/` of the cache folder, named after the file's content and this module's VERSION.
"""

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from harness.model.files import digests

VERSION = 2  # raised when the same file would be converted otherwise
ARCHITECTURES = ("llama",)  # those whose conversion was compared with llama.cpp
ROUND_TRIP = "In 2024, 1,234.5 people\n\n1 2\tdidn't – naïve 漢字."  # must survive encoding and decoding
BYTES_PER_WEIGHT = 4


def convert(file: Path, cache: Path) -> Path:
    """The folder of the converted model; made on the first call. Raises ValueError, one line, for what cannot be read.

    Every error leaves no folder behind, and two processes that convert the same file end with one.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    target = cache / "models" / f"{file.stem}-{digest[:16]}-{VERSION}"
    if (target / "config.json").is_file():
        return target
    if absent := [package for package in ("gguf", "accelerate") if find_spec(package) is None]:
        raise ValueError(f"reading {file.name} needs the package {absent[0]}: pip install 'ropebench[gguf]'")
    reader = _reader(file)
    _check_supported(file, reader)
    _check_room(file, reader, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}-", suffix=".partial", dir=target.parent) as name:
        folder = Path(name) / "model"
        _write(file, reader, folder)
        _write_origin(file, reader, digest, folder)
        try:
            os.rename(folder, target)
        except OSError:  # another process was first
            if not (target / "config.json").is_file():
                raise
    return target


def origin(folder: Path) -> dict[str, Any] | None:
    """Where a converted model came from (file, sha256, name, licence, quantisation), or None for other folders."""
    path = folder / "origin.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def origin_line(folder: Path) -> str:
    """The same in a line, for people; '' for other folders."""
    content = origin(folder)
    if content is None:
        return ""
    licence = f"licence {content['licence']}" if content["licence"] else "no licence named"
    return f"{content['name'] or 'a model'} from {content['file']} (sha256 {content['sha256'][:16]}), {licence}"


def _reader(file: Path) -> Any:
    try:
        return importlib.import_module("gguf").GGUFReader(str(file))
    except Exception as error:  # the reader indexes into whatever it is given
        raise ValueError(
            f"{file} is no readable GGUF file ({type(error).__name__}: {error}); download it again"
        ) from None


def _field(reader: Any, name: str) -> Any:
    field = reader.fields.get(name)
    return None if field is None else field.contents()


def _check_supported(file: Path, reader: Any) -> None:
    architecture = _field(reader, "general.architecture")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"{file.name} holds the architecture {architecture!r}; ropebench converts {', '.join(ARCHITECTURES)} only, "
            "use the model's safetensors folder"
        )
    scaled = [name for name in reader.fields if ".rope.scaling." in name and _field(reader, name) not in ("none", 1.0)]
    scaled += [tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_f")]
    if scaled:
        raise ValueError(
            f"{file.name} carries a RoPE scaling ({scaled[0]}), which transformers' loader would drop; use the model's "
            "safetensors folder"
        )
    rule = _field(reader, "tokenizer.ggml.pre")
    if _field(reader, "tokenizer.ggml.model") != "gpt2" or rule not in CUTTING:
        raise ValueError(
            f"{file.name} cuts text by the rule {rule!r} before merging, which ropebench does not know (it knows "
            f"{', '.join(CUTTING)}); use the model's safetensors folder"
        )


def _check_room(file: Path, reader: Any, cache: Path) -> None:
    needed = BYTES_PER_WEIGHT * sum(int(tensor.n_elements) for tensor in reader.tensors)
    place = next(parent for parent in (cache, *cache.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < 1.1 * needed:
        raise ValueError(
            f"converting {file.name} needs {needed / 1e9:.1f} GB in {cache} and {free / 1e9:.1f} GB are free; make "
            "room, or name another folder with ROPEBENCH_CACHE"
        )


def _digits_first() -> Any:
    """Every digit alone, then GPT-2's rule (llama.cpp's "smollm"; the authors' tokenizer.json says the same)."""
    rules = importlib.import_module("tokenizers").pre_tokenizers
    return rules.Sequence([rules.Digits(individual_digits=True), _gpt2()])


def _gpt2() -> Any:
    return importlib.import_module("tokenizers").pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


CUTTING: dict[str, Callable[[], Any]] = {"smollm": _digits_first, "gpt-2": _gpt2}


def _write(file: Path, reader: Any, folder: Path) -> None:
    """The model as safetensors and its tokenizer as tokenizer.json."""
    with redirect_stderr(StringIO()):  # three progress bars of other people, for some seconds of work
        model, tokenizer = _loaded(file)
        _check_tokenizer(file, reader, tokenizer, model.config.vocab_size)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if any(tensor.tensor_type.name not in ("F32", "F64") for tensor in reader.tensors):
        config = folder / "config.json"  # what `dtype: auto` runs in; float32 of the same numbers can be asked for
        config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "bfloat16"}, indent=2) + "\n")


def _loaded(file: Path) -> tuple[Any, Any]:
    """(model in float32, tokenizer) by transformers' loader, mended."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # a damaged file fails in as many ways as there are fields
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file.name} cannot be converted ({reason}); download it again") from None
    del model.config.quantization_config
    for name in ("is_quantized", "hf_quantizer", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    return model, tokenizer


def _check_tokenizer(file: Path, reader: Any, tokenizer: Any, vocabulary: int) -> None:
    """Sets the rule that cuts text. Raises ValueError where text does not come back or BOS is not as the file says."""
    tokenizer.backend_tokenizer.pre_tokenizer = CUTTING[_field(reader, "tokenizer.ggml.pre")]()
    ids = tokenizer.encode(ROUND_TRIP, add_special_tokens=False)
    if tokenizer.decode(ids) != ROUND_TRIP or max(ids) >= vocabulary:
        raise ValueError(f"the tokenizer of {file.name} does not give back the text that it was given; use safetensors")
    starts = tokenizer.encode("a")[0] == tokenizer.bos_token_id
    if bool(_field(reader, "tokenizer.ggml.add_bos_token")) != starts:
        raise ValueError(f"the tokenizer of {file.name} adds a start token where the file says not, or the reverse")


def _write_origin(file: Path, reader: Any, digest: str, folder: Path) -> None:
    kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors})
    content = {
        "file": file.name,
        "sha256": digest,
        "name": _field(reader, "general.name"),
        "licence": _field(reader, "general.license"),
        "organisation": _field(reader, "general.organization"),
        "stored_as": kinds,
        "written": digests(path for path in folder.iterdir()),  # a file changed afterwards is another model
        "converted_by": {"ropebench": VERSION, "transformers": version("transformers"), "gguf": version("gguf")},
    }
    (folder / "origin.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
