"""Formulas that several methods share, in float64 and without tensors."""

import math
from collections.abc import Sequence


def ntk_fill(critical_pair: float, factor: float, pairs: int | None = None) -> tuple[float, ...]:
    """Rescale factors λ_i = factor^(i/critical_pair): the base change that gives pair `critical_pair` just `factor`.

    Same frequencies as the new base θ' = θ · factor^(d/(2·critical_pair)). Returns factors of pairs 0 … pairs-1;
    by default those below `critical_pair`, which is how LongRoPE2 fills the pairs that it does not search
    (arXiv:2502.20082, Algorithm 2).
    """
    count = math.ceil(critical_pair) if pairs is None else pairs
    return tuple(factor ** (i / critical_pair) for i in range(count))


def longrope_attention_factor(factor: float, trained_length: int) -> float:
    """sqrt(1 + ln s / ln L) above s = 1, else 1. In LongRoPE's released code and models; in neither of its papers."""
    return math.sqrt(1 + math.log(factor) / math.log(trained_length)) if factor > 1 else 1.0


def yarn_attention_factor(factor: float) -> float:
    """0.1 · ln s + 1 above s = 1, else 1 (YaRN, arXiv:2309.00071, §3.4: the square root of its 1/t)."""
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def slow_pairs(pairs: int, given: int | None) -> int:
    """How many of the slowest pairs CoPE and hard clipping touch: what was given, else 20 of every 64."""
    return min(round(20 / 64 * pairs) if given is None else given, pairs)


def fading(inv_freq: Sequence[float], by_frequency: bool = False) -> list[float]:
    """The share of each frequency that CoPE keeps: a half cosine from 1 at the first pair to exactly 0 at the last.

    The cosine is one of the pair's index or, `by_frequency`, of the frequency itself.
    """
    if len(inv_freq) < 2:
        return [1.0] * len(inv_freq)
    shares = [k / (len(inv_freq) - 1) for k in range(len(inv_freq))]
    if by_frequency:
        shares = [(inv_freq[0] - value) / (inv_freq[0] - inv_freq[-1]) for value in inv_freq]
    return [0.5 * (1 + math.cos(math.pi * share)) for share in shares]


def base_of(inv_freq: Sequence[float]) -> float | None:
    """θ where all frequencies are θ^(-2i/d) to nine digits, else None."""
    if len(inv_freq) < 2 or not 0 < inv_freq[1] < 1:
        return None
    geometric = all(math.isclose(value, inv_freq[1] ** i, rel_tol=1e-9) for i, value in enumerate(inv_freq))
    try:
        return inv_freq[1] ** -len(inv_freq) if geometric else None
    except OverflowError:  # beyond every number
        return None
