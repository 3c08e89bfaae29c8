"""Recipe and budget → the list of sequences, step by step. Known before the first, and equal for all methods."""

from dataclasses import dataclass

from extenders.training.recipe import Portion, Recipe


@dataclass(frozen=True)
class TrainingSequence:
    """One sequence of a run: the index-th of its portion."""

    portion: Portion
    index: int
    size: int  # tokens
    target: int  # tokens; what its stage trains towards

    @property
    def rope(self) -> str:
        """Name of the plan that it runs with."""
        return "original" if self.portion.rope == "original" else f"planned for {self.target}"


Schedule = tuple[tuple[TrainingSequence, ...], ...]


def schedule(recipe: Recipe, tokens: int, tokens_per_step: int, window: int, target: int) -> Schedule:
    """Every step's sequences; together they have at most `tokens` tokens, and less than one sequence is left over.

    The portion that is furthest behind its share comes next, so every beginning of the run has the recipe's mix to
    within a sequence. Raises ValueError for a budget under one step and a step under one sequence.
    """
    if target <= window:
        raise ValueError(f"training needs a target length above the trained {window} tokens, got {target}")
    portions = [portion for portion in recipe.portions if portion.share > 0]
    longest = max(portion.size.tokens(window, target) for portion in portions)
    if tokens_per_step < longest:
        raise ValueError(
            f"a step of {tokens_per_step} tokens is under one sequence of {longest}; raise tokens_per_step"
        )
    if tokens < tokens_per_step:
        raise ValueError(
            f"a budget of {tokens} tokens is under one step of {tokens_per_step}; raise tokens or lower tokens_per_step"
        )
    given = [0] * len(portions)
    indices = [0] * len(portions)
    steps: list[tuple[TrainingSequence, ...]] = []
    step: list[TrainingSequence] = []
    total = in_step = 0
    while True:
        reach = _reach(recipe, total / tokens)
        goal = round(target * reach)
        sizes = [portion.size.tokens(window, goal) for portion in portions]
        behind = [
            portion.share * (total + size) - had for portion, size, had in zip(portions, sizes, given, strict=True)
        ]
        chosen = behind.index(max(behind))
        size = sizes[chosen]
        full = total + size > tokens
        if step and (full or in_step + size > tokens_per_step):
            steps.append(tuple(step))
            step, in_step = [], 0
        if full:
            return tuple(steps)
        step.append(TrainingSequence(portions[chosen], indices[chosen], size, goal))
        indices[chosen] += 1
        given[chosen] += size
        total += size
        in_step += size


def _reach(recipe: Recipe, done: float) -> float:
    """How much of the target is trained towards after that share of the tokens."""
    passed = 0.0
    for stage in recipe.stages:
        passed += stage.share
        if done < passed - 1e-9:
            return stage.reach
    return recipe.stages[-1].reach
