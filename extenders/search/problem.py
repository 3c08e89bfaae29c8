"""What a search works on: a loss that many plans share, a budget, random numbers, and a log of all that was tried.

A loss is the mean over the first `fidelity` samples, so two candidates are always compared on the same texts, and a
search may look at few samples first. Everything is paid in token-forwards: a pair of plan and sample costs one text
of the target length, once; asking again is free. All decisions follow from losses, budget and named random
generators, never from the clock, so a search that is run again from its stored losses ends at the same winner.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from extenders.base import Extender, RopePlan, RopeSpec
from extenders.search.trajectory import CandidateLine, Line

HELD_OUT = 1_000_000  # samples from this number on are held out: no search looks at them before it has finalists
ROWS_OF_LOSSES = 4  # take the memory of one with a gradient
Pair = tuple[RopePlan, int]  # a plan and a sample's number
PlanOf = Callable[[Mapping[str, Any]], RopePlan]  # the plan of a method with these parameters, at the problem's length
Slopes = dict[tuple[str, int], "Slope"]  # by plan's hash and sample
Losses = dict[tuple[str, int], float]  # nats per scored token, by plan's hash and sample; infinite for NaN


@dataclass(eq=False)
class Candidate:
    """What was tried. `loss` in nats per scored token, the mean over samples 0 … `samples`-1."""

    number: int
    plan: RopePlan
    operator: str  # what made it: "yarn", "mutate", "crossover", …
    parent: int | None = None  # number of the candidate it was made from
    stage: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)  # what the method is made of with this plan
    loss: float = math.inf
    samples: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Lower is better; on a tie the earlier candidate."""
        return self.loss, self.number


@dataclass(frozen=True)
class Slope:
    """The loss of a plan on one sample (nats per scored token) and its gradient.

    The gradient is by log λ_i of every pair, then by the log of the attention factor. None: the sample was solved, or
    the numbers were not finite.
    """

    loss: float
    gradient: tuple[float, ...] | None
    forwards: int  # what it cost: a forward pass 1, a backward pass 2, what was computed again for it 1


@dataclass(frozen=True)
class Report:
    """How far a search is."""

    best: float  # nats per scored token; infinite while nothing finite was measured
    spent: int  # token-forwards
    budget: int  # token-forwards
    candidates: int  # measured on one text at least


class Problem:
    """The loss and its budget.

    `evaluate(pairs)` gives one loss (nats per scored token) for each pair of plan and sample, `batch` pairs at most at
    a time. NaN becomes infinity: the worst candidate. `known` are losses that an earlier sitting measured: they are
    paid for like others and not evaluated again; what is measured is added. `samples` and `held_out_samples` say how
    many texts there are. `at(length, budget)` is the same problem at another length, `fine_tune(extender)` trains the
    model under a method and gives the same problem on the trained model; both are None where the caller has no such
    thing. `recovery` is a search for shorter prompts. Raises ValueError for any other target within the trained
    length.
    `differentiate(pairs, solved, recompute)` gives the loss of each pair and, unless it is below `solved`, its
    gradient; None where the caller has no such thing. `known_slopes` are to it what `known` is to `evaluate`. A search
    by gradient takes a new text for every step, also beyond `samples`.
    """

    def __init__(
        self,
        rope: RopeSpec,
        target_length: int,
        evaluate: Callable[[Sequence[Pair]], Sequence[float]],
        *,
        budget: int,
        samples: int = 64,
        held_out_samples: int = 64,
        seed: int = 0,
        batch: int = 1,
        known: Losses | None = None,
        progress: Callable[[Report], None] = lambda report: None,
        log: Callable[[Line], None] = lambda line: None,
        at: "Callable[[int, int], Problem] | None" = None,
        fine_tune: "Callable[[Extender], Problem] | None" = None,
        recovery: bool = False,
        differentiate: Callable[[Sequence[Pair], float, bool], Sequence[Slope]] | None = None,
        known_slopes: Slopes | None = None,
    ) -> None:
        if target_length <= rope.trained_length and not recovery:
            raise ValueError(
                f"target length {target_length} must be above the trained length {rope.trained_length}; "
                "there is nothing to search"
            )
        self.rope, self.target_length, self.seed = rope, target_length, seed
        self.budget, self.samples, self.held_out_samples = budget, samples, held_out_samples
        self.spent = 0  # token-forwards
        self.reserved = 0  # token-forwards of the budget that are held back, for a check at the end
        self.at, self.fine_tune = at, fine_tune
        self._evaluate, self._batch, self._progress, self._log = evaluate, max(1, batch), progress, log
        self._losses: Losses = {} if known is None else known
        self._paid_for: set[tuple[str, int]] = set()
        self._differentiate, self._slopes = differentiate, {} if known_slopes is None else known_slopes
        self.iterates = 0  # how many slopes were paid for
        self._iterated: set[str] = set()  # hashes of their plans
        self.made = 0  # candidates, also those that were never measured
        self.candidates = 0  # of these, measured on one text at least
        self._best = (0, math.inf)  # samples, loss

    def random(self, name: str) -> random.Random:
        """A generator of its own for every use."""
        return random.Random(f"search {self.seed} {name}")

    @property
    def forwards(self) -> int:
        """How many pairs of plan and sample the budget pays for in all."""
        return self.budget // self.target_length

    @property
    def left(self) -> int:
        """How many more it pays for, without what is held back."""
        return max(0, self.budget - self.reserved - self.spent) // self.target_length

    @property
    def evaluations(self) -> int:
        """How many pairs of plan and sample were paid for, with or without a gradient."""
        return len(self._paid_for) + self.iterates

    def require(self, fidelity: int) -> None:
        """Raises ValueError when the budget or the texts do not suffice for a single candidate."""
        if self.budget < fidelity * self.target_length:
            raise ValueError(
                f"a budget of {self.budget} token-forwards is too small for one candidate, which takes "
                f"{fidelity * self.target_length} ({fidelity} {'text' if fidelity == 1 else 'texts'} of "
                f"{self.target_length} tokens); raise the budget"
            )
        if fidelity > self.samples:
            raise ValueError(f"{fidelity} samples were asked for and there are {self.samples}; ask for fewer")

    def reserve(self, share: float, fidelity: int) -> None:
        """Hold back a share of the budget, but leave enough to measure two candidates on `fidelity` texts."""
        self.reserved = max(0, min(int(share * self.budget), self.budget - 2 * fidelity * self.target_length))

    def candidate(
        self,
        plan: RopePlan,
        operator: str,
        parameters: Mapping[str, Any] | None = None,
        parent: Candidate | None = None,
        stage: str = "",
    ) -> Candidate:
        """A new candidate, not measured yet."""
        self.made += 1
        origin = None if parent is None else parent.number
        return Candidate(self.made - 1, plan, operator, origin, stage, dict(parameters or {}))

    def measure(self, candidates: Sequence[Candidate], fidelity: int) -> list[Candidate]:
        """Measure candidates on the first `fidelity` samples, in order, as far as the budget goes.

        Returns those that are measured. A candidate that is measured on more samples already stays as it is.
        """
        measured = []
        for start in range(0, len(candidates), self._batch):
            group = candidates[start : start + self._batch]
            fresh = [candidate for candidate in group if candidate.samples < fidelity]
            paid = self._paid(fresh, range(fidelity))
            for candidate in paid:
                self._note(candidate, fidelity)
            if paid:
                self._progress(self.report)
            measured += [candidate for candidate in group if candidate.samples >= fidelity]
            if len(paid) < len(fresh):
                break
        return measured

    def _note(self, candidate: Candidate, fidelity: int) -> None:
        """Write down the loss of a candidate whose samples are paid for."""
        self.candidates += not candidate.samples
        candidate.loss = self._mean(candidate.plan, range(fidelity))
        candidate.samples = fidelity
        if (fidelity, -candidate.loss) > (self._best[0], -self._best[1]) and math.isfinite(candidate.loss):
            self._best = (fidelity, candidate.loss)
        self._log(self._line(candidate))

    def slopes(self, plan: RopePlan, samples: Sequence[int], solved: float, recompute: bool = False) -> list[Slope]:
        """The loss of a plan on each of these samples with its gradient; none where the budget does not cover them.

        With `recompute` a gradient costs a forward pass more and little memory. Raises ValueError where the caller can
        give no gradients.
        """
        if self._differentiate is None:
            raise ValueError(
                "searcher 'gradient' needs gradients of the loss, and what measures here gives none; "
                "search on a model in this process, or take searcher 'fast'"
            )
        if self.left < (3 + recompute) * len(samples):
            return []
        missing = [(plan, sample) for sample in samples if (plan.hash, sample) not in self._slopes]
        rows = max(1, self._batch // ROWS_OF_LOSSES)
        for start in range(0, len(missing), rows):
            batch = missing[start : start + rows]
            for (_, sample), slope in zip(batch, self._differentiate(batch, solved, recompute), strict=True):
                self._slopes[plan.hash, sample] = slope
        slopes = [self._slopes[plan.hash, sample] for sample in samples]
        for sample, slope in zip(samples, slopes, strict=True):
            self._iterated_on(plan, sample, slope)
        self._progress(self.report)
        return slopes

    def _iterated_on(self, plan: RopePlan, sample: int, slope: Slope) -> None:
        """Pay for a slope and write it down."""
        self.spent += slope.forwards * self.target_length
        self.iterates += 1
        self.candidates += plan.hash not in self._iterated and (plan.hash, 0) not in self._paid_for
        self._iterated.add(plan.hash)
        self._log(
            {
                "iterate": self.iterates,
                "sample": sample,
                "loss": finite(slope.loss),
                "gradient": None if slope.gradient is None else list(slope.gradient),
                "factors": [finite(value) for value in plan.rescale_factors(self.rope)],
                "attention_factor": plan.attention_factor,
                "plan": plan.hash,
                "spent": self.spent,
            }
        )

    def loss_of(self, plan: RopePlan) -> float | None:
        """The mean over all samples of the search that this plan was measured on; None for none and for infinity."""
        samples = 0
        while (plan.hash, samples) in self._paid_for:
            samples += 1
        return finite(self._mean(plan, range(samples))) if samples else None

    def on_samples(self, candidate: Candidate, fidelity: int) -> float:
        """The mean of a measured candidate on fewer samples than it was measured on."""
        return self._mean(candidate.plan, range(min(fidelity, candidate.samples)))

    def held_out(self, plans: Mapping[str, RopePlan], fidelity: int) -> dict[str, float]:
        """Mean losses by name on the first `fidelity` held-out samples, as far as the budget goes."""
        losses: dict[str, float] = {}
        numbers = range(HELD_OUT, HELD_OUT + min(fidelity, self.held_out_samples))
        for name, plan in plans.items():
            if not self._paid([Candidate(-1, plan, name)], numbers):
                break
            losses[name] = self._mean(plan, numbers)
            self._log({"held_out": name, "loss": finite(losses[name]), "samples": len(numbers), "plan": plan.hash})
            self._progress(self.report)
        return losses

    def best(self, candidates: Iterable[Candidate]) -> Candidate:
        """The lowest loss; on a tie the earlier candidate. Raises ValueError when none is finite."""
        measured = [candidate for candidate in candidates if candidate.samples]
        with_loss = [candidate for candidate in measured if math.isfinite(candidate.loss)]
        if not with_loss:
            raise ValueError(
                f"the loss is NaN or infinite for every one of {len(measured)} candidates; check the model, its dtype "
                "(float16 overflows, use bfloat16 or float32) and the documents"
            )
        return min(with_loss, key=lambda candidate: candidate.rank)

    @property
    def report(self) -> Report:
        return Report(self._best[1], self.spent, self.budget, self.candidates)

    def _paid(self, candidates: Sequence[Candidate], samples: Sequence[int]) -> list[Candidate]:
        """Pay for what these candidates lack, and measure it; returns those that the budget covered."""
        plans: dict[tuple[str, int], RopePlan] = {}
        covered: list[Candidate] = []
        for candidate in candidates:
            plan = candidate.plan
            lacking = [n for n in samples if (plan.hash, n) not in self._paid_for]
            cost = len(lacking) * self.target_length
            if self.spent + cost > self.budget - self.reserved:
                break
            self.spent += cost
            self._paid_for |= {(plan.hash, n) for n in lacking}
            plans |= {(plan.hash, n): plan for n in lacking}
            covered.append(candidate)
        missing = [(plan, n) for (name, n), plan in plans.items() if (name, n) not in self._losses]
        for start in range(0, len(missing), self._batch):
            batch = missing[start : start + self._batch]
            for (plan, n), loss in zip(batch, self._evaluate(batch), strict=True):
                self._losses[plan.hash, n] = math.inf if math.isnan(loss) else loss
        return covered

    def _mean(self, plan: RopePlan, samples: Sequence[int]) -> float:
        return math.fsum(self._losses[plan.hash, n] for n in samples) / len(samples)

    def _line(self, candidate: Candidate) -> CandidateLine:
        return {
            "candidate": candidate.number,
            "parent": candidate.parent,
            "operator": candidate.operator,
            "stage": candidate.stage,
            "loss": finite(candidate.loss),
            "samples": candidate.samples,
            "parameters": dict(candidate.parameters),
            "factors": [finite(value) for value in candidate.plan.rescale_factors(self.rope)],
            "plan": candidate.plan.hash,
            "spent": self.spent,
        }


def finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
