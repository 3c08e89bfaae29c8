"""Budgets of search and training in the ledger: who is held equal to whom, and what was unequal all the same, in words.

Methods that search must have had one budget and one source of texts. A closed form has no search, so there is nothing
to hold equal; that it was not tuned is said in words (`remarks`) instead, unless a tuned row of it stands beside it.
Trainings are a factor of the design: within each of them methods must have had the same tokens, data and schedule, and
all methods must have been given the same trainings.

A row is (condition, must be equal, value by method, among). `among` is None for all methods, else (words, groups):
equality is judged within each group of labels, and a label in no group has nothing to be equal in.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from extenders.search.searched import FORWARDS
from harness.store import canonical

Content = Mapping[str, Any] | None
Among = tuple[str, list[list[str]]]
Row = tuple[str, bool, dict[str, Any], Among | None]

SEARCHED = "among the methods that were searched"
WITHIN = "within each training"
EXTENDED = "among the methods that extend"
# Tuned baseline → the closed form whose numbers it tunes; the closed form counts as tuned where both were run.
TUNES = {
    "yarn_tuned": "yarn",
    "yarn_rcd": "yarn",
    "curve_tuned": "yarn",
    "pi_tuned": "pi",
    "ntk_rcd": "ntk",
    "abf": "ntk",
}
GIVEN = ("factors",)  # methods that are nothing but numbers which somebody found


class Searches:
    """The searches of a run, by the labels of the methods that use them, trained or not."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self.target = int(run["target_length"])
        self.methods = {method["label"]: method for method in run["methods"]}
        self.costs = {one["label"]: one["cost"] or {} for one in run.get("searches", []) if one["status"] == "done"}
        self.searched = [label for label in self.methods if self.base(label) in self.costs]
        self.given = [label for label in self.methods if label not in self.searched and self._found_elsewhere(label)]

    def base(self, label: str) -> str:
        """The method before any training."""
        return _base(self.methods[label])

    def _found_elsewhere(self, label: str) -> bool:
        """True for a method of the kind that is searched whose numbers came with the experiment."""
        method = self.methods[label]
        return "search_seed" in method["parameters"] or method["extender"] in GIVEN

    def cost(self, label: str, name: str) -> Any:
        """0 without a search; None where numbers were given, since nobody recorded what they cost."""
        if label in self.given:
            return None
        return self.costs.get(self.base(label), {}).get(name, 0)

    def _settings(self, label: str, pick: Callable[[Mapping[str, Any]], Any]) -> Any:
        """What the search was set to; None where numbers were given, since nobody recorded how they were found."""
        if label in self.searched:
            return pick(self.methods[label]["parameters"])
        return None if label in self.given else "no search"

    def allowed(self, label: str) -> Any:
        """Token-forwards that the search might use; what it did use, should that be more."""
        used = int(self.cost(label, "token_forwards") or 0)
        return self._settings(label, lambda own: max(int(own.get("budget") or FORWARDS * self.target), used))

    def texts(self, label: str) -> Any:
        return self._settings(
            label,
            lambda own: f"{own.get('documents') or 'the invented world'}, search seed {own.get('search_seed', 0)}",
        )

    def procedure(self, label: str) -> Any:
        names = ("searcher", "fitness")
        return self._settings(label, lambda own: ", ".join(f"{name} {own[name]}" for name in names if own.get(name)))

    @property
    def untuned(self) -> list[str]:
        """Closed forms, by their labels before training, that no search of this run has tuned."""
        tuned = {TUNES.get(self.methods[label]["extender"]) for label in self.searched}
        closed = [label for label in self.methods if label not in (*self.searched, *self.given)]
        left = [label for label in closed if self.methods[label]["extender"] not in ("none", *tuned)]
        return list(dict.fromkeys(self.base(label) for label in left))


def search_rows(run: Mapping[str, Any]) -> list[Row]:
    """What the searches were allowed and used. Without any search all methods are equal at 0."""
    own = Searches(run)
    labels = list(own.methods)

    def values(pick: Callable[[str], Any]) -> dict[str, Any]:
        return {label: pick(label) for label in labels}

    rows: list[Row] = []
    if own.searched or own.given:
        among = (SEARCHED, [own.searched + own.given])
        rows = [
            ("search budget (token-forwards)", True, values(own.allowed), among),
            ("search texts", True, values(own.texts), among),
            ("search procedure", False, values(own.procedure), None),
        ]
    rows.append(("search token-forwards", False, values(lambda label: own.cost(label, "token_forwards")), None))
    rows.append(("search trials", False, values(lambda label: own.cost(label, "candidates")), None))
    return rows


def recipe_of(method: Mapping[str, Any]) -> str:
    return str((method.get("training") or {}).get("recipe", "none"))


def by_training(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """Training → labels of the methods that had it, in the order of the methods."""
    groups: dict[str, list[str]] = {}
    for method in run["methods"]:
        groups.setdefault(recipe_of(method), []).append(method["label"])
    return groups


def training_rows(run: Mapping[str, Any], records: Mapping[str, Content]) -> list[Row]:
    """What the trainings were given. One method's seeds stand together: their data differ."""
    labels = [method["label"] for method in run["methods"]]
    own = {label: [one for one in run.get("trainings", []) if one["method"] == label] for label in labels}
    done = {
        label: [(one["seed"], record) for one in found if _done(record := records.get(one["key"]))]
        for label, found in own.items()
    }

    def of(
        pick: Callable[[Any], Any], nothing: Any, combine: Callable[[list[Any]], Any] | None = None
    ) -> dict[str, Any]:
        """`nothing` for a method without training, None where one of its trainings has no result, else the records'
        values combined."""
        found = {}
        for label in labels:
            values = [pick(record) for _, record in done[label]]
            whole = len(values) == len(own[label])
            found[label] = nothing if not own[label] else (combine or _together)(values) if whole else None
        return found

    groups = by_training(run)
    within = (WITHIN, list(groups.values())) if len(groups) > 1 else None
    rows: list[Row] = [("training tokens", True, of(lambda r: r["cost"]["tokens"], 0), within)]
    if len(groups) > 1 or any(own.values()):
        had: dict[str, list[str]] = {}
        for method in run["methods"]:
            had.setdefault(_base(method), []).append(recipe_of(method))
        # The unextended model is the reference of all trainings and may have more of them than the methods.
        extended = [method["label"] for method in run["methods"] if method["extender"] != "none"]
        trainings = {method["label"]: ", ".join(had[_base(method)]) for method in run["methods"]}
        seeds = {
            label: ", ".join(str(seed) for seed, _ in done[label]) or ("" if own[label] else "none") for label in labels
        }
        rows += [
            ("trainings of the method", True, trainings, (EXTENDED, [extended])),
            ("training recipe", True, of(lambda r: r["recipe"]["label"], "none"), within),
            ("training seeds", True, {label: text or None for label, text in seeds.items()}, within),
            ("training data order", True, of(lambda r: r["data"]["order"], "none"), within),
            ("training corpus", True, of(lambda r: r["data"]["corpus"], "none"), within),
            ("training steps", True, of(lambda r: len(r["curve"]), 0), within),
            ("training learning rate", True, of(lambda r: r["recipe"]["learning_rate"], 0), within),
            ("training optimiser", True, of(_optimiser, "none"), within),
            ("trained parameters", True, of(_trainable, "none"), within),
            ("training FLOPs", False, of(lambda r: r["cost"]["flops"], 0, sum), None),
            ("training seconds", False, of(lambda r: r["cost"]["seconds"], 0, sum), None),
            ("training peak memory (bytes)", False, of(lambda r: r["cost"]["peak_memory_bytes"], 0, max), None),
        ]
    return rows


def remarks(run: Mapping[str, Any], records: Mapping[str, Content]) -> list[dict[str, str]]:
    """What a reader has to know though it breaks no condition: {"tag": a few words, "text": sentences}."""
    return [one for one in (_trainings(run, records), _tuning(Searches(run))) if one is not None]


def _tuning(own: Searches) -> dict[str, str] | None:
    if not own.searched and not own.given:
        return None
    said = []
    if own.searched:
        shares: dict[Any, list[str]] = {}
        for label in own.searched:
            if own.base(label) not in shares.setdefault(own.allowed(label), []):
                shares[own.allowed(label)].append(own.base(label))
        each = "; ".join(
            f"{_listed(labels)} {'each ' if len(labels) > 1 else ''}up to {budget:,} token-forwards "
            f"({budget / own.target:,.4g} prompts of the target length)"
            for budget, labels in shares.items()
        )
        said.append(f"Tuned on this model by a search: {each}.")
    if own.untuned:
        said.append(f"Not tuned here: {_listed(own.untuned)}; a lead over them may come from tuning alone.")
    pairs: dict[str, list[str]] = {}
    for label in own.searched:
        closed = TUNES.get(own.methods[label]["extender"])
        if closed is not None and own.base(label) not in pairs.setdefault(closed, []):
            pairs[closed].append(own.base(label))
    if pairs:
        said.append("Tuned rows: " + "; ".join(f"{_listed(rows)} for {closed}" for closed, rows in pairs.items()) + ".")
    if own.given:
        said.append(
            f"The numbers of {_listed(list(dict.fromkeys(map(own.base, own.given))))} came with the experiment; what "
            "finding them cost is not recorded."
        )
    return {"tag": "not every method tuned" if own.untuned or own.given else "", "text": " ".join(said)}


def _trainings(run: Mapping[str, Any], records: Mapping[str, Content]) -> dict[str, str] | None:
    groups = by_training(run)
    if len(groups) < 2:
        return None
    tokens = next(values for name, _, values, _ in training_rows(run, records) if name == "training tokens")
    each = []
    for recipe, labels in groups.items():
        amounts = {canonical(tokens[label]) for label in labels}
        amount = tokens[labels[0]] if len(amounts) == 1 else None
        each.append(f"{recipe} ({f'{amount:,}' if isinstance(amount, int) else 'unequal'} tokens)")
    text = (
        f"Training is a factor of the design: {_listed(each)}. Conditions of training are judged within each; two "
        "methods with different trainings differ in their training as well."
    )
    return {"tag": "within each training", "text": text}


def _base(method: Mapping[str, Any]) -> str:
    return str((method.get("training") or {}).get("base_method", method["label"]))


def _done(record: Content) -> bool:
    return record is not None and record["status"] == "done"


def _together(values: Sequence[Any]) -> Any:
    """The one value of all seeds, or all of them in one text, in the order of the seeds."""
    different = list({canonical(value): value for value in values}.values())
    return different[0] if len(different) == 1 else " and ".join(map(str, different))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _optimiser(record: Mapping[str, Any]) -> str:
    recipe = record["recipe"]
    betas = "/".join(f"{beta:g}" for beta in recipe["betas"])
    return f"AdamW {betas}, decay {recipe['weight_decay']:g}, {recipe['schedule']}, clip {recipe['clip']:g}"


def _trainable(record: Mapping[str, Any]) -> str:
    trainable = record["trainable"]
    return f"{trainable['parameters']} of {trainable['of']}"
