"""Transition curves: how rescale factors rise from 1 at pair `low` to a top factor at pair `high`, and stay there.

N = high - low, q = i - low between 0 and N, x = q/N. All curves but YaRN's are exponents of the top factor that grow
from 0 to 1; a number p is the power mean of 1 and the top factor, which is YaRN's curve at -1, the geometric one at 0
and the starting vector of LongRoPE's released search at 1.
"""

from collections.abc import Callable
from typing import Literal, get_args

from extenders.search.shapes import power_ramp

Curve = Literal["yarn", "geometric", "progressive", "regressive", "tail"]

# exponent of the top factor; geometric is MrRoPE-Uni, progressive MrRoPE-Pro, regressive its ablation (arXiv:
# 2601.22181, eqs. 13-16), tail is from a public research log of 2026 without a paper
EXPONENTS: dict[str, Callable[[float, float], float]] = {
    "geometric": lambda q, N: q / N,
    "progressive": lambda q, N: q * (q + 1) / (N * (N + 1)),
    "regressive": lambda q, N: q * (2 * N + 1 - q) / (N * (N + 1)),
    "tail": lambda q, N: q * (3 * N**2 + 3 * N + 1 - q**2) / (N * (N + 1) * (2 * N + 1)),
}


def check_curve(curve: object) -> None:
    """Raises ValueError unless `curve` is the name of one or a number in -3 … 3."""
    number = isinstance(curve, int | float) and not isinstance(curve, bool) and -3 <= curve <= 3
    if curve not in get_args(Curve) and not number:
        raise ValueError(f"curve must be {', '.join(get_args(Curve))} or a number in -3 … 3, got {curve!r}")


def transition(curve: Curve | float, pairs: int, low: float, high: float, top: float) -> tuple[float, ...]:
    """Rescale factors of pairs 0 … pairs-1. A ramp that would end before it begins is a step after `high`."""
    low = min(low, high)
    width = high - low or 0.001  # YaRN's authors' guard for a ramp of no width; MrRoPE's code divides by 0 there
    steps = [min(max(i - low, 0.0), width) for i in range(pairs)]
    if isinstance(curve, str) and curve != "yarn":
        exponent = EXPONENTS[curve]
        return tuple(top ** exponent(q, width) for q in steps)
    if isinstance(curve, str):
        return tuple(1 / ((1 - q / width) + q / width / top) for q in steps)
    return power_ramp(pairs, low, width, top, curve)
