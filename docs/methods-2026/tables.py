"""The tables of README.md: python docs/methods-2026/tables.py

scores.csv has a line for each model, method, test and length with the scores of the samples in their order; sample i is
the same text for every method. Methods have 40 or 32 samples of the needle, and all are read to the 32nd.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
SAMPLES = 32
FIRST = ("niah_multivalue", "first_value")
PLACES = [(model, length) for model in ("pocket-llama", "pocket-phi") for length in (2048, 4096)]


def needles() -> pd.Series:
    """By model, length and method: which of the 32 needles were answered."""
    table = pd.read_csv(HERE / "scores.csv")
    table = table[table.test == "needle"].set_index(["model", "length", "method"]).sort_index()
    return table.scores.map(lambda text: np.array(text.split()[:SAMPLES], dtype=float))


def right() -> pd.DataFrame:
    """Needles answered: a row for each method, a column for each model and length."""
    counts = needles().map(np.sum).astype(int)
    return pd.DataFrame({place: counts[place] for place in PLACES})


def against(model: str, length: int, one: str, other: str) -> tuple[int, int, float]:
    """(needles that only the one answers, only the other, exact p of McNemar's test)."""
    return paired(needles()[model, length, one], needles()[model, length, other])


def paired(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """The same of the scores of two methods, by sample."""
    up, down = int((first > second).sum()), int((first < second).sum())
    return up, down, float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0


def first_said(model: str, length: int, test: str) -> pd.Series:
    """By method: which samples of order.csv name the first value; `test` is first_value or niah_multivalue."""
    table = pd.read_csv(HERE / "order.csv", dtype={"samples": str})
    name = "niah_multivalue, values said" if test == "niah_multivalue" else test
    table = table[(table.model == model) & (table.length == length) & (table.test == name)].set_index("method")
    return table.samples.map(lambda text: np.array([float(said[0] == "1") for said in text.split()]))


def first_by_chance(length: int) -> pd.Series:
    """By method on pocket-llama: how many answers would begin with the first value if each said its values shuffled."""
    table = pd.read_csv(HERE / "order.csv", dtype={"samples": str})
    table = table[(table.model == "pocket-llama") & (table.length == length) & table.test.str.endswith("values said")]
    return table.set_index("method").samples.map(lambda text: sum("1" in s and 1 / len(s) for s in text.split()))


def order() -> pd.DataFrame:
    """Percent by model, length and method: the tests of order.csv, and how the values of one key were said.

    `values said` lists for each sample the values in the order of the answer, 1 the first of the text, - for none.
    `first` is how often the first said is the first of the text, `in order` the share of pairs of said values that are
    in the order of the text, of so many `pairs`.
    """
    found: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in pd.read_csv(HERE / "order.csv", dtype={"samples": str}).itertuples():
        here = found.setdefault((row.model, row.length, row.method), {})
        samples = row.samples.split()
        if not row.test.endswith("values said"):
            here[row.test] = 100 * np.mean(np.array(samples, dtype=float))
            continue
        pairs = [said[i] < said[k] for said in samples for k in range(len(said)) for i in range(k)]
        here["first"] = 100 * np.mean([said[0] == "1" for said in samples])
        here["pairs"] = len(pairs)
        here["in order"] = 100 * np.mean(pairs) if pairs else np.nan
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(["model", "length", "method"])


def main() -> None:
    print(order().round(1).to_string())
    for length in (2048, 4096):
        print(f"first said, of 40, if values were shuffled, {length:,}:", first_by_chance(length).round(1).to_dict())
    for place in (("pocket-llama", 2048, "niah_multivalue"), *((m, 4096, t) for m, _ in PLACES[::2] for t in FIRST)):
        said = first_said(*place)
        for one, other in combinations(said.index, 2):
            up, down, p = paired(said[one], said[other])
            print(f"first said, {place}: {one} against {other} {up} to {down}, p = {p:.4f}")
    print(right().to_string())
    for model, length in PLACES:
        for method in right().index:
            up, down, p = against(model, length, method, "yarn")
            print(f"{model}, {length:,}: {method} against yarn {up} to {down}, p = {p:.4f}")


if __name__ == "__main__":
    main()
