"""What does a YAML text say, with no mistake hidden and nothing that could run away?

A key given twice is an error, and 5e5 is a number; plain PyYAML keeps the last of two equal keys without a word and
reads 5e5 (no dot) as a text. Of YAML 1.1 these are left out: octal numbers (0512 was 330), numbers to base 60 (8:32 was
512) and dates, which are texts here, and tags (!!bool). Sizes have limits: 500 bytes of aliases can ask for gigabytes.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"  # the key <<
INT, FLOAT, DATE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
LONGEST = 100_000  # signs of a text; the longest shipped experiment has 3,000
DEEPEST = 30  # lists and mappings in one another
MOST_VALUES = 20_000  # with those that aliases repeat
DIGITS = 18  # of a whole number


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"line {line}: the tag {_plain_tag(event.tag)} means nothing here; write the value alone")
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"line {line}: more than {DEEPEST} lists and mappings stand in one another")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Keys are compared as they are written: a key may override one that << brings in later."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key must be a word, got a list or a mapping")
            key = "<<" if key_node.tag == MERGE else self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"line {line}: key {key!r} is given twice")
            seen.add(key)
        return node

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _values(node, {}) > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values, with those that aliases (*name) repeat")
        return node


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, each alias as often as it is used. Raises ValueError for one inside itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: a value contains itself (a recursive alias)")
        return known[id(node)]
    known[id(node)] = 0  # while it is counted
    inner = [] if isinstance(node, yaml.ScalarNode) else node.value
    parts = [part for pair in inner for part in pair] if isinstance(node, yaml.MappingNode) else inner
    known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]


def _plain_tag(tag: str) -> str:
    return repr(tag.replace("tag:yaml.org,2002:", "!!")[:60])


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)  # deep, so that what contains itself is refused


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > DIGITS + 6:  # sign and underscores
        raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value)} signs is too long")
    number: int = loader.construct_yaml_int(node)
    if abs(number) >= 10**DIGITS:
        raise ValueError(f"line {node.start_mark.line + 1}: the number {number} has more than {DIGITS} digits")
    return number


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor(INT, _whole)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT, FLOAT, DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    INT, re.compile(r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"^([-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|"
        r"\.(inf|Inf|INF))|\.(nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def loads(text: str, where: str) -> Any:
    """The value of a YAML text. Raises ValueError with one line that starts with `where`."""
    if len(text) > LONGEST:
        raise ValueError(f"{where}: {len(text):,} signs are too many; an experiment has at most {LONGEST:,}")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{where}: {line}{error.problem or error.context or 'not valid YAML'}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not valid YAML ({str(error).splitlines()[0]})") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except Exception as error:  # whatever a broken text brings PyYAML to
        raise ValueError(f"{where}: not valid YAML ({type(error).__name__}: {error})") from error


def read(path: Path) -> Any:
    """The value of a YAML file, with the same errors."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: it is no file")
    try:
        with path.open("rb") as file:
            return loads(file.read(4 * LONGEST + 1).decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
