"""The trainings of a run, one for each method and seed: loss curves, cost, data order.

A store without them gives an empty list, and the page says 'not measured'. A file that cannot be read counts as absent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.store import Run, Store, TrainingLine, TrainingRecord
from reports.numbers.measured import entries, is_plain, number, whole

Curves = Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True)
class TrainingHistory:
    """One training of one seed. `curves` maps a class of sequences (such as short, long) to points (tokens so far,
    nats per token)."""

    label: str
    recipe: str
    seed: int
    status: str
    error: str
    record: TrainingRecord | None = None
    curves: Curves = field(default_factory=dict)

    def cost(self, name: str) -> float:
        """As recorded; `token_forwards` counts a trained token three times: one pass forwards, two for the way back."""
        costs: Mapping[str, object] = self.record["cost"] if self.record else {}
        return 3 * number(costs.get("tokens")) if name == "token_forwards" else number(costs.get(name))

    @property
    def order(self) -> str:
        return self.record["data"]["order"] if self.record and "data" in self.record else ""

    @property
    def trainable(self) -> float:
        return number(self.record["trainable"]["parameters"] if self.record and "trainable" in self.record else None)


def trainings(store: Store, run: Run) -> list[TrainingHistory]:
    """The trainings that run.json lists."""
    return [_history(store, entry) for entry in entries(run.get("trainings"), "method")]


def _history(store: Store, entry: TrainingLine) -> TrainingHistory:
    key = str(entry.get("key", ""))
    reading = store.training_reading(key) if is_plain(key) else None
    record, damage = (reading.record, reading.damage) if reading else (None, "")
    return TrainingHistory(
        str(entry["method"]),
        str(entry.get("recipe", "")),
        whole(entry.get("seed")),
        record["status"] if record else "missing" if damage else str(entry.get("status") or "missing"),
        str(record["error"] if record else f"its file is damaged: {damage}" if damage else entry.get("error") or ""),
        record,
        _curves(record.get("curve") if record else None),
    )


def _curves(listed: object) -> Curves:
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in listed if isinstance(listed, list) else []:
        losses = point.get("loss") if isinstance(point, dict) else None
        for kind, loss in (losses if isinstance(losses, dict) else {}).items():
            tokens, nats = number(point.get("tokens")), number(loss)
            if not (math.isnan(tokens) or math.isnan(nats)):
                curves.setdefault(str(kind), []).append((tokens, nats))
    return {kind: tuple(points) for kind, points in curves.items()}
