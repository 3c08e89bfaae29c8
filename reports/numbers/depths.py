"""Needles by depth: mean scores of a retrieval test over depth and length, for every method."""

from dataclasses import dataclass

from reports.numbers.grid import short_length
from reports.numbers.scores import Scores

MOST_DEPTHS = 12  # more depths than this are binned


@dataclass(frozen=True)
class DepthScore:
    """One rectangle: a mean score in [0, 1] over n samples, or None with the cell's status (failed, missing)."""

    score: float | None
    n: int
    status: str
    key: str

    @property
    def shown(self) -> str:
        return f"{100 * self.score:.0f}" if self.score is not None else "×" if self.status == "failed" else "–"


@dataclass(frozen=True)
class DepthMap:
    """`panels` has one entry for each method: rows are depths, columns are lengths (tokens)."""

    task: str
    file_name: str  # what stands for the test in one
    depths: tuple[float, ...]
    width: float  # of a bin of depths; 0 where depths are as planned
    lengths: tuple[int, ...]
    panels: tuple[tuple[str, tuple[tuple[DepthScore, ...], ...]], ...]

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(short_length(length) for length in self.lengths)


def depth_maps(scores: Scores) -> list[DepthMap]:
    """The retrieval tests with depths, RULER's own left to their tables."""
    cells = scores.frames.cells
    tests = cells[(cells["category"] == "retrieval") & ~cells["task"].str.startswith("ruler")]["task"].unique()
    return [depth_map for task in tests if (depth_map := _of_task(scores, str(task)))]


def _of_task(scores: Scores, task: str) -> DepthMap | None:
    """None where no sample of the test has a depth."""
    frames = scores.frames
    rows = frames.rows[(frames.rows["task"] == task) & frames.rows["depth"].notna()]
    planned = frames.cells[frames.cells["task"] == task]
    if rows.empty:
        return None
    lengths = tuple(sorted(int(length) for length in planned["length"].unique()))
    depth = rows["depth"].astype(float).clip(0, 1).round(4)
    width = 0.0
    if depth.nunique() > MOST_DEPTHS:
        depth, width = ((depth * 10).clip(upper=9.999) // 1) / 10, 0.1
    depths = tuple(sorted(float(value) for value in depth.unique()))
    groups = rows.assign(depth=depth).groupby(["label", "depth", "length"])["score"]
    means, counts = groups.mean().to_dict(), groups.size().to_dict()
    cell = {(c.label, int(c.length)): (c.status, c.key) for c in planned.itertuples()}

    def at(label: str, deep: float, length: int) -> DepthScore:
        status, key = cell.get((label, length), ("missing", ""))
        score = means.get((label, deep, length))
        n = int(counts.get((label, deep, length), 0))
        return DepthScore(None if score is None else float(score), n, status, key)

    panels = tuple(
        (label, tuple(tuple(at(label, deep, length) for length in lengths) for deep in depths))
        for label in frames.labels
    )
    return DepthMap(task, frames.file_names[task], depths, width, lengths, panels)
