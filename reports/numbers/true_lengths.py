"""True lengths: how much of the length that a test is named by its samples really have.

No sample is cut and none is padded, so a test whose parts run out, or that draws again in large steps, asks in shorter
contexts than its name says. Whoever compares lengths has to see that.
"""

import pandas as pd

from reports.numbers.frame import CONTROL, Frames
from reports.numbers.grid import Grid, Line, Number, tokens
from reports.statistics.intervals import Estimate

SHORT = 0.9  # of the length; samples below are counted


def true_lengths(frames: Frames) -> Grid | None:
    """Mean share of the length, by test and length; None where no long test has a result.

    A sample's length is its prompt, BOS included, and the budget of new tokens. Every method gets the same prompts, so
    each sample counts once.
    """
    rows = frames.rows[~frames.rows["category"].isin(["short", CONTROL])]
    rows = rows[rows["prompt_tokens"] > 0]
    if rows.empty:
        return None
    total = rows["prompt_tokens"] + rows["key"].map(_budgets(frames)).fillna(0)
    samples = rows.assign(total=total).drop_duplicates(["task", "length", "seed", "sample"])
    lengths = sorted(int(length) for length in samples["length"].unique())
    groups = dict(tuple(samples.groupby(["task", "length"])))
    tests = dict.fromkeys(samples["task"])
    return Grid(
        "true-lengths",
        "How long the samples really are, % of the length",
        "Test",
        tuple(tokens(length) for length in lengths),
        tuple(Line(task, tuple(_share(groups.get((task, n)), n) for n in lengths)) for task in tests),
        notes=(
            "Prompt and budget of new tokens against the length in the heading; below: shortest and longest sample in "
            f"tokens, and how many have less than {SHORT:.0%} of their length.",
        ),
        lines_are="tests over lengths",
        lengths=tuple(lengths),
    )


def _budgets(frames: Frames) -> dict[str, int]:
    """Budget of new tokens by cell; of stores that do not say it, the longest answer of the cell."""
    longest = frames.rows.groupby("key")["new_tokens"].max().to_dict()
    said = {cell["key"]: cell["new_tokens"] for cell in frames.run["cells"] if "new_tokens" in cell}
    return {**{str(key): int(n) for key, n in longest.items()}, **said}


def _share(samples: pd.DataFrame | None, length: int) -> Number:
    if samples is None:
        return Number()
    total = samples["total"]
    short = int((total < SHORT * length).sum())
    why = f"{tokens(int(total.min()))} … {tokens(int(total.max()))}"
    why += f"; {short} of {len(total)} under {SHORT:.0%}" if short else ""
    return Number(Estimate(float(total.mean()) / length, None, None, len(total)), "done", why)
