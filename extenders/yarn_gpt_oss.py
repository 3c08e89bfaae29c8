"""YaRN as gpt-oss has it (OpenAI 2025, its config.json: `truncate` false): the ends of the ramp are not whole pairs.

Everything else is YaRN's (arXiv:2309.00071). With θ = 150,000, d = 64 and 4,096 tokens the ramp goes from pair 8.09 to
17.40, where YaRN's rounded one goes from 8 to 18. Same as transformers' `yarn` with `truncate: false`.
"""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class GptOssYarn(Extender):
    """The same plan at every length."""

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return Yarn(target_length=self.target_length, truncate=False).plan(rope, length)
