"""Formulas that several methods share, in float64 and without tensors."""

import math


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
