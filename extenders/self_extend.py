"""Self-Extend, Jin et al. 2024, arXiv:2401.01325 (LongLM): far keys share positions in groups, near keys stay.

Keys nearer than W as trained; beyond, ⌊i/G⌋ + W - ⌊W/G⌋ for queries and ⌊j/G⌋ for keys. Their flash form shifts by
W - W/G in reading and by W - ⌊W/G⌋ in decoding, which differ unless G divides W; ours is the second in both. Default
W: L/4, their 1,024 of 4,096 tokens; G by their README's rule, the smallest with W + (T - W)/G ≤ L/2. Published: G 8.
"""

import math
from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Positions, log_n, near_and_far


@dataclass(frozen=True, kw_only=True)
class SelfExtend(Extender):
    """The same plan at every length."""

    window: int | None = None  # tokens, W; None: L/4
    group: int | None = None  # tokens that share a position, G; None: the rule
    log_n: bool = False  # logits times max(1, ln(p + 1) / ln L)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(window=self.window, group=self.group)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        window = window_of("window", self.window, rope, 1 / 4)
        room = max(rope.trained_length // 2 - window, 1)
        group = math.ceil((self.target_length - window) / room) if self.group is None else self.group
        query = Positions(divide=group, shift=window - window // group)
        scale = log_n(rope.trained_length) if self.log_n else None
        pieces = near_and_far(window, query, Positions(divide=group), scale)
        return RopePlan(rope.inv_freq, rope.attention_factor, pieces=pieces)
