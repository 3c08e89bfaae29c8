"""Has a text any use for far context? Asked before a loss on plain text counts for anything.

On text that does not need what stands far back the unextended model on its last window is the optimum of any search,
and a lower loss beyond the window says nothing about long context. So the loss beyond the window is compared: of the
plan that was found, with all that stands before, and of the unextended model, in windows of the trained length. The
texts are held out, and every text is a sample.
"""

import math
import statistics
from collections.abc import Callable, Sequence

from scipy.special import stdtrit  # scipy.stats takes a second to import, in every process of a run

from extenders.base import RopePlan, RopeSpec
from extenders.search.problem import HELD_OUT
from harness.search.texts import SearchText, SearchTexts
from harness.store import FarUse
from tasks.perplexity import windows

TEXTS = 4
RowLosses = Callable[[Sequence[tuple[RopePlan, SearchText]]], list[float]]


def far_use(
    losses: RowLosses,
    at_once: Callable[[int], int],
    plan: RopePlan,
    rope: RopeSpec,
    texts: SearchTexts,
    count: int = TEXTS,
) -> FarUse:
    """Loss beyond the window under the plan and without far context, in nats per token, on so many held-out texts.

    `losses` gives the mean loss of every row under its plan, `at_once` how many rows of a length go together.
    """
    cut_plan, window = RopePlan.as_trained(rope), rope.trained_length
    found, cut, tokens, forwards = [], [], 0, 0
    for number in range(HELD_OUT, HELD_OUT + count):
        ids = texts[number].ids
        tokens += len(ids) - window
        whole, windows_of = [SearchText(ids, tuple(range(window, len(ids))), "", "")], _cut(ids, window)
        forwards += sum(len(row.ids) for row in [*whole, *windows_of])
        found.append(_mean(losses, at_once(texts.length), plan, whole))
        cut.append(_mean(losses, at_once(window), cut_plan, windows_of))
    gains = [without - with_ for with_, without in zip(found, cut, strict=True)]
    gain, spread = statistics.fmean(gains), statistics.stdev(gains) if count > 1 else math.inf
    half = float(stdtrit(max(count - 1, 1), 0.975)) * spread / math.sqrt(count)
    return {
        "texts": count,
        "tokens": tokens,
        "loss": statistics.fmean(found),
        "loss_without": statistics.fmean(cut),
        "gain": gain,
        "low": gain - half,
        "high": gain + half,
        "token_forwards": forwards,
    }


def _cut(ids: Sequence[int], window: int) -> list[SearchText]:
    """The tokens beyond the window in windows, each with half a window of new tokens, as `sliding_window` reads."""
    rows = []
    for begin, end, first in windows(len(ids), window, "stride", max(window // 2, 1), 0)[1:]:
        rows.append(SearchText(tuple(ids[begin:end]), tuple(range(first - begin, end - begin)), "", ""))
    return rows


def _mean(losses: RowLosses, at_once: int, plan: RopePlan, rows: Sequence[SearchText]) -> float:
    """Mean loss of all scored tokens."""
    total, tokens = 0.0, 0
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        means = losses([(plan, row) for row in batch])
        total += sum(loss * len(row.scored) for loss, row in zip(means, batch, strict=True))
        tokens += sum(len(row.scored) for row in batch)
    return total / tokens


def far_use_in_words(use: FarUse) -> str:
    """Whether the texts have use for far context, with the numbers that say so."""
    numbers = (
        f"beyond the window the found plan has {use['loss']:.3f} nats per token and the unextended model on its last "
        f"window {use['loss_without']:.3f}: {use['gain']:+.3f} gained [{use['low']:+.3f}, {use['high']:+.3f}] on "
        f"{use['texts']} held-out texts"
    )
    if use["low"] > 0:
        return f"far context helps on these texts: {numbers}"
    if use["gain"] > 0:
        return f"whether far context helps on these texts is not shown: {numbers}"
    return (
        f"these texts have no use for far context, so this search says nothing about long context: {numbers}; take "
        "fitness needle, long_perplexity or far_context, or other documents"
    )
