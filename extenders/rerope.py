"""ReRoPE, Su 2023, spaces.ac.cn/archives/9708 (bojone/rerope): keys beyond a window all stand at the window's distance.

Near keys as trained; a query at i and a key at j with i - j ≥ w are rotated by w. log n is on, as in the authors' code:
logits times max(1, ln(p + 1) / ln L), once. Default w: L/4, their README's 1,024 of 4,096 (the file has 512). Their
cache holds un-rotated keys as ours does, and reading and decoding agree; nothing differs.
"""

from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Positions, log_n, near_and_far


@dataclass(frozen=True, kw_only=True)
class ReRope(Extender):
    """The same plan at every length."""

    window: int | None = None  # tokens; None: L/4
    log_n: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(window=self.window)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        window = window_of("window", self.window, rope, 1 / 4)
        scale = log_n(rope.trained_length) if self.log_n else None
        pieces = near_and_far(window, Positions(times=0, shift=window), Positions(times=0), scale)
        return RopePlan(rope.inv_freq, rope.attention_factor, pieces=pieces)
