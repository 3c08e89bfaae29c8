"""Queries multiplied by a plan's factor, rotated dimensions and others alike, so that the whole logit is.

transformers' models ask `AttentionInterface.get_interface` for the function that compares queries with keys. From the
first plan with a factor on, what they get multiplies the queries of modules that carry a `Queries` and hands all others
on untouched. Which modules rotate is found by asking: with one token attention has one key, so hidden states know
nothing of cos and sin, and only the queries of a layer that rotates follow other frequencies.

Not multiplied along: a sink beside the keys (GPT-OSS), and a cap comes after the product (Gemma 2).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import AttentionInterface

from extenders.base import RopePlan

PLACE = "planned_queries"  # of a `Queries` among a module's attributes
Watcher = Callable[[torch.nn.Module, Tensor, Tensor], None]  # (module, its query, what is compared with keys)


class Queries:
    """The factors pinned now, shared by the attention modules of one model."""

    def __init__(self) -> None:
        self.rows = 1  # that a batch must have, where each row has a factor of its own
        self.watcher: Watcher | None = None
        self._factors: Tensor | None = None  # (rows or 1, 1, 1, 1), float32; None: untouched

    def pin(self, plans: Sequence[RopePlan]) -> None:
        factors = [plan.query_factor for plan in plans]
        self.rows = len(factors)
        self._factors = torch.tensor(factors).reshape(-1, 1, 1, 1) if any(factor != 1 for factor in factors) else None

    def multiplied(self, module: torch.nn.Module, query: Tensor) -> Tensor:
        """The query (rows, heads, positions, dimensions) of an attention module, times the factor of its row."""
        compared = query
        if self._factors is not None:
            self._factors = self._factors.to(query.device)
            compared = (query * self._factors).to(query.dtype)
        if self.watcher is not None:
            self.watcher(module, query, compared)
        return compared


def install() -> None:
    """Let attention functions multiply the queries of modules that ask for it. Calling it again does nothing."""
    original = AttentionInterface.get_interface
    if getattr(original, PLACE, False):
        return

    def get_interface(self: Any, *args: Any, **given: Any) -> Callable[..., Any]:
        attend: Callable[..., Any] = original(self, *args, **given)

        def multiplied(module: torch.nn.Module, query: Tensor, *others: Any, **named: Any) -> Any:
            queries = module.__dict__.get(PLACE)
            return attend(module, query if queries is None else queries.multiplied(module, query), *others, **named)

        return multiplied

    setattr(get_interface, PLACE, True)
    AttentionInterface.get_interface = get_interface


def queries_of(model: torch.nn.Module, turn: Callable[[float], None]) -> tuple[Queries, list[torch.nn.Module]]:
    """A `Queries` on every attention module that rotates, and those modules.

    `turn(f)` multiplies the frequencies of the covered layers by f from now on. Raises ValueError, by name, for a model
    whose attention is code of its own.
    """
    install()
    queries, every = Queries(), list(model.modules())
    for module in every:
        module.__dict__[PLACE] = queries
    seen: list[dict[torch.nn.Module, Tensor]] = []
    try:
        for factor in (1.0, 1.5):
            turn(factor)
            seen.append({module: query for module, query, _ in _watched(model, queries)})
    finally:
        forget(every)
    rotating = [module for module, query in seen[0].items() if not torch.equal(query, seen[1][module])]
    if not rotating:
        raise ValueError(
            f"{type(model).__name__} compares queries with keys in code of its own, so the whole logit cannot be "
            "multiplied (query_factor); use the method without whole_logit"
        )
    for module in rotating:
        module.__dict__[PLACE] = queries
    return queries, rotating


def forget(modules: Sequence[torch.nn.Module]) -> None:
    for module in modules:
        module.__dict__.pop(PLACE, None)


def wrong(
    model: torch.nn.Module, queries: Queries, rotating: Sequence[torch.nn.Module], plans: Sequence[RopePlan]
) -> str:
    """What is wrong with the queries of the live model under these plans, one a row; "" where nothing is."""
    calls = _watched(model, queries)
    missing = set(rotating) - {module for module, _, _ in calls}
    if missing:
        return f"{type(next(iter(missing))).__name__} compares its queries without asking for an attention function"
    factors = torch.tensor([plan.query_factor for plan in plans], dtype=torch.float64).reshape(-1, 1, 1, 1)
    for module, query, compared in calls:
        wanted = query.double() * factors.to(query.device)
        allowed = torch.finfo(query.dtype).eps * (1 + 1e-6) * wanted.abs()
        if bool(((compared.double() - wanted).abs() > allowed).any()):
            return f"{type(module).__name__} does not multiply its queries by {factors.flatten().tolist()}"
    return ""


@torch.no_grad()
def _watched(model: Any, queries: Queries) -> list[tuple[torch.nn.Module, Tensor, Tensor]]:
    """What attention modules hand over and what is compared with keys, for one token in every pinned row."""
    calls: list[tuple[torch.nn.Module, Tensor, Tensor]] = []
    modes = [(module, module.training) for module in model.modules()]
    queries.watcher = lambda *call: calls.append(call)
    try:
        model.eval()  # dropout would change queries too
        token = torch.zeros((queries.rows, 1), dtype=torch.long, device=next(model.parameters()).device)
        model(input_ids=token, position_ids=token + 5, use_cache=False)
    finally:
        queries.watcher = None
        for module, mode in modes:
            module.training = mode
    return calls
