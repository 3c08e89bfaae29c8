"""All numbers of one report, each computed once, when it is first asked for.

What the page, the figures and the paper kit show comes from here, so that all of them show the same numbers. Each
property leads to the file that computes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from harness.store import Store
from reports.numbers.across_lengths import across_lengths
from reports.numbers.audit import Audit, audit
from reports.numbers.beyond_window import WindowLosses, window_losses
from reports.numbers.by_test import by_test_at_all_lengths
from reports.numbers.costs import cost_totals
from reports.numbers.decided import decided
from reports.numbers.depths import DepthMap, depth_maps
from reports.numbers.differences import LeaderGap, differences
from reports.numbers.effective_lengths import RuleLengths, effective_lengths
from reports.numbers.failures import FailedCell, Failures, failed_cells, failures, missing_cells
from reports.numbers.frame import Frames, read
from reports.numbers.gains import GainStep, gain_steps
from reports.numbers.grid import Grid, Number
from reports.numbers.over_lengths import note
from reports.numbers.perplexity import perplexity
from reports.numbers.rank_stability import RankStability, rank_stability
from reports.numbers.retention import retention
from reports.numbers.scores import Scores
from reports.numbers.searches import SearchHistory, searches
from reports.numbers.summary import Summary, summary
from reports.numbers.telling_apart import telling_apart
from reports.numbers.trainings import TrainingHistory, trainings
from reports.numbers.true_lengths import true_lengths
from reports.numbers.verdict import Verdict, verdict


@dataclass(frozen=True)
class Results:
    store: Store

    @cached_property
    def frames(self) -> Frames:
        return read(self.store)

    @cached_property
    def scores(self) -> Scores:
        return Scores(self.frames)

    @cached_property
    def summary(self) -> Summary:
        return summary(self.scores)

    @cached_property
    def by_test(self) -> list[Grid]:
        return by_test_at_all_lengths(self.scores)

    @cached_property
    def losses(self) -> list[Grid]:
        return perplexity(self.scores)

    @cached_property
    def window_losses(self) -> list[WindowLosses]:
        return window_losses(self.scores)

    @cached_property
    def true_lengths(self) -> list[Grid]:
        table = true_lengths(self.frames)
        return [table] if table else []

    @cached_property
    def retention(self) -> Grid | None:
        return retention(self.scores)

    @cached_property
    def verdict(self) -> Verdict:
        return verdict(self.scores, self.summary, self.retention, self.window_losses)

    @property
    def column(self) -> int:
        """The column of the summary that is judged."""
        return self.verdict.column

    @property
    def judged(self) -> int:
        """The length that is judged, in tokens."""
        return self.summary.lengths[self.column] if self.summary.lengths else self.frames.target_length

    @property
    def glance(self) -> list[tuple[str, Number]]:
        """(method, number) at the length that is judged, best first; those without a number last."""
        lines = self.summary.grid.lines if self.summary.lengths else ()
        numbers = [(line.label, line.numbers[self.column]) for line in lines]
        return sorted(numbers, key=lambda named: -named[1].estimate.mean if named[1].estimate else 1.0)

    @cached_property
    def differences(self) -> list[LeaderGap]:
        return differences(self.scores, self.summary, self.column, self.verdict.leader)

    @cached_property
    def effective_lengths(self) -> list[RuleLengths]:
        return effective_lengths(self.scores, self.summary)

    @cached_property
    def across_lengths(self) -> list[Grid]:
        table = across_lengths(self.scores, self.summary)
        return [table] if table else []

    @cached_property
    def telling_apart(self) -> list[Grid]:
        table = telling_apart(self.scores)
        return [table] if table else []

    @cached_property
    def decided(self) -> list[Grid]:
        table = decided(self.frames)
        return [table] if table else []

    @property
    def over_lengths(self) -> str:
        return note(self.summary.tests)

    @cached_property
    def ranks(self) -> RankStability | None:
        return rank_stability(self.scores, self.summary, self.column)

    @cached_property
    def depth_maps(self) -> list[DepthMap]:
        return depth_maps(self.scores)

    @cached_property
    def gains(self) -> tuple[Number | None, list[GainStep]]:
        return gain_steps(self.scores, self.summary, self.column)

    @cached_property
    def searches(self) -> list[SearchHistory]:
        return searches(self.store, self.frames.run)

    @cached_property
    def trainings(self) -> list[TrainingHistory]:
        return trainings(self.store, self.frames.run)

    @cached_property
    def costs(self) -> pd.DataFrame:
        return cost_totals(self.frames, self.searches, self.trainings)

    @cached_property
    def audit(self) -> Audit:
        known = audit(self.frames.run.get("ledger"), self.frames.labels)
        return replace(known, remarks=(*known.remarks, *self._without_seal))

    @property
    def _without_seal(self) -> tuple[str, ...]:
        """What has to be known of records of days before seals, which may stand beside sealed ones."""
        count, cells = self.frames.unsealed, self.planned_cells
        some = f"{count:,} of {cells:,} cells carry no seal, as before there were seals"
        return (f"{some}: a number that was edited in them would not be seen.",) if count else ()

    @cached_property
    def failures(self) -> Failures:
        return failures(self.frames)

    @property
    def failed_cells(self) -> list[FailedCell]:
        return failed_cells(self.frames)

    @property
    def missing_cells(self) -> dict[str, int]:
        return missing_cells(self.frames)

    @property
    def planned_cells(self) -> int:
        return len(self.frames.cells)

    @property
    def counts(self) -> dict[str, int]:
        """Planned cells by status: done, failed, missing."""
        return {str(status): int(n) for status, n in self.frames.cells["status"].value_counts().items()}

    @property
    def proved(self) -> tuple[int, int]:
        """(finished cells whose plan was read back from the live model, finished cells)."""
        done = self.frames.cells[self.frames.cells["status"] == "done"]
        return sum(bool(proof) and not _asked(proof) for proof in done["proof"]), len(done)


def _asked(proof: Mapping[str, Any]) -> bool:
    """Whether it is a server's, which was asked for a plan that nobody could read back."""
    return any(isinstance(one, Mapping) and "max_difference" not in one for one in proof.values())
