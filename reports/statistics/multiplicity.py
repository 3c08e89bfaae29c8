"""Many comparisons at once: adjusted p-values over a whole grid.

Holm keeps the risk of even one wrong claim at 5 %; Benjamini and Hochberg keep the expected share of wrong claims
among all claims at 5 %, which finds more in large grids.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979, Scandinavian Journal of Statistics 6, p. 65): any of them below 0.05 is real,
    with 5 % risk of even one mistake among all."""
    check(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Benjamini and Hochberg 1995, JRSS B 57, p. 289): of those below 0.05, 5 % are mistakes on
    average. Holds for independent and for positively dependent comparisons, such as methods against one common best."""
    check(p_values)
    order = sorted(range(len(p_values)), key=lambda i: -p_values[i])
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for place, i in enumerate(order):
        lowest = min(lowest, p_values[i] * len(p_values) / (len(p_values) - place))
        adjusted[i] = lowest
    return adjusted


def check(p_values: Sequence[float]) -> None:
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"a p-value lies in 0 … 1, got {wrong[0]}")
