"""LongRoPE's progressive extension (arXiv:2402.13753, §3.3): search, fine-tune, search again, recover short contexts.

1. Search the factors of an intermediate length on the model as it is.
2. Fine-tune the model with them.
3. Search again, on the fine-tuned model, for the rest of the way; what is found multiplies the first factors.
4. Search factors for shorter prompts on the fine-tuned model; the prompt's length chooses the list.

Deviations: the second search keeps the tokens at the start that the first found (n̂) and the weights were fine-tuned
with; the paper does not say. Factors for shorter prompts are bounded by 1.25·s of the whole way, not of their own
length, because the fine-tuned weights may want the stretched positions there too.

Training is the caller's: `problem.fine_tune(method)` trains with the method's plan at the intermediate length and
returns the same problem on the trained model.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from extenders.search.problem import Problem

if TYPE_CHECKING:
    from extenders.longrope import LongRope


def progressive(method: Any, problem: Problem) -> Any:
    """The LongRope method with first and second factors. Raises ValueError without a way to train or other texts."""
    intermediate = method.intermediate_length
    trained = problem.rope.trained_length
    if not trained < intermediate < method.target_length:
        raise ValueError(
            f"intermediate_length must lie between the trained length {trained} and the target length "
            f"{method.target_length}, got {intermediate}"
        )
    if problem.at is None or problem.fine_tune is None:
        raise ValueError(
            "intermediate_length needs a training between its two searches, and this search was given none: use "
            "ropebench search with --fine-tune, or leave it out to search the target length at once"
        )
    share = problem.budget // (2 + len(method.recovery_lengths))
    first: LongRope = dataclasses.replace(
        method, target_length=intermediate, intermediate_length=None, recovery_lengths=(), recovery_factors=None
    )
    first = first.search(problem.at(intermediate, share))
    tuned = problem.fine_tune(first)
    tuned.budget = problem.budget - share
    second = dataclasses.replace(
        method,
        intermediate_length=None,
        base_factors=first.factors,
        base_length=intermediate,
        keep_first=first.keep_first,
    )
    found: LongRope = second.search(tuned)
    return dataclasses.replace(found, intermediate_length=intermediate)
