"""Rescale factors given one per rotary pair: a list, a file, or a published set, as LongRoPE applies them.

inv_freq_i = trained inv_freq_i / λ_i (LongRoPE, arXiv:2402.13753, eq. 3, where λ_i ≥ 1 divides); LongRoPE2's switch
between a short and a long list (arXiv:2502.20082, §3.3 and Fig. 10) by the length of the prompt. Equal to
transformers' `longrope` with both lists given.

Published sets are absolute, so they divide θ^(-2i/d); so do lists of a configuration (`relative_to: base`), whose
attention factor counts where none is given; other lists are relative to the checkpoint as trained. The two differ only
for a checkpoint that is already scaled.

Deviations: without `short_factors` a prompt within the trained length runs exactly as trained, without an attention
factor; LongRoPE's released code applies the attention factor there too (give a short list, also one of all ones, to
get that). The switch uses prompt plus new tokens, fixed before prefill, so it never happens in the middle of a prompt.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from extenders._check import check_choice, check_positive, check_whole
from extenders._factor_file import STOPPED, configured, read_factors
from extenders._formulas import longrope_attention_factor, yarn_attention_factor
from extenders._published import PublishedFactors, published
from extenders.base import Extender, RopePlan, RopeSpec

PREFIX = "published:"


@dataclass(frozen=True, kw_only=True)
class Factors(Extender):
    """One rescale factor per pair.

    A path is read when the method is made, and its numbers take its place: a file that changes later changes no
    plan. `attention_factor` is a number, "longrope" for sqrt(1 + ln s/ln L), "yarn" for 0.1·ln s + 1, or None for
    what the published set states and LongRoPE's formula otherwise; s = target length / trained length.
    """

    factors: tuple[float, ...] | str  # numbers (1e18 stops a pair), the path of a file, or "published:NAME"
    short_factors: tuple[float, ...] | str | None = None  # for prompts within the trained length; None: as trained
    switch: Literal["by_length", "always"] = "by_length"  # "always": `factors` at every length
    attention_factor: float | Literal["longrope", "yarn"] | None = None
    keep_first: int = 0  # LongRoPE's n̂: tokens at the start that keep the trained frequencies
    relative_to: Literal["trained", "base"] = "trained"  # "base": θ^(-2i/d); set by a file that is a configuration

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("relative_to", self.relative_to, ("trained", "base"))
        blocks = []
        for name in ("factors", "short_factors"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _resolved(name, given))
                blocks.append(_configured(given))
        known = [block for block in blocks if block is not None]
        if known and len(known) < len(blocks):
            raise ValueError("factors and short_factors must both come from configurations, or neither of them")
        if known:
            object.__setattr__(self, "relative_to", "base")
            stated = known[0].get("long_mscale") or known[0].get("attention_factor")
            if self.attention_factor is None and stated is not None:
                object.__setattr__(self, "attention_factor", stated)
        if self.switch not in ("by_length", "always"):
            raise ValueError(f"switch must be 'by_length' or 'always', got {self.switch!r}")
        if self.switch == "always" and self.short_factors is not None:
            raise ValueError("switch 'always' never uses short_factors; leave one of the two out")
        if isinstance(self.attention_factor, str):
            if self.attention_factor not in ("longrope", "yarn"):
                raise ValueError(
                    f"attention_factor must be a number above 0, 'longrope' or 'yarn', got {self.attention_factor!r}"
                )
        elif self.attention_factor is not None:
            check_positive("attention_factor", self.attention_factor)
        check_whole("keep_first", self.keep_first)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        source: Sequence[float] | str | None = self.factors
        within = self.switch == "by_length" and length <= rope.trained_length
        if within:
            source = self.short_factors
        if source is None:
            return RopePlan.as_trained(rope)
        if not isinstance(source, str):
            under = rope
            if self.relative_to == "base":
                under = dataclasses.replace(rope, inv_freq=rope.base_inv_freq, attention_factor=1.0)
            source = [math.inf if factor >= STOPPED else factor for factor in source]
            return RopePlan.rescaled(under, source, self._attention_factor(rope), self.keep_first)
        entry = published(source.removeprefix(PREFIX))
        entry.fit(rope)
        factors = entry.short if within and entry.short else entry.long
        inv_freq = tuple(value / factor for value, factor in zip(rope.base_inv_freq, factors, strict=True))
        return RopePlan(inv_freq, self._attention_factor(rope, entry), self.keep_first)

    def _attention_factor(self, rope: RopeSpec, entry: PublishedFactors | None = None) -> float:
        wanted: float | str | None = self.attention_factor
        if wanted is None and entry is not None:
            wanted = entry.attention_factor
        if isinstance(wanted, int | float):
            return wanted
        if wanted == "yarn":
            return yarn_attention_factor(self.factor(rope))
        return longrope_attention_factor(self.factor(rope), rope.trained_length)

    def plan_parameters(self) -> dict[str, Any]:
        """Without `relative_to` where it is what it was before there was one: stored cells keep their keys."""
        return {name: value for name, value in self.parameters().items() if (name, value) != ("relative_to", "trained")}

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        pairs = len(rope.inv_freq)
        return {"factors": [1 + i / pairs for i in range(pairs)]}


def _configured(value: Any) -> dict[str, Any] | None:
    """The RoPE dictionary of the configuration that a parameter names; None for anything else."""
    file = isinstance(value, str | Path) and not str(value).startswith(PREFIX)
    return configured(Path(value).expanduser()) if file else None


def _resolved(name: str, value: Sequence[float] | str | Path) -> tuple[float, ...] | str:
    """A tuple of numbers, or the name of a published set that exists."""
    if isinstance(value, str) and value.startswith(PREFIX):
        published(value.removeprefix(PREFIX))
        return value
    if isinstance(value, str | Path):
        keys = ("short_factor",) if name == "short_factors" else ("long_factor",)
        value = read_factors(Path(value).expanduser(), (*keys, "factors", "rescale_factors"))
    if not isinstance(value, Sequence) or not value:
        raise ValueError(f"{name} must be a list of numbers, a file or 'published:NAME', got {value!r}")
    for i, factor in enumerate(value):
        check_positive(f"{name}: factor {i}", factor)
    return tuple(float(factor) for factor in value)
