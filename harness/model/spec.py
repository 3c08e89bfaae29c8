"""A model by name → its configuration, and what it was trained with; no weights are needed.

Where transformers knows the model type, its own configuration class fills in the defaults; any other config.json is
read as it stands. What the fields mean is in `harness.rope.configuration`.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from extenders.base import RopeSpec
from harness.model.locate import config_file
from harness.rope.configuration import read_spec


def load_config(model: str, local_files_only: bool = True) -> Any:
    """The configuration of a folder, a shipped model or a hub id.

    A transformers configuration where the model type is known, else the plain dictionary of config.json.
    The hub is asked only when `local_files_only` is False. Raises ValueError in one line.
    """
    file = config_file(model, local_files_only)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no configuration (a JSON object is expected)")
    return _known(content)


def spec_from_config(config: Any, trained_length: int | None = None) -> RopeSpec:
    """What a model was trained with.

    `config`: a transformers configuration, the dictionary of a config.json, or the path of a model folder.
    `trained_length` in tokens, where the configuration is wrong or silent about it. Raises ValueError for a
    model without RoPE, without θ, or with a rope type we cannot compute.
    """
    if isinstance(config, str | Path):
        config = load_config(str(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # old names are read on purpose
        return read_spec(_known(config) if isinstance(config, Mapping) else config, trained_length)


def _known(content: Mapping[str, Any]) -> Any:
    """The dictionary as a transformers configuration, where transformers knows its model type."""
    model_type = content.get("model_type")
    if model_type not in CONFIG_MAPPING:
        return dict(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return CONFIG_MAPPING[model_type].from_dict(json.loads(json.dumps(content)))
    except Exception as error:  # every configuration class checks its values in its own way
        reason = (str(error).strip().splitlines() or ["unreadable"])[0]
        raise ValueError(
            f"the configuration is not one of a {model_type} model ({type(error).__name__}: {reason})"
        ) from None
