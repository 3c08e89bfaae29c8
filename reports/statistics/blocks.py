"""How sure is a mean difference of losses in these very documents? Runs of neighbouring blocks say how it varies.

Two questions are easily mixed. Over documents: would the difference hold for more documents of this kind? Student's t
on the documents' means answers it (`reports.statistics.paired`); a bootstrap that draws documents and then blocks asks
the same and holds the truth less often where documents are few (`docs/statistics.md`). Within documents: is the
difference in these documents more than the luck of single passages? That is what is answered here.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from reports.statistics.intervals import LEVEL, Array, Estimate

RUNS = 16  # of a document: long enough that losses of one run hardly hang together with those of the next
LEAST = 128  # blocks of a document; with fewer the intervals are too short where neighbours hang together


def within(documents: Sequence[Array], sizes: Sequence[Array], level: float = LEVEL) -> Estimate:
    """The mean of differences over all tokens of these documents, with an interval from their blocks.

    `documents` has for each document the mean difference in each of its blocks, in the order of the text, and `sizes`
    the tokens of each block. The variance is that of the circular block bootstrap (Politis and Romano 1992, in
    Exploring the Limits of Bootstrap, p. 263) with a sixteenth of a document as a run, each document drawn in its own
    place; it is written down without drawing, and the interval is Student's, with the runs that are free to vary. None
    for its ends where a document has fewer than `LEAST` blocks. `n` counts the blocks.
    """
    if len(documents) != len(sizes) or not documents:
        raise ValueError("blocks are given with the tokens of each, for at least one document")
    tokens = sum(float(size.sum()) for size in sizes)
    mean = sum(float(values @ size) for values, size in zip(documents, sizes, strict=True)) / tokens
    blocks = sum(len(values) for values in documents)
    if min(map(len, documents)) < LEAST:
        return Estimate(mean, None, None, blocks)
    variance = sum(_variance_of_sum(values * size) for values, size in zip(documents, sizes, strict=True))
    half = float(stdtrit((RUNS - 1) * len(documents), 0.5 + level / 2)) * math.sqrt(variance) / tokens
    return Estimate(mean, mean - half, mean + half, blocks)


def _variance_of_sum(values: Array) -> float:
    """Of the sum over a document's blocks, from sums of all runs, the end joined to the beginning."""
    run = len(values) // RUNS
    runs = len(values) / run
    round_ = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: run - 1]]))])
    sums = round_[run:] - round_[:-run]
    return float(np.mean((sums - sums.mean()) ** 2)) * runs * runs / (runs - 1)
