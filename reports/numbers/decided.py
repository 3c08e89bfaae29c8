"""Where an adaptive run stopped: every comparison with its verdict, the samples that it took, and at which look.

The sequential test is computed again from the rows of the store, so the table says what the run went by.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from reports.numbers.frame import Frames, Test
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.statistics import sequential
from reports.statistics.intervals import Array, Estimate
from reports.statistics.sequential import ABOVE, BELOW, HARDLY, OPEN, WITHIN, Stopping

UNDECIDED = "Open: not decided yet"
NOTE = (
    "A sequential test: false claims of a difference at most 5 % for each comparison, wherever it stops, not corrected "
    "for many comparisons. The 95 % interval holds wherever one stops too. It goes by a normal path, the verdict of a "
    "difference by signs and that of the margin by 90 %, so it may end a little beyond 0 or the margin."
)


def words(word: str, against: str, margin: float) -> str:
    return {
        ABOVE: f"Above {against}",
        BELOW: f"Below {against}",
        WITHIN: f"Within ±{margin:g} points of {against}",
        HARDLY: "Open: the samples that are left would hardly decide it",
        OPEN: "Open: all samples used",
    }[word]


def decided(frames: Frames) -> Grid | None:
    """The table, lines with the same verdict together; None for a run that is not adaptive."""
    adaptive = frames.run.get("adaptive")
    if adaptive is None:
        return None
    against, margin = adaptive["against"], float(adaptive["margin"])
    most = {(cell["task"], cell["length"]): cell["most_samples"] for cell in frames.run["cells"] if _grows(cell)}
    lines: list[Line] = []
    for test, planned in most.items():
        scores = _by_seed(frames, test)
        for label in frames.labels:
            if label == against or _one_cell(frames, test, label, against):
                continue
            lines.append(_line(label, test, scores, planned, against, margin))
    order = [words(word, against, margin) for word in (ABOVE, WITHIN, BELOW, HARDLY, OPEN)] + [UNDECIDED]
    lines.sort(key=lambda line: order.index(line.group))
    return Grid(
        "decided",
        f"Where comparisons with {against} stopped",
        "Comparison",
        ("samples", "of", "look", "difference"),
        tuple(lines),
        column_units=("samples", "samples", "samples", "points"),
        column_notes=("of each method", "that were planned", "at which it stopped", f"to {against}, where it stopped"),
        notes=(NOTE,),
        lines_are="judged tests",
    )


def stopping_notes(frames: Frames) -> list[str]:
    """What ordinary tables must say of cells that stopped early; nothing for a run that is not adaptive."""
    adaptive = frames.run.get("adaptive")
    ledger = frames.run.get("ledger")
    remarks = ledger.get("remarks", []) if ledger else []
    if adaptive is None and not any(remark["tag"] == "adaptive" for remark in remarks):
        return []
    return [
        "Cells were stopped by a sequential test, so numbers of samples differ and pairs are compared on the samples "
        "that both have. Intervals and p-values here do not know of the stopping: a difference that stopped early is "
        "shown too large on average."
    ]


def _grows(cell: Mapping[str, object]) -> bool:
    return "most_samples" in cell


def _line(
    label: str, test: Test, scores: Mapping[str, Sequence[Array]], planned: int, against: str, margin: float
) -> Line:
    own, base = scores.get(label, ()), scores.get(against, ())
    seeds, name = len(own), f"{label}, {test[0]} at {tokens(test[1])} tokens"
    if not own or len(base) != seeds:
        nothing = Number(None, "missing", "not run yet")
        return Line(name, (nothing,) * 4, UNDECIDED)
    state = sequential.stopping(own, base, planned, margin / 100, sequential.comparison(label, against, *test))
    there = min(len(values) for values in (*own, *base))
    group = UNDECIDED if state.word == OPEN and there < planned else words(state.word, against, margin)
    return Line(name, _numbers(state, seeds, planned), group)


def _numbers(state: Stopping, seeds: int, planned: int) -> tuple[Number, ...]:
    def plain(value: float) -> Number:
        return Number(Estimate(value, None, None, 0), "done")

    gap = Number(None, "missing", "too few samples")
    if state.look:
        gap = Number(Estimate(state.difference, state.low, state.high, state.samples * seeds), "done")
    return plain(state.samples * seeds), plain(planned * seeds), plain(state.look), gap


def _by_seed(frames: Frames, test: Test) -> dict[str, list[Array]]:
    """For each method and seed the scores of its first samples, in their order."""
    rows = frames.rows[(frames.rows["task"] == test[0]) & (frames.rows["length"] == test[1])]
    found: dict[str, list[Array]] = {}
    for (label, _), some in rows.sort_values("sample").groupby(["label", "seed"]):
        found.setdefault(str(label), []).append(some["score"].to_numpy(dtype=np.float64))
    return found


def _one_cell(frames: Frames, test: Test, label: str, against: str) -> bool:
    """Whether two methods have the same plan there, and so the same cells."""
    cells = frames.cells[(frames.cells["task"] == test[0]) & (frames.cells["length"] == test[1])]
    own, other = (set(cells[cells["label"] == one]["key"]) for one in (label, against))
    return own == other
