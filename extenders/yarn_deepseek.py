"""YaRN with DeepSeek's temperature (DeepSeek-V2, arXiv:2405.04434, §3.1.4, and the released code of V2 and V3).

g(m) = 1 + 0.1·m·ln s. DeepSeek multiplies cos and sin by g(mscale)/g(mscale_all_dim) and its softmax scale by
g(mscale_all_dim)², so the rotated part of a logit sees g(mscale)² in all. V2 has 0.707 twice, V3 and Kimi K2 have 1
twice; 0.7 is TeleChat3's factor of 0.07.

Deviation: by default the share of the softmax scale goes to cos and sin too. Where all dimensions rotate the logits are
the same; DeepSeek's own heads have unrotated dimensions, which then keep their trained scale. `whole_logit: true` is
DeepSeek's own form: that share is on the whole logit. `softmax_scale: false` leaves it out, as transformers' `yarn`.
"""

import math
from dataclasses import dataclass, replace

from extenders._check import check_flag, check_not_negative
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.yarn import Yarn


@dataclass(frozen=True, kw_only=True)
class DeepSeekYarn(Extender):
    """The same plan at every length."""

    mscale: float = 1.0
    mscale_all_dim: float = 1.0
    softmax_scale: bool = True
    whole_logit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("mscale", self.mscale)
        check_not_negative("mscale_all_dim", self.mscale_all_dim)
        check_flag("softmax_scale", self.softmax_scale)
        check_flag("whole_logit", self.whole_logit)
        if self.whole_logit and not self.softmax_scale:
            raise ValueError("whole_logit says where the softmax scale goes, and softmax_scale: false leaves it out")

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        rise = 0.1 * math.log(self.factor(rope))
        attention, softmax = 1 + self.mscale * rise, 1 + self.mscale_all_dim * rise
        if self.whole_logit or not self.softmax_scale:
            attention /= softmax
        plan = Yarn(target_length=self.target_length, attention_factor=attention).plan(rope, length)
        return replace(plan, query_factor=softmax**2) if self.whole_logit else plan
