"""A method written as one text, its name and its parameters: "yarn", "abf base_factor=20"."""

import dataclasses
import json
from typing import Any

from extenders.base import Extender, load
from extenders.search.searched import SearchedExtender


def named_method(where: str, text: object, target_length: int) -> Extender:
    """The shipped method with that target (tokens). Values are JSON (20, true, [1,2]) or else words.

    Raises ValueError that begins with `where` for an unknown name or parameter, and for a method that is to be
    searched.
    """
    if not isinstance(text, str) or not text.split():
        raise ValueError(
            f'{where} must be a method and its parameters in one text ("abf base_factor=20"), got {text!r}'
        )
    name, *words = text.split()
    pairs = [word.partition("=") for word in words]
    try:
        method = load(name)
        known = [field.name for field in dataclasses.fields(method) if field.name != "target_length"]
        wrong = [key for key, equals, _ in pairs if not equals or key not in known]
        if wrong:
            raise ValueError(f"{name} has no parameter {wrong[0]!r}; it has {', '.join(known) or 'none'}")
        extender = method(target_length=target_length, **{key: _value(value) for key, _, value in pairs})
    except TypeError:  # a parameter without a default is missing
        raise ValueError(f"{where}: {name} needs its parameters: {', '.join(known)}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if isinstance(extender, SearchedExtender) and not extender.searched:
        missing = ", ".join(field for field in extender.FINDS if getattr(extender, field) is None)
        raise ValueError(f"{where}: {name} is searched on a model, which is not done here; give its {missing}")
    return extender


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
