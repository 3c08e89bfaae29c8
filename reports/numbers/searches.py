"""The searches of a run: what each found, what it cost, and every candidate that it tried.

A store without them gives an empty list, and the page says 'not measured'. A file that cannot be read counts as absent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.store import Run, SearchLine, SearchRecord, Store, search_reading
from reports.numbers.measured import entries, is_plain, number, whole


@dataclass(frozen=True)
class TriedCandidate:
    """A candidate of a search at its last and most exact evaluation. `spent` counts token-forwards up to then."""

    number: int
    loss: float  # nats per scored token
    samples: int
    spent: float


@dataclass(frozen=True)
class SearchHistory:
    """A search as run.json lists it, with its record and its trajectory."""

    label: str
    extender: str
    status: str
    error: str
    record: SearchRecord | None = None
    candidates: tuple[TriedCandidate, ...] = ()
    stage_of: tuple[str, ...] = ()  # trained methods that needed it for an earlier stage; none: the method itself

    @property
    def short_values(self) -> dict[str, int | float | str]:
        """Parameters that the search found; long lists are left to the rescale-factor figure."""
        values = self.record["found"] if self.record else {}
        return {name: value for name, value in values.items() if isinstance(value, int | float | str)}

    @property
    def loss(self) -> float:
        return number(self.record["loss"] if self.record else None)

    @property
    def held_out(self) -> dict[str, float]:
        """Losses on documents that the search never saw, of finalists and baselines."""
        listed = self.record["held_out"] if self.record else {}
        return {str(name): number(loss) for name, loss in listed.items() if not math.isnan(number(loss))}

    def cost(self, name: str) -> float:
        """seconds, token_forwards or candidates; NaN where it is not known."""
        return number(self.record["cost"].get(name) if self.record else None)

    @property
    def best(self) -> list[tuple[float, float]]:
        """(token-forwards spent, loss of the best candidate so far), where it changes.

        A race measures most candidates on few texts, and losses on few texts compare with nothing else. So the best is
        the one of lowest loss among those measured on the most texts so far, and it may rise when texts are added.
        """
        steps: list[tuple[float, float]] = []
        best: TriedCandidate | None = None
        for candidate in sorted(self.candidates, key=lambda c: (c.spent, c.number)):
            if best is None or (-candidate.samples, candidate.loss) < (-best.samples, best.loss):
                best = candidate
                steps.append((candidate.spent, candidate.loss))
        return steps


def searches(store: Store, run: Run) -> list[SearchHistory]:
    """The searches that run.json lists, in the order of the methods."""
    return [_history(store, entry) for entry in entries(run.get("searches"), "label")]


def _history(store: Store, entry: SearchLine) -> SearchHistory:
    key = str(entry.get("key", ""))
    reading = search_reading(store.searches, key) if is_plain(key) else None
    record, damage = (reading.record, reading.damage) if reading else (None, "")
    stage_of = entry.get("stage_of")
    return SearchHistory(
        str(entry["label"]),
        str(entry.get("extender", "")),
        record["status"] if record else "missing" if damage else str(entry.get("status") or "missing"),
        str(record["error"] if record else f"its file is damaged: {damage}" if damage else entry.get("error") or ""),
        record,
        _candidates(store.trajectory(key)) if is_plain(key) else (),
        tuple(map(str, stage_of)) if isinstance(stage_of, list) else (),
    )


def _candidates(lines: list[Any]) -> tuple[TriedCandidate, ...]:
    """Each candidate as its last line tells it; those without a loss or what was spent are left out."""
    last: dict[int, TriedCandidate] = {}
    for line in lines:
        if not isinstance(line, Mapping):
            continue
        loss, candidate = number(line.get("loss")), line.get("candidate")
        if isinstance(candidate, int) and not math.isnan(loss):
            last[candidate] = TriedCandidate(candidate, loss, whole(line.get("samples")), number(line.get("spent")))
    return tuple(candidate for candidate in last.values() if not math.isnan(candidate.spent))
