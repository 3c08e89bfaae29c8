"""Is a value of an experiment file what its key asks for? A wrong one is one line that says where it stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.experiment.parameters import hint, shown


@dataclass(frozen=True)
class Fields:
    """The values of a mapping, each checked as it is read. `where` is the file and the place in it, for errors."""

    where: str
    content: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def whole(self, name: str, least: int) -> int:
        """A whole number of at least `least`."""
        return _whole(self._place(name), self.content[name], least)

    def numbers(self, name: str, least: int) -> tuple[int, ...]:
        """One or several different whole numbers of at least `least`."""
        where, value = self._place(name), self.content[name]
        numbers = [_whole(where, number, least) for number in (value if isinstance(value, list) else [value])]
        if not numbers:
            raise ValueError(f"{where} must name at least one number")
        seen: set[int] = set()
        for number in numbers:
            if number in seen:
                raise ValueError(f"{where} names {number} twice")
            seen.add(number)
        return tuple(numbers)

    def lengths(self, name: str, target: int) -> tuple[int, ...]:
        """Lengths in tokens, ascending, none beyond the target."""
        lengths = tuple(sorted(self.numbers(name, 1)))
        if lengths[-1] > target:
            raise ValueError(
                f"{self._place(name)} goes up to {lengths[-1]} tokens, beyond the target_length {target}; "
                "raise the target"
            )
        return lengths

    def text(self, name: str, default: str = "") -> str:
        return _text(self._place(name), self.content.get(name, default))

    def texts(self, name: str) -> tuple[str, ...]:
        """Any number of texts, none where the key is absent."""
        value = self.content.get(name, [])
        return tuple(_text(self._place(name), text) for text in (value if isinstance(value, list) else [value]))

    def file_name(self, name: str, default: str) -> str:
        text = self.text(name, default)
        if any(sign in text for sign in '/\\:"') or text.startswith(".") or not text.isprintable() or len(text) > 80:
            raise ValueError(
                f"{self._place(name)} names a folder of results and so holds no / \\ : and no leading dot, at most 80 "
                f"signs, got {text!r}"
            )
        return text

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.content.get(name, default)
        if value not in allowed:
            raise ValueError(f"{self._place(name)} is {value!r}; {hint(value, allowed)}")
        return str(value)

    def entries(self, name: str) -> "Iterator[tuple[str, Fields]]":
        """Names with their parameters, from a list of `name` and `{name: {parameter: value}}`."""
        where, listed = self._place(name), self.content[name]
        if not isinstance(listed, list) or not listed:
            raise ValueError(f"{where} must be a list with at least one name, got {listed!r}")
        for entry in listed:
            entry_name, given = _entry(where, entry)
            yield entry_name, Fields(f"{where}: {shown(entry_name)}", given)

    def _place(self, name: str) -> str:
        return f"{self.where}: {name}"


def _entry(where: str, entry: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if not (isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry)), str)):
        raise ValueError(f"{where}: an entry is a name or {{name: {{parameter: value}}}}, got {entry!r}")
    name, given = next(iter(entry.items()))
    if given is not None and not isinstance(given, dict):
        raise ValueError(f"{where}: {shown(name)} wants parameters as {{name: value}}, got {given!r}")
    return name, given or {}


def _whole(where: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} must be a whole number of at least {least}, got {value!r}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} must be a text, got {value!r}")
    return value
