"""Single answers for the page: what was asked around the place that matters, what came back, what was expected.

A page with hundreds of thousands of answers has to stay small and to open at once. So every test (task, length, seed)
becomes one block: JSON by columns, compressed, written as base64. The browser unpacks a block when somebody opens one
of its cells. Prompts are shared between the methods and cut to excerpts. A block holds the score and the failure class
of every sample; texts as many as fit into the budget, first those on which the methods disagree.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.store import Store
from reports.numbers.frame import Test
from reports.numbers.scores import Scores
from reports.page.visible_text import cut, excerpt, visible

BUDGET = 18_500_000  # bytes of all packed blocks together; the rest of a large page takes less than 1 MB
ANSWER = 400  # characters of a generation or a reference
LEVEL = 6  # of zlib


@dataclass(frozen=True)
class PackedSamples:
    """What the page's script reads: a small index at once, and the blocks when they are opened."""

    index: dict[str, Any]
    blocks: tuple[str, ...]  # base64 of raw deflate of JSON


def collect(store: Store, scores: Scores, budget: int = BUDGET) -> PackedSamples:
    """The index of all cells and one block for each test. Takes fewer texts until all blocks fit into the budget."""
    rows = scores.frames.rows.drop_duplicates(["key", "sample"])  # methods whose plans are equal share a cell
    tests = [(place, answers) for place, answers in rows.groupby(["task", "length", "seed"], sort=False)]
    order = {test: _disagreement_first(scores, test) for test in scores.matrix}
    read = _Prompts(store)
    texts = max((answers["sample"].nunique() for _, answers in tests), default=0)
    while True:
        blocks = tuple(_pack(_block(read, answers, order[str(p[0]), int(p[1])], texts)) for p, answers in tests)
        size = sum(map(len, blocks))
        if size <= budget or texts == 0:
            break
        texts = min(texts - 1, int(texts * budget / size * 0.97))
    places = {(str(task), int(length), int(seed)): i for i, ((task, length, seed), _) in enumerate(tests)}
    labels = [visible(label) for label in scores.frames.labels]
    return PackedSamples({"methods": labels, "cells": _cells(scores, places), "texts": texts}, blocks)


def _disagreement_first(scores: Scores, test: Test) -> list[tuple[int, int]]:
    """(seed, sample) of a test, most disagreement between methods first."""
    matrix = scores.matrix[test]
    spread = (matrix.max(axis=1) - matrix.min(axis=1)).round(12)
    return [place for _, place in sorted(zip(-spread, matrix.index, strict=True))]


class _Prompts:
    """Excerpts of stored prompts, each read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: dict[str, str] = {}

    def __call__(self, name: str, references: Sequence[str], depth: float | None) -> str:
        if name not in self.known:
            # A name from a damaged file must not lead out of the folder of prompts.
            text = self.store.prompt(name) if re.fullmatch(r"[0-9a-zA-Z]+", name) else ""
            self.known[name] = excerpt(text, references, depth)
        return self.known[name]


def _block(read: _Prompts, rows: pd.DataFrame, order: list[tuple[int, int]], texts: int) -> dict[str, Any]:
    """One test by columns: i samples, n prompt tokens, d depths, p excerpts, a references; and for each cell s scores,
    f failure classes, g generations, c places that ended by the token budget. null where there is none."""
    seed = int(rows["seed"].iloc[0])
    present = set(rows["sample"])
    chosen = {sample for sample in [s for of_seed, s in order if of_seed == seed and s in present][:texts]}
    samples = sorted(present)
    place = {sample: i for i, sample in enumerate(samples)}
    shared: dict[str, list[Any]] = {name: [None] * len(samples) for name in "ndpa"}
    cells: dict[str, dict[str, list[Any]]] = {}
    columns = ["key", "sample", "score", "prompt", "generation", "references", "prompt_tokens", "depth", "finished",
               "failure"]  # fmt: skip
    for key, sample, score, prompt, generation, references, tokens, depth, finished, failure in zip(
        *(rows[name].tolist() for name in columns), strict=True
    ):
        i = place[sample]
        cell = cells.setdefault(key, {"s": [None] * len(samples), "f": [], "g": [None] * len(samples), "c": []})
        if not cell["f"]:
            cell["f"] = [None] * len(samples)
        cell["s"][i] = _short(score)
        if failure:
            cell["f"][i] = visible(failure)
        if not finished:
            cell["c"].append(i)
        if sample in chosen:
            cell["g"][i] = cut(visible(generation), ANSWER)
        if shared["n"][i] is None:
            right = [str(reference) for reference in references] if isinstance(references, list | tuple) else []
            deep = float(depth) if isinstance(depth, int | float) and depth == depth else None
            shared["n"][i], shared["d"][i] = int(tokens or 0), None if deep is None else round(deep, 4)
            if sample in chosen:
                shared["a"][i] = [cut(visible(reference), ANSWER) for reference in right]
                shared["p"][i] = read(str(prompt), right, deep) if prompt else ""
    return {"i": samples, **shared, "x": cells}


def _short(score: float) -> float | int:
    rounded = round(float(score), 6)
    return int(rounded) if rounded == int(rounded) else rounded


def _pack(block: Mapping[str, Any]) -> str:
    """Raw deflate, which a browser's DecompressionStream reads, as base64, which no HTML can break out of."""
    text = json.dumps(block, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    machine = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = machine.compress(text.encode("utf-8")) + machine.flush()
    return base64.b64encode(packed).decode("ascii")


def _cells(scores: Scores, places: Mapping[tuple[str, int, int], int]) -> dict[str, Any]:
    """Every planned cell: its methods m, task t, length l, seed s, unit u, category k, status st, samples n, mean,
    block b, and how many answers failed in which way f."""
    frames = scores.frames
    number = {label: i for i, label in enumerate(frames.labels)}
    unique = frames.rows.drop_duplicates(["key", "sample"])
    means = unique.groupby("key")["score"].mean().to_dict()
    failed: dict[str, dict[str, int]] = {}
    for (key, kind), count in unique[unique["failure"] != ""].groupby(["key", "failure"], sort=True).size().items():
        failed.setdefault(key, {})[visible(kind)] = int(count)
    cells: dict[str, Any] = {}
    for cell in frames.cells.itertuples():
        method = number.get(cell.label, visible(cell.label))
        if cell.key in cells:
            cells[cell.key]["m"].append(method)
            continue
        entry = {"m": [method], "t": visible(cell.task), "l": int(cell.length), "s": int(cell.seed)}
        entry |= {"u": cell.unit, "k": str(cell.category), "st": cell.status, "n": int(cell.n)}
        if cell.status == "done":
            entry["mean"] = round(float(means[cell.key]), 6)
            entry["f"] = failed.get(cell.key, {})
            entry["b"] = places[str(cell.task), int(cell.length), int(cell.seed)]
        else:
            entry["why"] = visible(cut(cell.reason, 1000))
            entry["tb"] = visible(cell.traceback[-3000:])
        cells[cell.key] = entry
    return cells


def for_script(data: object) -> str:
    """JSON that may stand inside a <script> element: no character of it can end the element or start another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
