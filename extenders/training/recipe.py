"""Training recipes: which documents, under which RoPE, with which optimiser. Constants with their sources.

A recipe knows no method and a method knows no recipe: every pair can be run. A recipe is made of portions, each a class
of sequences with its share of the tokens, and loss curves are kept apart by portion. Learning rate and batch are the
source's; models other than the source's want their own.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "dense")


@dataclass(frozen=True)
class Lora:
    """Which layers get an adapter and how large it is; `also` are parts of parameter names that train in full."""

    rank: int = 8  # LongLoRA's published script: rank 8, alpha 16, no dropout
    alpha: float = 16.0
    targets: tuple[str, ...] = ATTENTION  # last part of a layer's name; those that a model has
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA rank is a whole number of at least 1, got {self.rank}")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True)
class Length:
    """A length as a multiple of the trained length and of the target length, so that a recipe fits every model."""

    windows: float = 0.0
    targets: float = 0.0

    def tokens(self, window: int, target: int) -> int:
        return round(self.windows * window + self.targets * target)


WINDOW, TARGET = Length(windows=1), Length(targets=1)


@dataclass(frozen=True)
class Portion:
    """One class of sequences. Documents of above < length <= up_to tokens are packed or cut to sequences of `size`."""

    cuts: ClassVar[bool] = False  # longer documents take part with their first `up_to` tokens

    name: str
    share: float  # of the tokens
    above: Length
    up_to: Length
    size: Length = TARGET
    rope: Literal["planned", "original"] = "planned"
    masked: bool = False  # no attention across documents, and positions begin anew with each
    skipped: bool = False  # positions jump once, to anywhere before the target (PoSE)


class OpenPortion(Portion):
    """A portion whose source names no greatest length of documents: longer ones are cut to `up_to`.

    A class and not a field: fields stand in the keys of trainings, and generated documents never are longer.
    """

    cuts: ClassVar[bool] = True


@dataclass(frozen=True)
class Stage:
    """A part of the tokens, trained towards a part of the target."""

    share: float  # of the tokens
    reach: float  # of the target length: sequences are that long and the plan is the method's for that target


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained on what. `original_inside`: evaluation runs prompts inside the window with the original RoPE,
    else with the plan that was trained, also where the method by itself would switch there."""

    name: str
    source: str
    portions: tuple[Portion, ...]
    deviations: tuple[str, ...] = ()
    original_inside: bool = False
    stages: tuple[Stage, ...] = (Stage(1.0, 1.0),)
    lora: Lora | None = None
    group: float = 0.0  # shifted sparse attention in groups of that share of a sequence; 0: full attention
    learning_rate: float = 2e-5
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # down to 0 at the token budget
    warmup: float = 0.02  # share of the tokens
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm

    def __post_init__(self) -> None:
        for what, parts in (("portions", self.portions), ("stages", self.stages)):
            total = sum(part.share for part in parts)
            if abs(total - 1) > 1e-6 or any(part.share < 0 for part in parts):
                shares = ", ".join(f"{part.share:g}" for part in parts)
                raise ValueError(f"the {what} of a recipe are shares of its tokens and sum to 1, got {shares}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the tokens from 0 to below 1, got {self.warmup}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"the learning rate must be above 0, got {self.learning_rate}")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise ValueError(f"a schedule is cosine, linear or constant, got {self.schedule!r}")

    def rate(self, done: float) -> float:
        """Share of the full learning rate after that share of the tokens: linear up, then along the schedule to 0."""
        if done < self.warmup:
            return (done + 1e-3) / (self.warmup + 1e-3)  # the very first step learns a little, too
        rest = (done - self.warmup) / (1 - self.warmup)
        if self.schedule == "constant":
            return 1.0
        return 1 - rest if self.schedule == "linear" else (1 + math.cos(math.pi * rest)) / 2

    def with_mix(self, mix: Mapping[str, float]) -> "Recipe":
        """The recipe with other shares, by the portions' names; a portion that is not named has none."""
        known = [portion.name for portion in self.portions]
        wrong = [name for name in mix if name not in known]
        if wrong:
            raise ValueError(f"recipe {self.name} has no portion {wrong[0]!r}; there are {', '.join(known)}")
        portions = tuple(
            dataclasses.replace(portion, share=float(mix.get(portion.name, 0.0))) for portion in self.portions
        )
        return dataclasses.replace(self, portions=portions)


# LongRoPE2 cuts its documents by length: up to 8k (the window), 8k to 100k and 100k to 200k, with a target of 128k.
_MIDDLE, _LONGEST = Length(targets=25 / 32), Length(targets=25 / 16)
_SHORT = Portion("short", 0.3, Length(), WINDOW, rope="original", masked=True)
_LONGROPE2 = "LongRoPE2, arXiv:2502.20082, §3.3 and §4.1"

PLAIN = Recipe(
    name="plain",
    source="the usual long-context fine-tuning, as PI, YaRN and LongRoPE describe it",
    portions=(OpenPortion("long", 1.0, WINDOW, _LONGEST),),
    deviations=(
        "documents longer than the window only, cut to 25/16 of the target; plain_same_data has the documents of mixed",
    ),
)
PLAIN_SAME_DATA = Recipe(
    name="plain_same_data",
    source=f"{_LONGROPE2}: what its baselines were given, the same documents without mixed windows",
    portions=(
        Portion("short", 0.3, Length(), WINDOW),
        Portion("middle", 0.3, WINDOW, _MIDDLE),
        Portion("long", 0.4, _MIDDLE, _LONGEST),
    ),
)
MIXED = Recipe(
    name="mixed",
    source=f"{_LONGROPE2}, token mix of Table 1 (3, 3 and 4 of 10 billion)",
    portions=(_SHORT, Portion("middle", 0.3, WINDOW, _MIDDLE), Portion("long", 0.4, _MIDDLE, _LONGEST)),
    original_inside=True,
    deviations=(
        "the attention factor is the original one in short sequences; the published trainer scales both kinds",
        "warm-up, betas and clipping are the published trainer's, the paper names none",
    ),
)
MIXED_TEXT = dataclasses.replace(
    MIXED,
    name="mixed_text",
    source=f"{_LONGROPE2}, token mix of the text (1 short and 9 long of 10 billion; the paper contradicts its Table 1)",
    portions=(dataclasses.replace(_SHORT, share=0.1), Portion("long", 0.9, WINDOW, _LONGEST)),
)
MIXED_CODE = dataclasses.replace(
    MIXED,
    name="mixed_code",
    source="microsoft/nnscaler examples/longrope2 at 1585c15: 4.19 short and 5.24 long of 9.44 billion tokens",
    portions=(
        dataclasses.replace(_SHORT, share=0.444),
        Portion("long", 0.556, WINDOW, _LONGEST, masked=True),
    ),
    deviations=(
        "no attention across documents in long sequences either, as positions begin anew with each document there",
        "short documents are drawn once each; a fault of the published packing repeats the first ones",
        "the attention factor is the original one in short sequences; the published trainer scales both kinds",
    ),
)
POSE = Recipe(
    name="pose",
    source="PoSE, arXiv:2309.10400, §3.2, and dwzhu-pku/PoSE src/train_pose.py: two chunks, the first at position 0",
    portions=(OpenPortion("skipped", 1.0, Length(), Length(windows=5), size=WINDOW, skipped=True),),
    deviations=("documents are packed, where the published script cuts one document to five windows",),
)
LONGLORA = Recipe(
    name="longlora",
    source="LongLoRA, arXiv:2309.12307, §3, and dvlab-research/LongLoRA fine-tune.py: groups of a quarter, rank 8",
    portions=PLAIN.portions,
    group=0.25,
    lora=Lora(also=("embed", "norm")),
    deviations=(
        "the two half groups at the ends stand alone, where the published code lets early tokens see late ones",
    ),
)
TWO_STAGE = Recipe(
    name="two_stage",
    source="LongRoPE, arXiv:2402.13753, §3.3 and §4.1: 400 steps at half of the target, 600 at the target",
    portions=PLAIN.portions,
    stages=(Stage(0.25, 0.5), Stage(0.75, 1.0)),  # tokens: 400 · 128k and 600 · 256k
    schedule="linear",
    deviations=(
        "both stages share one learning-rate schedule; the paper does not say whether it began anew",
        "a method that is searched is searched for both targets before the training, not again on the trained model",
    ),
)

RECIPES = {
    recipe.name: recipe for recipe in (PLAIN, PLAIN_SAME_DATA, MIXED, MIXED_TEXT, MIXED_CODE, POSE, LONGLORA, TWO_STAGE)
}
