"""The one place where a prompt meets a plan: a model under a method, as tests and searches see it.

A plan's length is prompt plus new tokens of one prompt; it is pinned before the prefill and held to the end of the
decoding. Prompts are read one by one and answered together, each row under its own plan; nothing of a prompt outlives
it. So answers depend on order and batching by no more than rounding, and both follow from the list of prompts alone.

Logits come from `harness.model.logits`, so the full [positions, vocabulary] matrix never exists.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from extenders.base import Extender, RopePlan
from harness.model.at_once import tokens_at_once
from harness.model.grouped import grouped_decoding
from harness.model.joined_cache import can_join, joined, mask_of
from harness.model.load import LoadedModel
from harness.model.logits import body, head, hidden_states, target_losses
from harness.model.tokens import Tokens
from harness.rope.applied import Applied
from tasks.base import Generation
from tasks.perplexity import windows


class KeepsPasses(Protocol):
    """Answers that are kept, pass by pass: `harness.records.passes`."""

    def once(self, asked: object, work: Callable[[], list[Any]], forwards: Callable[[], int]) -> list[Any]: ...


class BrokenModel(ValueError):
    """The model gives NaN: nothing it says can be scored."""


class ExtendedLM(Tokens):
    """A loaded model under one method; implements `tasks.base.LM`.

    `rotary` is what `harness.rope.applied.applied` gives. `batch_tokens` bounds the tokens of one forward pass, and of
    the prompts and answers that are in work together; a longer prompt runs alone. Unless given it is what
    `harness.model.at_once` says for the device.

    `crossing` says what happens where an answer crosses the trained window and the method plans otherwise beyond it.
    "fixed": prompt plus new tokens decide before the prefill. "recompute": the plan for the window holds until the
    window is full, and then the cache is computed again under the plan for prompt plus new tokens, once; such prompts
    are answered alone.

    Counters: `token_forwards` (tokens that went through the model for an answer; neither padding nor rows that have
    ended count), `prompts`, `plan_hashes`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        extender: Extender,
        rotary: Applied,
        batch_tokens: int | None = None,
        crossing: str = "fixed",
    ) -> None:
        super().__init__(loaded.tokenizer)
        self.model: Any = loaded.model
        self.loaded = loaded
        self.spec = loaded.spec
        self.extender = extender
        self.rotary = rotary
        given = (batch_tokens, batch_tokens) if batch_tokens is not None else tokens_at_once(self.model)
        self.batch_tokens, self.answered_tokens = given
        self.recompute = crossing == "recompute"
        self._alone = self.recompute or not can_join(self.model.config)
        self.token_forwards = 0
        self.prompts = 0
        self.plan_hashes: set[str] = set()
        self.passes: KeepsPasses | None = None  # of the cell at work, where an answer that has been given is kept
        self._ends = _end_tokens(self.model, self.tokenizer)

    def plan(self, length: int) -> RopePlan:
        """What a prompt of `length` tokens, new tokens included, runs with."""
        return self.extender.plan(self.spec, length)

    def plan_hash(self, length: int) -> str:
        return self.plan(length).hash

    def generate(
        self,
        prompts: Sequence[str],
        new_tokens: int,
        longest: int | None = None,
        special: bool = False,
        around: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> Iterator[Generation]:
        """As `tasks.base.LM`; `around` are tokens before and behind every prompt."""
        group: list[list[int]] = []
        for prompt in prompts:
            whole = [*around[0], *self.encode(prompt, special), *around[1]]
            row = self._seen(self.with_start(whole), new_tokens)
            tokens = (len(group) + 1) * (max(map(len, [*group, row])) + new_tokens)
            if group and (self._alone or tokens > self.answered_tokens):
                yield from self._answered(group, new_tokens, longest)
                group = []
            group.append(row)
        if group:
            yield from self._answered(group, new_tokens, longest)

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        if len(ids) < 2:
            raise ValueError(f"a loss needs a document of at least 2 tokens, got {len(ids)}")
        row = self.with_start(list(ids))
        if self.extender.cuts_context and len(row) > self.spec.trained_length:
            return self._losses_in_windows(ids, start)
        added = len(row) - len(ids)
        least = 0 if added else 1  # nothing can be said of a token that nothing stands before
        if not least <= start < len(ids):
            raise ValueError(f"losses start at a position in {least} … {len(ids) - 1}, got {start}")
        [(losses, _)] = self._span_losses([row], [added + start], [length or len(row)])
        return losses

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        rows, starts = [], []
        for context, continuation in pairs:
            row, start = self._joined(context, continuation)
            rows.append(self._seen(row))
            starts.append(start - (len(row) - len(rows[-1])))
            if starts[-1] < 1:
                raise ValueError(f"a continuation of {len(row) - start} tokens does not fit into the trained window")
        # Longest first, so that rows of one batch need little padding.
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        answers: dict[int, tuple[float, bool]] = {}
        while order:
            most = max(1, self.batch_tokens // len(rows[order[0]]))
            batch, order = order[:most], order[most:]
            lengths = [len(rows[i]) for i in batch]
            spans = self._span_losses([rows[i] for i in batch], [starts[i] for i in batch], lengths)
            answers.update({i: (sum(losses), all(hits)) for i, (losses, hits) in zip(batch, spans, strict=True)})
        for i in range(len(rows)):
            yield answers[i]

    def _seen(self, row: list[int], new_tokens: int = 0) -> list[int]:
        """The tokens of a prompt that the model sees: all of them, but for a method that cuts the context."""
        room = self.spec.trained_length - new_tokens
        if not self.extender.cuts_context or len(row) <= room:
            return row
        added = self.before if row[: len(self.before)] == self.before else []
        if room <= len(added):
            raise ValueError(
                f"an answer of {new_tokens} tokens leaves no room for a prompt in a window of "
                f"{self.spec.trained_length}"
            )
        return added + row[len(row) - (room - len(added)) :]

    def _losses_in_windows(self, ids: Sequence[int], start: int) -> list[float]:
        """Losses from position `start` on, each token in a window that is at most half a window of new tokens."""
        size = self.spec.trained_length - self.added_tokens
        losses: list[float] = []
        for begin, end, first in windows(len(ids), size, "stride", size // 2, 0):
            if end > start:
                losses += self.losses(ids[begin:end], start=max(first if begin else start, start) - begin)
        return losses

    def _joined(self, context: str, continuation: str) -> tuple[list[int], int]:
        """Tokens of the two texts as one, and where the continuation begins.

        The split follows lm-eval, so that scores are comparable: white space at the end of the context belongs to the
        continuation, and the context has as many tokens as it has alone. Unlike there, BOS never stands twice.
        """
        bare = context.rstrip()
        row = self.with_start(self.encode(context + continuation))
        start = len(self.with_start(self.encode(bare))) if bare else len(self.before)
        if not bare and not self.before:
            # Nothing stands before the first token; lm-eval puts BOS there, or the end token where there is no BOS.
            tokens = [self.tokenizer.bos_token_id, *sorted(self._ends)]
            first = [token for token in tokens if token is not None][:1]
            row, start = first + row, len(first)
        if not continuation or start < 1 or len(row) < 2:
            raise ValueError(
                f"nothing to score: context {context[-40:]!r} and continuation {continuation[:40]!r} leave no token"
            )
        return row, min(start, len(row) - 1)

    def _pin(self, lengths: Sequence[int], again: bool = False, mapped: bool = False) -> list[str]:
        """Pin one plan per row; returns their hashes. `mapped`: rows beside these map positions."""
        plans = {length: self.plan(length) for length in set(lengths)}
        alike = len(set(plans.values())) == 1
        self.rotary.use(plans[lengths[0]] if alike else [plans[length] for length in lengths], mapped)
        hashes = {length: plan.hash for length, plan in plans.items()}
        self.plan_hashes.update(hashes.values())
        self.prompts += 0 if again else len(lengths)
        return [hashes[length] for length in lengths]

    def _answered(self, rows: list[list[int]], new_tokens: int, longest: int | None) -> list[Generation]:
        """Greedy answers to prompts that go through the model together."""
        asked = ["generate", rows, new_tokens, longest]
        answers = self._once(asked, lambda: [asdict(one) for one in self._greedy(rows, new_tokens, longest)])
        return [Generation(**answer) for answer in answers]

    def _once(self, asked: list[Any], work: Callable[[], list[Any]]) -> list[Any]:
        return work() if self.passes is None else self.passes.once(asked, work, lambda: self.token_forwards)

    @torch.inference_mode()
    def _greedy(self, rows: list[list[int]], new_tokens: int, longest: int | None) -> list[Generation]:
        """Greedy answers to prompts, in one batch."""
        started = time.perf_counter()
        sizes = [len(row) for row in rows]
        needed = [size + new_tokens for size in sizes]
        lengths = needed if longest is None else [min(tokens, longest) for tokens in needed]
        window = self.spec.trained_length
        switches = self.recompute and sizes[0] <= window < lengths[0] and self.plan(window) != self.plan(lengths[0])
        cache, logits, hashes = self._read(rows, [window] if switches else lengths, new_tokens)
        places = torch.tensor(sizes, device=logits.device)[:, None]
        mask = mask_of(sizes, logits.device) if len(set(sizes)) > 1 else None
        ends = torch.tensor(sorted(self._ends), dtype=torch.long, device=logits.device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=logits.device)
        written: list[Tensor] = []
        while True:
            _check(logits, lengths, hashes)
            written.append(logits[:, -1].argmax(-1))
            ended |= torch.isin(written[-1], ends)
            if len(written) == new_tokens or bool(ended.all()):
                break
            if switches and sizes[0] + len(written) > window:
                switches = False
                longer = rows[0] + [int(token) for token in written]
                cache, logits, hashes = self._read([longer], lengths, new_tokens, again=True)
                continue
            if mask is not None:
                mask = torch.cat((mask, torch.ones_like(places)), dim=1)
            with grouped_decoding(self.model):
                output = self.model(
                    input_ids=written[-1][:, None],
                    position_ids=places + (len(written) - 1),
                    attention_mask=mask,
                    past_key_values=cache,
                    use_cache=True,
                    return_dict=True,
                )
            cache, logits = output.past_key_values, output.logits
            self.token_forwards += int((~ended).sum())
        seconds = (time.perf_counter() - started) / len(rows)
        answers = zip(torch.stack(written, dim=1).tolist(), hashes, strict=True)
        return [self._generation(ids, plan_hash, seconds) for ids, plan_hash in answers]

    def _generation(self, ids: list[int], plan_hash: str, seconds: float) -> Generation:
        """The answer in the ids that a row wrote: up to its first end token, after which other rows went on."""
        size = next((i for i, token in enumerate(ids) if token in self._ends), None)
        if size is None:
            return Generation(self.decode(ids), len(ids), False, seconds, plan_hash)
        return Generation(self.decode(ids[:size]), size + 1, True, seconds, plan_hash)

    def _read(
        self, rows: Sequence[Sequence[int]], lengths: Sequence[int], new_tokens: int, again: bool = False
    ) -> tuple[Any, Tensor, list[str]]:
        """(cache, logits [rows, 1, vocabulary] of the last tokens, plan hashes), every row alone under its own plan."""
        caches, logits, hashes = [], [], []
        mapped = any(self.plan(length).pieces for length in set(lengths))  # one cache, so keys of all are un-rotated
        for row, length in zip(rows, lengths, strict=True):
            hashes += self._pin([length], again, mapped)
            ids = torch.tensor([row], device=self.model.device)
            output = body(self.model)(input_ids=ids, use_cache=True, return_dict=True)
            caches.append(output.past_key_values)
            logits.append(head(self.model, output.last_hidden_state[:, -1:], 1))
            self.token_forwards += ids.numel()
        if len(rows) > 1:
            self._pin(lengths, again=True)
        return caches[0] if self._alone else joined(caches, new_tokens), torch.cat(logits), hashes

    def _span_losses(
        self, rows: list[list[int]], starts: list[int], lengths: list[int]
    ) -> list[tuple[list[float], list[bool]]]:
        """As `_losses_of_spans`, unless an earlier sitting had them."""
        found = self._once(["losses", rows, starts, lengths], lambda: self._losses_of_spans(rows, starts, lengths))
        return [(losses, hits) for losses, hits in found]

    @torch.inference_mode()
    def _losses_of_spans(
        self, rows: list[list[int]], starts: list[int], lengths: list[int]
    ) -> list[tuple[list[float], list[bool]]]:
        """For every row, loss and hit of its tokens from position `start` on, under plans of the given lengths.

        Rows are padded on the right, which a causal model can't see from the left: no mask, so the fast path stays.
        """
        hashes = self._pin(lengths)
        longest = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=self.model.device)
        hidden = hidden_states(self.model, ids)
        self.token_forwards += sum(len(row) for row in rows)
        spans = [slice(start, len(row)) for start, row in zip(starts, rows, strict=True)]
        states = torch.cat([hidden[i, span.start - 1 : span.stop - 1] for i, span in enumerate(spans)])
        targets = torch.cat([ids[i, span] for i, span in enumerate(spans)])
        losses, hits = target_losses(self.model, states, targets, len(rows))
        _check(losses[None], [max(lengths)], hashes)
        sizes = [span.stop - span.start for span in spans]
        pieces = zip(losses.split(sizes), hits.split(sizes), strict=True)
        return [(loss.tolist(), hit.tolist()) for loss, hit in pieces]


def _check(values: Tensor, lengths: Sequence[int], plan_hashes: Sequence[str]) -> None:
    """Values of rows, with each row's length and plan. Raises BrokenModel."""
    broken = torch.isnan(values).flatten(1).any(1)
    if bool(broken.any()):
        row = int(broken.nonzero()[0])
        raise BrokenModel(
            f"the model gives NaN at a length of {lengths[row]} tokens under plan {plan_hashes[row]}; check its "
            "weights, its dtype (float16 overflows, use bfloat16 or float32) and the plan's factors"
        )


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends an answer."""
    ends: set[int] = set()
    generation = getattr(model, "generation_config", None)
    for value in (getattr(generation, "eos_token_id", None), tokenizer.eos_token_id):
        tokens = value if isinstance(value, list | tuple) else [value]
        ends |= {int(token) for token in tokens if token is not None}
    return ends
