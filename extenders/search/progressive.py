"""LongRoPE's progressive extension (arXiv:2402.13753, §3.3): search, fine-tune, search again, recover short contexts.

1. Search the factors of an intermediate length on the model as it is.
2. Fine-tune the model with them.
3. Search again, on the fine-tuned model, for the rest of the way; what is found multiplies the first factors.
4. Search factors for shorter prompts on the fine-tuned model; the prompt's length chooses the list.

Deviations: the second search keeps the tokens at the start that the first found (n̂) and the weights were fine-tuned
with; the paper does not say. Factors for shorter prompts are bounded by 1.25·s of the whole way, not of their own
length, because the fine-tuned weights may want the stretched positions there too.

Searches are the method's and training is the caller's: `problem.fine_tune(method)` trains with the method's plan at the
intermediate length and returns the same problem on the trained model.
"""

from collections.abc import Callable
from typing import TypeVar

from extenders.base import Extender
from extenders.search.problem import Problem

Method = TypeVar("Method", bound=Extender)


def progressive(
    problem: Problem,
    intermediate: int,
    searches: int,
    first: Callable[[Problem], Method],
    second: Callable[[Method, Problem], Method],
) -> Method:
    """What `second` gives. Raises ValueError without a way to train or texts of other lengths.

    `intermediate` is a length in tokens. `first(problem)` searches for it, and `second(method, problem)` for the
    rest on the model that was trained with that method. The budget is for so many `searches` of one size; the first
    has one share of it and the second the rest.
    """
    trained = problem.rope.trained_length
    if not trained < intermediate < problem.target_length:
        raise ValueError(
            f"intermediate_length must lie between the trained length {trained} and the target length "
            f"{problem.target_length}, got {intermediate}"
        )
    if problem.at is None or problem.fine_tune is None:
        raise ValueError(
            "intermediate_length needs a training between its two searches, and this search was given none: use "
            "ropebench search with --fine-tune, or leave it out to search the target length at once"
        )
    share = problem.budget // searches
    halfway = first(problem.at(intermediate, share))
    tuned = problem.fine_tune(halfway)
    tuned.budget = problem.budget - share
    return second(halfway, tuned)
