"""Fuzzing guided by coverage, for the readers of experiments and stores.

`python atheris_readers.py yaml|store [options of libFuzzer]`. Needs the package atheris, which is no part of any extra:
it is built for few versions of Python.

What is read gives a value, None, or a ValueError of one line; anything else ends the program with a traceback.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
with atheris.instrument_imports():
    from harness.experiment.strict_yaml import loads
    from harness.files_on_disk import mend_lines
    from harness.seals import key_of, sealed
    from harness.store import Store, is_losses_line, is_trajectory_line

FOLDER = Path(tempfile.mkdtemp())
RECORDS = FOLDER / "cells", FOLDER / "searches", FOLDER / "trainings"


def one_line(error: Exception) -> None:
    assert str(error) and len(str(error).splitlines()) == 1, repr(error)


def read_yaml(data: bytes) -> None:
    try:
        loads(data.decode("utf-8", "replace"), "f")
    except ValueError as error:
        one_line(error)


def read_store(data: bytes) -> None:
    """The same bytes as each of a store's files; half of the records and lines with the seal that they want."""
    store, key = Store(FOLDER), "0" * 24
    content, text = data[1:], data[1:].decode("utf-8", "replace")
    if data[:1] > b"\x7f":
        content, key = resealed(text, content, key)
    (FOLDER / "run.json").write_bytes(content)
    for folder in RECORDS:
        (folder / f"{key}.json").write_bytes(content)
    (FOLDER / "searches" / f"{key}.jsonl").write_bytes(content)
    for read in (store.run, store.described, lambda: Store.open(FOLDER), lambda: list(store.cells())):
        try:
            read()
        except ValueError as error:
            one_line(error)
    store.cell(key), store.search(key), store.training(key), store.trajectory(key)
    mend_lines(FOLDER / "searches" / f"{key}.jsonl", lambda line: is_losses_line(key, line))
    mend_lines(FOLDER / "searches" / f"{key}.jsonl", lambda line: is_trajectory_line(key, line))
    for path in FOLDER.rglob("*.json*"):
        path.unlink()


def resealed(text: str, content: bytes, key: str) -> tuple[bytes, str]:
    """A JSON object with the seal of a cell and the key of its identity, as somebody may write it on purpose."""
    import json

    try:
        record = json.loads(text)
        identity = record.get("identity") or {}
        key = key_of(identity) if identity else key
        return json.dumps(sealed("cell", {**record, "key": key, "identity": identity})).encode(), key
    except (ValueError, AttributeError, TypeError, RecursionError):
        return content, key


if __name__ == "__main__":
    target = {"yaml": read_yaml, "store": read_store}[sys.argv.pop(1)]
    for folder in RECORDS:
        folder.mkdir()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
