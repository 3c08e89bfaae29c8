"""The numbers of a search by gradient: how long, how far and how carefully it goes.

The defaults are the recipe. A method's `descent` names what differs from it, as in "texts=2, check=0.1": for ablations,
and for models that need it (`recompute=1` where a step does not fit into memory).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

RANGES: Mapping[str, tuple[float, float]] = {
    "check": (0, 0.9),
    "race": (0, 0.5),
    "rate": (1e-4, 1),
    "texts": (1, 64),
    "late": (0, 1),
    "radians": (0, 1e6),
    "weight": (0, 1),
    "excess": (0, 100),
    "smooth": (0, 1e3),
    "recompute": (0, 1),
}
WHOLE = ("texts", "recompute")


@dataclass(frozen=True)
class Descent:
    """A recipe. Ours; which of the numbers matter is in docs/search-study."""

    check: float = 0.25  # share of the budget that is kept for held-out texts
    race: float = 0.04  # texts of the race of the starts, in forwards of the budget
    rate: float = 0.08  # of the first step, in units of how far a variable may move; it falls to a fifth
    texts: int = 1  # in one step
    late: float = 0.5  # share of the points whose average the descent ends at; 0: its last point
    radians: float = 2.0  # at the target length: what a step of size 1 may turn a pair's phase by; 0: no such limit
    weight: float = 1.0  # how much more a pair that may hardly move weighs where factors are made to rise; 0: alike
    excess: float = 2.0  # the attention factor's upper bound, in YaRN's excess over 1
    smooth: float = 0.0  # nats per squared second difference of log factors: what an uneven list costs
    recompute: int = 0  # 1: keep only what goes into a layer and compute the rest again, a forward pass more a step

    @property
    def dearest(self) -> int:
        """What a text can cost, in forwards: the forward pass, the backward pass as two, and what is computed again."""
        return 3 + self.recompute

    @classmethod
    def of(cls, words: str | None) -> "Descent":
        """The recipe with what a user wrote. Raises ValueError for an unknown name or a number out of its range."""
        if words is None:
            return cls()
        given: dict[str, float | int] = {}
        for part in words.split(","):
            name, _, number = (side.strip() for side in part.partition("="))
            if name not in RANGES:
                raise ValueError(f"descent has no number {name!r}; there are {', '.join(RANGES)}")
            if name in given:
                raise ValueError(f"descent has {name} twice; leave one out")
            low, high = RANGES[name]
            try:
                value = float(number)
            except ValueError:
                raise ValueError(f"descent: {name} must be a number, got {number!r}") from None
            if not low <= value <= high or (name in WHOLE and value != int(value)):
                kind = "a whole number" if name in WHOLE else "a number"
                raise ValueError(f"descent: {name} must be {kind} in {low:g} … {high:g}, got {number}")
            given[name] = int(value) if name in WHOLE else value
        return dataclasses.replace(cls(), **given)  # type: ignore[arg-type]
