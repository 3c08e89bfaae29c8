"""What each method cost: seconds, token-forwards and memory of evaluation, search and training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.numbers.frame import Frames
from reports.numbers.searches import SearchHistory
from reports.numbers.trainings import TrainingHistory


@dataclass(frozen=True)
class MethodCost:
    """A line of `cost_totals`; NaN where it is not known."""

    label: str
    done: float  # cells
    planned: float
    seconds: float
    token_forwards: float
    peak_memory_bytes: float
    search_seconds: float
    training_seconds: float
    search_token_forwards: float
    training_token_forwards: float
    total_seconds: float
    total_token_forwards: float


def cost_totals(
    frames: Frames, searches: Sequence[SearchHistory] = (), trainings: Sequence[TrainingHistory] = ()
) -> pd.DataFrame:
    """One line for each method: cells done and planned; seconds and token-forwards of evaluation, of search (search_…)
    and of one training (training_…, the mean over its seeds), the sums (total_…), highest peak memory in bytes.

    NaN: not known; a method that was neither searched nor trained has NaN there and adds nothing. A trained method has
    had the search of its untrained self, and those of the earlier stages of its training.
    """
    cells = frames.cells
    groups = cells.groupby("label")
    totals = pd.DataFrame(
        {
            "done": (cells["status"] == "done").groupby(cells["label"]).sum(),
            "planned": groups.size(),
            "seconds": groups["seconds"].sum(min_count=1),
            "token_forwards": groups["token_forwards"].sum(min_count=1),
            "peak_memory_bytes": groups["peak_memory_bytes"].max(),
        }
    ).reindex(frames.labels)
    for name in ("seconds", "token_forwards"):
        for label in totals.index:
            searched = [search.cost(name) for search in _searches_of(label, frames.families[label], searches)]
            trained = [training.cost(name) for training in trainings if training.label == label]
            totals.loc[label, f"search_{name}"] = sum(searched) if searched else math.nan
            totals.loc[label, f"training_{name}"] = sum(trained) / len(trained) if trained else math.nan
    for name in ("seconds", "token_forwards"):
        parts = totals[[name, f"search_{name}", f"training_{name}"]]
        totals[f"total_{name}"] = parts.sum(axis=1, min_count=1)
    totals.index.name = "label"
    return totals


def _searches_of(label: str, untrained: str, searches: Sequence[SearchHistory]) -> list[SearchHistory]:
    return [search for search in searches if search.label in (label, untrained) or label in search.stage_of]


def lines(totals: pd.DataFrame) -> list[MethodCost]:
    """The lines of the table of costs, in the order of the methods."""
    return [MethodCost(**line) for line in totals.reset_index().to_dict("records")]
