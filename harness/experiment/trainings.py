"""What are methods trained with? A recipe with its budget and data, as a file or a command line gives it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extenders.training.recipe import RECIPES, Lora, Recipe
from harness.experiment import parameters
from harness.store import MethodTraining

NONE = "none"
POCKET_RATE = 5e-4  # AdamW, for models of a few million weights; papers' rates are for billions


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may say about a training; what is left out is the recipe's."""

    tokens: int  # the budget: a run stops before it would train on more
    corpus: str = ""  # see harness.training.corpus; "pocket" for the shipped models
    tokens_per_step: int = 0  # 0: 16,384, or one sequence of the target length where that is longer
    learning_rate: float | None = None
    schedule: str | None = None
    warmup: float | None = None  # share of the tokens
    mix: dict[str, float] | None = None  # share of every portion by name
    lora: int = 0  # rank; 0: as the recipe has it
    original_inside: bool | None = None  # prompts inside the window run under the original RoPE; changes no weight
    float32: bool | None = None  # no bf16 autocast; None: on a CPU that does not multiply bfloat16, where it is slow
    checkpointing: bool | None = None  # compute activations again instead of storing them; None: where memory needs it
    micro_tokens: int = 0  # tokens of one forward pass; 0: 16,384
    context_parallel: int = 1  # processes that share every sequence, under torchrun


@dataclass(frozen=True)
class Training:
    """A recipe with its budget and data: one value of the factor `training`."""

    label: str
    recipe: Recipe
    settings: Settings

    def labelled(self, method: str) -> str:
        """The label of a method that was given this training."""
        return f"{method} + {self.label}"

    def untrained(self, label: str) -> str:
        """The label of such a method before the training."""
        return label.removesuffix(f" + {self.label}")

    def described(self, label: str) -> MethodTraining:
        """What run.json says about the training of the method with that label."""
        return {"base_method": self.untrained(label), "recipe": self.label, "tokens": self.settings.tokens}


def parse_trainings(where: str, listed: Any, shared: Any, folder: Path, pocket: bool) -> tuple[Training | None, ...]:
    """The factor `training` of an experiment file; None stands for no training.

    `shared` are settings of all entries, which an entry may override. `pocket`: the model is a shipped one.
    """
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{where} must be a list of recipes or {NONE}, got {listed!r}")
    if shared is not None and not isinstance(shared, dict):
        raise ValueError(f"{where}_settings must be a mapping of settings, got {shared!r}")
    trainings: list[Training | None] = []
    for entry in listed:
        name, given = (entry, {}) if isinstance(entry, str) else _pair(where, entry)
        if name == NONE:
            if given:
                raise ValueError(f"{where}: {NONE} takes no settings, got {', '.join(map(str, given))}")
            trainings.append(None)
            continue
        trainings.append(
            parse_training(f"{where}: {parameters.shown(name)}", name, {**(shared or {}), **given}, folder, pocket)
        )
    labels = [NONE if training is None else training.label for training in trainings]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"{where}: two entries are labelled {twice[0]!r}; give one of them another 'label'")
    return tuple(trainings)


def parse_training(where: str, name: object, given: Mapping[str, Any], folder: Path, pocket: bool) -> Training:
    """The training of a recipe's name with what a user wrote. Raises ValueError that begins with `where`."""
    given = dict(given)
    label = given.pop("label", name)
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"{where}: label must be a text, got {label!r}")
    mix = given.get("mix")
    if mix is not None and not (
        isinstance(mix, dict) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in mix.values())
    ):
        raise ValueError(f"{where}: mix must give portions shares, as in {{short: 0.3, long: 0.7}}, got {mix!r}")
    corpus = given.get("corpus")
    if isinstance(corpus, str) and corpus and (folder / corpus).exists():
        given["corpus"] = str(folder / corpus)
    settings = parameters.make(where, Settings, given, {})
    try:
        return training_of(name, settings, label, pocket)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def training_of(name: object, settings: Settings, label: str = "", pocket: bool = False) -> Training:
    """The training of a recipe's name with settings. `pocket`: the model is a shipped one, which has defaults."""
    if name not in RECIPES:
        raise ValueError(f"no training recipe is named {name!r}; {parameters.hint(name, [*RECIPES, 'none'])}")
    recipe = RECIPES[str(name)]
    if settings.mix is not None:
        recipe = recipe.with_mix(settings.mix)
    given = {key: getattr(settings, key) for key in ("learning_rate", "schedule", "warmup", "original_inside")}
    changes: dict[str, Any] = {"learning_rate": POCKET_RATE} if pocket else {}
    changes |= {key: value for key, value in given.items() if value is not None}
    if settings.lora:
        changes["lora"] = dataclasses.replace(recipe.lora or Lora(), rank=settings.lora, alpha=2.0 * settings.lora)
    corpus = settings.corpus or ("pocket" if pocket else "")
    if not corpus:
        raise ValueError(f"training {name}: name a corpus (a folder of texts, a .jsonl file or dataset:NAME)")
    for key in ("tokens", "tokens_per_step", "micro_tokens", "lora", "context_parallel"):
        value = getattr(settings, key)
        if value < 0 or (key in ("tokens", "context_parallel") and value < 1):
            raise ValueError(f"training {name}: {key} must be a whole number above 0, got {value}")
    settings = dataclasses.replace(settings, corpus=corpus)
    return Training(label or str(name), dataclasses.replace(recipe, **changes), settings)


def _pair(where: str, entry: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"{where}: an entry is a recipe or {{recipe: {{setting: value}}}}, got {entry!r}")
    name, given = next(iter(entry.items()))
    if not isinstance(name, str) or not (given is None or isinstance(given, dict)):
        raise ValueError(f"{where}: an entry is a recipe or {{recipe: {{setting: value}}}}, got {entry!r}")
    return name, given or {}
