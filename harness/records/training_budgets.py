"""What the trainings of a run were given: equal within each training?

Trainings are a factor of the design: within each of them methods must have had the same tokens, data and schedule, and
all methods must have been given the same trainings.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.records.condition import Groups, Observation, required, shown, together
from harness.store import Remark, Run, StoredMethod, TrainingRecord, canonical

WITHIN = "within each training"
EXTENDED = "among the methods that extend"


def base_label(method: StoredMethod) -> str:
    """The label of a method before any training."""
    return method["training"]["base_method"] if method.get("training") else method["label"]


def recipe_of(method: StoredMethod) -> str:
    return method["training"]["recipe"] if method.get("training") else "none"


class Trainings:
    """The trainings of a run, by the labels of the methods that had them."""

    def __init__(self, run: Run, records: Mapping[str, TrainingRecord | None]) -> None:
        self.methods = run["methods"]
        self.labels = [method["label"] for method in self.methods]
        self.planned = dict.fromkeys(self.labels, 0)  # number of seeds
        self.done: dict[str, list[tuple[int, TrainingRecord]]] = {label: [] for label in self.labels}
        for line in run.get("trainings", []):
            if line["method"] not in self.planned:
                continue
            self.planned[line["method"]] += 1
            record = records.get(line["key"])
            if record is not None and record["status"] == "done":
                self.done[line["method"]].append((line["seed"], record))

    @property
    def groups(self) -> dict[str, list[str]]:
        """Training → labels of the methods that had it, in the order of the methods."""
        groups: dict[str, list[str]] = {}
        for method in self.methods:
            groups.setdefault(recipe_of(method), []).append(method["label"])
        return groups

    def values(
        self,
        pick: Callable[[Any], Any],
        nothing: Any,
        combine: Callable[[list[Any]], Any] | None = None,
    ) -> dict[str, Any]:
        """By label: `nothing` without a training, None where one of the seeds has no result, else their records'
        values combined. The seeds of a method stand together: their data differ."""
        values = {}
        for label, done in self.done.items():
            whole = len(done) == self.planned[label]
            picked = [pick(record) for _, record in done]
            values[label] = nothing if not self.planned[label] else (combine or _joined)(picked) if whole else None
        return values

    def tokens(self) -> dict[str, Any]:
        return self.values(lambda record: record["cost"]["tokens"], 0)


def training_budgets(trainings: Trainings) -> list[Observation]:
    """What the trainings were given. Without any training all methods are equal at 0 tokens."""
    groups = trainings.groups
    within = Groups(WITHIN, list(groups.values())) if len(groups) > 1 else None
    tokens = required("training tokens", trainings.tokens(), within)
    if len(groups) < 2 and not any(trainings.planned.values()):
        return [tokens]
    return [tokens, _given(trainings), *_settings(trainings, within), *_costs(trainings)]


def training_remark(trainings: Trainings) -> Remark | None:
    """That methods are compared within each training; None where there is only one."""
    groups = trainings.groups
    if len(groups) < 2:
        return None
    tokens = trainings.tokens()
    each = []
    for recipe, labels in groups.items():
        amounts = {canonical(tokens[label]) for label in labels}
        amount = tokens[labels[0]] if len(amounts) == 1 else None
        each.append(f"{recipe} ({f'{amount:,}' if isinstance(amount, int) else 'unequal'} tokens)")
    text = (
        f"Training is a factor of the design: {together(each)}. Conditions of training are judged within each; two "
        "methods with different trainings differ in their training as well."
    )
    return {"tag": WITHIN, "text": text}


def _given(trainings: Trainings) -> Observation:
    """Which trainings a method was given. The unextended model is the reference of all of them and may have more."""
    had: dict[str, list[str]] = {}
    for method in trainings.methods:
        had.setdefault(base_label(method), []).append(recipe_of(method))
    extended = [method["label"] for method in trainings.methods if method["extender"] != "none"]
    values = {method["label"]: ", ".join(had[base_label(method)]) for method in trainings.methods}
    return required("trainings of the method", values, Groups(EXTENDED, [extended]))


def _settings(trainings: Trainings, within: Groups | None) -> list[Observation]:
    seeds = {
        label: (", ".join(str(seed) for seed, _ in done) or None) if trainings.planned[label] else "none"
        for label, done in trainings.done.items()
    }
    picks: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "training data order": (lambda record: record["data"]["order"], "none"),
        "training corpus": (lambda record: record["data"]["corpus"], "none"),
        "training steps": (lambda record: len(record["curve"]), 0),
        "training learning rate": (lambda record: record["recipe"]["learning_rate"], 0),
        "training optimiser": (_optimiser, "none"),
        "trained parameters": (_trainable, "none"),
    }
    return [
        required("training recipe", trainings.values(lambda record: record["recipe"]["label"], "none"), within),
        required("training seeds", seeds, within),
        *(required(name, trainings.values(pick, nothing), within) for name, (pick, nothing) in picks.items()),
    ]


def _costs(trainings: Trainings) -> list[Observation]:
    return [
        shown("share of the training loss by class of sequences", trainings.values(_loss_shares, "none")),
        shown("training FLOPs", trainings.values(lambda record: record["cost"]["flops"], 0, sum)),
        shown("training seconds", trainings.values(lambda record: record["cost"]["seconds"], 0, sum)),
        shown(
            "training peak memory (bytes)",
            trainings.values(lambda record: record["cost"]["peak_memory_bytes"], 0, max),
        ),
    ]


def _joined(values: Sequence[Any]) -> Any:
    """The one value of all seeds, or all of them in one text, in the order of the seeds."""
    different = list({canonical(value): value for value in values}.values())
    return different[0] if len(different) == 1 else " and ".join(map(str, different))


def _optimiser(record: Mapping[str, Any]) -> str:
    recipe = record["recipe"]
    betas = "/".join(f"{beta:g}" for beta in recipe["betas"])
    return f"AdamW {betas}, decay {recipe['weight_decay']:g}, {recipe['schedule']}, clip {recipe['clip']:g}"


def _loss_shares(record: Mapping[str, Any]) -> str:
    """How much each class of sequences weighs in the loss. A corpus may weigh tokens, so it need not be the recipe's
    mix, which is of tokens."""
    totals: dict[str, float] = {}
    for point in record["curve"]:
        for kind, weight in (point.get("weight", {}) if isinstance(point, Mapping) else {}).items():
            totals[kind] = totals.get(kind, 0.0) + weight
    whole = sum(totals.values())
    return ", ".join(f"{kind} {weight / whole:.2f}" for kind, weight in totals.items()) if whole else "not recorded"


def _trainable(record: Mapping[str, Any]) -> str:
    trainable = record["trainable"]
    return f"{trainable['parameters']} of {trainable['of']}"
