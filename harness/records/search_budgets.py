"""What the searches of a run were allowed and used: equal among the methods that were searched?

Methods that search must have had one budget and one source of texts. A closed form has no search, so there is nothing
to hold equal; that it was not tuned is said in words instead, unless a tuned row of it stands beside it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from extenders.search.searched import FORWARDS
from harness.records.condition import Groups, Observation, required, shown, together
from harness.records.training_budgets import base_label
from harness.store import Remark, Run

SEARCHED = "among the methods that were searched"
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

    def __init__(self, run: Run) -> None:
        self.target = int(run["target_length"])
        self.methods = {method["label"]: method for method in run["methods"]}
        finished = [search for search in run.get("searches", []) if search["status"] == "done"]
        self.costs: dict[str, Mapping[str, Any]] = {search["label"]: search["cost"] or {} for search in finished}
        self.searched = [label for label in self.methods if self.base(label) in self.costs]
        self.given = [label for label in self.methods if label not in self.searched and self._from_elsewhere(label)]

    def base(self, label: str) -> str:
        """The method before any training."""
        return base_label(self.methods[label])

    def _from_elsewhere(self, label: str) -> bool:
        """True for a method of the kind that is searched whose numbers came with the experiment."""
        method = self.methods[label]
        return "search_seed" in method["parameters"] or method["extender"] in GIVEN

    def cost(self, label: str, name: str) -> Any:
        """0 without a search; None where numbers were given, since nobody recorded what they cost."""
        if label in self.given:
            return None
        return self.costs.get(self.base(label), {}).get(name, 0)

    def _settings(self, label: str, pick: Callable[[Mapping[str, Any]], Any]) -> Any:
        """What the search was set to; None where numbers were given, since nobody recorded how they came to be."""
        if label in self.searched:
            return pick(self.methods[label]["parameters"])
        return None if label in self.given else "no search"

    def allowed(self, label: str) -> Any:
        """Token-forwards that the search might use; what it did use, should that be more."""
        used = int(self.cost(label, "token_forwards") or 0)
        return self._settings(label, lambda given: max(int(given.get("budget") or FORWARDS * self.target), used))

    def texts(self, label: str) -> Any:
        return self._settings(
            label,
            lambda given: (
                f"{given.get('documents') or 'the invented world'}, search seed {given.get('search_seed', 0)}"
            ),
        )

    def procedure(self, label: str) -> Any:
        names = ("searcher", "fitness")
        return self._settings(
            label, lambda given: ", ".join(f"{name} {given[name]}" for name in names if given.get(name))
        )

    @property
    def untuned(self) -> list[str]:
        """Closed forms, by their labels before training, that no search of this run has tuned."""
        tuned = {TUNES.get(self.methods[label]["extender"]) for label in self.searched}
        closed = [label for label in self.methods if label not in (*self.searched, *self.given)]
        left = [label for label in closed if self.methods[label]["extender"] not in ("none", *tuned)]
        return list(dict.fromkeys(self.base(label) for label in left))


def search_budgets(searches: Searches) -> list[Observation]:
    """What the searches were allowed and used. Without any search all methods are equal at 0."""

    def values(pick: Callable[[str], Any]) -> dict[str, Any]:
        return {label: pick(label) for label in searches.methods}

    observations = []
    if searches.searched or searches.given:
        groups = Groups(SEARCHED, [searches.searched + searches.given])
        observations = [
            required("search budget (token-forwards)", values(searches.allowed), groups),
            required("search texts", values(searches.texts), groups),
            shown("search procedure", values(searches.procedure)),
        ]
    return [
        *observations,
        shown("search token-forwards", values(lambda label: searches.cost(label, "token_forwards"))),
        shown("search trials", values(lambda label: searches.cost(label, "candidates"))),
    ]


def tuning_remark(searches: Searches) -> Remark | None:
    """Who was tuned on this model and who was not; None where nothing was."""
    if not searches.searched and not searches.given:
        return None
    sentences = []
    if searches.searched:
        sentences.append(f"Tuned on this model by a search: {_shares(searches)}.")
    if searches.untuned:
        sentences.append(f"Not tuned here: {together(searches.untuned)}; a lead over them may come from tuning alone.")
    tuned: dict[str, list[str]] = {}  # by the closed form
    for label in searches.searched:
        closed = TUNES.get(searches.methods[label]["extender"])
        if closed is not None and searches.base(label) not in tuned.setdefault(closed, []):
            tuned[closed].append(searches.base(label))
    if tuned:
        rows = "; ".join(f"{together(labels)} for {closed}" for closed, labels in tuned.items())
        sentences.append(f"Tuned rows: {rows}.")
    if searches.given:
        labels = list(dict.fromkeys(map(searches.base, searches.given)))
        sentences.append(
            f"The numbers of {together(labels)} came with the experiment; what finding them cost is not recorded."
        )
    tag = "not every method tuned" if searches.untuned or searches.given else ""
    return {"tag": tag, "text": " ".join(sentences)}


def _shares(searches: Searches) -> str:
    """Which methods might use how much."""
    shares: dict[int, list[str]] = {}
    for label in searches.searched:
        labels = shares.setdefault(searches.allowed(label), [])
        if searches.base(label) not in labels:
            labels.append(searches.base(label))
    return "; ".join(
        f"{together(labels)} {'each ' if len(labels) > 1 else ''}up to {budget:,} token-forwards "
        f"({budget / searches.target:,.4g} prompts of the target length)"
        for budget, labels in shares.items()
    )
