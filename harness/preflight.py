"""One minute before GPU-days: does this plan work on this model at all?

A fixed passage, which no test uses, is read at the start of a document, inside the trained window, and ever further
beyond it up to the target, always the same text behind more and more of other text. Under a good plan its loss hardly
moves. It jumps when the plan was made for another rope_theta, when the plan is not applied, and when positions run
past what the model knows. Eight passkeys at the target say the same of retrieval, the live cos and sin say whether the
plan runs at all, and a probe of the model as configured says whether its rope_theta is the one that it was trained
with. What a check cannot judge (a model that finds no passkey even inside its window) it says so and lets pass.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from extenders.base import Extender, RopePlan, RopeSpec
from harness import parameters
from harness.cells import plan_of
from harness.experiment import Method, load_method, user_folders
from tasks.base import make
from tasks.corpora.world import story

if TYPE_CHECKING:
    from harness.lm import ExtendedLM
    from harness.model import LoadedModel

# Nats per token. On pocket-llama yarn moves the passage's loss by less than a tenth of these, and the broken plans of
# tests/test_preflight.py by more than twice.
INSIDE = 0.5  # more than the unextended model, inside the window
BEYOND = 1.0  # more than the unextended model at the end of its window
THETA = 0.1  # less with another rope_theta than with the configured one
THETAS = (1 / 8, 1 / 4, 1 / 2, 2.0, 4.0, 8.0)  # factors of the configured rope_theta
KEYS = 8
KEYS_KNOWN = 4  # fewer inside the window say that the model cannot do passkeys
SEED = 20_000_001  # of passkeys and filler; no experiment uses it by default


@dataclass(frozen=True)
class Check:
    """`reason` is one line for a failed check, '' for a good one."""

    name: str
    found: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Preflight:
    """`losses`: tokens before the passage → (unextended or None, extended), in nats per token."""

    losses: Mapping[int, tuple[float | None, float]]
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    @property
    def rows(self) -> list[list[str]]:
        return [
            [f"{start:,}", "-" if plain is None else f"{plain:.3f}", f"{extended:.3f}"]
            for start, (plain, extended) in self.losses.items()
        ]


@dataclass(frozen=True, kw_only=True)
class _Fixed(Extender):
    """One plan for every prompt."""

    fixed: RopePlan

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return self.fixed


def preflight(
    extender: str, given: Mapping[str, Any], model: str, target_length: int, trained_length: int | None = None
) -> Preflight:
    """Load a model and check a method on it. Raises ValueError for an unknown method, parameter or model, or a target
    not above the trained length."""
    from harness.model import load_model
    from harness.rope_spec import load_config, spec_from_config

    cls = load_method("preflight", extender, user_folders())
    spec = spec_from_config(load_config(model, local_files_only=False), trained_length=trained_length)
    if target_length <= spec.trained_length:
        raise ValueError(f"target length {target_length} must be above the trained length {spec.trained_length}")
    method = Method(extender, parameters.make(extender, cls, given, {"target_length": target_length}))
    plan_of(method, spec, target_length)
    return examine(load_model(model, local_files_only=False, trained_length=trained_length), method)


def examine(loaded: "LoadedModel", method: Method) -> Preflight:
    """All checks of a method on a loaded model, at the method's own target length."""
    from harness.lm import BrokenModel, ExtendedLM
    from harness.rope import NotApplied, applied

    spec, target = loaded.spec, method.extender.target_length
    trained = RopePlan.as_trained(spec)
    plan = plan_of(method, spec, target)
    checks = [_changes(plan, trained, target)]
    losses: dict[int, tuple[float | None, float]] = {}

    def guarded(name: str, check: Callable[[], Check]) -> None:
        try:
            checks.append(check())
        except (NotApplied, BrokenModel) as error:
            checks.append(Check(name, "stopped", str(error)))

    with applied(loaded.model, spec) as rotary:

        def under(extender: Extender) -> ExtendedLM:
            return ExtendedLM(loaded, extender, rotary)

        def fixed(one: RopePlan) -> ExtendedLM:
            return under(_Fixed(target_length=target, fixed=one))

        extended, plain = under(method.extender), fixed(trained)

        def by_position() -> Check:
            losses.update(_by_position(plain, extended, target))
            return _inside(losses)

        def read_back() -> Check:
            # Nothing is pinned here: what is read is what the last prompt, of the target length, ran with.
            difference = rotary.prove(target, extended.plan(target))
            return Check("plan runs", f"cos and sin differ by {difference:.1g} within {target:,} positions")

        guarded("rope_theta", lambda: _theta(fixed, spec))
        guarded("loss inside the window", by_position)
        if losses:
            guarded("loss beyond the window", lambda: _beyond(losses, spec.trained_length))
            guarded("plan runs", read_back)
        guarded("passkeys", lambda: _passkeys(plain, extended, target))
    return Preflight(losses, tuple(checks))


def _changes(plan: RopePlan, trained: RopePlan, target: int) -> Check:
    if plan == trained:
        reason = f"for {target:,} tokens the method plans the model as trained, so nothing is extended"
        return Check("plan", f"as trained, {plan.hash}", reason)
    return Check("plan", f"{plan.hash}, attention factor {plan.attention_factor:.4g}")


def _theta(fixed: Callable[[RopePlan], "ExtendedLM"], spec: RopeSpec) -> Check:
    """A trained model reads best with the rope_theta that it was trained with."""

    def scaled(factor: float) -> RopePlan:
        pairs = len(spec.inv_freq)
        return RopePlan.rescaled(spec, [factor ** (i / pairs) for i in range(pairs)])

    def loss(factor: float) -> float:
        lm = fixed(scaled(factor))
        size = passage_tokens(lm)
        return passage_loss(lm, spec.trained_length - size - lm.added_tokens)

    own = loss(1.0)
    others = {factor: loss(factor) for factor in THETAS}
    best = min(others, key=lambda factor: others[factor])
    found = f"{own:.3f} nats as configured ({spec.rope_theta:g}), {others[best]:.3f} with {best:g} times that"
    if others[best] < own - THETA:
        reason = f"the model reads better with another rope_theta ({found}); the configuration's is not the trained one"
        return Check("rope_theta", found, reason)
    return Check("rope_theta", found)


def _by_position(plain: "ExtendedLM", extended: "ExtendedLM", target: int) -> dict[int, tuple[float | None, float]]:
    """Loss of the passage behind more and more text. The target comes last, so its plan is the one left pinned."""
    size, window = passage_tokens(plain), plain.spec.trained_length
    end = target - size - plain.added_tokens
    starts = [0, window - size - plain.added_tokens]
    step = window
    while step < end:
        starts.append(step)
        step *= 2
    return {
        start: (
            passage_loss(plain, start) if start + size + plain.added_tokens <= window else None,
            passage_loss(extended, start),
        )
        for start in sorted({*starts, end})
    }


def _inside(losses: Mapping[int, tuple[float | None, float]]) -> Check:
    gaps = {start: extended - plain for start, (plain, extended) in losses.items() if plain is not None}
    worst = max(gaps, key=lambda start: gaps[start])
    found = f"at most {gaps[worst]:+.3f} nats against the unextended model"
    if not gaps[worst] <= INSIDE:
        reason = (
            f"behind {worst:,} tokens the passage costs {gaps[worst]:.2f} nats per token more than unextended "
            f"({INSIDE:g} allowed): the plan does not fit this model, as when it was made for another rope_theta"
        )
        return Check("loss inside the window", found, reason)
    return Check("loss inside the window", found)


def _beyond(losses: Mapping[int, tuple[float | None, float]], window: int) -> Check:
    reference = [plain for plain, _ in losses.values() if plain is not None][-1]
    gaps = {start: extended - reference for start, (plain, extended) in losses.items() if plain is None}
    worst = max(gaps, key=lambda start: gaps[start])
    found = f"at most {gaps[worst]:+.3f} nats against the unextended model at its {window:,} tokens"
    if not gaps[worst] <= BEYOND:
        reason = (
            f"behind {worst:,} tokens the passage costs {gaps[worst]:.2f} nats per token more than at the end of the "
            f"window ({BEYOND:g} allowed): the plan does not carry that far, or is not applied"
        )
        return Check("loss beyond the window", found, reason)
    return Check("loss beyond the window", found)


def _passkeys(plain: "ExtendedLM", extended: "ExtendedLM", target: int) -> Check:
    def right(lm: "ExtendedLM", length: int) -> int:
        return round(sum(row.score for row in make("passkey").run(lm, length, SEED, KEYS)))

    known = right(plain, plain.spec.trained_length)
    if known < KEYS_KNOWN:
        return Check("passkeys", f"not judged: {known} of {KEYS} found even inside the window, unextended")
    found = right(extended, target)
    words = f"{found} of {KEYS} at {target:,} tokens ({known} unextended inside the window)"
    if 2 * found < known:
        return Check("passkeys", words, f"{words}: half as many are wanted")
    return Check("passkeys", words)


def passage() -> str:
    """The fixed text: our own, and in no test and no training."""
    return resources.files("harness").joinpath("preflight.txt").read_text(encoding="utf-8")


def passage_tokens(lm: "ExtendedLM") -> int:
    """How much of the passage is read: half of a short window, all of it in a long one."""
    return min(len(lm.encode(passage())), lm.spec.trained_length // 2)


def passage_loss(lm: "ExtendedLM", start: int) -> float:
    """Mean loss of the passage behind `start` tokens of stories; the first token, which may have nothing before it,
    never counts."""
    ids = lm.encode(passage())[: passage_tokens(lm)]
    losses = lm.losses(_filler(lm, start) + ids)[-(len(ids) - 1) :]
    return sum(losses) / len(losses)


def _filler(lm: "ExtendedLM", tokens: int) -> list[int]:
    """Exactly so many tokens of stories, always the same ones; the last ones stay next to the passage."""
    rng = random.Random(f"preflight {SEED}")
    ids: list[int] = []
    while len(ids) < tokens:
        ids += lm.encode(story(rng) + "\n")
    return ids[len(ids) - tokens :]
