"""The tables of README.md from the scores beside this file: python docs/search-study/generation/tables.py

Untrained (MODEL.csv): differences are paired by sample and stratified by test: the mean over tests of the mean
difference, with the error of that mean (Student's t, degrees of freedom after Satterthwaite). Trained by `mixed`
(mixed-MODEL.csv, a line for each cell with the scores of its samples): a training with another seed is another model,
so differences are taken seed by seed (Student's t), and never surer than the samples alone say. Percentage points.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
MODELS = ("pocket-llama", "pocket-phi")
TESTS = ("needle", "niah_single_2", "niah_multikey_1", "niah_multivalue", "vt")
AGAINST = ("yarn", "mrrope_pro", "released code", "released code, full size", "late_ramp")


def scores(model: str) -> pd.DataFrame:
    """One row for each test and sample, one column for each length and method."""
    table = pd.read_csv(HERE / f"{model}.csv")
    return table.pivot_table(index=["test", "sample"], columns=["length", "method"], values="score", sort=False)


def means(table: pd.DataFrame, length: int) -> pd.DataFrame:
    """Percent by method and test, with their mean."""
    found = table[length].groupby(level="test", sort=False).mean().T * 100
    return found.assign(mean=found.mean(axis=1))


def difference(one: pd.Series, other: pd.Series) -> tuple[float, float]:
    """(mean difference, half of its 95 % interval) in points."""
    by_test = (one - other).groupby(level="test")
    variances = by_test.var() / by_test.count() / by_test.ngroups**2
    error = variances.sum() ** 0.5
    if error == 0:
        return 100 * by_test.mean().mean(), 0.0
    freedom = variances.sum() ** 2 / (variances**2 / (by_test.count() - 1)).sum()
    return 100 * by_test.mean().mean(), 100 * float(stats.t.ppf(0.975, freedom)) * error


def against(table: pd.DataFrame, length: int, other: str) -> list[str]:
    """A line for each method: what it has more than the other one."""
    lines = []
    for method in table[length].columns:
        if method != other:
            mean, half = difference(table[length][method], table[length][other])
            lines.append(f"{method}: {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]")
    return lines


def trained(model: str) -> pd.DataFrame:
    """Percent: a row for each length, method and seed, a column for each test, and their mean where all are there."""
    table = pd.read_csv(HERE / f"mixed-{model}.csv")
    table["score"] = [100 * float(np.mean([float(score) for score in text.split()])) for text in table.scores]
    table["test"] = table.test.str.removeprefix("ruler-pocket/")
    wide = table.pivot_table(index=["length", "method", "seed"], columns="test", values="score")[list(TESTS)]
    return wide.assign(mean=wide.mean(axis=1, skipna=False))


def trained_difference(
    model: str, length: int, one: str, other: str, tests: Sequence[str] = TESTS
) -> tuple[float, float]:
    """(mean difference over the seeds that both have whole, half of its 95 % interval) in points."""
    of = trained(model).loc[length][list(tests)].dropna()
    gaps = (of.loc[one] - of.loc[other]).mean(axis=1).dropna()
    cells = pd.read_csv(HERE / f"mixed-{model}.csv")
    cells["test"] = cells.test.str.removeprefix("ruler-pocket/")
    listed = cells[cells.length == length].set_index(["method", "test", "seed"]).scores.str.split()
    strata = [(test, seed) for test in tests for seed in gaps.index]
    pairs = [np.subtract(*(np.array(listed[name, *at], dtype=float) for name in (one, other))) for at in strata]
    error = 100 * (sum(pair.var(ddof=1) / len(pair) for pair in pairs) / len(strata) ** 2) ** 0.5
    by_seeds = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std() / len(gaps) ** 0.5 if len(gaps) > 1 else np.inf
    return float(gaps.mean()), float(max(by_seeds, stats.norm.ppf(0.975) * error))


SEARCHES = ("released code", "LongRoPE2 by gradient", "gradient from YaRN", "gradient from the best closed form")


def needles(model: str, length: int) -> pd.Series:
    """Needles answered of 32 under every plan, those of other seeds of the searches among them."""
    table = pd.read_csv(HERE / "needles.csv")
    chosen = table[(table.model == model) & (table.length == length)].set_index("method").scores
    return chosen.map(lambda text: round(sum(map(float, text.split()))))


def by_search(model: str, length: int) -> dict[str, list[int]]:
    """Needles answered under the winners of the five seeds of each search."""
    found = needles(model, length)
    return {name: [found[name], *(found[f"{name}, seed {seed}"] for seed in range(1, 5))] for name in SEARCHES}


def main() -> None:
    for model in MODELS:
        for length in (2048, 4096):
            print(f"\n{model}, {length:,} tokens, needles of 32: {by_search(model, length)}")
            print(needles(model, length).to_string())
    for model in (model for model in MODELS if (HERE / f"{model}.csv").is_file()):
        table = scores(model)
        for length in table.columns.levels[0]:
            print(f"\n{model}, {length:,} tokens\n{means(table, length).round(1).to_string()}")
            for other in (method for method in AGAINST if method in table[length].columns):
                print(f"against {other}: " + "; ".join(against(table, length, other)))
    for model in MODELS:
        print(
            f"\n{model} after mixed\n{trained(model).groupby(level=['length', 'method']).mean().round(1).to_string()}"
        )
        for length, method in trained(model)["mean"].dropna().index.droplevel("seed").unique():
            if method != "yarn + mixed":
                mean, half = trained_difference(model, length, method, "yarn + mixed")
                print(f"{length:,} {method} against yarn + mixed: {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]")
        mean, half = trained_difference(model, 4096, "released code + mixed", "yarn + mixed", TESTS[:4])
        words = f"[{mean - half:+.1f}, {mean + half:+.1f}]" if np.isfinite(half) else "(one seed)"
        print(f"4,096 released code + mixed against yarn + mixed, without tracking: {mean:+.1f} {words}")


if __name__ == "__main__":
    main()
