"""The rows of a search study: procedures with their settings and budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FULL = 14_080  # forwards of the released code as published: 1,408 candidates on 10 texts
FROM_YARN: Mapping[str, Any] = {"searcher": "gradient", "needles": 4, "search_all": True, "start": "yarn"}
ABLATION = "gradient, ablation: "
FURTHER_STARTS = ("late", "yarn, higher", "ntk-theoretical")
# of the recipe of a search by gradient (extenders.search.descent), one at a time, and what the first trial had
CHANGES = (
    "check=0", "check=0.1", "check=0.35",
    "texts=2", "texts=4",
    "rate=0.04", "rate=0.16",
    "late=0", "late=0.25", "late=0.75",
    "radians=0", "radians=1", "radians=6",
    "weight=0",
    "excess=1", "excess=4",
    "smooth=0.1", "smooth=1",
    "check=0,weight=0,excess=2.5",
)  # fmt: skip


@dataclass(frozen=True)
class StudyEntry:
    """What a row searches: a method with settings, and its budget in prompts of the target length."""

    name: str
    extender: str
    forwards: int
    parameters: Mapping[str, Any]
    only_named: bool = False  # left out of a study that names no rows


def procedures(forwards: int, samples: int | None = None) -> list[StudyEntry]:
    """The rows: ours at a tenth and at the whole of `forwards`, the official procedures at the whole, tuned baselines
    at a tenth (what ours has there), other budgets of the search by gradient, what its recipe is made of, CMA-ES, and
    last the official procedures at full size.

    `samples` is the number of texts a candidate of the official procedures is measured on (theirs unless given).
    """
    tenth = max(1, forwards // 10)
    official = {} if samples is None else {"search_samples": samples}
    rows = [
        StudyEntry("fast, a tenth", "longrope2", tenth, {}),
        *(StudyEntry(f"{name}, a tenth", name, tenth, {}) for name in
          ("curve_tuned", "yarn_tuned", "yarn_rcd", "ntk_rcd", "abf", "pi_tuned")),
        StudyEntry("fast, plain perplexity, a tenth", "longrope2", tenth, {"fitness": "perplexity"}),
        StudyEntry("fast, four needles, a tenth", "longrope2", tenth, {"needles": 4}),
        StudyEntry("fast, all pairs, a tenth", "longrope2", tenth, {"search_all": True}),
        StudyEntry("gradient, a tenth", "longrope2", tenth, {"searcher": "gradient", "needles": 4}),
        StudyEntry("gradient, all pairs, a tenth", "longrope2", tenth,
                   {"searcher": "gradient", "needles": 4, "search_all": True}),
        StudyEntry("gradient, all pairs from YaRN, a tenth", "longrope2", tenth,
                   {"searcher": "gradient", "needles": 4, "search_all": True, "start": "yarn"}, True),
        StudyEntry("longrope fast, a tenth", "longrope", tenth, {"fitness": "needle"}),
        StudyEntry("fast", "longrope2", forwards, {}),
        StudyEntry("released code", "longrope2", forwards, {"searcher": "released", **official}),
        StudyEntry("paper", "longrope2", forwards, {"searcher": "paper", **official}),
        StudyEntry("released code, plain perplexity", "longrope2", forwards,
                  {"searcher": "released", "fitness": "perplexity", **official}),
    ]  # fmt: skip
    rows.append(StudyEntry("cma, a tenth", "longrope2", tenth, {"searcher": "cma"}, True))  # a further package
    rows += [*_further_gradients(forwards), *_ablations(tenth)]
    full = [
        StudyEntry("released code, full size", "longrope2", FULL, {"searcher": "released"}, only_named=True),
        StudyEntry("paper, full size", "longrope2", FULL, {"searcher": "paper"}, only_named=True),
    ]
    return sorted(rows, key=lambda row: (row.only_named, row.forwards)) + full


def _further_gradients(forwards: int) -> list[StudyEntry]:
    """The search by gradient at other budgets, for another method and by other fitnesses."""
    tenth = max(1, forwards // 10)
    budgets = {"a thirtieth": forwards // 30, "three tenths": 3 * forwards // 10, "the whole": forwards}
    rows = [
        StudyEntry(f"gradient, all pairs from YaRN, {name}", "longrope2", max(1, budget), FROM_YARN, True)
        for name, budget in budgets.items()
    ]
    rows.append(StudyEntry("gradient, the whole", "longrope2", forwards, {"searcher": "gradient", "needles": 4}, True))
    longrope = {"searcher": "gradient", "needles": 4, "fitness": "needle"}
    rows.append(StudyEntry("longrope gradient, a tenth", "longrope", tenth, longrope, True))
    plain = {"searcher": "gradient", "fitness": "perplexity", "search_all": True}
    rows.append(StudyEntry("gradient, all pairs, plain perplexity, a tenth", "longrope2", tenth, plain, True))
    for fitness, words in {"long_perplexity": "long perplexity", "far_context": "far context"}.items():
        from_yarn = {**FROM_YARN, "needles": 1, "fitness": fitness}
        rows += [
            StudyEntry(f"gradient, all pairs from YaRN, {words}, a tenth", "longrope2", tenth, from_yarn, True),
            StudyEntry(f"fast, {words}, a tenth", "longrope2", tenth, {"fitness": fitness}, True),
            StudyEntry(f"longrope fast, {words}, a tenth", "longrope", tenth, {"fitness": fitness}, True),
        ]
    rows.append(StudyEntry("longrope fast, plain perplexity, a tenth", "longrope", tenth, {}, True))
    return rows


def _ablations(forwards: int) -> list[StudyEntry]:
    """What the recipe of "gradient, all pairs from YaRN" is made of: one number changed at a time."""
    changed: dict[str, Mapping[str, Any]] = {f"start: {name}": {"start": name} for name in FURTHER_STARTS}
    changed |= {f"needles a text: {count}": {"needles": count} for count in (1, 2, 8)}
    changed |= {words: {"descent": words} for words in CHANGES}
    return [
        StudyEntry(f"{ABLATION}{name}", "longrope2", forwards, {**FROM_YARN, **what}, True)
        for name, what in changed.items()
    ]
