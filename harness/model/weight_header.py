"""Are the weights of a model whole? Read from the headers of their files, in milliseconds, before anything is loaded.

A checkpoint is often not there although its files are: pointers of git-lfs, a download that was cut off, an index that
names other files.
"""

import json
import math
from pathlib import Path

from safetensors import SafetensorError, safe_open

POINTER = b"version https://git-lfs.github.com/spec"  # how a file of git-lfs begins that was not fetched
INDEX = "model.safetensors.index.json"
NARROW = ("I8", "U8", "F8")  # as safetensors names them


def indexed_files(index: Path) -> list[str]:
    """The names of the files that an index lists. Raises ValueError, one line, where it has another shape."""
    head = _head(index)
    if head.startswith(POINTER):
        raise _not_fetched(index)
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{index} is no index of weights ({_line(error)}); download it again") from None
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files or not all(_is_file_name(name) for name in files.values()):
        raise ValueError(
            f"{index} is no index of weights: its weight_map does not name files of the folder; download it again"
        )
    return sorted(set(files.values()))


def parameter_count(file: Path) -> int:
    """How many weights a safetensors file holds, by its header. Raises ValueError, one line, for a damaged file."""
    if _head(file).startswith(POINTER):
        raise _not_fetched(file)
    try:
        with safe_open(file, framework="numpy") as opened:
            return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise ValueError(f"{file} is damaged or was cut off ({_line(error)}); download it again") from None


def narrow_weights(file: Path) -> list[str]:
    """Weights that are stored in 8 bits: without their scales, of which the configuration speaks, they mean nothing."""
    with safe_open(file, framework="numpy") as opened:
        names = [name for name in opened.keys() if name.endswith("weight")]
        return [name for name in names if str(opened.get_slice(name).get_dtype()).startswith(NARROW)]


def _is_file_name(name: object) -> bool:
    """Whether it names a file of the folder itself."""
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name and name.isprintable()


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(POINTER))


def _not_fetched(file: Path) -> ValueError:
    return ValueError(f"{file} is a pointer of git-lfs and not the file itself; fetch it with: git lfs pull")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
