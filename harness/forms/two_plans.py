"""What a configuration can hold of a method: one plan up to the trained length and one beyond it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from extenders._factor_file import STOPPED
from extenders.base import Extender, RopePlan, RopeSpec
from harness.experiment.cells import probes

ALIKE = 1e-9  # greatest relative difference between plans that count as one


@dataclass(frozen=True)
class TwoPlans:
    """`short` for prompts of at most the trained length, `long` for longer ones."""

    rope: RopeSpec
    target: int  # tokens
    short: RopePlan
    long: RopePlan

    @property
    def trained(self) -> int:
        return self.rope.trained_length

    @property
    def switches(self) -> bool:
        """Whether short prompts have frequencies of their own."""
        return not alike(self.short.inv_freq, self.long.inv_freq)

    @property
    def factors_differ(self) -> bool:
        """Whether short prompts have an attention factor of their own."""
        return not alike([self.short.attention_factor], [self.long.attention_factor])

    @property
    def multiplies(self) -> bool:
        """Whether the whole attention logit is multiplied, which few configurations can say."""
        return (self.short.query_factor, self.long.query_factor) != (1.0, 1.0)

    def on_cos_and_sin(self) -> "TwoPlans":
        """The same logits where cos and sin reach all of them: the root of a factor on queries is on cos and sin."""
        short, long = (
            replace(plan, attention_factor=plan.attention_factor * math.sqrt(plan.query_factor), query_factor=1.0)
            for plan in (self.short, self.long)
        )
        return replace(self, short=short, long=long)

    @property
    def stopped(self) -> int:
        """Pairs that the long plan stops and the checkpoint turns."""
        return sum(1 for t, p in zip(self.rope.inv_freq, self.long.inv_freq, strict=True) if t and not p)

    @property
    def lengths(self) -> tuple[tuple[int, RopePlan], ...]:
        """The three lengths (tokens) at which what leaves is compared with the plan."""
        return (self.trained, self.short), (self.trained + 1, self.long), (self.target, self.long)

    def factors(self, plan: RopePlan) -> list[float]:
        """What divides θ^(-2i/d), whatever scaling the checkpoint itself has; 1e18 for a pair that stands still."""
        pairs = zip(self.rope.base_inv_freq, plan.inv_freq, strict=True)
        return [base / planned if planned else STOPPED for base, planned in pairs]


def two_plans(extender: Extender, rope: RopeSpec, always_long: bool = False) -> TwoPlans:
    """The method's two plans; with `always_long` the plan of the target length for short prompts too.

    Raises ValueError for what no configuration can say: kept first tokens, and more than two plans.
    """
    trained, target = rope.trained_length, extender.target_length
    if target <= trained:
        raise ValueError(
            f"target length {target} must be above the trained length {trained}; there is nothing to export"
        )
    plans = {length: extender.plan(rope, length) for length in probes(target, trained)}
    refuse_pieces(plans.values())
    long, short = plans[target], plans.get(trained) or extender.plan(rope, trained)
    if always_long:
        short, plans = long, {target: long}
    for length, plan in plans.items():
        if plan.keep_first:
            raise ValueError(
                f"the plan keeps the first {plan.keep_first} tokens, which no configuration can say; use 0"
            )
        if not same_plan(plan, short if length <= trained else long):
            raise ValueError(
                f"the plan at {length} tokens differs from that at {trained if length <= trained else target}; a "
                "configuration holds one list up to the trained length and one beyond it (--always-long writes the "
                "plan of the target length for every prompt)"
            )
    return TwoPlans(rope, target, short, long)


def refuse_pieces(plans: Iterable[RopePlan]) -> None:
    """Raises ValueError where a plan maps positions."""
    if any(plan.pieces for plan in plans):
        raise ValueError(
            "the plan maps positions, which no configuration can say and no engine runs; ropebench runs it (run, "
            "compare, ask), and `plan --json` prints it"
        )


def alike(values: Sequence[float], others: Sequence[float]) -> bool:
    """Equal to nine digits, one by one."""
    return len(values) == len(others) and all(
        abs(a - b) <= ALIKE * max(abs(a), abs(b)) for a, b in zip(values, others, strict=True)
    )


def same_plan(plan: RopePlan, other: RopePlan) -> bool:
    return (
        plan.keep_first == other.keep_first
        and plan.pieces == other.pieces
        and alike(
            (*plan.inv_freq, plan.attention_factor, plan.query_factor),
            (*other.inv_freq, other.attention_factor, other.query_factor),
        )
    )
