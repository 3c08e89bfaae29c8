"""The unextended model on the last tokens of its window alone: what a method must beat to show that far text helps."""

from dataclasses import dataclass
from typing import ClassVar

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Extender):
    """The context is cut, and what is left is computed anew: no token sees more than the trained window.

    Losses of a longer text are read in windows of the trained length, each half a window further on, and only the new
    tokens of a window count: each of them sees between half a window and a whole one. Of a longer prompt the last
    tokens are kept that fit into the window with the answer. This is no attention mask: masks that hide the beginning
    break models for another reason, the first tokens, which every head looks at (arXiv:2309.17453).

    A method that is not below this row in loss, or not above it in answers, has shown that it does no harm, and not
    that it uses far text. No engine is told to do this by a configuration, so there is nothing to export.
    """

    cuts_context: ClassVar[bool] = True

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.as_trained(rope)
