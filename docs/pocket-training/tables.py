"""The tables of README.md that are about the trained window: python docs/pocket-training/tables.py

From inside-window.csv and inside-switched.csv, a line for each cell with the scores of its samples. A training with
another seed is another model, so differences are taken seed by seed: the mean of three with Student's t on two degrees
of freedom, which holds the luck of training and of samples together, and never less than the samples alone say (paired,
stratified by test).
"""

from pathlib import Path

import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
LONG = ("needle", "ruler-pocket/niah_single_2", "ruler-pocket/niah_multikey_1", "ruler-pocket/vt")
SHORT = ("short/pocket_arithmetic", "short/pocket_cloze", "short/pocket_facts")
SHOWN = {
    "four long tests": LONG,
    "three of retrieval": LONG[:3],
    "tracking": LONG[3:],
    "three short suites": SHORT,
    "arithmetic": SHORT[:1],
}
APART = {"tracking": LONG[3], "niah_multikey_1": LONG[2], "arithmetic": SHORT[0]}  # of inside-switched.csv
STEPS = (
    ("plain_same_data switched", "plain_same_data"),
    ("mixed", "mixed not switched"),
    ("mixed not switched", "plain_same_data"),
    ("mixed", "plain_same_data switched"),
)
METHODS = ("none", "ntk", "yarn", "longrope2")
TRAININGS = ("plain", "plain_same_data", "mixed")


def cells() -> pd.DataFrame:
    """A row for each cell; `scores` is a list of percent."""
    table = pd.read_csv(HERE / "inside-window.csv")
    return table.assign(scores=[[100 * float(score) for score in text.split()] for text in table.scores])


def by_seed() -> pd.DataFrame:
    """Percent: a row for each method and seed, a column for each group of tests, every test of equal weight."""
    table = cells()
    table["score"] = [sum(scores) / len(scores) for scores in table.scores]
    wide = table.pivot_table(index=["method", "seed"], columns="test", values="score")
    return pd.DataFrame({name: wide[list(tests)].mean(axis=1) for name, tests in SHOWN.items()})


def error_of_samples(one: str, other: str, group: str) -> float:
    """Standard error of the difference as if only samples were drawn by chance."""
    table = cells().set_index(["method", "test", "seed"]).scores
    variance, strata = 0.0, [(test, seed) for test in SHOWN[group] for seed in by_seed().loc[one].index]
    for test, seed in strata:
        gaps = pd.Series(table[one, test, seed]) - pd.Series(table[other, test, seed])
        variance += gaps.var() / len(gaps) / len(strata) ** 2
    return float(variance**0.5)


def means() -> pd.DataFrame:
    """The same over the three seeds."""
    rows = [f"{method}{training}" for method in METHODS for training in ("", *(f" + {name}" for name in TRAININGS))]
    return by_seed().groupby(level="method").mean().loc[rows]


def difference(one: str, other: str, group: str) -> tuple[float, float]:
    """(mean difference over seeds, half of its 95 % interval) in points."""
    table = by_seed()[group]
    gaps = table[one] - table[other]
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * gaps.std() / len(gaps) ** 0.5
    return float(gaps.mean()), max(half, float(stats.norm.ppf(0.975)) * error_of_samples(one, other, group))


def words(one: str, other: str, group: str) -> str:
    mean, half = difference(one, other, group)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]".replace("-", "−")


def taken_apart() -> pd.DataFrame:
    """Percent: a row for each method and seed, a column for each test of inside-switched.csv."""
    table = pd.read_csv(HERE / "inside-switched.csv")
    table["score"] = [100 * sum(map(float, text.split())) / len(text.split()) for text in table.scores]
    wide = table.pivot_table(index=["method", "seed"], columns="test", values="score")
    return wide[list(APART.values())].set_axis(list(APART), axis="columns")


def apart_words(one: str, other: str, test: str) -> str:
    """The difference over three seeds; never surer than the samples, which are paired."""
    scores = pd.read_csv(HERE / "inside-switched.csv").set_index(["method", "test", "seed"]).scores
    gaps = taken_apart()[test][one] - taken_apart()[test][other]
    half, variance = float(stats.t.ppf(0.975, len(gaps) - 1)) * gaps.std() / len(gaps) ** 0.5, 0.0
    for seed in gaps.index:
        mine, theirs = (pd.Series(scores[name, APART[test], seed].split(), dtype=float) for name in (one, other))
        variance += (100 * (mine - theirs)).var() / len(mine) / len(gaps) ** 2
    mean, half = float(gaps.mean()), max(half, float(stats.norm.ppf(0.975)) * float(variance) ** 0.5)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]".replace("-", "−")


def main() -> None:
    print(means().round(1).to_string())
    for method in METHODS:
        for one, other in (("mixed", "plain_same_data"), ("plain_same_data", "plain"), ("mixed", "plain")):
            line = "; ".join(f"{group} {words(f'{method} + {one}', f'{method} + {other}', group)}" for group in SHOWN)
            print(f"{method}: {one} minus {other}: {line}")
    print(taken_apart().groupby(level="method").mean().round(1).to_string())
    for method in ("yarn", "longrope2"):
        for one, other in STEPS:
            line = "; ".join(
                f"{test} {apart_words(f'{method} + {one}', f'{method} + {other}', test)}" for test in APART
            )
            print(f"{method}: {one} minus {other}: {line}")


if __name__ == "__main__":
    main()
