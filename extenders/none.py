"""As the checkpoint does it: the reference row, the model without any extension of ours."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class NoExtension(Extender):
    """Runs every length as the checkpoint's own configuration says.

    Most checkpoints have one set of frequencies. Some have a rule for longer prompts (the long list of Phi-3's
    longrope, dynamic NTK), which is followed; `none_fixed` is without it.
    """

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return rope.own_plan(length)
