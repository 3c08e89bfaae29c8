"""The tables and the figure of README.md, from the numbers beside this file: python docs/real-study/tables.py"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
COLOURS = {
    "ntk": "#d55e00",
    "llama3": "#e69f00",
    "yarn": "#cc79a7",
    "mrrope_pro": "#56b4e9",
    "late_ramp": "#6a4c93",
    "yarn, end at 1.25 s": "#8c6d46",
}


def needles() -> pd.DataFrame:
    """Losses at 16,384 tokens with `depth`, 0 the beginning of the text; eleven depths are visited in turn."""
    table = pd.read_csv(HERE / "needle-losses.csv")
    table = table[table.target_length == 16384]
    return table.assign(depth=table.text * 7 % 11 / 10)


def difference(of: pd.Series, to: pd.Series) -> str:
    """Mean of the paired differences with a 95 % interval of Student's t, how many are below 0, and of how many."""
    pairs = (of - to).dropna()
    half = stats.t.ppf(0.975, len(pairs) - 1) * pairs.sem()
    mean = pairs.mean()
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}], below on {(pairs < 0).sum()} of {len(pairs)}"


def by_distance() -> str:
    """A line for each method: its mean loss, and that of YaRN on the same texts subtracted, far and near."""
    table = needles().pivot_table(index=["haystack", "text", "depth"], columns="method", values="nats_per_answer_token")
    depth = table.index.get_level_values("depth")
    lines = []
    for method in table:
        far, near = table[depth <= 0.2], table[depth > 0.2]
        lines.append(f"{method}: far {far[method].mean():.2f}, {difference(far[method], far['yarn'])}")
        lines.append(f"{method}: near {near[method].mean():.2f}, {difference(near[method], near['yarn'])}")
    return "\n".join(lines)


def answered(length: int) -> pd.Series:
    """Share of 22 needles that were answered right, by method."""
    table = pd.read_csv(HERE / "scores.csv")
    chosen = (table.target_length == 16384) & (table.test == "needle") & (table.length == length)
    return table[chosen].groupby("method").score.mean().sort_values()


def figure() -> None:
    """Mean needle loss by where the needle stands, in the one haystack that all these methods finished."""
    plt.rcParams["svg.hashsalt"] = "real-study"
    drawn, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    table = needles()
    by = table[table.haystack == "invented stories"].groupby(["method", "depth"]).nats_per_answer_token
    mean, error = by.mean(), by.sem()
    for i, (method, colour) in enumerate(COLOURS.items()):
        places = (1 - mean[method].index) * 16384 + 40 * i
        bars = 2 * error[method].to_numpy()
        axes.errorbar(places, mean[method], bars, marker="o", color=colour, label=method, elinewidth=0.8, capsize=2)
    axes.axvline(8192, color="grey", linestyle="--", linewidth=1)
    axes.text(8300, 3.3, "window of 8,192 tokens", color="grey")
    axes.set_xlabel("Tokens between the needle and the question")
    axes.set_ylabel("Loss of the answer, nats per token")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(HERE / "needle-loss-by-distance.svg", metadata={"Date": None})


CLOSED = ("none", "pi", "ntk", "dynamic_ntk", "yarn", "llama3", "mrrope_pro", "late_ramp", "yarn, end at 1.25 s")
EXTREMES = ("none", "pi")  # the last two in all orders by needle loss but one
CHOSEN = ("late_ramp", "yarn, end at 1.25 s")  # on the pocket models


def orders() -> pd.DataFrame:
    """A row for each of the CLOSED methods, a column for each order of them; lower is better."""
    stories = needles()
    stories = stories[stories.haystack == "invented stories"]
    scores = pd.read_csv(HERE / "scores.csv")
    novel = scores[(scores.target_length == 16384) & (scores.test == "novel")].groupby("method").score.mean()
    found = {
        "real, needle loss": stories.groupby("method").nats_per_answer_token.mean(),
        "real, needles at 12,288": -answered(12288),
        "real, perplexity": novel,
    }
    twice = pd.read_csv(HERE / "pocket-twice.csv")
    twice["mean"] = [sum(map(float, text.split())) / len(text.split()) for text in twice.scores]
    for model in ("pocket-llama", "pocket-phi"):
        for length in (4096, 8192):
            path = HERE.parent / "search-study" / f"{model}-{length}" / "study.json"
            rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
            found[f"{model}, needle loss at {length:,}"] = pd.Series({row["row"]: row["loss"] for row in rows})
        for test in ("needle loss", "perplexity"):
            chosen = (twice.model == model) & (twice.test == test) & (twice.length == 1024)
            found[f"{model}, {test} at 1,024"] = twice[chosen].set_index("method")["mean"]
    return pd.DataFrame(found).loc[list(CLOSED)]


def agreement(one: str, other: str) -> tuple[float, float]:
    """Kendall's tau of two orders of the nine methods, and without the EXTREMES."""
    table = orders()
    return tau(table[one], table[other])[0], tau(table[one], table[other], EXTREMES)[0]


def tau(one: pd.Series, other: pd.Series, without: tuple[str, ...] = ()) -> tuple[float, float]:
    """Kendall's tau of two orders of the CLOSED methods that both measured, and its p."""
    table = pd.concat([one, other], axis=1).reindex(list(CLOSED)).drop(list(without)).dropna()
    found = stats.kendalltau(*table.to_numpy().T)
    return float(found.statistic), float(found.pvalue)


def elsewhere(model: str) -> dict[str, tuple[pd.Series, pd.Series]]:
    """Orders by needle loss of the real model and of a pocket model at twice its window: by haystack, and by place of
    the needle in invented stories, the same place for both."""
    real, pocket = needles(), orders()[f"{model}, needle loss at 1,024"]
    found = {
        haystack: (part.groupby("method").nats_per_answer_token.mean(), pocket)
        for haystack, part in real.groupby("haystack")
    }
    rows = pd.read_csv(HERE / "pocket-twice.csv").set_index(["model", "test", "length"]).loc[model, "needle loss", 1024]
    losses = pd.DataFrame({row.method: pd.Series(row.scores.split(), dtype=float) for row in rows.itertuples()})
    near, stories = losses.index * 7 % 11 / 10 > 0.2, real[real.haystack == "invented stories"]
    for place, here, there in (("near", near, stories.depth > 0.2), ("far", ~near, stories.depth <= 0.2)):
        found[place] = stories[there].groupby("method").nats_per_answer_token.mean(), losses[here].mean()
    return found


if __name__ == "__main__":
    figure()
    names = list(orders())
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            every, few = agreement(one, other)
            print(f"{one} and {other}: tau {every:+.2f}, without PI and none {few:+.2f}")
    for model in ("pocket-llama", "pocket-phi"):
        for length in ("1,024", "4,096", "8,192"):
            column = orders()[f"{model}, needle loss at {length}"]
            few, p = tau(orders()["real, needle loss"], column, EXTREMES + CHOSEN)
            print(f"{model} at {length} without {', '.join(EXTREMES + CHOSEN)}: tau {few:+.2f}, p = {p:.2f}")
        for name, pair in elsewhere(model).items():
            (every, p), (few, _) = tau(*pair), tau(*pair, EXTREMES)
            print(f"{model}, {name}: tau {every:+.2f} (p = {p:.3f}), without PI and none {few:+.2f}")
    print(by_distance())
    for length in (8192, 12288, 16384):
        print(f"needles answered at {length} tokens\n{answered(length).to_string()}")
