"""The batches of every step of a training, made of a corpus's documents."""

import random
from collections.abc import Sequence

from extenders.training.batch import Batch
from extenders.training.loop import StepData
from extenders.training.schedule import Schedule, TrainingSequence
from harness.training.corpus import Corpus, CorpusFacts, wanted
from harness.training.packing import Packed, batch, pack, skip


class BatchFacts(CorpusFacts):
    """With `unused`: documents that no portion of the run could use."""

    unused: int


class TrainingBatches:
    """The micro-batches of every step: rows of one class and one plan, at most `micro_tokens` together.

    Process `rank` of `processes` makes every processes-th sequence of a step; all have equally many micro-batches, the
    last ones unscored where there are not enough sequences. With `context_parallel` so many neighbours make the same
    sequences, and each keeps its slice of their positions.
    """

    def __init__(
        self,
        plan: Schedule,
        source: Corpus,
        window: int,
        seed: int,
        micro_tokens: int,
        rank: int = 0,
        processes: int = 1,
        context_parallel: int = 1,
    ) -> None:
        self.plan, self.source, self.window, self.seed = plan, source, window, seed
        self.rank, self.slice = divmod(rank, context_parallel)
        self.micro_tokens, self.processes, self.slices = micro_tokens, processes // context_parallel, context_parallel
        self.steps = len(plan)
        self.kinds = tuple(dict.fromkeys(sequence.portion.name for step in plan for sequence in step))
        self._until = [0]
        for step in plan:
            self._until.append(self._until[-1] + sum(sequence.size for sequence in step))

    def tokens_until(self, step: int) -> int:
        return self._until[step]

    def at(self, step: int) -> StepData:
        sequences = self.plan[step]
        shares = [list(range(rank, len(sequences), self.processes)) for rank in range(self.processes)]
        made = {number: self.row(sequences[number]) for number in shares[self.rank]}
        grouped = [self._grouped(sequences, share) for share in shares]
        batches = [
            batch(sequences[group[0]].portion.name, sequences[group[0]].rope, [made[number] for number in group])
            for group in grouped[self.rank]
        ]
        for _ in range(max(map(len, grouped)) - len(batches)):
            batches.append((batches[-1] if batches else self._any(sequences[0])).unscored())
        parts = [whole.part(self.slice, self.slices) for whole in batches]
        return StepData(parts, {number: row.digest for number, row in made.items()})

    def row(self, sequence: TrainingSequence) -> Packed:
        """The sequence of that place in the plan, the same whenever it is asked for."""
        portion = sequence.portion
        bounds = self._bounds(sequence)
        documents = self.source.documents(portion, sequence.index, sequence.size, bounds)
        if portion.skipped:
            rng = random.Random(f"training positions {self.seed} {sequence.index}")
            return skip(documents, sequence.size, sequence.target, rng, wanted(portion, sequence.size, bounds))
        return pack(documents, sequence.size, portion.masked)

    def facts(self) -> BatchFacts:
        asked = {(sequence.portion, self._bounds(sequence)) for step in self.plan for sequence in step}
        return {**self.source.facts(), "unused": self.source.unused(asked)}

    def _bounds(self, sequence: TrainingSequence) -> tuple[int, int]:
        """Above how many and up to how many tokens the documents of a sequence have."""
        portion = sequence.portion
        return portion.above.tokens(self.window, sequence.target), portion.up_to.tokens(self.window, sequence.target)

    def _grouped(self, sequences: Sequence[TrainingSequence], share: Sequence[int]) -> list[list[int]]:
        groups: list[list[int]] = []
        alike: dict[tuple[str, str, int], list[int]] = {}
        for number in share:
            sequence = sequences[number]
            kind = (sequence.portion.name, sequence.rope, sequence.size)
            if kind in alike and (len(alike[kind]) + 1) * sequence.size <= self.micro_tokens:
                alike[kind].append(number)
            else:
                alike[kind] = [number]
                groups.append(alike[kind])
        return groups

    def _any(self, sequence: TrainingSequence) -> Batch:
        return batch(sequence.portion.name, sequence.rope, [self.row(sequence)])
