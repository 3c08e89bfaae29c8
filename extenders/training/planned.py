"""A method after training under its own plan alone: prompts inside the window run under the plan that was trained."""

from dataclasses import dataclass
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class PlannedInside(Extender):
    """Takes away a method's own switch to the original RoPE inside the window, as LongRoPE and LongRoPE2 have it.

    The switch is right while the weights are untouched. Weights that saw the method's plan only were never trained with
    the original RoPE, so measuring them with it would blame the training for what the switch does. Methods without
    such a switch, with several plans beyond the window or with lists for short prompts run as they are.
    """

    inner: Extender

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        if length > rope.trained_length:
            return self.inner.plan(rope, length)
        inside, beyond = (self.inner.plan(rope, rope.trained_length + more) for more in (0, 1))
        switches = inside == RopePlan.as_trained(rope) and beyond == self.inner.plan(rope, self.target_length)
        return beyond if switches else self.inner.plan(rope, length)

    @property
    def name(self) -> str:
        return self.inner.name

    def parameters(self) -> dict[str, Any]:
        return self.inner.parameters()

    def plan_parameters(self) -> dict[str, Any]:
        return self.inner.plan_parameters()
