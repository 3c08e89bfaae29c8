"""STRING, An et al. 2024, arXiv:2410.18745 (HKUNLP/STRING): far keys move onto positions seen often in training.

Keys nearer than S as trained; beyond, distance D counts as D - S + W. S is ⌊0.33·L⌋ and W 128 (at most S); cos and sin
times 1 + 0.1·ln 2 at every length. It was made for prompts inside the trained window: beyond L + S - W tokens it has
positions that no training saw. Their reading counts the distance S twice, in both parts, their decoding once, as ours.
"""

import math
from dataclasses import dataclass

from extenders._check import check_positive
from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Positions, near_and_far


@dataclass(frozen=True, kw_only=True)
class String(Extender):
    """The same plan at every length."""

    shift: int | None = None  # tokens, S; None: 0.33·L
    window: int | None = None  # tokens, W: the distance that S becomes; None: 128, at most S
    attention_factor: float = 1 + 0.1 * math.log(2)  # multiplies cos and sin

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(shift=self.shift, window=self.window)
        check_positive("attention_factor", self.attention_factor)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        shift = window_of("shift", self.shift, rope, 0.33)
        window = min(128, shift) if self.window is None else self.window
        if window > shift:
            raise ValueError(f"window must be at most the shift of {shift} tokens, got {window}")
        pieces = near_and_far(shift, Positions(shift=window - shift), Positions())
        return RopePlan(rope.inv_freq, rope.attention_factor * self.attention_factor, pieces=pieces)
