"""One minute before GPU-days: does this plan work on this model at all?

- rope_theta: a trained model reads best with the rope_theta that it was trained with. Documents are read as configured
  and with other values; a configuration that was altered shows as a loss that another value lowers.
- plan: every rescale factor lies between about 1 and the extension factor. Factors far outside say that the plan was
  made for another rope_theta, or by a formula that was fed the wrong lengths.
- loss: a fixed passage, which no test uses, is read at the start of a document, inside the trained window, and ever
  further beyond it up to the target, always the same text behind more and more of other text. Its loss hardly moves
  under a good plan, inside the window compared with the unextended model.
- plan runs, plan matters: the live cos and sin after a prompt of the target length are the plan's, and the losses are
  not those of the unextended model to the last digit, as they are when a plan is silently ignored.
- passkeys: eight at the target. Loss asks for the last hundred tokens; only retrieval shows that far ones are seen.

A method that needs training first (pi) fails before it: check the trained model. What a check cannot judge (a model
that finds no passkey even inside its window) it says so and lets pass.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec
from harness.experiment.cells import plan_of
from harness.experiment.file import Method, named_method
from harness.model.lm import BrokenModel, ExtendedLM
from harness.model.load import LoadedModel, load_model
from harness.model.spec import load_config, spec_from_config
from harness.rope.applied import applied
from harness.rope.proof import NotApplied
from harness.tools.passage import SEED, filler, passage_loss, passage_tokens
from harness.tools.time_budget import TimeBudget
from tasks.base import make

# Nats per token. On pocket-llama to 2,048 tokens yarn costs 0.06 more inside the window and 0.12 beyond it, and pi,
# which needs training, 1.2 (docs/gate.md has the numbers).
INSIDE = 0.5  # more than the unextended model, inside the window
BEYOND = 1.0  # more than the unextended model at the end of its window
THETA = 0.02  # less with another rope_theta than with the configured one, and SURE standard errors of it
SURE = 3.0
THETAS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 2.0, 4.0, 8.0, 16.0)  # factors of the configured rope_theta
THETA_TOKENS = 2048  # read for each of them, in documents of at most THETA_LENGTH tokens
THETA_LENGTH = 8192
SHORTEST_THETA_LENGTH = 1024  # where time is short
# Rescale factors, the upper one times the extension factor. Published ones lie inside: LCEG's tuned NTK reaches 3.6
# times the extension factor, LongRoPE's lists 2 times.
SMALLEST, LARGEST = 0.8, 4.0
KEYS = 8  # half of them where time is short; a model that finds fewer than half inside its window cannot do passkeys
ORDER = (
    "plan", "rope_theta", "loss inside the window", "loss beyond the window", "plan runs", "plan matters", "passkeys",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """`reason` is one line for a failed check, '' for a good one."""

    name: str
    measured: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Preflight:
    """`losses`: tokens before the passage → (unextended or None, extended), in nats per token."""

    losses: Mapping[int, tuple[float | None, float]]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()  # what a reader has to know of the model's RoPE

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
    extender: str,
    given: Mapping[str, Any],
    model: str,
    target_length: int,
    trained_length: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    seconds: float = math.inf,
    say: Callable[[str], None] = lambda line: None,
) -> Preflight:
    """Load a model and check a method on it in about so many seconds (`examine`).

    Raises ValueError for an unknown method, parameter or model, or a target not above the trained length.
    """
    method = named_method("preflight", extender, given, target_length)
    spec = spec_from_config(load_config(model, local_files_only=False), trained_length=trained_length)
    if target_length <= spec.trained_length:
        raise ValueError(f"target length {target_length} must be above the trained length {spec.trained_length}")
    plan_of(method, spec, target_length)
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds:g}")
    say(f"loading {model}")
    loaded = load_model(model, dtype, device=device, local_files_only=False, trained_length=trained_length)
    return examine(loaded, method, TimeBudget(seconds, say))


def examine(loaded: LoadedModel, method: Method, budget: TimeBudget | None = None) -> Preflight:
    """All checks of a method on a loaded model, at the method's own target length.

    The passage is always read inside the window and at the target. What else does not fit into the budget is made
    smaller, or else not judged, which its line says.
    """
    budget = budget or TimeBudget()
    spec, target = loaded.spec, method.extender.target_length
    trained = RopePlan.as_trained(spec)
    plan = plan_of(method, spec, target)
    checks = [_plan(plan, spec, target)]
    losses: dict[int, tuple[float | None, float]] = {}

    def guarded(name: str, check: Callable[[], Check]) -> None:
        try:
            checks.append(check())
        except (NotApplied, BrokenModel) as error:
            checks.append(Check(name, "stopped", str(error)))

    with applied(loaded.model, spec) as rotary:

        def under(extender: Extender) -> ExtendedLM:
            return ExtendedLM(loaded, extender, rotary)

        def fixed(held: RopePlan) -> ExtendedLM:
            return under(_Fixed(target_length=target, fixed=held))

        extended, plain = under(method.extender), fixed(trained)

        def by_position() -> Check:
            losses.update(_by_position(plain, extended, target, budget))
            return _inside(losses, spec.trained_length)

        def read_back() -> Check:
            # Nothing is pinned here: what is read is what the last prompt, of the target length, ran with.
            difference = rotary.prove(target, extended.plan(target))
            factor = extended.plan(target).query_factor
            queries = f", queries are multiplied by {factor:.4g}" if factor != 1 else ""
            layers = rotary.mapped_layers
            mapped = f"; positions are mapped in layers {layers}" if layers else ""
            what = "logits" if layers else "cos and sin"
            found = f"{what} differ by {difference:.1g} within {target:,} positions{queries}{mapped}"
            return Check("plan runs", found)

        guarded("loss inside the window", by_position)
        if losses:
            guarded("loss beyond the window", lambda: _beyond(losses, spec.trained_length))
            guarded("plan runs", read_back)  # at once: every other prompt pins another plan
            guarded("plan matters", lambda: _matters(losses, target))
        guarded("rope_theta", lambda: _theta(fixed, spec, budget))
        guarded("passkeys", lambda: _passkeys(plain, extended, target, budget))
    order = {name: place for place, name in enumerate(ORDER)}
    checks.sort(key=lambda check: order[check.name])
    return Preflight(losses, tuple(checks), loaded.spec.notes)


def _plan(plan: RopePlan, spec: RopeSpec, target: int) -> Check:
    every = plan.rescale_factors(spec)
    factors = [factor for factor in every if math.isfinite(factor)]  # a stopped pair has infinity
    low, high, most = min(factors, default=1.0), max(factors, default=1.0), LARGEST * target / spec.trained_length
    stopped = f", {len(every) - len(factors)} of {len(every)} pairs stopped" if len(factors) < len(every) else ""
    range_ = f"rescale factors {low:.3g} to {high:.3g}{stopped}"
    whole = f", whole attention logits times {plan.query_factor:.4g}" if plan.query_factor != 1 else ""
    regions = f"positions mapped in {len(plan.pieces)} regions, " if plan.pieces else ""
    measured = f"{regions}{range_}, attention factor {plan.attention_factor:.4g}{whole}, {plan.hash}"
    reason = ""
    if plan == RopePlan.as_trained(spec):
        reason = f"for {target:,} tokens the method plans the model as trained, so nothing is extended"
    elif low < SMALLEST or (high > most and not stopped):  # factors may grow without bound towards a stopped pair
        reason = (
            f"rescale factors go from {low:.3g} to {high:.3g}, and should lie between {SMALLEST:g} and {most:.3g}: the "
            "plan was made for another rope_theta or other lengths"
        )
    return Check("plan", measured, reason)


def _theta(fixed: Callable[[RopePlan], ExtendedLM], spec: RopeSpec, budget: TimeBudget) -> Check:
    """Compares token by token, so that few documents are enough; shorter ones where time is short."""
    pairs, length = len(spec.inv_freq), min(spec.trained_length, THETA_LENGTH)

    def pieces() -> tuple[int, int]:
        return (1 + len(THETAS)) * math.ceil(THETA_TOKENS / length), length

    while not budget.allows(pieces()) and length > SHORTEST_THETA_LENGTH:
        length = max(length // 2, SHORTEST_THETA_LENGTH)
    if not budget.allows(pieces()):
        return Check("rope_theta", budget.short(pieces()))

    def losses(factor: float) -> list[float]:
        scaled = RopePlan.rescaled(spec, [factor ** (i / pairs) for i in range(pairs)])
        lm = fixed(scaled)
        size = length - lm.added_tokens
        ids = filler(lm, size * math.ceil(THETA_TOKENS / size))
        return [loss for i in range(0, len(ids), size) for loss in lm.losses(ids[i : i + size])]

    with budget.reading("documents with nine values of rope_theta", *pieces()):
        every = {factor: losses(factor) for factor in (1.0, *THETAS)}
    configured = every[1.0]
    mean = statistics.fmean(configured)
    measured, better = f"{mean:.3f} nats as configured ({spec.rope_theta:g})", ""
    best = mean
    for factor in THETAS:
        gains = [a - b for a, b in zip(configured, every[factor], strict=True)]
        gain, error = statistics.fmean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
        if gain > THETA and gain > SURE * error and mean - gain < best:
            best, better = mean - gain, f"{mean - gain:.3f} with {factor:g} times that"
    if better:
        reason = (
            f"the model reads better with another rope_theta ({measured}, {better}); it was not trained with this one"
        )
        return Check("rope_theta", f"{measured}, {better}", reason)
    return Check("rope_theta", f"{measured}, not better with {THETAS[0]:g} to {THETAS[-1]:g} times that")


def _by_position(
    plain: ExtendedLM, extended: ExtendedLM, target: int, budget: TimeBudget
) -> dict[int, tuple[float | None, float]]:
    """Loss of the passage behind more and more text, unextended inside the window and at the target. The method at the
    target comes last, so its plan is the one left pinned. Places between window and target are left out where the
    budget is short."""
    size, window = passage_tokens(plain), plain.spec.trained_length
    end = target - size - plain.added_tokens
    starts = {0, window - size - plain.added_tokens, end}
    step = window
    while step < end:
        starts.add(step)
        step *= 2
    losses: dict[int, tuple[float | None, float]] = {}
    for start in sorted(starts):
        tokens = start + size + plain.added_tokens
        compared = start == end or tokens <= window
        if not compared and not budget.allows((1, tokens), (2, target)):
            continue
        unextended = None
        if compared:
            with budget.reading(f"the passage behind {start:,} tokens, unextended", 1, tokens):
                unextended = passage_loss(plain, start)
        with budget.reading(f"the passage behind {start:,} tokens", 1, tokens):
            losses[start] = unextended, passage_loss(extended, start)
    return losses


def _split(losses: Mapping[int, tuple[float | None, float]], window: int) -> tuple[dict[int, float], dict[int, float]]:
    """(inside, beyond): how much more the passage costs than unextended at the same place inside the window, and beyond
    it than unextended at the window's end."""
    inside, beyond, reference = {}, {}, 0.0
    for start, (plain, extended) in losses.items():
        if start < window and plain is not None and start != max(losses):
            inside[start], reference = extended - plain, plain
        else:
            beyond[start] = extended - reference
    return inside, beyond


def _inside(losses: Mapping[int, tuple[float | None, float]], window: int) -> Check:
    gaps, _ = _split(losses, window)
    worst = max(gaps, key=lambda start: gaps[start])
    measured = f"at most {gaps[worst]:+.3f} nats against the unextended model"
    if not gaps[worst] <= INSIDE:
        reason = (
            f"behind {worst:,} tokens the passage costs {gaps[worst]:.2f} nats per token more than unextended "
            f"({INSIDE:g} allowed): the plan does not fit this model, as when it was made for another rope_theta"
        )
        return Check("loss inside the window", measured, reason)
    return Check("loss inside the window", measured)


def _beyond(losses: Mapping[int, tuple[float | None, float]], window: int) -> Check:
    _, gaps = _split(losses, window)
    worst = max(gaps, key=lambda start: gaps[start])
    measured = f"at most {gaps[worst]:+.3f} nats against the unextended model at its {window:,} tokens"
    if not gaps[worst] <= BEYOND:
        reason = (
            f"behind {worst:,} tokens the passage costs {gaps[worst]:.2f} nats per token more than at the end of the "
            f"window ({BEYOND:g} allowed): the plan does not carry that far, or is not applied"
        )
        return Check("loss beyond the window", measured, reason)
    return Check("loss beyond the window", measured)


def _matters(losses: Mapping[int, tuple[float | None, float]], target: int) -> Check:
    """A plan that is silently ignored gives the unextended model's losses to the last digit."""
    plain, extended = losses[max(losses)]
    assert plain is not None
    measured = f"moves the loss at {target:,} tokens by {extended - plain:+.4f} nats"
    if plain == extended:
        reason = f"the loss at {target:,} tokens is that of the unextended model to the last digit: the plan is ignored"
        return Check("plan matters", measured, reason)
    return Check("plan matters", measured)


def _passkeys(plain: ExtendedLM, extended: ExtendedLM, target: int, budget: TimeBudget) -> Check:
    window = plain.spec.trained_length
    keys = next((few for few in (KEYS, KEYS // 2) if budget.allows((few, window), (few, target))), 0)
    if not keys:
        return Check("passkeys", budget.short((KEYS // 2, window), (KEYS // 2, target)))

    def right(lm: ExtendedLM, length: int) -> int:
        with budget.reading(f"{keys} passkeys in {length:,} tokens", keys, length):
            return round(sum(row.score for row in make("passkey").run(lm, length, SEED, keys)))

    try:
        known = right(plain, window)
    except BrokenModel:
        raise
    except ValueError as error:  # a window too short for the question
        return Check("passkeys", f"not judged: {error}")
    if 2 * known < keys:
        return Check("passkeys", f"not judged: {known} of {keys} found even inside the window, unextended")
    right_extended = right(extended, target)
    words = f"{right_extended} of {keys} at {target:,} tokens ({known} unextended inside the window)"
    if 2 * right_extended < known:
        return Check("passkeys", words, f"{words}: half as many are wanted")
    return Check("passkeys", words)
