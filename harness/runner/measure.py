"""One cell, measured: a test's rows under a method at one length, checked, with cost and proof of the plan."""

import dataclasses
import math
import time
import traceback
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from harness.experiment.cells import VARIES, Cell, plain
from harness.model.asking import AskedLM
from harness.prompts.kept import KeptPrompts
from harness.records.memory import PeakMemory
from harness.records.passes import Passes
from harness.records.provenance import provenance
from harness.runner.engine_contract import Session, Sessions
from harness.runner.growing import earlier
from harness.signals import stop_if_asked
from harness.store import CellRecord, Proof, Store, StoredRow
from tasks.answers import PromptTask
from tasks.base import LM, Row


def measure(
    cell: Cell,
    session_of: Sessions,
    engine: str,
    store: Store,
    kept: KeptPrompts | None = None,
    passes: Passes | None = None,
) -> tuple[CellRecord, list[str]]:
    """One cell: (what is stored, the prompts that its rows name). Whatever goes wrong in it is a failed cell.

    `engine` is the engine's name, `store` holds the trained weights, `kept` gives prompts that were made before,
    `passes` answers of a sitting that was stopped in the middle of this cell. Rows of the same cell with fewer samples
    are taken over, and their cost with them.
    """
    memory = PeakMemory()
    started = time.perf_counter()
    rows: list[Row] = []
    proof: dict[str, Proof] = {}
    error = trace = ""
    session = None
    before = 0
    smaller = earlier(cell, store)
    cost: Mapping[str, Any] = smaller["cost"] if smaller else {}
    kept_rows = smaller["rows"] if smaller else []
    try:
        trained = store.training_folder(cell.training) if cell.training else None
        session = session_of(cell.method, trained)
        before = session.token_forwards
        session.keep(passes)
        proof = {str(cell.length): session.prove(cell.length)}
        rows = _rows(cell, session, kept, len(kept_rows))
    except Exception as problem:
        stop_if_asked()
        error, trace = one_line(problem), traceback.format_exc()
    finally:
        if session is not None:
            session.keep(None)
    record: CellRecord = {
        "key": cell.key,
        "identity": dict(cell.identity),
        "status": "failed" if error else "done",
        "error": error,
        "traceback": trace,
        "rows": [] if error else [*kept_rows, *map(stored, rows)],
        "cost": {
            "seconds": round(
                time.perf_counter() - started + (passes.seconds if passes else 0.0) + cost.get("seconds", 0.0), 3
            ),
            "token_forwards": _forwards(session, before, passes) + cost.get("token_forwards", 0),
            "peak_memory_bytes": max(memory.peak(), cost.get("peak_memory_bytes", 0)),
        },
        "proof": proof,
        "provenance": {**provenance(), "engine": engine},
    }
    return record, [row.prompt for row in rows]


def _forwards(session: Session | None, before: int, passes: Passes | None) -> int:
    """Token-forwards of a cell, in all its sittings."""
    now = 0 if session is None else session.token_forwards - before
    return now + (passes.token_forwards if passes else 0)


def _rows(cell: Cell, session: Session, kept: KeptPrompts | None, start: int = 0) -> list[Row]:
    """The test's rows from sample `start` on, checked one by one as they come."""
    lm, length = session.lm, cell.length
    if cell.asking is not None:
        lm = AskedLM(lm, cell.asking, cell.test.task.new_tokens)  # type: ignore[arg-type]  # an engine's own model
        length -= lm.spare
        kept = kept.asked(cell.asking.identity) if kept else None
    rows = [checked(row, cell) for row in _given(cell, lm, length, kept, start)]
    if not rows:
        raise ValueError("the test gave no samples")
    if len({row.sample for row in rows}) != len(rows):
        raise ValueError("the test gave a sample twice")
    return rows


def _given(cell: Cell, lm: LM, length: int, kept: KeptPrompts | None, start: int) -> Iterator[Row]:
    """What the test gives from sample `start` on; prompts before it are made and not asked."""
    task, asked = cell.test.task, (lm, length, cell.seed, cell.samples)
    if not start:
        yield from kept.rows(task, *asked) if kept else task.run(*asked)
        return
    assert isinstance(task, PromptTask)
    prompts = kept.prompts(task, *asked) if kept and kept.keeps(task) else task.prompts(*asked)
    for row in task.answers(lm, islice(prompts, start, None), length):
        yield dataclasses.replace(row, sample=start + row.sample)


def checked(row: Row, cell: Cell) -> Row:
    """The row, if its score can be averaged (NaN logits end here) and it ran as planned."""
    if not math.isfinite(row.score):
        raise ValueError(f"sample {row.sample} scored {row.score}: the model gives NaN or infinite values here")
    if cell.test.task.unit == "score" and not 0 <= row.score <= 1:
        raise ValueError(f"sample {row.sample} scored {row.score}, outside 0 … 1")
    if not cell.in_window and row.prompt_tokens > cell.length + cell.test.task.overhang:
        raise ValueError(
            f"sample {row.sample} is a prompt of {row.prompt_tokens} tokens, beyond the {cell.length} asked for"
        )
    planned = cell.identity["plan"]
    if not planned.startswith(VARIES) and row.plan_hash not in ("", planned):
        raise ValueError(f"sample {row.sample} ran under the plan {row.plan_hash}, planned was {planned}")
    return row


def stored(row: Row) -> StoredRow:
    """A row as JSON, with the hash of its prompt."""
    content: StoredRow = plain({field.name: getattr(row, field.name) for field in dataclasses.fields(row)})
    content["prompt"] = Store.prompt_name(row.prompt)
    return content


def one_line(error: BaseException) -> str:
    """An error as one line for tables. A ValueError speaks for itself, others carry their type."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 400 else text[:399] + "…"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
