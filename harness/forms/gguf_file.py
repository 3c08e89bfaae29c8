"""Factor tensors in a GGUF file: a copy of a model with them in it, or a file of its own to be merged.

llama.cpp divides the frequency of each pair by `rope_factors_long.weight` where the allocated context is above
`rope.scaling.original_context_length`, by `rope_factors_short.weight` otherwise, and multiplies cos and sin by
`rope.scaling.attn_factor`, of which there is one.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy

from harness.files_on_disk import writing
from harness.forms.llama_cpp import TENSORS_ARE_READ, fields
from harness.forms.two_plans import TwoPlans
from harness.model.packaged import PACKAGED, packaged_file

FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def write(out: Path, model: str, plans: TwoPlans, model_type: str) -> list[str]:
    """Write the file and say what it is. Raises ValueError, one line, for an architecture that ignores the tensors."""
    if find_spec("gguf") is None:
        raise ValueError(f"writing {out.name} needs the package gguf: pip install 'ropebench[gguf]'")
    if model_type not in TENSORS_ARE_READ:
        raise ValueError(
            f"llama.cpp reads factor tensors for some architectures only, and for {model_type} nobody compared them "
            f"with the plan (compared: {', '.join(TENSORS_ARE_READ)}); use --format llama.cpp for linear, yarn or "
            "another base"
        )
    source = packaged_file(model) if model in PACKAGED else Path(model).expanduser()
    whole = source.suffix == ".gguf"
    if whole and source.resolve() == out.resolve():
        raise ValueError(f"{out} is the model itself; name another file to write")
    gguf = importlib.import_module("gguf")
    architecture = TENSORS_ARE_READ[model_type]
    with writing(out) as place:
        writer = gguf.GGUFWriter(str(place), architecture)
        reader = gguf.GGUFReader(str(source)) if whole else None
        _write(gguf, writer, reader, plans, architecture)
    if whole:
        return [f"{source.name} with the plan in it; nothing else was changed"]
    return ["the file holds the factors and fields alone; give a .gguf as --model for a copy of it with the plan in it"]


def _write(gguf: Any, writer: Any, reader: Any, plans: TwoPlans, architecture: str) -> None:
    new = fields(plans, architecture)
    for name, value in new.items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(name, value)
    tensors = {
        "rope_factors_long.weight": numpy.array(plans.factors(plans.long), dtype=numpy.float32),
        "rope_factors_short.weight": numpy.array(plans.factors(plans.short), dtype=numpy.float32),
    }
    kept = []
    if reader is not None:
        for field in reader.fields.values():
            if not field.name.startswith("GGUF.") and field.name not in (*new, "general.architecture"):
                array = field.types[0] == gguf.GGUFValueType.ARRAY
                inner = field.types[-1] if array else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
        kept = [tensor for tensor in reader.tensors if tensor.name not in FACTORS]
    for name, values in tensors.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    for tensor in kept:
        data = tensor.data
        writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for values in (*tensors.values(), *(tensor.data for tensor in kept)):
        writer.write_tensor_data(values)
    writer.close()


def read(path: Path) -> dict[str, Any]:
    """The fields and factors of a GGUF file as a RoPE dictionary. Raises ValueError, one line."""
    if find_spec("gguf") is None:
        raise ValueError(f"reading {path.name} needs the package gguf: pip install 'ropebench[gguf]'")
    try:
        reader = importlib.import_module("gguf").GGUFReader(str(path))
    except Exception as error:  # the reader indexes into whatever it is given
        raise ValueError(f"{path} is no readable GGUF file ({type(error).__name__})") from None

    def field(name: str) -> Any:
        content = next((field for key, field in reader.fields.items() if key.endswith(name)), None)
        return None if content is None else content.contents()

    lists = {tensor.name: [float(x) for x in tensor.data] for tensor in reader.tensors if tensor.name in FACTORS}
    if not lists:
        raise ValueError(f"{path} has no factor tensors ({', '.join(FACTORS)}), so it holds no plan")
    alone = lists.get("rope_freqs.weight")
    factor = field(".rope.scaling.attn_factor")
    return {
        "rope_type": "longrope",
        "rope_theta": field(".rope.freq_base"),
        "long_factor": alone or lists["rope_factors_long.weight"],
        "short_factor": alone or lists["rope_factors_short.weight"],
        "original_max_position_embeddings": field(".rope.scaling.original_context_length"),
        "attention_factor": 1.0 if factor is None else factor,
        "max_position_embeddings": field(".context_length"),
    }
