"""What does a YAML text say, with no mistake hidden? A key given twice is an error, and 5e5 is a number.

Plain PyYAML keeps the last of two equal keys without a word and reads 5e5 (no dot) as a text.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"  # the key <<


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Keys are compared as they are written: a key may override one that << brings in later."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = "<<" if key_node.tag == MERGE else self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | bool | None):
                raise ValueError(f"line {line}: a key must be a word, got {key!r}")
            if key in seen:
                raise ValueError(f"line {line}: key {key!r} is given twice")
            seen.add(key)
        return node


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)  # deep, so that what contains itself is refused


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def loads(text: str, where: str) -> Any:
    """The value of a YAML text. Raises ValueError with one line that starts with `where`."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{where}: {line}{error.problem or error.context or 'not valid YAML'}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not valid YAML ({str(error).splitlines()[0]})") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read(path: Path) -> Any:
    """The value of a YAML file, with the same errors."""
    try:
        return loads(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
