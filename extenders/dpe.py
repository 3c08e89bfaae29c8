"""DPE, Lu et al. 2025 (COLM), arXiv:2504.18857: Self-Extend with a group size of its own for each eighth of the pairs.

Keys nearer than W as trained; beyond, ⌊i/G⌋ + W - ⌊W/G⌋ for queries and ⌊j/G⌋ for keys, G by the pair. Their reading
shifts by W - W/G, which differs unless G divides W. Default sizes are those that they found for Llama-3-8B-Instruct
(8,192 to 131,072 tokens), W = L/8, their 1,024. Their option to map only the strongest pairs of each head needs a plan
per head and is left out.
"""

from dataclasses import dataclass

from extenders._windows import check_windows, window_of
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.pieces import Positions, near_and_far


@dataclass(frozen=True, kw_only=True)
class Dpe(Extender):
    """The same plan at every length."""

    window: int | None = None  # tokens, W; None: L/8
    groups: tuple[int, ...] = (2, 8, 2, 8, 32, 32, 32, 4)  # tokens that share a position, fastest pairs first

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(window=self.window)
        object.__setattr__(self, "groups", tuple(self.groups))
        for group in self.groups:
            check_windows(groups=group)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if self.factor(rope) == 1:
            return RopePlan.as_trained(rope)
        window, pairs = window_of("window", self.window, rope, 1 / 8), len(rope.inv_freq)
        sizes = tuple(self.groups[pair * len(self.groups) // pairs] for pair in range(pairs))
        query = Positions(divide=sizes, shift=tuple(window - window // size for size in sizes))
        pieces = near_and_far(window, query, Positions(divide=sizes))
        return RopePlan(rope.inv_freq, rope.attention_factor, pieces=pieces)
