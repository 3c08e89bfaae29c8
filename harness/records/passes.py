"""What a cell has answered so far, so that a run that is stopped goes on inside a cell.

The model answers a cell's prompts in passes, some prompts together, and which ones follows from the prompts alone. A
pass that has ended is a sealed line under the hash of what was asked, tokens and all, in DIR/passes/<key>.jsonl; the
key stands for weights, plan, precision and test. Whoever takes the cell next asks the same, is given these answers and
computes the rest, so the cell ends as if nothing had happened. The file goes when the cell is done.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from harness.files_on_disk import mend_lines, room_in
from harness.seals import canonical, sealed
from harness.signals import ShortPieces
from harness.store import PassLine, Store, is_pass_line, pass_kind

LEAST = 0.2  # seconds; shorter passes are not worth a line each, and are written once they come to that together


class Passes:
    """Those of one cell. A stop waits for the pass at work while `pieces`, the passes of all cells, are short.

    `seconds` and `token_forwards` are what the answers that were given again once cost.
    """

    def __init__(self, store: Store, key: str, pieces: ShortPieces | None = None) -> None:
        self._store, self._key, self._path = store, key, store.passes_path(key)
        self._pieces = pieces or ShortPieces()
        lines = mend_lines(self._path, lambda line: is_pass_line(key, line))
        self._earlier: dict[str, PassLine] = {line["asked"]: line for line in lines}
        self._unwritten: list[PassLine] = []
        self.seconds = 0.0
        self.token_forwards = 0

    def once(self, asked: object, work: Callable[[], list[Any]], forwards: Callable[[], int]) -> list[Any]:
        """What `work` gives, in JSON's types, unless a sitting before this one had it. `forwards` counts the model's
        token-forwards. Raises CannotWrite where the line cannot be written."""
        name = hashlib.sha256(canonical(asked).encode()).hexdigest()
        if line := self._earlier.get(name):
            self.seconds += line["seconds"]
            self.token_forwards += line["token_forwards"]
            return list(line["answers"])
        with self._pieces.piece():
            started, before = time.perf_counter(), forwards()
            answers = work()
            seconds, spent = time.perf_counter() - started, forwards() - before
            written: PassLine = {"asked": name, "answers": answers, "seconds": seconds, "token_forwards": spent}
            self._unwritten.append(written)
            if sum(one["seconds"] for one in self._unwritten) >= LEAST:
                self._write(self._unwritten)
                self._unwritten = []
        return answers

    def _write(self, lines: Sequence[PassLine]) -> None:
        text = ""
        for line in lines:
            with suppress(ValueError):  # an infinite loss, which JSON cannot hold: the cell says what is wrong with it
                text += json.dumps(sealed(pass_kind(self._key), line)) + "\n"
        if not text:
            return
        self._store.check_place()
        with room_in(self._path.parent):
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)

    def done(self) -> None:
        """The cell is stored."""
        self._path.unlink(missing_ok=True)


def sweep(store: Store) -> None:
    """Delete passes of cells that are done."""
    for path in store.passes.glob("*.jsonl"):
        if store.done(path.stem):
            path.unlink(missing_ok=True)
