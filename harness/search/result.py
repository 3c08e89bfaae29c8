"""A search's result as a method: for an experiment file, and for commands that take a method.

The parameters are those that the plans depend on: what the search set, and what the user had given. Settings of the
search are left out, so nothing is searched again.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from extenders.search.searched import SearchedExtender
from harness.experiment.cells import plain
from harness.experiment.naming import label_of, load_method, user_folders
from harness.experiment.parameters import shown
from harness.files_on_disk import read_file
from harness.store import SearchRecord, is_search


def parameters_of(record: SearchRecord, method: str) -> dict[str, Any]:
    """The parameters, in JSON's types, that give the found plan at every length for the same target length.

    `method`: the searched method as a command names it, a name or the path of its file.
    """
    identity = record["identity"]
    cls = load_method("search", method, user_folders())
    if not issubclass(cls, SearchedExtender):
        raise ValueError(f"{method} has nothing to search, so no search gave its numbers")
    settings = {field.name for field in dataclasses.fields(SearchedExtender)} | set(cls.SETTINGS)
    given = {name: value for name, value in identity["parameters"].items() if name not in settings}
    fields = dataclasses.fields(cls)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    changed = {name: value for name, value in given.items() if name not in defaults or value != plain(defaults[name])}
    return {**changed, **record["found"]}


def loss_in_words(record: SearchRecord) -> str:
    """What a finished search ended at. The search by gradient steps from text to text, and its winner, the finalist
    with the lowest loss on held-out texts, was never measured on the texts that it was searched on.
    """
    if record["loss"] is not None:
        return f"loss {record['loss']:.4f} nats per scored token"
    apart = [loss for loss in record["held_out"].values() if loss is not None]
    if not apart:
        return "loss not measured: the budget left nothing for a check of the winner"
    return f"loss {min(apart):.4f} nats per scored token on {record['held_out_samples']} held-out texts"


def entry_of(record: SearchRecord, method: str) -> str:
    """The searched method, named as a command does, as an entry of an experiment's `extenders`."""
    given = ", ".join(f"{name}: {json.dumps(value)}" for name, value in parameters_of(record, method).items())
    name = str(Path(method).resolve()) if method.endswith(".py") else method
    return f"{{{name}: {{{given}}}}}"


def read(path: Path, extender: str, target_length: int) -> dict[str, Any]:
    """`parameters_of` a result file. Raises ValueError for no result, and one of another method or target length."""
    try:
        content = json.loads(read_file(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise ValueError(f"cannot read the search's result {path}: {reason}; give the .json that it names") from None
    if not is_search(content) or content["status"] != "done" or not content["found"]:
        raise ValueError(f"{path} is not the result of a finished search; give the .json that ropebench search names")
    identity = content["identity"]
    for what, searched, asked in (
        ("the method", identity["extender"], label_of(extender)),
        ("target length", identity["target_length"], target_length),
    ):
        if searched != asked:
            words = shown(searched)
            raise ValueError(f"{path} was searched for {what} {words}, not {asked}; ask for {words}")
    try:
        return parameters_of(content, extender)
    except (TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is damaged ({reason}); search again, or name another file") from error
