"""As trained: the reference row, the model without any extension."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class NoExtension(Extender):
    """Runs every length with the frequencies that the checkpoint itself uses."""

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.as_trained(rope)
