"""The trained window's frequencies at every length, whatever rule the checkpoint has for longer prompts."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True, kw_only=True)
class TrainedFrequencies(Extender):
    """Holds the frequencies of the trained window beyond it (Phi-3-128k: the short list everywhere).

    Equals `none` on a checkpoint without such a rule. No engine runs a checkpoint like this: it shows what the rule is
    worth.
    """

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.as_trained(rope)
