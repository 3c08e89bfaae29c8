"""Single answers for the page: what was asked around the place that matters, what came back, what was expected.

The page has to stay small, so each test shows a few samples with excerpts; they are the same for every method, so two
methods can be read side by side, and those on which methods disagree come first.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from harness.store import Store
from reports.frame import Frames
from reports.scores import Scores, Test

PER_CELL = 8
PROMPT_CHARACTERS = 600
ANSWER_CHARACTERS = 400
BUDGET = 2_000_000  # bytes of all samples in the page


def visible(text: object) -> str:
    """Text in which nothing hides: control characters become symbols, invisible and direction marks their code.

    Line ends and tabs stay, because they shape the text; whoever shows it escapes it.
    """
    shown = []
    for character in str(text).replace("\r\n", "␍\n"):
        code = ord(character)
        if character in "\n\t":
            shown.append(character)
        elif code < 0x20:
            shown.append(chr(0x2400 + code))
        elif code == 0x7F:
            shown.append("␡")
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown.append(f"⟨U+{code:04X}⟩")
        else:
            shown.append(character)
    return "".join(shown)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def excerpt(prompt: str, references: list[str], depth: float | None) -> str:
    """Head, the surroundings of the first reference (or of the depth), and tail, in at most 600 characters."""
    if len(prompt) <= PROMPT_CHARACTERS:
        return visible(prompt)
    head, middle, tail = 130, 230, 200
    places = [match.start() for r in references[:1] if r for match in re.finditer(re.escape(r), prompt)]
    centre = places[0] if places else int(depth * len(prompt)) if depth is not None else None
    if centre is None:
        return visible(f"{prompt[:head]} […] {prompt[-(middle + tail) :]}")
    start = max(head, min(centre - middle // 2, len(prompt) - tail - middle))
    parts = [prompt[:head], prompt[start : start + middle], prompt[-tail:]]
    return visible(" […] ".join(parts))


def collect(store: Store, scores: Scores) -> dict[str, Any]:
    """What the page's script reads: tests, methods, prompts (each once) and cells with their samples.

    Takes fewer samples for each cell until everything fits into the budget.
    """
    chosen = {test: _choose(scores, test) for test in scores.matrix}
    # Methods whose plans are equal at a length share one cell.
    unique = scores.frames.rows.drop_duplicates(["key", "sample"]).set_index("sample", drop=False)
    by_key = dict(tuple(unique.groupby("key", sort=False)))
    size = PER_CELL
    while True:
        data = _collect(store, scores.frames, chosen, by_key, size)
        if size <= 1 or len(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")) <= BUDGET:
            return data
        size //= 2


def _choose(scores: Scores, test: Test) -> list[tuple[int, int]]:
    """(seed, sample) of a test, most disagreement between methods first."""
    matrix = scores.matrix[test]
    spread = (matrix.max(axis=1) - matrix.min(axis=1)).round(12)
    return [place for _, place in sorted(zip(-spread, matrix.index, strict=True))]


def _collect(
    store: Store, frames: Frames, chosen: Mapping[Test, list[tuple[int, int]]], by_key: Mapping[str, Any], size: int
) -> dict[str, Any]:
    prompts: dict[str, int] = {}
    texts: list[str] = []
    cells: dict[str, Any] = {}
    for cell in frames.cells.itertuples():
        method = frames.labels.index(cell.label) if cell.label in frames.labels else str(cell.label)
        if cell.key in cells:
            cells[cell.key]["m"].append(method)
            continue
        entry: dict[str, Any] = {
            "m": [method],
            "t": cell.task,
            "l": int(cell.length),
            "s": int(cell.seed),
            "u": cell.unit,
            "st": cell.status,
            "n": int(cell.n),
        }
        if cell.status != "done":
            entry["why"] = visible(cut(cell.reason, 1000))
            entry["tb"] = visible(cell.traceback[-3000:])
        else:
            rows = by_key[cell.key]
            entry["mean"] = round(float(rows["score"].mean()), 6)
            places = chosen[cell.task, int(cell.length)]
            wanted = [sample for seed, sample in places if seed == cell.seed and sample in rows.index]
            entry["r"] = [
                _row(store, rows.loc[sample], int(sample), prompts, texts) for sample in sorted(wanted[:size])
            ]
        cells[cell.key] = entry
    return {"methods": frames.labels, "prompts": texts, "cells": cells, "perCell": size}


def _row(store: Store, row: Any, sample: int, prompts: dict[str, int], texts: list[str]) -> dict[str, Any]:
    references = [str(reference) for reference in row["references"] or ()]
    name = str(row["prompt"])
    if name and name not in prompts:
        # A name from a damaged file must not lead out of the folder of prompts.
        text = store.prompt(name) if name.isalnum() else ""
        prompts[name] = len(texts)
        texts.append(excerpt(text, references, _depth(row)))
    said: dict[str, Any] = {"i": sample, "s": round(float(row["score"]), 6), "n": int(row["prompt_tokens"] or 0)}
    if name:
        said["p"] = prompts[name]
    if row["generation"]:
        said["g"] = cut(visible(row["generation"]), ANSWER_CHARACTERS)
    if references:
        said["a"] = cut(visible(" | ".join(references)), ANSWER_CHARACTERS)
    if row["failure"]:
        said["f"] = visible(row["failure"])
    if not row["finished"]:
        said["cut"] = 1
    if (depth := _depth(row)) is not None:
        said["d"] = depth
    return said


def _depth(row: Any) -> float | None:
    return float(row["depth"]) if isinstance(row["depth"], int | float) and row["depth"] == row["depth"] else None


def for_script(data: object) -> str:
    """JSON that may stand inside a <script> element: no character of it can end the element or start another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
