"""What happened before the evaluation: searches with their trajectories, trainings with their loss curves.

A store without them gives empty lists, and the page says 'not measured'. A file that cannot be read counts as absent.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.store import Store


@dataclass(frozen=True)
class Candidate:
    """One candidate of a search, at its last and most exact evaluation. `spent` counts token-forwards up to then."""

    number: int
    parent: int | None
    operator: str
    loss: float  # nats per scored token
    samples: int
    spent: float


@dataclass(frozen=True)
class Search:
    label: str
    extender: str
    status: str
    error: str
    content: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    stage_of: tuple[str, ...] = ()  # trained methods that needed it for an earlier stage; none: the method itself

    @property
    def found(self) -> dict[str, Any]:
        """Short values that the search found; long lists are left to the rescale-factor figure."""
        values = self.content.get("found") or {}
        return {name: value for name, value in values.items() if isinstance(value, int | float | str)}

    @property
    def loss(self) -> float:
        return number(self.content.get("loss"))

    @property
    def held_out(self) -> dict[str, float]:
        """Losses on documents that the search never saw, of finalists and baselines."""
        listed = self.content.get("held_out") or {}
        return {str(name): number(loss) for name, loss in listed.items() if not math.isnan(number(loss))}

    def cost(self, name: str) -> float:
        return number((self.content.get("cost") or {}).get(name))

    @property
    def best(self) -> list[tuple[float, float]]:
        """(token-forwards spent, loss of the best candidate so far), where it changes.

        A race measures most candidates on few texts, and losses on few texts compare with nothing else. So the best is
        the one of lowest loss among those measured on the most texts so far, and it may rise when texts are added.
        """
        steps: list[tuple[float, float]] = []
        best: Candidate | None = None
        for one in sorted(self.candidates, key=lambda c: (c.spent, c.number)):
            if best is None or (-one.samples, one.loss) < (-best.samples, best.loss):
                best = one
                steps.append((one.spent, one.loss))
        return steps


@dataclass(frozen=True)
class Training:
    """One training of one seed. `curves` maps a class of sequences (such as short, long) to points (tokens so far,
    nats per token)."""

    label: str
    recipe: str
    seed: int
    status: str
    error: str
    content: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def cost(self, name: str) -> float:
        """As recorded; `token_forwards` counts a trained token three times: one pass forwards, two for the way back."""
        found = self.content.get("cost") or {}
        return 3 * number(found.get("tokens")) if name == "token_forwards" else number(found.get(name))

    @property
    def order(self) -> str:
        return str((self.content.get("data") or {}).get("order") or "")

    @property
    def trainable(self) -> float:
        return number((self.content.get("trainable") or {}).get("parameters"))


def number(value: Any) -> float:
    """A finite number, or NaN for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def _whole(value: Any) -> int:
    return 0 if math.isnan(number(value)) else int(value)


def searches(store: Store, run: Mapping[str, Any]) -> list[Search]:
    """The searches that run.json lists, in the order of the methods."""
    found = []
    for entry in _entries(run, "searches"):
        key = str(entry.get("key", ""))
        content = _json(store, "searches", f"{key}.json") if _plain(key) else {}
        lines = _lines(store, "searches", f"{key}.jsonl") if _plain(key) else []
        last: dict[int, Candidate] = {}
        for line in lines:
            loss = number(line.get("loss"))
            if isinstance(line.get("candidate"), int) and not math.isnan(loss):
                one, parent = line["candidate"], line.get("parent")
                last[one] = Candidate(
                    one, parent if isinstance(parent, int) else None, str(line.get("operator", "")), loss,
                    _whole(line.get("samples")), number(line.get("spent")),
                )  # fmt: skip
        known = tuple(one for one in last.values() if not math.isnan(one.spent))
        status = str(content.get("status") or entry.get("status") or "missing")
        error = str(content.get("error") or entry.get("error") or "")
        label, extender = str(entry["label"]), str(entry.get("extender", ""))
        stage_of = entry.get("stage_of")
        users = tuple(map(str, stage_of)) if isinstance(stage_of, list) else ()
        found.append(Search(label, extender, status, error, content, known, users))
    return found


def trainings(store: Store, run: Mapping[str, Any]) -> list[Training]:
    """The trainings that run.json lists, one for each method and seed."""
    found = []
    for entry in _entries(run, "trainings", "method"):
        key = str(entry.get("key", ""))
        content = _json(store, "trainings", f"{key}.json") if _plain(key) else {}
        curves: dict[str, list[tuple[float, float]]] = {}
        listed = content.get("curve")
        for point in listed if isinstance(listed, list) else []:
            losses = point.get("loss") if isinstance(point, dict) else None
            for kind, loss in (losses if isinstance(losses, dict) else {}).items():
                place, height = number(point.get("tokens")), number(loss)
                if not (math.isnan(place) or math.isnan(height)):
                    curves.setdefault(str(kind), []).append((place, height))
        status = str(content.get("status") or entry.get("status") or "missing")
        error = str(content.get("error") or entry.get("error") or "")
        seed = _whole(entry.get("seed"))
        kept = {kind: tuple(points) for kind, points in curves.items()}
        found.append(Training(str(entry["method"]), str(entry.get("recipe", "")), seed, status, error, content, kept))
    return found


def _entries(run: Mapping[str, Any], name: str, needed: str = "label") -> list[Mapping[str, Any]]:
    listed = run.get(name)
    return [one for one in listed if isinstance(one, dict) and needed in one] if isinstance(listed, list) else []


def _plain(key: str) -> bool:
    """A name from a damaged file must not lead out of its folder."""
    return re.fullmatch(r"[0-9a-zA-Z-]+", key) is not None


def _json(store: Store, folder: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads((store.folder / folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _lines(store: Store, folder: str, name: str) -> list[dict[str, Any]]:
    """The lines of a JSONL file; a last line that is half written is left out."""
    try:
        text = (store.folder / folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            found.append(content)
    return found
