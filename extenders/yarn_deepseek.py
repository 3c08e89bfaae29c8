"""YaRN with DeepSeek's temperature (DeepSeek-V2, arXiv:2405.04434, §3.1.4, and the released code of V2 and V3).

g(m) = 1 + 0.1·m·ln s. DeepSeek multiplies cos and sin by g(mscale)/g(mscale_all_dim) and its softmax scale by
g(mscale_all_dim)², so the rotated part of a logit sees g(mscale)² in all. V2 has 0.707 twice, V3 and Kimi K2 have 1
twice; 0.7 is TeleChat3's factor of 0.07.

Deviation: a plan cannot change the softmax scale, so by default its share goes to cos and sin too. Where all dimensions
rotate the logits are the same; DeepSeek's own heads have unrotated dimensions, which then keep their trained scale.
`softmax_scale: false` leaves that share out, as transformers' `yarn` does.
"""

import math
from dataclasses import dataclass

from extenders._check import check_flag, check_not_negative
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class DeepSeekYarn(Extender):
    """The same plan at every length."""

    mscale: float = 1.0
    mscale_all_dim: float = 1.0
    softmax_scale: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("mscale", self.mscale)
        check_not_negative("mscale_all_dim", self.mscale_all_dim)
        check_flag("softmax_scale", self.softmax_scale)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        rise = 0.1 * math.log(self.factor(rope))
        attention = 1 + self.mscale * rise
        if not self.softmax_scale:
            attention /= 1 + self.mscale_all_dim * rise
        return Yarn(target_length=self.target_length, attention_factor=attention).plan(rope, length)
