"""The tables of README.md from the scores beside this file: python docs/search-study/generation/tables.py

Differences are paired by sample and stratified by test: the mean over tests of the mean difference, with the error of
that mean (Student's t, degrees of freedom after Satterthwaite). Percentage points.
"""

from pathlib import Path

import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
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


def main() -> None:
    for path in sorted(HERE.glob("*.csv")):
        table = scores(path.stem)
        for length in table.columns.levels[0]:
            print(f"\n{path.stem}, {length:,} tokens\n{means(table, length).round(1).to_string()}")
            for other in (method for method in AGAINST if method in table[length].columns):
                print(f"against {other}: " + "; ".join(against(table, length, other)))


if __name__ == "__main__":
    main()
